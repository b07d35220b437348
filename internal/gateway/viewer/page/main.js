import { $, copy, el, say, set } from '../../../page/dom.js';
import { swatch } from '../../../page/colours.js';
import { devicesTable, matchesDevice } from '../../../page/devices.js';
import { showMessage } from '../../../page/detail.js';
import { clock, count, rate, span } from '../../../page/format.js';
import { tailView } from '../../../page/tail.js';
import { now } from '../../../page/timeline.js';
import { parse } from '../../../page/values.js';
import { Charts } from './charts.js';
import { base, Connection } from './connection.js';
import { Data } from './data.js';
import { clearNotes, note, notify } from './notes.js';
import { drawSpark } from './spark.js';
import { askToken, hideToken } from './tokenform.js';

const config = parse($('config').textContent) ?? {};
const query = new URLSearchParams(location.search), asked = query.get('path');
query.delete('path');
const routes = [...config.routes ?? []];
if (asked?.startsWith('/') && !routes.includes(asked)) routes.push(asked);
let route = routes.includes(asked) ? asked : routes[0];
let data = new Data(), only; // only: the name of the one device that is looked at

// ---- what is looked at
const find = $('find');
let sought = ''; // in lower case
const looked = one => only !== undefined ? one.name === only : matchesDevice(one, sought); // a device, or a row of the tail
const charts = new Charts(() => data, looked);
let devices, tail;

function showTables() {
  devices = devicesTable(data.devices, {
    label: 'Latest readings', pick: looked, clock: now, search: false, empty: 'No device matches.',
    open: device => choose(only === device.name ? undefined : device.name),
    mark: device => { const slot = charts.slot(device.name); return slot === undefined ? undefined : swatch(slot); },
  });
  tail = tailView(data.tail, { pick: looked, onPick: message => showMessage(message), empty: 'No message matches yet.' });
  tail.element.id = 'messages';
  $('tables').replaceChildren(
    el('div', { className: 'card', id: 'readings' }, el('div', { className: 'bar' },
      el('h2', { textContent: 'Latest readings' }), el('span', { className: 'muted', textContent: 'Press a name for that one only' })), devices.element),
    tail.element);
}

function choose(name) {
  only = name;
  $('only').hidden = name === undefined;
  set($('only'), `Only ${name} ✕`);
  find.disabled = name !== undefined;
  $('only').ariaLabel = `Only ${name} is shown: show all`;
  refresh();
}
$('only').onclick = () => { choose(); find.focus(); };
find.oninput = () => refresh();

function refresh() {
  sought = find.value.trim().toLowerCase();
  charts.update();
  devices.update();
  tail.update();
  narrow();
}

