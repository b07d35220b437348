// The charts of the viewer: one for each measure, with a line for each device that is looked at.
import { $, el, set } from '../../../page/dom.js';
import { chart } from '../../../page/chart.js';
import { slots, swatch } from '../../../page/colours.js';
import { count } from '../../../page/format.js';
import { now } from '../../../page/timeline.js';
import { WINDOW } from './data.js';

const STEP = 8, LINES = 12; // panels at first, and with each press; lines of a panel

// Charts draws what data() holds of devices that looked(device) lets through.
export class Charts {
  #data; #looked; #panels = new Map(); // measure -> { chart, more }
  #slots = new Map(); #hidden = new Set(); #limit = STEP; #frame = 0; #drawn = 0; #cost = 0; #legend = ''; #accented;

  constructor(data, looked) {
    this.#data = data;
    this.#looked = looked;
    $('more').onclick = () => { this.#limit += STEP; this.update(); };
  }

  get size() { return this.#panels.size; }
  slot(name) { return this.#slots.get(name); }

  clear() {
    for (const { chart } of this.#panels.values()) chart.dispose();
    this.#panels.clear();
    this.#hidden.clear();
    this.#limit = STEP;
  }

  // update chooses panels and lines anew. Those that stand stay where they are, as long as they have something to show.
  update() {
    const data = this.#data(), panels = new Map(), names = new Set();
    let measures = 0;
    for (const [measure, lines] of data.measures) {
      const chosen = [];
      let all = 0;
      for (const [name, line] of lines) {
        const device = data.devices.get(name);
        if (!device || !this.#looked(device)) continue;
        all++;
        if (chosen.length < LINES) chosen.push({ name, line });
      }
      if (!all || ++measures > this.#limit) continue;
      panels.set(measure, { chosen, more: all - chosen.length });
      for (const { name } of chosen) names.add(name);
    }
    this.#slots = slots(names);
    for (const [measure, panel] of this.#panels) {
      if (panels.has(measure)) continue;
      panel.chart.dispose();
      this.#panels.delete(measure);
    }
    for (const [measure, { chosen, more }] of panels) {
      let panel = this.#panels.get(measure);
      if (!panel) {
        panel = { more: 0 };
        panel.chart = chart({ label: measure, window: WINDOW, clock: now, note: () => panel.more ? ` · +${count(panel.more)} more devices` : '' });
        this.#panels.set(measure, panel);
        $('chart').append(panel.chart.element);
      }
      panel.more = more;
      panel.chart.gaps = data.gaps;
      panel.chart.lines = chosen.filter(({ name }) => !this.#hidden.has(name)).map(each => ({ ...each, slot: this.#slots.get(each.name) }));
    }
    $('more').hidden = measures <= this.#limit;
    set($('more'), `Show more of ${count(measures)} measures`);
    this.#showLegend([...names]);
    this.wake();
  }

  #showLegend(names) {
    const key = names.map(name => name + this.#slots.get(name)).join('\n'), legend = $('legend');
    legend.hidden = names.length < 1;
    if (key === this.#legend) return;
    this.#legend = key;
    const focused = document.activeElement?.dataset?.device;
    legend.replaceChildren(...names.map(name => {
      const chip = el('button', { title: name, ariaPressed: String(!this.#hidden.has(name)), data: { device: name } }, swatch(this.#slots.get(name)), el('span', { textContent: name }));
      chip.onclick = () => {
        if (!this.#hidden.delete(name)) this.#hidden.add(name);
        chip.ariaPressed = String(!this.#hidden.has(name));
        this.update();
      };
      const accent = on => () => {
        this.#accented = on ? name : undefined;
        for (const { chart } of this.#panels.values()) chart.accented = this.#accented;
        this.wake();
      };
      chip.onpointerenter = chip.onfocus = accent(true);
      chip.onpointerleave = chip.onblur = accent(false);
      return el('li', {}, chip);
    }));
    if (focused) [...legend.querySelectorAll('button')].find(chip => chip.dataset.device === focused)?.focus();
  }

  // wake draws, up to 25 times a second while something moves, less often where that costs much, and not at all otherwise.
  wake() { this.#frame ||= requestAnimationFrame(at => this.#loop(at)); }

  #loop(at) {
    this.#frame = 0;
    const pace = matchMedia('(prefers-reduced-motion: reduce)').matches ? 500 : Math.max(40, this.#cost * 4);
    let moving = true;
    if (at - this.#drawn >= pace) {
      const began = performance.now();
      this.#drawn = at;
      moving = false;
      for (const { chart } of this.#panels.values()) moving = chart.draw() || moving;
      this.#cost = performance.now() - began;
    }
    if (moving) this.wake();
  }
}
