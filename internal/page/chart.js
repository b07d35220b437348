// Lines over a window of time that ends now.
import { el, set } from './dom.js';
import { clock as clockText, number, span } from './format.js';
import { COLOURS, dash, swatch } from './colours.js';
export { Line } from './line.js';

const still = matchMedia('(prefers-reduced-motion: reduce)'), forced = matchMedia('(forced-colors: active)');
const FONT = '11.5px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';

// The theme is read once, and again when it is another one.
let theme;
function colours() {
  if (theme) return theme;
  const css = getComputedStyle(document.documentElement), get = name => css.getPropertyValue('--' + name).trim();
  theme = { lines: Array.from({ length: COLOURS }, (_, i) => get('c' + i)) };
  for (const name of ['ink', 'muted', 'grid', 'card', 'warn']) theme[name] = get(name);
  if (forced.matches) Object.assign(theme, { ink: 'CanvasText', muted: 'CanvasText', grid: 'GrayText', card: 'Canvas', warn: 'Highlight' });
  return theme;
}
const redraws = new Set(); // of all charts
for (const query of [forced, matchMedia('(prefers-color-scheme: dark)')]) {
  query.addEventListener('change', () => {
    theme = undefined;
    for (const redraw of redraws) redraw();
  });
}

function ticks(lo, hi, n) {
  const raw = (hi - lo) / n, mag = 10 ** Math.floor(Math.log10(raw)), nice = [1, 2, 2.5, 5, 10].find(m => m * mag >= raw * .999), step = nice * mag;
  const out = [], places = Math.min(20, Math.max(0, (nice === 2.5) - Math.floor(Math.log10(step) + 1e-9)));
  for (let i = Math.ceil(lo / step); i * step <= hi && out.length < 50; i++) {
    const v = i * step;
    out.push([v, Math.abs(v) >= 1e6 || step < 1e-4 ? (v ? v.toExponential(1) : '0') : v.toFixed(places)]);
  }
  return out;
}

function disc(ctx, x, y, r, ring) {
  ctx.beginPath();
  ctx.arc(x, y, r, 0, 7);
  ctx.fill();
  if (ring) ctx.stroke();
}

