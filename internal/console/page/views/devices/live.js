// What devices say, as it comes.
import { follow as followEvents, get } from '../../api.js';
import { el, set } from '../../../../page/dom.js';
import { chart, Line } from '../../../../page/chart.js';
import { clockMs } from '../../../../page/format.js';
import { now, Timeline } from '../../../../page/timeline.js';
import { valueText } from '../../../../page/devices.js';
import { messageOf, payloadText, pretty, valuesOf } from '../../../../page/values.js';
import { before, card, notice, trouble } from '../../facts.js';

// follow calls onData with what comes by the tap, { messages, ways, skipped }, and onState as api.follow does.
export const follow = (query, signal, onData, onState) => followEvents(`/tap?${query}`, { signal, onData, onState });

const MEASURES = 64, CHARTS = 12;
const WINDOW = 600_000; // ms of the charts

// summary says what a message of the tap holds, in one line.
export function summary(json) {
  const message = messageOf(json), values = valuesOf(message);
  return values.length ? values.slice(0, 6).map(([measure, value]) => `${measure} ${valueText(value)}`).join(', ') : payloadText(message).slice(0, 120);
}

// values shows the values of a device, live.
export function values(view, { rest: [registryId], signal }, id) {
  const said = notice(), list = el('dl', { className: 'facts' }), last = el('pre', { className: 'pre', tabIndex: 0, ariaLabel: 'Last payload' }), charts = el('div', { className: 'charts' });
  const about = el('p', { className: 'muted', textContent: 'Nothing has come yet. What a trigger receives of the device is shown here at once.' });
  const known = new Map(); // measure -> { dd, value, chart }
  const timeline = new Timeline(WINDOW);
  let newest, dirty = false;
  view.append(card('Values', [el('a', { href: `#/message?device=${encodeURIComponent(id)}`, textContent: 'Publish and follow' }), el('a', { href: `#/tail?device=${encodeURIComponent(id)}`, textContent: 'All its messages' })],
    said.element, el('div', { className: 'body' }, about, list, charts, last)));
  last.hidden = charts.hidden = true;

  // draws makes the chart of a measure, as long as there are not too many.
  function draws(measure) {
    if (charts.children.length === CHARTS) return undefined;
    const line = new Line(WINDOW / 1200, 1200), made = chart({ label: measure, window: WINDOW, clock: now });
    made.lines = [{ name: measure, line, slot: 0 }];
    charts.append(made.element);
    charts.hidden = false;
    signal.addEventListener('abort', made.dispose);
    return { line, draw: made.draw };
  }

  // What comes live is the newest, whatever the clocks say; what was kept tells nothing once something has come.
  function take(messages, live) {
    for (const json of messages) {
      if (json.details?.device_id !== id || !live && newest) continue;
      const at = timeline.place(json.event_metadata.created_at, now(), live);
      newest = { json, at };
      for (const [measure, value] of valuesOf(messageOf(json)).slice(0, MEASURES)) {
        let entry = known.get(measure);
        if (!entry) {
          if (known.size >= MEASURES) continue;
          entry = { dd: el('dd') };
          known.set(measure, entry);
          list.append(el('dt', { textContent: measure }), entry.dd);
        }
        if (typeof value === 'number') (entry.chart ??= draws(measure))?.line.add(at, value);
        entry.value = value;
      }
      dirty = true;
    }
  }

  function draw() {
    if (!newest || document.hidden) return;
    set(about, `Last message ${before(newest.at, now())}, at ${clockMs(Date.parse(newest.json.event_metadata.created_at))}, on ${newest.json.details.mqtt_topic}`);
    for (const entry of known.values()) entry.chart?.draw();
    if (!dirty) return;
    dirty = false;
    for (const { dd, value } of known.values()) set(dd, valueText(value));
    set(last, pretty(payloadText(messageOf(newest.json))));
    last.hidden = false;
  }
  const drawing = setInterval(draw, 250);
  signal.addEventListener('abort', () => clearInterval(drawing));

  get(`/tap/latest?${new URLSearchParams({ registry_id: registryId })}`, { signal }).then(({ messages = [] }) => { take(messages, false); draw(); }, () => {});
  follow(new URLSearchParams({ device_id: id }), signal, ({ messages = [] }) => take(messages, true), (state, error) => {
    if (state === 'live') said.well();
    else if (error) said.fail(state === 'refused' ? `Values cannot be shown live: ${trouble(error)}` : 'Not live at the moment, trying again.');
  });
}
