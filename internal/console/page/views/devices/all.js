// All registries and brokers.
import { all as allOf } from '../../api.js';
import { el } from '../../../../page/dom.js';
import { day } from '../../../../page/format.js';
import { table } from '../../../../page/table.js';
import { button, card, notice, trouble } from '../../facts.js';
import { each } from '../../poll.js';
import { create } from './acts.js';
import { fixed, kinds } from './kinds.js';

const order = (a, b) => a < b ? -1 : a > b ? 1 : 0;

const columns = [
  { id: 'name', title: 'Name', text: one => one.name, compare: (a, b) => order(a.name, b.name) },
  { id: 'id', title: 'ID', text: one => one.id, compare: (a, b) => order(a.id, b.id) },
  { id: 'status', title: 'Status', text: one => (one.status ?? '').toLowerCase(), compare: (a, b) => order(a.status, b.status) },
  { id: 'description', title: 'Description', text: one => one.description ?? '' },
  { id: 'made', title: 'Since', text: one => fixed(one) ? 'from the config file' : day(Date.parse(one.createdAt)), compare: (a, b) => order(a.createdAt, b.createdAt) },
];

function part(kind, title, empty, { account, go, signal }) {
  const said = notice();
  const rows = table({ label: title, columns, key: one => one.id, open: one => go(kind.address(one)), empty: 'Loading…' });
  const none = rows.element.querySelector('.none');
  each(10_000, signal, async () => {
    try {
      const found = await allOf(kind.path, kind.list, account, { signal });
      none.textContent = empty;
      rows.update(found);
      said.well();
    } catch (error) {
      if (signal.aborted) return;
      if (!rows.items.length) none.textContent = 'Nothing to show.';
      said.fail(trouble(error));
    }
  });
  const make = kind !== kinds.device && account.may('editor') && button(`New ${kind.noun}…`, async () => {
    const made = await create(kind);
    if (made) go(kind.address(made));
  });
  return card(title, make ? [make] : [], said.element, rows.element);
}

export function all(view, context) {
  const whole = context.account.may('viewer'), none = 'None that your account may see.';
  if (!whole) view.append(part(kinds.device, 'Devices', none, context));
  view.append(
    part(kinds.registry, 'Registries', whole ? 'There is no registry yet. Devices belong to one: make it first.' : none, context),
    part(kinds.broker, 'MQTT brokers', whole ? 'There is no broker yet. It is for clients that are no devices: they share its topics.' : none, context));
  if (whole) view.append(el('p', { className: 'muted' }, 'Looking for a device? Open its registry, or see ', el('a', { href: '#/tail', textContent: 'the messages as they come' }), '.'));
}
