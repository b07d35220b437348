// Follow one message: #/message publishes one and shows its way, #/message?id=… shows that of one that was picked.
import { get, pages } from '../api.js';
import { el } from '../../../page/dom.js';
import { clockMs, size } from '../../../page/format.js';
import { messageOf, payloadText, pretty } from '../../../page/values.js';
import { fieldset } from '../dialog.js';
import { base64, card, facts, notice } from '../facts.js';
import { follow } from './devices/live.js';
import { kinds } from './devices/kinds.js';
import { fields, payloadOf, send, usual } from './devices/publish.js';
import { losses } from './message/losses.js';
import { picture } from './message/picture.js';
import { keep, keepMessage, ownedBy, wayOf } from './message/ways.js';

export const title = 'Message';
export const needs = 'viewer';

const LOOK = 250; // ms
const WHOLE = 16 << 10; // bytes of a payload that iotcast shows
const QUIET = 4000; // ms without the message, until it is said what may be wrong

export function open(view, context) {
  const { query, account } = context;
  ownedBy(account);
  if (query.get('id')) picked(view, context, query.get('id'));
  else {
    publish(view, context);
    view.append(losses(context, id => context.go(`#/message?${new URLSearchParams({ id })}`)));
  }
}

// shown is the part about one message and its way.
function shown(way) {
  const message = messageOf(way.message), { details = {}, event_metadata: meta } = way.message, drawn = picture();
  const about = el('div', { className: 'body' }, facts([
    ['Device', details.device_id && el('a', { href: kinds.device.address({ id: details.device_id, registryId: details.registry_id }), textContent: details.device_id })],
    ['Broker', details.broker_id], ['Topic', el('code', { textContent: details.mqtt_topic ?? '' })], ['Trigger', way.message.stream],
    ['Received', clockMs(Date.parse(meta.created_at))], ['Size', way.message.payload_bytes === undefined ? undefined : size(way.message.payload_bytes)],
    ['Event ID', el('code', { textContent: meta.event_id })],
  ]), el('pre', { className: 'pre', tabIndex: 0, ariaLabel: 'Payload', textContent: pretty(payloadText(message)) }));
  drawn.update(way);
  return { element: el('div', { className: 'two' }, card('Its way', [], drawn.element), card('The message', [], about)), update: drawn.update };
}

async function picked(view, { signal }, id) {
  const said = notice();
  view.append(said.element);
  if (!wayOf(id)) {
    try { keep((await get('/tap/losses', { signal })).ways?.filter(way => way.event_id === id) ?? []); } catch { /* it says below what is there */ }
  }
  const way = wayOf(id);
  if (signal.aborted) return;
  if (!way) {
    view.append(card('Its way', [], el('div', { className: 'body' }, el('p', { className: 'none' },
      'This page has not seen that message: the way of a message is kept by the page that looked on when it came, and by iotcast for the last that were lost. Pick one from ',
      el('a', { href: '#/tail', textContent: 'the tail' }), ', or ', el('a', { href: '#/message', textContent: 'publish one' }), '.'))));
    return;
  }
  const part = shown(way);
  view.append(part.element);
  if (way.done || way.steps.length) return;
  // The tail that it was picked from goes on for a while: iotcast tells of a way only who was there when it began.
  const looking = setInterval(() => {
    const now = wayOf(id);
    if (now) part.update(now);
    if (!now || now.steps.length) clearInterval(looking);
  }, LOOK);
  signal.addEventListener('abort', () => clearInterval(looking), { once: true });
}

