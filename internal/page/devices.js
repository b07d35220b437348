// Devices, and topics of brokers, with their last values.
import { el, set } from './dom.js';
import { ago, count, number } from './format.js';
import { table } from './table.js';
import { kindOf, nameOf, payloadText, topicOf, valuesOf } from './values.js';

const MEASURES = 64; // of a device, the first that come

// order is a text by which names sort as people do, dev-9 before dev-10: thousands of names are sorted twice a second.
const order = name => name.toLowerCase().replace(/\d+/g, digits => digits.padStart(12, '0'));

// Devices knows those that messages came from. Each is { name, kind: 'device' | 'topic', registry, topic, values, at, count,
// text }: values are { value, at } by measure, at the time of the last message and text its payload where that has no values.
export class Devices {
  #all = new Map();
  left = 0; // messages of which the device found no room
  constructor(most = 10_000) { this.most = most; }
  get size() { return this.#all.size; }
  get(name) { return this.#all.get(name); }
  values() { return [...this.#all.values()]; }
  forget(name) { this.#all.delete(name); }

  // ingest takes a message that is of the time at. It returns { device, values } as valuesOf has those, or nothing without room.
  ingest(message, at) {
    const name = nameOf(message);
    let device = this.#all.get(name);
    if (!device) {
      if (this.#all.size >= this.most) { this.left++; return undefined; }
      device = { name, order: order(name), kind: kindOf(message), values: new Map(), at: 0, count: 0, text: '' };
      this.#all.set(name, device);
    }
    const text = payloadText(message), values = valuesOf(message, text);
    device.registry = message.details?.registry_id ?? message.details?.broker_id ?? '';
    device.topic = topicOf(message);
    device.count++;
    device.at = Math.max(device.at, at);
    for (const [measure, value] of values) {
      if (device.values.has(measure) || device.values.size < MEASURES) device.values.set(measure, { value, at });
    }
    device.text = values.length ? '' : text.slice(0, 200);
    return { device, values };
  }
}

// measuresOf are the measures of devices, the commonest first, and those of one frequency by the alphabet.
export function measuresOf(devices) {
  const counts = new Map();
  for (const device of devices) for (const measure of device.values.keys()) counts.set(measure, (counts.get(measure) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([measure, devices]) => ({ measure, devices }));
}

// valueText writes a value as people read it.
export const valueText = v => typeof v === 'number' ? number(v) : String(v);

const compareValues = (a, b) => a === b ? 0 : a === undefined ? 1 : b === undefined ? -1 :
  typeof a === 'number' && typeof b === 'number' ? a - b : String(a) < String(b) ? -1 : 1;

// matchesDevice tells whether the name or topic of a device has the text, which is in lower case.
export const matchesDevice = (device, text) => !text || device.name.toLowerCase().includes(text) || device.topic.toLowerCase().includes(text);

// devicesTable shows a store's devices, or those that pick takes of them: a row each with its last values, to search, to sort,
// and to choose one. Options:
//
//	label: what they are. open(device): called with the one that was chosen. pick(device): whether to show it.
//	clock(): now, on the clock of the times in the store. most: columns of measures, 6. search: false for none of its own.
//	mark(device): an element before the name, or nothing. columns: more columns, as table.js has them. empty: text without any.
//
// It returns { element, input (of the search), update(), shown: how many }.
export function devicesTable(devices, {
  label = 'Devices', open, pick = () => true, clock = Date.now, most = 6, search = true, mark, columns: more = [], empty = 'No device yet.',
} = {}) {
  const input = el('input', { type: 'search', placeholder: 'Device or topic', ariaLabel: `Search ${label.toLowerCase()}` });
  const place = el('div'), element = el('div', { className: 'devices' }, search && el('div', { className: 'bar' }, input), place);
  let grid, signature, all = [];

  function build(measures, texts) {
    const sort = grid?.sort;
    const name = {
      id: 'name', title: 'Name', text: d => d.name, compare: (a, b) => a.order < b.order ? -1 : 1, width: '220px',
    };
    if (mark) {
      name.cell = (d, cell) => {
        const i = mark(d), key = i?.outerHTML ?? '';
        if (cell.dataset.name === d.name && cell.dataset.mark === key) return;
        cell.dataset.name = cell.title = d.name;
        cell.dataset.mark = key;
        cell.replaceChildren(...i ? [i] : [], d.name);
      };
    }
    const columns = [
      name,
      ...measures.map(measure => ({
        id: '=' + measure, title: measure, number: true, text: d => d.values.has(measure) ? valueText(d.values.get(measure).value) : '–',
        compare: (a, b) => compareValues(a.values.get(measure)?.value, b.values.get(measure)?.value),
      })),
      ...texts ? [{ id: 'text', title: 'Payload', text: d => d.text || '–', compare: (a, b) => compareValues(a.text || undefined, b.text || undefined) }] : [],
      ...more,
      { id: 'age', title: 'Age', number: true, text: d => ago(Math.max(0, clock() - d.at)), compare: (a, b) => b.at - a.at },
      { id: 'count', title: 'Messages', number: true, text: d => count(d.count), compare: (a, b) => a.count - b.count },
    ];
    grid = table({ label, columns, key: d => d.name, open, empty, sort: sort ?? { column: 'name', down: false } });
    place.replaceChildren(grid.element);
  }

  function update() {
    const text = search ? input.value.trim().toLowerCase() : '';
    all = devices.values().filter(d => pick(d) && matchesDevice(d, text));
    const measures = measuresOf(all).slice(0, most).map(m => m.measure), texts = all.some(d => d.text);
    const next = JSON.stringify([measures.toSorted(), texts]);
    // The columns stay where they are while somebody is in the table, and where they would only change places.
    if (!grid || next !== signature && !place.contains(document.activeElement)) {
      signature = next;
      build(measures, texts);
    }
    grid.update(all);
  }
  input.oninput = update;
  update();
  return { element, input, update, get shown() { return all.length; }, get items() { return grid.items; } };
}

// valuesList is a list of all values of a device.
export function valuesList(device, clock = Date.now) {
  const list = el('dl', { className: 'values' });
  for (const [measure, { value, at }] of device.values) {
    list.append(el('div', {}, el('dt', { textContent: measure }), el('dd', { textContent: valueText(value), title: `${value}, ${ago(clock() - at)}` })));
  }
  if (!device.values.size) set(list, device.text || '(empty payload)');
  return list;
}
