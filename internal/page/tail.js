// The tail: the newest messages, one row each, to filter, to hold, and to take away.
import { copy, download, el, set } from './dom.js';
import { clockMs, count } from './format.js';
import { table } from './table.js';
import { kindOf, nameOf, payloadText, topicOf } from './values.js';

const BYTES = 16 << 20; // of payloads that a tail keeps at most
const SLICE = 8; // ms of reading payloads, after which the page may draw

// Tail keeps the newest messages, whatever is looked for. Paused, it takes none, and counts those that pass.
export class Tail {
  #kept = []; #bytes = 0; #number = 0; #held;
  paused = false;
  passed = 0; // while paused
  skipped = 0; // that the server left out
  constructor(most = 5000) { this.most = most; }

  // rows are what is kept, oldest first: { id, at, name, kind, topic, message, text, stream? }.
  get rows() { return this.#kept; }

  add(message, at) {
    if (this.paused) { this.passed++; return; }
    const row = new Row(++this.#number, message, at);
    this.#kept.push(row);
    this.#bytes += row.bytes;
    if (this.#kept.length < this.most * 1.25 && this.#bytes < BYTES) return;
    let from = Math.max(0, this.#kept.length - this.most);
    for (let i = 0; i < from; i++) this.#bytes -= this.#kept[i].bytes;
    while (this.#bytes > BYTES * .8 && from < this.#kept.length - 1) this.#bytes -= this.#kept[from++].bytes;
    this.#kept = this.#kept.slice(from);
  }

  hold(paused) {
    this.paused = paused;
    this.passed = 0;
    this.#held = undefined;
  }

  // holds tells whether a message is among those that a pause keeps, by its event ID.
  holds(id) {
    this.#held ??= new Set(this.#kept.map(row => row.message?.event_metadata?.event_id));
    return this.#held.has(id);
  }

  clear() {
    this.#kept = [];
    this.#bytes = this.passed = 0;
  }
}

// lengthOf is that of the payload as it came: base64, or JSON.
function lengthOf(message) {
  const { payload, payload_base64: other } = message?.details ?? {}, text = other ?? payload;
  return (typeof text === 'string' ? text : JSON.stringify(text) ?? '').length;
}

// Row reads the payload of a message when it is first asked for: most are never looked at.
class Row {
  #text; #search;
  constructor(id, message, at) {
    Object.assign(this, { id, message, at, name: nameOf(message), kind: kindOf(message), topic: topicOf(message), stream: message?.stream, bytes: 500 + 2 * lengthOf(message) });
  }
  get read() { return this.#text !== undefined; }
  get text() { return this.#text ??= payloadText(this.message); }
  get search() { return this.#search ??= `${this.name}\n${this.topic}\n${this.message?.details?.registry_id ?? ''}\n${this.text.slice(0, 4000)}`.toLowerCase(); }
}

const told = ({ message: { event_metadata, details, stream }, text }) => ({ event_metadata, details, stream, text });
export const jsonLines = rows => rows.map(row => JSON.stringify(told(row)) + '\n').join('');

// What begins like a formula is none for a spreadsheet behind an apostrophe. Where semicolons are what separates, it splits cells at them.
const cell = v => {
  const text = /^[-+]?[\d.]+(e[-+]?\d+)?$/i.test(v) ? v : v.replace(/(^|[;\t\r\n])(?=[=+\-@])/g, "$1'").replace(/^[\t\r\n]/, "'$&");
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
// A column says which stream messages came by, where they say so themselves.
export function csv(rows) {
  const streams = rows.some(row => row.stream !== undefined);
  const lines = rows.map(({ message: m, text, stream }) => [
    m?.event_metadata?.created_at, m?.details?.device_id, m?.details?.mqtt_topic, m?.event_metadata?.event_id, text, ...streams ? [stream] : [],
  ].map(v => cell(String(v ?? ''))).join(',') + '\r\n');
  return `created_at,device_id,mqtt_topic,event_id,payload${streams ? ',stream' : ''}\r\n${lines.join('')}`;
}

// tailView shows a tail, newest first, below a bar with what can be done to it. Options:
//
//	label: what it is. onPick(message): called with the one that was chosen. pick(row): whether to show it, beside the filter.
//	filter: false for no filter of its own. columns: more columns, as table.js has them, of rows. onFilter(text): called with
//	the text of the filter, in lower case. empty: text without any.
//
// It returns { element, bar, filter: the input, update(), shown: the rows, newest first }.
export function tailView(tail, { label = 'Messages', onPick, pick = () => true, filter: own = true, columns = [], onFilter, empty = 'No message yet.' } = {}) {
  const filter = el('input', { type: 'search', placeholder: 'Device, topic or text', ariaLabel: `Filter ${label.toLowerCase()} by device, topic or text` });
  const pause = el('button', { textContent: 'Pause', className: 'pause' });
  const take = el('button', { textContent: 'Copy', title: 'Copy what is shown, as JSON lines' });
  const lines = el('button', { textContent: 'JSON', title: 'Save what is shown, as JSON lines', ariaLabel: 'Save as JSON lines' });
  const sheet = el('button', { textContent: 'CSV', title: 'Save what is shown, as CSV', ariaLabel: 'Save as CSV' });
  const said = el('span', { className: 'muted' });
  const bar = el('div', { className: 'bar' }, el('h2', { textContent: label }), said, own && filter, pause, take, lines, sheet);
  let shown = [];
  const grid = table({
    label, empty, key: row => row.id, open: onPick && (row => onPick(row.message)),
    columns: [
      { id: 'at', title: 'Time', text: row => clockMs(row.at), width: '118px' },
      { id: 'name', title: 'Device', text: row => row.kind === 'device' ? row.name : '–' },
      { id: 'topic', title: 'Topic', text: row => row.topic },
      ...columns,
      { id: 'payload', title: 'Payload', text: row => row.text.slice(0, 300) || '(empty payload)' },
    ],
  });
  grid.element.classList.add('tail');
  const element = el('div', { className: 'card' }, bar, grid.element);

  // Who has scrolled down reads: what comes goes on top, and the rows stay where they are.
  function update() {
    const q = own ? filter.value.trim().toLowerCase() : '', view = grid.element, first = shown[0];
    const until = performance.now() + SLICE;
    shown = [];
    for (let i = tail.rows.length - 1, began = false; i >= 0; i--) {
      const row = tail.rows[i], { read } = row;
      if (pick(row) && (!q || row.search.includes(q))) shown.push(row);
      began ||= read !== row.read;
      if (began && performance.now() > until) { // the rest when the page has moved on
        requestAnimationFrame(update);
        break;
      }
    }
    const reading = view.scrollTop > 20 && first;
    const above = reading ? shown.findIndex(row => row.id <= first.id) : 0;
    grid.update(shown);
    if (reading && above > 0) view.scrollTop += above * 40;
    set(pause, tail.paused ? tail.passed ? `Resume · ${count(tail.passed)} passed` : 'Resume' : 'Pause');
    const all = count(tail.rows.length), part = shown.length < tail.rows.length ? `${count(shown.length)} of ` : '';
    set(said, `${part}${all}${tail.skipped ? ` · ${count(tail.skipped)} skipped` : ''}`);
    for (const button of [take, lines, sheet]) button.disabled = !shown.length;
  }
  const ofAll = () => [...shown].reverse();
  pause.onclick = () => { tail.hold(!tail.paused); update(); };
  take.onclick = () => copy(jsonLines(ofAll()), take);
  lines.onclick = () => download('messages.jsonl', 'application/jsonl', jsonLines(ofAll()));
  sheet.onclick = () => download('messages.csv', 'text/csv', csv(ofAll()));
  filter.oninput = () => { onFilter?.(filter.value.trim().toLowerCase()); update(); };
  update();
  return { element, bar, filter, update, get shown() { return shown; } };
}