// chart makes one. Options:
//
//	label: what it shows. unit: behind the values. window: how long it is, in ms. clock(): now, on the clock of its lines.
//	floor: the least value that the axis goes down to at least, say 0. gap: ms without a point after which a line breaks.
//	format(v): writes a value. note(): more text beside the range, or ''.
//
// It returns { element, lines, gaps, accented, range, draw(), dispose() }. Lines are [{ name, line: Line, slot }], to be set as a whole;
// slot is that of colours.js. Gaps are [[from, to]], where something is missing, which no line crosses. Accented is the name of
// the line that stands out. Draw is cheap where the chart cannot be seen, and says whether anything moves. With arrow keys a
// reader moves over the time, and a screen reader says the values.
export function chart({ label, unit = '', window: width = 60_000, clock = Date.now, floor, gap = Infinity, format = number, note = () => '' }) {
  const write = v => unit ? `${format(v)} ${unit}` : format(v);
  const canvas = el('canvas', { ariaHidden: 'true' }), meta = el('span'), heading = el('h2', { textContent: label, title: label });
  const cross = el('div', { className: 'plot', tabIndex: 0, role: 'slider', ariaLabel: `${label}: the time to read`, ariaOrientation: 'horizontal' }, canvas);
  Object.assign(cross, { ariaValueMin: '0', ariaValueMax: '60', ariaValueNow: '60', ariaValueText: 'now' });
  const tip = el('div', { className: 'tip card', hidden: true });
  const element = el('article', { className: 'panel card', ariaLabel: label }, el('header', {}, heading, meta), cross, tip);
  const ctx = canvas.getContext('2d'), size = { w: 0, h: 0 };
  let visible = true, lo = NaN, hi = NaN, box, hover, frame = 0;
  const self = { element, lines: [], gaps: [], accented: undefined, draw, range: null, dispose };

  const later = () => { frame ||= requestAnimationFrame(() => { frame = 0; draw(true); }); };
  const sizes = new ResizeObserver(([{ contentRect }]) => { size.w = contentRect.width; size.h = contentRect.height; later(); });
  const sight = new IntersectionObserver(list => { visible = list.at(-1).isIntersecting; if (visible) later(); });
  redraws.add(later);
  sizes.observe(canvas);
  sight.observe(canvas);
  function dispose() {
    redraws.delete(later);
    sizes.disconnect();
    sight.disconnect();
    cancelAnimationFrame(frame);
    element.remove();
  }

  const point = (f, y) => { hover = { f: Math.min(1, Math.max(0, f)), y }; later(); };
  const leave = () => { hover = undefined; tip.hidden = true; later(); };
  canvas.onpointermove = e => { if (box) point((e.offsetX - box.x) / box.w, e.offsetY); };
  cross.onpointerleave = cross.onblur = leave;
  cross.onkeydown = e => {
    const step = { ArrowLeft: -1, ArrowRight: 1, PageUp: 6, PageDown: -6, Home: -60, End: 60 }[e.key];
    if (e.key === 'Escape') leave();
    if (!step) return;
    e.preventDefault();
    point(hover ? hover.f + step / 60 : step < -1 ? 0 : 1);
    const ago = Math.round((1 - hover.f) * width / 1000), rows = readAt(clock() - width + hover.f * width);
    cross.ariaValueNow = String(Math.round(hover.f * 60));
    cross.ariaValueText = `${ago ? span(ago * 1000) + ' ago' : 'now'}: ` + (rows.map(r => `${r.name} ${write(r.v)}`).join(', ') || 'nothing');
  };

  // readAt is the value nearest to t of each line, the greatest first.
  function readAt(t) {
    const rows = [], t0 = clock() - width;
    for (const { name, line, slot } of self.lines) {
      if (!line.n) continue;
      let k = Math.min(line.find(t), line.n - 1);
      if (k && t - line.t(k - 1) < line.t(k) - t) k--;
      if (line.t(k) < t0 || Math.abs(line.t(k) - t) > width / 6) continue;
      rows.push({ name, slot, t: line.t(k), v: line.last(k) });
    }
    return rows.sort((a, b) => b.v - a.v);
  }

  function draw(eager = false) {
    const t1 = clock(), t0 = t1 - width, drawn = [];
    let low = Infinity, high = -Infinity;
    for (const each of self.lines) {
      const { line } = each, from = line.find(t0);
      if (from === line.n) continue;
      for (let k = from; k < line.n; k++) { low = Math.min(low, line.low(k)); high = Math.max(high, line.high(k)); }
      drawn.push({ ...each, first: Math.max(0, from - 1), v: line.last() });
    }
    self.range = drawn.length ? [low, high] : null;
    element.dataset.lines = drawn.length;
    set(meta, (self.range ? low < high ? `${format(low)} to ${write(high)}` : `steady at ${write(low)}` : `nothing in the last ${span(width)}`) + note());
    if (!visible || !size.w || document.hidden) return false;
    paint(drawn, t0, t1, low, high, eager);
    return drawn.length > 0;
  }

  function paint(drawn, t0, t1, low, high, eager) {
    const { w, h } = size, scale = devicePixelRatio || 1, ink = colours();
    const pw = Math.round(w * scale), ph = Math.round(h * scale);
    if (canvas.width !== pw || canvas.height !== ph) { canvas.width = pw; canvas.height = ph; }
    ctx.setTransform(scale, 0, 0, scale, 0, 0);
    ctx.clearRect(0, 0, w, h);
    ctx.font = FONT;
    ctx.lineJoin = ctx.lineCap = 'round';
    if (!drawn.length) { low = 0; high = 1; }
    if (floor !== undefined) { low = Math.min(low, floor); high = Math.max(high, floor); }
    const pad = (high - low) * .1 || Math.abs(high) * .02 || .5;
    low -= low === floor ? 0 : pad;
    high += pad;
    const near = Math.abs(lo - low) + Math.abs(hi - high) < (high - low) * .004;
    if (!(hi > lo) || near || still.matches) { lo = low; hi = high; } else {
      if (!eager) { lo += (low - lo) * .22; hi += (high - hi) * .22; }
      lo = Math.min(lo, low + pad);
      hi = Math.max(hi, high - pad); // no line leaves the panel meanwhile
    }

    // The frame and the grid.
    const grid = ticks(lo, hi, Math.max(2, h / 36));
    const left = Math.max(...grid.map(([, s]) => ctx.measureText(s).width), 16) + 8;
    const right = Math.max(...drawn.map(l => ctx.measureText(format(l.v)).width), 20) + 18;
    box = { x: left, y: 8, w: Math.max(40, w - left - right), h: h - 32 };
    const X = t => box.x + (t - t0) / width * box.w, Y = v => box.y + (hi - v) / (hi - lo) * box.h;
    ctx.lineWidth = 1;
    ctx.strokeStyle = ink.grid;
    ctx.fillStyle = ink.muted;
    ctx.beginPath();
    ctx.textBaseline = 'middle';
    ctx.textAlign = 'right';
    for (const [v, s] of grid) {
      const y = Math.round(Y(v)) + .5;
      ctx.moveTo(box.x, y);
      ctx.lineTo(box.x + box.w, y);
      ctx.fillText(s, box.x - 8, y);
    }
    for (let i = 4; i >= 0; i--) {
      if (w < 420 && i % 2) continue;
      const x = Math.round(box.x + (1 - i / 4) * box.w) + .5;
      ctx.moveTo(x, box.y);
      ctx.lineTo(x, box.y + box.h);
      ctx.textAlign = i === 4 ? 'left' : 'center';
      ctx.fillText(i ? `−${span(width * i / 4)}` : 'now', i === 4 ? x - 2 : x, h - 10);
    }
    ctx.globalAlpha = forced.matches ? .3 : 1;
    ctx.stroke();
    ctx.globalAlpha = 1;

    // Lines, above what is missing of them.
    ctx.save();
    ctx.beginPath();
    ctx.rect(box.x, 0, box.w + 6, box.y + box.h + 4);
    ctx.clip();
    ctx.fillStyle = ink.warn;
    for (const [from, to] of self.gaps) {
      ctx.globalAlpha = .16;
      ctx.fillRect(X(from), box.y, Math.max(2, X(to) - X(from)), box.h);
      ctx.globalAlpha = .8;
      ctx.fillRect(X(to) - 1, box.y, 1.5, box.h);
    }
    for (const each of drawn) paintLine(each, drawn.length, ink, X, Y);
    ctx.restore();
    newest(drawn, ink, Y);
    if (hover) crosshair(ink, X, Y, t0);
  }

  const broken = (a, b) => b - a > gap || self.gaps.some(([from, to]) => a <= from && b >= to);

  function paintLine({ name, line, slot, first }, several, ink, X, Y) {
    const faint = self.accented && self.accented !== name, colour = ink.lines[slot % COLOURS], n = line.n - first;
    const column = n > box.w ? width / box.w : 0; // points that share a pixel column become one vertical stroke
    ctx.globalAlpha = faint ? .15 : 1;
    ctx.strokeStyle = ctx.fillStyle = colour;
    ctx.lineWidth = self.accented === name ? 2.75 : 1.9;
    ctx.setLineDash(dash(slot));
    ctx.beginPath();
    let x0 = NaN, x = 0, key, low, high;
    const put = () => {
      if (Number.isNaN(x0)) { x0 = x; ctx.moveTo(x, Y(low)); } else ctx.lineTo(x, Y(low));
      if (high > low) ctx.lineTo(x, Y(high));
    };
    const finish = last => {
      if (key === undefined) return;
      put();
      if (last !== undefined) ctx.lineTo(x, Y(last));
      ctx.stroke();
      if (several < 3 && !faint && !forced.matches) { // few lines: a soft area below
        ctx.lineTo(x, box.y + box.h);
        ctx.lineTo(x0, box.y + box.h);
        const fade = ctx.createLinearGradient(0, box.y, 0, box.y + box.h);
        fade.addColorStop(0, colour + '30');
        fade.addColorStop(1, colour + '00');
        ctx.fillStyle = fade;
        ctx.fill();
        ctx.fillStyle = colour;
      }
    };
    for (let k = first; k < line.n; k++) {
      const t = line.t(k), next = column ? Math.floor(t / column) : k;
      if (k > first && broken(line.t(k - 1), t)) {
        finish(line.last(k - 1));
        ctx.beginPath();
        key = undefined;
        x0 = NaN;
      }
      if (next === key) { low = Math.min(low, line.low(k)); high = Math.max(high, line.high(k)); continue; }
      if (key !== undefined) put();
      key = next;
      x = X(column ? key * column : t);
      low = line.low(k);
      high = line.high(k);
    }
    finish(line.last());
    ctx.setLineDash([]);
    if (n <= 40) for (let k = first; k < line.n; k++) disc(ctx, X(line.t(k)), Y(line.last(k)), 2);
    ctx.strokeStyle = ink.card;
    ctx.lineWidth = 1.5;
    disc(ctx, x, Y(line.last()), 4, true);
  }

  // The newest values at the right, pushed apart.
  function newest(drawn, ink, Y) {
    const apart = 14, labels = drawn.map(l => ({ ...l, y: Y(l.v) })).sort((a, b) => a.y - b.y);
    let top = box.y + 4;
    for (const l of labels) top = (l.y = Math.max(l.y, top)) + apart;
    let bottom = box.y + box.h;
    for (const l of labels.reverse()) bottom = (l.y = Math.min(l.y, bottom)) - apart;
    ctx.textAlign = 'left';
    ctx.lineWidth = 3;
    ctx.lineCap = 'butt';
    for (const l of labels) {
      if (l.y < 4) continue;
      ctx.globalAlpha = self.accented && self.accented !== l.name ? .25 : 1;
      ctx.strokeStyle = ink.lines[l.slot % COLOURS];
      ctx.setLineDash(dash(l.slot).map(n => n / 2));
      ctx.beginPath();
      ctx.moveTo(box.x + box.w + 10, l.y - 5);
      ctx.lineTo(box.x + box.w + 10, l.y + 5);
      ctx.stroke();
      ctx.fillStyle = ink.ink;
      ctx.fillText(format(l.v), box.x + box.w + 16, l.y);
    }
    ctx.globalAlpha = 1;
    ctx.setLineDash([]);
  }

  function crosshair(ink, X, Y, t0) {
    const t = t0 + hover.f * width, x = box.x + hover.f * box.w, rows = readAt(t);
    ctx.strokeStyle = ink.muted;
    ctx.lineWidth = 1;
    ctx.setLineDash([3, 3]);
    ctx.beginPath();
    ctx.moveTo(x, box.y);
    ctx.lineTo(x, box.y + box.h);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.strokeStyle = ink.card;
    for (const row of rows) {
      ctx.fillStyle = ink.lines[row.slot % COLOURS];
      disc(ctx, X(row.t), Y(row.v), 4, true);
    }
    const ms = (1 - hover.f) * width;
    tip.replaceChildren(el('div', { className: 'muted', textContent: ms < 500 ? 'now' : width > 300_000 ? clockText(t) : `${span(ms)} ago` }),
      ...rows.map(r => el('div', {}, swatch(r.slot), el('span', { textContent: r.name }), el('b', { textContent: write(r.v) }))));
    tip.hidden = false;
    const left = x + (hover.f > .5 ? -tip.offsetWidth - 16 : 16);
    tip.style.transform = `translate(${Math.max(4, Math.min(element.clientWidth - tip.offsetWidth - 4, left + canvas.offsetLeft))}px, ${cross.offsetTop + Math.max(0, (hover.y ?? size.h / 2) - tip.offsetHeight / 2)}px)`;
  }

  return self;
}
