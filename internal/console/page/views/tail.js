// The messages as they come, filtered by iotcast: #/tail?device=…&topic=…&trigger=…&text=…
import { el, set } from '../../../page/dom.js';
import { clock } from '../../../page/format.js';
import { Tail, tailView } from '../../../page/tail.js';
import { messageOf } from '../../../page/values.js';
import { notice, trouble } from '../facts.js';
import { follow } from './devices/live.js';
import * as ways from './message/ways.js';

export const title = 'Tail';
export const needs = 'viewer';

// The filters, by their names in the address, with those of the API.
const filters = [
  ['device', 'device_id', 'Devices, by ID'], ['topic', 'topic', 'Topics, as MQTT filters'], ['trigger', 'stream', 'Trigger'], ['text', 'text', 'Text in the payload'],
];
const DRAW = 250; // ms
const LASTS = 12_000; // ms

let tail, owner; // what was kept stays for who comes back to it, as long as they are logged in

// matches tells whether an MQTT filter takes a topic.
export function matches(filter, topic) {
  const want = filter.split('/'), have = topic.split('/');
  for (let i = 0; i < want.length; i++) {
    if (want[i] === '#') return true;
    if (i >= have.length || want[i] !== '+' && want[i] !== have[i]) return false;
  }
  return want.length === have.length;
}

const words = text => text.split(',').map(one => one.trim()).filter(Boolean);

export function open(view, { query, account, go, signal }) {
  if (owner !== account) [tail, owner] = [new Tail(), account];
  ways.ownedBy(account);
  const filter = Object.fromEntries(filters.map(([name]) => [name, query.get(name) ?? '']));
  const said = notice();
  let dirty = true, came = 0, stop = new AbortController(), typing, taken, pressed = false, unseen;
  const lasting = new AbortController(); // a way lasts up to 10 s: that of a message that was picked ends meanwhile
  signal.addEventListener('abort', () => setTimeout(() => lasting.abort(), LASTS), { once: true });

  // What was kept is filtered here, as what comes is there.
  function pick({ message, topic, stream, text: payload }) {
    const { devices, topics, streams, text } = taken;
    if (devices.length + topics.length && !devices.includes(message.details?.device_id) && !topics.some(one => matches(one, topic))) return false;
    if (streams.length && !streams.includes(stream ?? '')) return false;
    return !text || [topic, message.details?.device_id ?? '', payload].some(one => one.toLowerCase().includes(text));
  }

  const show = message => {
    ways.keepMessage(message);
    go(`#/message?${new URLSearchParams({ id: message.event_metadata.event_id })}`);
  };
  const take = () => {
    taken = { devices: words(filter.device), topics: words(filter.topic), streams: words(filter.trigger), text: filter.text.trim().toLowerCase() };
  };
  take();
  const list = tailView(tail, {
    label: 'Messages', onPick: show, pick, filter: false,
    columns: [{ id: 'stream', title: 'Trigger', text: row => row.stream ?? '' }],
    empty: 'No message yet. They are shown as triggers receive them.',
  });
  const none = list.element.querySelector('.none');
  list.element.addEventListener('pointerdown', event => { pressed = !!event.target.closest('button.open'); }); // the row stays under the pointer
  for (const end of ['pointerup', 'pointercancel']) addEventListener(end, () => { pressed = false; }, { signal });
  const form = el('form', { className: 'filters', role: 'search', onsubmit(event) { event.preventDefault(); restart(); } },
    ...filters.map(([name, , label]) => el('label', {}, el('span', { textContent: label }), el('input', {
      name, value: filter[name], type: 'search', autocomplete: 'off', spellcheck: false, oninput(event) {
        filter[name] = event.target.value;
        clearTimeout(typing);
        typing = setTimeout(restart, 400);
      },
    }))));
  list.element.ariaLabel = null; // the table within is called like that
  list.bar.after(form, said.element);
  view.append(list.element);

  function draw() {
    if (document.hidden || pressed || !dirty) return;
    dirty = false;
    list.update();
    const filtered = Object.values(filter).some(Boolean);
    if (tail.paused) set(none, 'None of the messages that are held is like that: resume, to see those that come.');
    else if (came || filtered) set(none, filtered ? 'No message was like that yet. Those that come and match are shown at once: take a filter away to see more.' : 'No message yet.');
  }
  const drawing = setInterval(draw, DRAW);
  signal.addEventListener('abort', () => clearInterval(drawing));

  function restart() {
    if (signal.aborted) return;
    const given = filters.filter(([name]) => filter[name].trim());
    const address = new URLSearchParams(given.map(([name]) => [name, filter[name].trim()]));
    history.replaceState(null, '', `#/tail${given.length ? `?${address}` : ''}`);
    stop.abort();
    stop = new AbortController();
    take();
    said.say('');
    unseen = undefined;
    dirty = true;
    const asked = given.map(([name, of]) => [of, name === 'text' ? filter.text.trim() : words(filter[name]).join(',')]).filter(([, value]) => value);
    follow(new URLSearchParams(asked), AbortSignal.any([lasting.signal, stop.signal]), (data, event) => {
      if (owner !== account) return lasting.abort(); // somebody else is here
      ways.keep((data.ways ?? []).filter(way => !tail.paused || tail.holds(way.event_id)), event);
      if (signal.aborted) return;
      for (const json of data.messages ?? []) {
        const message = messageOf(json);
        tail.add(message, Date.parse(json.event_metadata.created_at));
      }
      came += data.messages?.length ?? 0;
      if (data.skipped) tail.skipped += data.skipped;
      dirty = true;
    }, (state, error) => {
      if (signal.aborted) return;
      if (state === 'unseen') unseen ??= Date.now();
      else if (state === 'live' && unseen) {
        said.say(`What came from ${clock(unseen)} to ${clock(Date.now())} is missing here: nobody looked at this page.`);
        unseen = undefined;
      } else if (state === 'live') said.well();
      else said.fail(state === 'refused' ? trouble(error) : `Not live at the moment, trying again. ${error.message} What came meanwhile is missing here.`);
    });
  }
  restart();
}
