// What a trigger has lost: dead letters, each with the reason, and the ways to have it nevertheless.
import { get, post } from '../../api.js';
import { ask } from '../../dialog.js';
import { copy, download, el, say } from '../../../../page/dom.js';
import { day } from '../../../../page/format.js';
import { messageOf, payloadText, topicOf } from '../../../../page/values.js';

const SHOWN = 50;

// losses makes the section of a trigger, which is hidden where there is no way to know.
export async function losses(id, { account, signal }) {
  const element = el('section', { className: 'card', ariaLabel: 'Lost messages' });
  let ways = [];
  async function load() {
    try {
      ways = ((await get('/tap/losses', { signal })).ways ?? []).filter(way => way.message.stream === id);
    } catch (error) {
      if (![403, 404, 501].includes(error.status)) throw error;
      element.hidden = true;
      return;
    }
    draw();
  }
  function draw() {
    element.replaceChildren(el('div', { className: 'bar' }, el('h2', { textContent: 'Lost messages' }),
      el('button', { textContent: 'Look again', async onclick() {
        try {
          await load();
          say(`${ways.length} lost messages.`);
        } catch (error) { say(error.message); }
        element.querySelector('button').focus();
      } }),
      ways.length > 0 && el('button', {
        textContent: 'Download all',
        onclick: () => download(`${id}-lost.jsonl`, 'application/jsonl', ways.map(way => JSON.stringify(plain(way)) + '\n').join('')),
      })),
    ways.length ? el('ul', { className: 'losses' }, ...ways.slice(0, SHOWN).map(way => loss(way, account)))
      : el('p', { className: 'none', textContent: 'None since the start of the process, of the last 200 of all triggers.' }),
    ...(ways.length > SHOWN ? [el('p', { className: 'none', textContent: `And ${ways.length - SHOWN} more, which a download has.` })] : []));
  }
  await load();
  return element;
}

const why = way => way.steps.findLast(step => step.reason) ?? way.steps.at(-1);

const plain = way => ({ ...way.message, payload_text: payloadText(messageOf(way.message)), steps: way.steps });

const words = { given_up: 'Given up', rejected: 'Rejected', failed: 'Failed', left_out: 'Left out' };

function loss(way, account) {
  const message = messageOf(way.message), text = payloadText(message), step = why(way), { device_id: device, registry_id: registry } = way.message.details;
  const whole = (way.message.payload_bytes ?? 0) <= 16 << 10;
  const publishes = device && whole && ['editor', 'iot.devices.writer'].some(role => account.may(role, device, registry));
  const again = publishes && el('button', { textContent: 'Publish again', async onclick() {
    if (!await ask({ title: 'Publish this message again?', confirm: 'Publish', text: `It is published as ${device} to ${topicOf(message)}. All who listen to this topic get it, those too who have had it.` })) return;
    try {
      await post(`/iot-devices/v1/devices/${encodeURIComponent(device)}/publish`, { topic: topicOf(message), data: way.message.details.payload });
      outcome.textContent = 'Published.';
    } catch (error) {
      outcome.textContent = error.message;
    }
  } });
  const outcome = el('span', { role: 'status', className: 'muted' });
  return el('li', {},
    el('p', {}, el('strong', { textContent: words[step?.step] ?? step?.step ?? 'Lost' }), step?.reason && `: ${step.reason}`),
    el('p', { className: 'muted', textContent: `${day(Date.parse(step?.at ?? way.message.event_metadata.created_at))} · ${topicOf(message)}` }),
    el('pre', { tabIndex: 0, textContent: text.length > 2000 ? `${text.slice(0, 2000)}…` : text || '(empty)' }),
    el('div', { className: 'buttons' }, outcome, again,
      el('button', { textContent: 'Copy', onclick: event => copy(text, event.currentTarget) }),
      el('button', { textContent: 'Download', onclick: () => download(`${way.event_id}.json`, 'application/json', JSON.stringify(plain(way), null, 2)) })));
}
