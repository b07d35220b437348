// All connections, or those that a filter finds.
import { el, set } from '../../../../page/dom.js';
import { ago, count, day, size } from '../../../../page/format.js';
import { table } from '../../../../page/table.js';
import { button, card, notice, trouble } from '../../facts.js';
import { each } from '../../poll.js';
import { broadcast } from './acts.js';
import { Connections, watches } from './store.js';

// The filters, by their names in the address, with those of the API.
const filters = [
  ['gateway', 'gatewayId', 'Gateway'], ['path', 'path', 'Path'], ['address', 'sourceIp', 'Address'],
  ['device', 'deviceId', 'Watches device'], ['subject', 'subject', 'Subject of its token'],
];
const REFRESH = 5000, WHOLE = 12; // each 5 s what is seen, each minute all

const order = (a, b) => a < b ? -1 : a > b ? 1 : 0;
const by = of => (a, b) => order(of(a), of(b));

const columns = [
  { id: 'address', title: 'Address', text: c => c.identity.sourceIp, compare: by(c => c.identity.sourceIp) },
  { id: 'path', title: 'Gateway and path', text: c => `${c.gatewayId} ${c.path}`, compare: by(c => `${c.gatewayId} ${c.path}`) },
  { id: 'subject', title: 'Subject', text: c => c.subject ?? '', compare: by(c => c.subject ?? '') },
  { id: 'watch', title: 'Watches', text: watches, compare: by(watches) },
  { id: 'since', title: 'Since', text: c => day(c.since), compare: by(c => c.since) },
  { id: 'active', title: 'Last active', text: c => ago(Date.now() - c.active), compare: by(c => -c.active), number: true },
  { id: 'queue', title: 'Queue', text: c => size(c.queuedBytes ?? 0), compare: by(c => c.queuedBytes ?? 0), number: true },
  { id: 'dropped', title: 'Dropped', text: c => count(c.dropped ?? 0), compare: by(c => c.dropped ?? 0), number: true },
  { id: 'agent', title: 'Program', text: c => c.identity.userAgent || c.protocol || '', compare: by(c => c.identity.userAgent) },
];

export function list(view, { query, account, go, signal }) {
  let store, leave = new AbortController();
  const filter = Object.fromEntries(filters.map(([name]) => [name, query.get(name) ?? '']));
  let search = query.get('q') ?? '';

  const said = notice(), total = el('p', { className: 'muted total' });
  const rows = table({
    label: 'Connections', columns, key: c => c.id, open: c => go(`#/connections/${encodeURIComponent(c.id)}`), empty: 'Loading…',
  });
  const none = rows.element.querySelector('.none');
  const field = (name, label, value, change) => el('label', {}, el('span', { textContent: label }),
    el('input', { name, value, type: 'search', autocomplete: 'off', spellcheck: false, oninput: change }));

  let typing;
  const form = el('form', { className: 'filters', role: 'search', onsubmit(event) { event.preventDefault(); restart(); } },
    field('q', 'Search in all columns', search, event => { search = event.target.value; keep(); draw(); }),
    ...filters.map(([name, , label]) => field(name, label, filter[name], event => {
      filter[name] = event.target.value.trim();
      clearTimeout(typing);
      typing = setTimeout(restart, 400);
    })));

  // The address says what is looked for, so that it can be passed on.
  function keep() {
    const all = Object.entries({ q: search, ...filter }).filter(([, value]) => value);
    history.replaceState(null, '', `#/connections${all.length ? `?${new URLSearchParams(all)}` : ''}`);
  }

  function draw() {
    const words = search.toLowerCase().split(/\s+/).filter(Boolean), all = store.items;
    const found = words.length ? all.filter(c => words.every(word => c.has(word))) : all;
    rows.update(found);
    set(total, `${count(found.length)}${words.length ? ` of ${count(all.length)}` : ''} ${all.length === 1 ? 'connection' : 'connections'}`);
    const filtered = words.length || Object.values(filter).some(Boolean);
    set(none, filtered ? 'No connection is like that: take a word or a filter away.'
      : 'Nobody is connected. Clients connect to the address of a gateway with a path of its routes, such as ws://127.0.0.1:8080/telemetry.');
    const lacks = [
      store.unreachable.length && `Without the connections of ${store.unreachable.join(', ')}: not reachable at the moment.`,
      store.more && `These are the first ${count(all.length)}: filter, to see others.`,
    ].filter(Boolean).join(' ');
    if (lacks) said.fail(lacks);
    else said.well();
  }

  // seen are the IDs of the rows that somebody sees.
  function seen() {
    const from = Math.floor(rows.element.scrollTop / 40);
    return rows.items.slice(from, from + Math.ceil(rows.element.clientHeight / 40) + 1).map(c => c.id);
  }

  function restart() {
    if (signal.aborted) return;
    keep();
    leave.abort();
    leave = new AbortController();
    const until = AbortSignal.any([signal, leave.signal]);
    const mine = store = new Connections(Object.fromEntries(filters.map(([name, of]) => [of, filter[name]])), until);
    const onPage = () => {
      if (until.aborted || store !== mine) return;
      for (const act of acts) act.hidden = false;
      draw();
    };
    let turn = 0;
    each(REFRESH, until, async () => {
      try {
        if (turn++ % WHOLE === 0) await mine.load(onPage);
        else await mine.refresh(seen(), onPage);
      } catch (error) {
        if (until.aborted) return;
        turn = 0; // what was missed comes with the next
        if (!rows.items.length) set(none, 'Nothing to show.');
        said.fail(trouble(error));
      }
    });
  }

  const acts = [];
  if (account.may('api-gateway.websocketBroadcaster', ...Object.values(account.restricted ?? {}).flat())) {
    acts.push(button('Broadcast…', async () => {
      const first = rows.items[0] ?? {};
      const done = await broadcast({ gatewayId: filter.gateway || first.gatewayId, path: filter.path || first.path });
      if (done) said.say(done);
    }));
    // A role on some resources only may be on no gateway: whose connections can be seen, it is on one.
    acts[0].hidden = !account.may('api-gateway.websocketBroadcaster');
  }
  view.append(card('Connections', [total, ...acts], form, said.element, rows.element));
  restart();
}