// ---- the connection
const prefix = base(location.pathname, config.at ?? '/');
const connection = new Connection({
  url: path => location.origin + prefix + encodeURI(path).replace(/[?#]/g, encodeURIComponent),
  access: path => config.access?.[path],
  query,
}, {
  data(messages, raw) {
    if (messages) data.receive(messages, connection.opened);
    else note(`Not an envelope: ${typeof raw === 'string' ? raw.slice(0, 200) : 'binary data'}`, true);
    charts.wake();
  },
  gap(what, why) {
    data.missed();
    note(`${what} ${why}`, true);
    notify(what, why, { at: Date.now() });
  },
  resumed(away) {
    data.total.resumed++;
    note(`Back after ${away}, and nothing is missing.`);
    notify(`Back after ${away}.`, 'Nothing is missing.', { good: true });
  },
  notice: notify,
  needToken(what, why, able = true) {
    notify();
    say(`${what} ${why}`);
    askToken(what, why, able ? token => connection.give(token) : undefined);
  },
  state({ state }) {
    document.body.dataset.state = state;
    if (state === 'live') hideToken();
    $('retry').hidden = state !== 'reconnecting';
    if (state === 'live') say(`Connected to ${route}`); // why it is not, the notice says
    showState();
  },
});
$('retry').onclick = () => connection.retry();

function showState() {
  const { state } = connection;
  set(document.querySelector('#state span'), state === 'live' ? 'Live' : state === 'connecting' ? 'Connecting…' :
    state === 'refused' ? 'Refused' : `Reconnecting in ${Math.max(1, Math.ceil((connection.retryAt - now()) / 1000))} s`);
}

// ---- the rest of the page: the numbers four times a second, and what costs more by turns
let turn = 0;
function tick() {
  const { dataset } = document.body, { total } = data, opened = connection.opened;
  Object.assign(dataset, { ...total, devices: data.devices.size });
  showState();
  data.sweep();
  if (document.hidden) return;
  const full = opened ? Math.min(3, Math.max(1, Math.floor((now() - opened) / 1000))) : 3;
  let perSecond = 0;
  for (let k = 1; k <= full; k++) perSecond += data.inSecond(k) / full;
  set($('count'), count(total.messages));
  set($('rate'), rate(perSecond));
  const kinds = new Set(data.devices.values().slice(0, 1000).map(d => d.kind));
  set($('what'), kinds.size > 1 ? 'Devices and topics' : kinds.has('topic') ? 'Topics' : 'Devices');
  set($('devices'), count(data.devices.size) + (data.devices.left ? '+' : ''));
  if (opened) {
    const since = $('since');
    if (!since.firstElementChild) since.replaceChildren(el('span'), el('small'));
    set(since.firstChild, clock(Date.now() - (now() - opened)));
    set(since.lastChild, span(now() - opened));
  } else set($('since'), '–');
  drawSpark($('spark'), k => data.inSecond(k));

  const first = !total.envelopes;
  $('tables').hidden = $('look').hidden = first;
  const charted = charts.size > 0 || data.measures.size > 0; // the panels of new measures come by their turn
  $('empty').hidden = charted || !first && (only !== undefined || sought !== '') || connection.state === 'refused';
  if (!$('empty').hidden) describeEmpty(first);
  if (!first) [() => charts.update(), () => { devices.update(); narrow(); }, () => tail.update()][turn++ % 3]();
}
function narrow() {
  set($('found'), only !== undefined || sought ? `${count(devices.shown)} of ${count(data.devices.size)}` : '');
}

function describeEmpty(first) {
  const box = $('empty'), live = connection.state === 'live';
  set(box.querySelector('h2'), !route ? 'This gateway has no routes' : !first ? 'Nothing to chart yet' : live ? `Connected to ${route}` : `Connecting to ${route}…`);
  set(box.querySelector('p'), !route ? 'Add one under websocket_gateways[].routes and reload the page.' :
    !first ? 'Messages arrive, but none holds a number. A payload like this one draws a line:' :
      live ? 'Waiting for messages… publish one:' : 'When the connection stands, publish a message:');
  box.querySelector('.try').hidden = !route;
}
document.querySelector('.try code').textContent = `${config.publish ?? 'mosquitto_pub'} -t '$devices/my-device/events' -m '{"temperature":21.5}'`;
document.querySelector('.try button').onclick = e => copy(document.querySelector('.try code').textContent, e.currentTarget);

// ---- start
function start() {
  data = new Data();
  charts.clear();
  clearNotes();
  hideToken();
  showTables();
  choose();
  document.querySelector('#path code').textContent = location.host + prefix + (routes.length > 1 ? '' : route ?? '');
  if (route) connection.follow(route);
}
$('title').textContent = config.title ?? 'iotcast';
$('pick').hidden = routes.length < 2;
$('route').append(...routes.map(path => el('option', { value: path, textContent: path, selected: path === route })));
$('route').onchange = e => {
  route = e.target.value;
  const url = new URL(location.href);
  url.searchParams.set('path', route);
  history.replaceState(null, '', url);
  find.value = '';
  start();
};
document.addEventListener('visibilitychange', () => { if (!document.hidden) { tick(); charts.wake(); } });
start();
tick();
setInterval(tick, 250);
