// What flows and what is wrong, now and in the last hour.
import * as live from '../live.js';
import { sparkline } from '../sparkline.js';
import { el, set } from '../../../page/dom.js';
import { brief, count, number, rate, size, span } from '../../../page/format.js';
import { chart, Line } from '../../../page/chart.js';
import { table } from '../../../page/table.js';
import { figures, lostByRoute, lostByTrigger } from './overview/figures.js';
import { findingsOf } from './overview/findings.js';

export const title = 'Overview';
export const needs = 'viewer';

const HOUR = 3_600_000;
const OTHERS = '(others)'; // the name of what has no row of its own

export function open(view, { account, go, signal }) {
  const findings = findingsOf(), next = el('section', { className: 'next', ariaLabel: 'What to do next', hidden: true });
  let latest, charts = [];
  const tiles = el('section', { className: 'tiles', ariaLabel: 'What flows' });
  for (const [i, figure] of figures.entries()) {
    const value = el('p', { className: 'now' }), one = chart({
      label: figure.label, unit: figure.unit === '/s' ? 'a second' : figure.unit, window: HOUR, floor: 0, gap: 20_000, format: writer(figure),
      clock: () => latest?.samples.at(-1)?.at ?? Date.now(),
    });
    one.element.classList.add('tile');
    one.element.title = figure.help;
    one.element.querySelector('header').after(value);
    tiles.append(one.element);
    charts.push({ figure, one, value, slot: figure.bad ? 1 : i === 4 ? 2 : 0 });
  }
  signal.addEventListener('abort', () => { for (const { one } of charts) one.dispose(); }, { once: true });

  const triggers = table({
    label: 'By trigger', key: row => row.id, opens: row => row.id && row.id !== OTHERS, open: row => go(`#/triggers/${encodeURIComponent(row.id)}`), empty: 'No trigger has received anything yet.',
    columns: [
      { id: 'trigger', title: 'Trigger', text: row => nameOf(row.id || 'the stream'), compare: (a, b) => a.id < b.id ? -1 : 1 },
      { id: 'state', title: 'MQTT', cell: (row, td) => state(td, row.t.connected), compare: (a, b) => a.t.connected - b.t.connected },
      ...trend('Messages in', row => row.t.received ?? 0, (sample, row) => sample.triggers?.[row.id]?.received, () => latest),
      { id: 'envelopes', title: 'Envelopes', number: true, text: row => `${rate(row.t.envelopes ?? 0)}/s`, compare: (a, b) => (a.t.envelopes ?? 0) - (b.t.envelopes ?? 0) },
      { id: 'unacked', title: 'Waiting', number: true, text: row => count(row.t.unacked ?? 0), compare: (a, b) => (a.t.unacked ?? 0) - (b.t.unacked ?? 0) },
      { id: 'lag', title: 'Lag', number: true, text: row => lag(row.t.lag_seconds), compare: (a, b) => (a.t.lag_seconds ?? 0) - (b.t.lag_seconds ?? 0) },
      { id: 'lost', title: 'Dropped', number: true, cell: (row, td) => lost(td, lostByTrigger(row.t)), compare: (a, b) => lostByTrigger(a.t) - lostByTrigger(b.t) },
    ],
  });
  const routes = table({
    label: 'By route', key: row => row.id, empty: 'No gateway has a route.',
    opens: row => row.id !== OTHERS, open: row => go(`#/connections?${new URLSearchParams({ gateway: row.gateway, path: row.path })}`),
    columns: [
      { id: 'route', title: 'Route', text: row => nameOf(row.id), compare: (a, b) => a.id < b.id ? -1 : 1 },
      { id: 'connections', title: 'Connections', number: true, text: row => count(row.r.connections ?? 0), compare: (a, b) => (a.r.connections ?? 0) - (b.r.connections ?? 0) },
      ...trend('Deliveries', row => row.r.deliveries ?? 0, (sample, row) => sample.routes?.[row.id]?.deliveries, () => latest),
      { id: 'envelopes', title: 'Envelopes', number: true, text: row => `${rate(row.r.envelopes ?? 0)}/s`, compare: (a, b) => (a.r.envelopes ?? 0) - (b.r.envelopes ?? 0) },
      { id: 'bytes', title: 'Data', number: true, text: row => `${size(row.r.bytes ?? 0)}/s`, compare: (a, b) => (a.r.bytes ?? 0) - (b.r.bytes ?? 0) },
      { id: 'latency', title: 'Latency', number: true, text: row => row.r.deliveries ? brief(row.r.latency_ms ?? 0) : '–', compare: (a, b) => (a.r.latency_ms ?? 0) - (b.r.latency_ms ?? 0) },
      { id: 'queued', title: 'Queued', number: true, text: row => size(row.r.queued_bytes ?? 0), compare: (a, b) => (a.r.queued_bytes ?? 0) - (b.r.queued_bytes ?? 0) },
      { id: 'gaps', title: 'Gaps', number: true, cell: (row, td) => lost(td, row.r.gaps ?? 0), compare: (a, b) => (a.r.gaps ?? 0) - (b.r.gaps ?? 0) },
      { id: 'lost', title: 'Dropped, refused', number: true, cell: (row, td) => lost(td, lostByRoute(row.r)), compare: (a, b) => lostByRoute(a.r) - lostByRoute(b.r) },
    ],
  });
  const since = el('p', { className: 'muted since' }), waiting = el('p', { className: 'card none', textContent: 'Waiting for the first figures.' });
  const flow = el('div', { className: 'flow', hidden: true }, tiles,
    section('By trigger', triggers.element, 'Triggers', '#/triggers'), section('By route', routes.element, 'Connections', '#/connections'), since);
  view.append(findings.element, waiting, next, flow);

  live.subscribe(now => {
    latest = now;
    if (now.state === 'refused') {
      waiting.textContent = now.error.status === 404 ? 'This iotcast keeps no figures.' : now.error.message;
      waiting.classList.add('error');
    }
    findings.element.hidden = now.state === 'waiting' && !!now.error; // nothing is known to be well
    if (!now.findings) return;
    findings.update(now.findings);
    const sample = now.samples.at(-1);
    waiting.hidden = !!sample;
    flow.hidden = !sample;
    if (!sample) return;
    for (const { figure, one, value, slot } of charts) {
      const line = new Line(1000, 1000);
      for (const each of now.samples) {
        const v = figure.of(each);
        if (v !== undefined) line.add(each.at, v);
      }
      one.lines = [{ name: figure.label, line, slot }];
      const v = figure.of(sample);
      set(value, v === undefined ? '–' : `${writer(figure)(v)}${figure.unit === '/s' ? '/s' : figure.unit && ` ${figure.unit}`}`);
      value.classList.toggle('bad', !!figure.bad && v > 0);
      one.draw(true);
    }
    triggers.update(Object.entries(sample.triggers ?? {}).map(([id, t]) => ({ id, t })));
    routes.update(Object.entries(sample.routes ?? {}).map(([id, r]) => ({ id, r, gateway: id.split(' ')[0], path: id.split(' ').slice(1).join(' ') })));
    advise(next, sample, account);
    const p = now.process;
    set(since, p ? `iotcast ${p.version ?? ''}, running for ${span(Date.now() - Date.parse(p.started_at))}. Each figure is of the last ${now.period} s, each chart of the last hour.` : '');
  }, signal);
}

