// One registry and its devices, with what they last said.
import { get, pages } from '../../api.js';
import { el, say, set } from '../../../../page/dom.js';
import { ago, count } from '../../../../page/format.js';
import { table } from '../../../../page/table.js';
import { button, card, crumbs, notice, trouble } from '../../facts.js';
import { each } from '../../poll.js';
import { create } from './acts.js';
import { follow, summary } from './live.js';
import { fixed, kinds, mayChange, pathOf } from './kinds.js';
import { thing as details } from './one.js';

const order = (a, b) => a < b ? -1 : a > b ? 1 : 0;

const columns = [
  { id: 'name', title: 'Device', text: d => d.name, compare: (a, b) => order(a.name, b.name) },
  { id: 'last', title: 'Last value', text: d => d.message ? d.said ??= summary(d.message) : '' },
  { id: 'seen', title: 'Last seen', text: d => d.seen ? ago(Date.now() - d.seen) : 'never', compare: (a, b) => (b.seen ?? 0) - (a.seen ?? 0), number: true },
  { id: 'address', title: 'Address', text: d => d.monitoringData?.lastAuthIp ?? '', compare: (a, b) => order(a.monitoringData?.lastAuthIp ?? '', b.monitoringData?.lastAuthIp ?? '') },
  { id: 'id', title: 'ID', text: d => d.id, compare: (a, b) => order(a.id, b.id) },
  { id: 'labels', title: 'Labels', text: d => Object.entries(d.labels ?? {}).map(pair => pair.join('=')).join(', ') },
];

const lately = ({ monitoringData: m = {} }) =>
  Math.max(0, ...[m.lastPubActivityTime, m.lastSubActivityTime, m.lastOnlineTime, m.lastAuthTime].filter(Boolean).map(Date.parse)) || undefined;

export function registry(view, context, id) {
  const { account, query, go, signal } = context;
  const devices = new Map(), said = notice(), total = el('p', { className: 'muted total' }), acts = el('div', { className: 'acts' });
  let search = query.get('q') ?? '', loaded = false, dirty = false;

  const rows = table({ label: 'Devices', columns, key: d => d.id, open: d => go(kinds.device.address({ ...d, registryId: id })), empty: 'Loading…' });
  const none = rows.element.querySelector('.none');
  const form = el('form', { className: 'filters', role: 'search', onsubmit: event => event.preventDefault() },
    el('label', {}, el('span', { textContent: 'Search for name, ID, label or address' }), el('input', {
      type: 'search', name: 'q', value: search, autocomplete: 'off', spellcheck: false, oninput(event) {
        search = event.target.value;
        history.replaceState(null, '', `#/devices/${encodeURIComponent(id)}${search && `?${new URLSearchParams({ q: search })}`}`);
        draw();
      },
    })));

  function draw() {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean);
    const all = [...devices.values()], found = words.length ? all.filter(d => words.every(word => d.search.includes(word))) : all;
    if (loaded) set(none, words.length ? 'No device is like that: take a word away.' : 'This registry has no devices yet.');
    rows.update(found);
    set(total, `${count(found.length)}${words.length ? ` of ${count(all.length)}` : ''} ${all.length === 1 ? 'device' : 'devices'}`);
  }

  async function load() {
    try {
      const known = new Set();
      for await (const page of pages(`/iot-devices/v1/devices?${new URLSearchParams({ registryId: id, pageSize: 1000, deviceView: 'FULL' })}`, 'devices', { signal })) {
        for (const device of page) {
          const before = devices.get(device.id), seen = Math.max(lately(device) ?? 0, before?.seen ?? 0) || undefined;
          const search = [device.id, device.name, device.monitoringData?.lastAuthIp, ...Object.entries(device.labels ?? {}).flat()].join('\n').toLowerCase();
          devices.set(device.id, { ...device, seen, message: before?.message, said: before?.said, search });
          known.add(device.id);
        }
        draw();
      }
      for (const one of devices.keys()) if (!known.has(one)) devices.delete(one);
      if (!loaded) say(`${count(devices.size)} ${devices.size === 1 ? 'device' : 'devices'}`);
      loaded = true;
      draw();
      said.well();
      await latest();
    } catch (error) {
      if (signal.aborted) return;
      if (!loaded) set(none, 'Nothing to show.');
      said.fail(trouble(error));
    }
  }

  // latest fills in what the devices said before this page was opened.
  let asked = false;
  async function latest() {
    if (asked) return;
    asked = true;
    try {
      const { messages = [] } = await get(`/tap/latest?${new URLSearchParams({ registry_id: id })}`, { signal });
      take(messages, false);
      draw();
    } catch { /* none are kept: those that come are shown */ }
  }

  // What comes live is the newest, whatever the clocks say.
  function take(messages, live) {
    for (const message of messages) {
      const device = devices.get(message.details.device_id);
      if (!device || !live && device.message) continue;
      device.seen = Math.max(device.seen ?? 0, live ? Date.now() : Date.parse(message.event_metadata.created_at));
      device.message = message;
      device.said = undefined; // it is read when it is seen
      dirty = true;
    }
  }

  view.append(crumbs(['Devices', '#/devices'], [id]), card('Devices', [total, acts], form, said.element, rows.element));
  details(view, context, kinds.registry, id, registry => {
    if (!acts.children.length && mayChange(account, registry) && !fixed(registry)) {
      acts.append(button('New device…', async () => {
        const made = await create(kinds.device, id);
        if (made) go(kinds.device.address(made));
      }));
    }
  });
  each(30_000, signal, load);
  follow(new URLSearchParams(), signal, ({ messages = [] }) => take(messages.filter(message => message.details?.registry_id === id), true), () => {});
  const drawing = setInterval(() => {
    if (document.hidden || !dirty) return;
    dirty = false;
    draw();
  }, 1000);
  signal.addEventListener('abort', () => clearInterval(drawing));
}