function publish(view, { query, account, signal }) {
  const said = notice(), result = el('div', { className: 'part-slot' });
  if (!account.may('editor') && !account.may('iot.devices.writer') && !Object.keys(account.restricted ?? {}).length) {
    view.append(card('Follow one message', [], el('div', { className: 'body' }, el('p', { className: 'none' },
      'Your account may look, but not publish. Pick a message from ', el('a', { href: '#/tail', textContent: 'the tail' }), ' to see its way.'))));
    return;
  }
  const device = query.get('device') ?? '';
  const set = fieldset([
    { name: 'device_id', label: 'Device, by its ID', required: true, value: device, hint: 'The message is as if it had published it.' },
    ...fields({ topic: query.get('topic') ?? (device && usual(kinds.device, device)), format: 'JSON', data: query.get('payload') ?? '{"temperature": 21.5}' }),
  ]);
  const choices = el('datalist', { id: 'devices-known' });
  set.inputs.device_id.setAttribute('list', choices.id);
  devicesKnown(choices, signal);
  let own = set.inputs.topic.value === '' || set.inputs.topic.value === usual(kinds.device, device);
  set.inputs.topic.addEventListener('input', () => { own = false; });
  set.inputs.device_id.addEventListener('input', () => {
    if (own) set.inputs.topic.value = set.inputs.device_id.value && usual(kinds.device, set.inputs.device_id.value.trim());
  });

  let stop = new AbortController();
  const go = el('button', { className: 'main', textContent: 'Publish and follow' });
  const form = el('form', {
    noValidate: true, className: 'body', async onsubmit(event) {
      event.preventDefault();
      if (go.ariaDisabled === 'true' || !set.check()) return;
      stop.abort();
      stop = new AbortController();
      go.ariaDisabled = 'true';
      said.say('');
      result.replaceChildren();
      const values = set.values();
      history.replaceState(null, '', `#/message?${new URLSearchParams({ device: values.device_id, topic: values.topic, payload: values.data })}`);
      try {
        await run(values, AbortSignal.any([signal, stop.signal]));
      } catch (error) {
        stop.abort();
        if (!signal.aborted) set.refuse(error);
      } finally {
        go.ariaDisabled = null;
      }
    },
  }, set.element, choices, el('div', {}, go));
  view.append(card('Follow one message', [], el('div', { className: 'body' }, el('p', { className: 'muted', textContent:
    'Publish a test message, and see where it goes and how long each step takes. It is a message like any other: who is connected gets it.' })), form), said.element, result);

  // run follows what comes of the device, publishes, and shows each way that the message takes: one for each trigger.
  async function run(values, until) {
    const parts = new Map(), mine = new Set(), earlier = new Set(); // event IDs
    const data = base64(payloadOf(values.format, values.data));
    const other = ({ details, payload_bytes: bytes }) => details?.mqtt_topic !== values.topic || bytes <= WHOLE && details.payload !== data;
    const mineToStop = stop;
    let sent = false, ready;
    const live = new Promise((resolve, reject) => { ready = { resolve, reject }; });
    follow(new URLSearchParams({ device_id: values.device_id.trim() }), until, ({ messages = [], ways = [] }) => {
      for (const message of [...messages, ...ways.map(way => way.message)]) {
        const id = message.event_metadata.event_id;
        if (mine.has(id) || earlier.has(id) || other(message)) continue;
        if (!sent) { earlier.add(id); continue; }
        mine.add(id);
        keepMessage(message);
      }
      keep(ways.filter(way => mine.has(way.event_id)));
      for (const id of mine) {
        const way = wayOf(id);
        if (!way) continue;
        if (!parts.has(id)) {
          const part = shown(way);
          parts.set(id, part);
          result.append(part.element);
          said.say('');
        } else parts.get(id).update(way);
      }
      if (parts.size && [...mine].every(id => wayOf(id)?.steps.length)) setTimeout(() => mineToStop.abort(), 2000);
    }, (state, error) => {
      if (state === 'live') ready.resolve();
      else if (error) ready.reject(error);
    });
    await live;
    sent = true;
    await send(kinds.device, values.device_id.trim(), values);
    if (!parts.size) said.say('Published. Waiting for a trigger to receive it…');
    setTimeout(() => {
      if (parts.size || until.aborted) return;
      said.say(`Published, but no trigger has received it. Is there one that reads ${values.topic}, is it running, and does it read from the broker of this process? See Triggers.`);
    }, QUIET);
  }
}

// devicesKnown offers the first devices that there are.
async function devicesKnown(choices, signal) {
  try {
    for await (const registries of pages('/iot-devices/v1/registries?pageSize=100', 'registries', { signal })) {
      for (const { id } of registries) {
        const { devices = [] } = await get(`/iot-devices/v1/devices?${new URLSearchParams({ registryId: id, pageSize: 500 })}`, { signal });
        choices.append(...devices.map(one => el('option', { value: one.id, textContent: one.name })));
        if (choices.children.length >= 500) return;
      }
    }
  } catch { /* an ID can be typed */ }
}