const nameOf = id => id === OTHERS ? 'all others, together' : id;

const writer = figure => figure.unit === '/s' ? rate : figure.id === 'connections' ? count : number;

const section = (title, content, more, href) => el('div', { className: 'card' },
  el('div', { className: 'bar' }, el('h2', { textContent: title }), el('a', { href, textContent: more })), content);

// trend is a number a second, and how it went.
const trend = (title, value, of, latest) => [
  { id: title, title, number: true, text: row => `${rate(value(row))}/s`, compare: (a, b) => value(a) - value(b) },
  { id: `${title} hour`, title: 'Last hour', cell: (row, td) => sparkline(td, latest().samples.map(sample => of(sample, row))) },
];

const lag = s => !s ? '–' : s < 60 ? `${number(s)} s` : span(s * 1000);

function state(td, connected) {
  if (!td.firstChild) td.append(el('span'));
  const chip = td.firstChild;
  chip.className = `chip ${connected ? 'ok' : 'bad'}`;
  set(chip, connected ? 'connected' : 'not connected');
}

function lost(td, n) {
  set(td, n ? `${rate(n)}/s` : '–');
  td.classList.toggle('bad', n > 0);
}

// advise says what to do where nothing flows yet.
function advise(next, sample, account) {
  const cards = [], connections = figures.find(figure => figure.id === 'connections').of(sample);
  const route = Object.keys(sample.routes ?? {})[0];
  if (!Object.keys(sample.triggers ?? {}).length) {
    cards.push(step('No trigger yet', 'A trigger takes the messages of devices and sends them to the connections of a path.',
      account.may('editor') ? el('a', { className: 'button main', href: '#/triggers?new', textContent: 'Create a trigger' }) : 'To create one takes the role editor.'));
  }
  if (route && !connections) {
    const [gateway, path] = [route.split(' ')[0], route.split(' ').slice(1).join(' ')];
    cards.push(step('Nobody is connected', `Connect a page or a program to the path ${path} of the gateway ${gateway}, at the gateway's address, whose port goes in place of PORT:`,
      el('pre', { tabIndex: 0, textContent: `new WebSocket('ws://${location.hostname}:PORT${path}')` })));
  }
  const now = cards.map(card => card.textContent).join('\n');
  if (next.dataset.now === now) return;
  next.dataset.now = now;
  next.hidden = !cards.length;
  next.replaceChildren(...cards);
}

const step = (title, text, ...more) => el('article', { className: 'card trouble' }, el('h2', { textContent: title }), el('p', { textContent: text }), ...more);
