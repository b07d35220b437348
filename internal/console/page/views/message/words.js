// The steps of a message's way, in words: what happened, and where it did not go well, what to do.
import { brief, count, size } from '../../../../page/format.js';
import { instant } from './ways.js';

const of = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
const place = step => `${step.gateway ?? ''} ${step.path ?? ''}`.trim();
const sentence = text => text ? `${text[0].toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}` : '';

// since says how long after a time another is.
const since = (from, to) => brief(Math.max(0, instant(to) - from));

const words = {
  received: (step, { message, start }) => ({
    title: message.event_metadata.event_type ? 'Received from the broker' : 'Taken in',
    text: [
      step.stream && `By trigger ${step.stream}.`, message.qos !== undefined && `QoS ${message.qos}.`, message.retained && 'Retained: the broker had kept it.',
      message.duplicate && 'The broker sends it once more.', message.payload_bytes !== undefined && `${sentence(size(message.payload_bytes))}`,
    ],
  }),
  left_out: step => ({ kind: 'wait', title: 'Left out', text: [sentence(step.reason)], mend: 'If it should go on, change what the trigger leaves out.' }),
  batched: (step, { start }) => ({
    title: step.messages > 1 ? `Batched with ${of(step.messages - 1, 'other')}` : 'A batch by itself',
    text: [`It had waited ${since(start, step.at)} for the batch to be full or over.`],
  }),
  encoded: step => ({ title: 'Put into an envelope', text: [`Of ${of(step.messages ?? 1, 'message')}${step.bytes ? `, ${size(step.bytes)}` : ''}.`] }),
  failed: step => ({
    kind: 'bad', title: 'A step failed', text: [sentence(step.reason)],
    mend: 'Mend what the reason says in the trigger. Until then its messages fail in the same way.', view: 'trigger',
  }),
  stored: step => ({ title: 'Stored', text: [sentence(step.reason)] }),
  broadcast: step => ({ title: `Broadcast on ${place(step)}`, text: [`${of(step.connections ?? 0, 'connection')} ${step.connections === 1 ? 'is' : 'are'} open there.`] }),
  written: (step, { start }) => {
    const bad = step.dropped > 0;
    return {
      kind: bad ? 'bad' : step.waiting ? 'wait' : '', title: `Written to ${of(step.connections ?? 0, 'connection')}${place(step) && ` of ${place(step)}`}`,
      text: [
        step.first && (step.connections > 1 && step.last ? `The first had it after ${since(start, step.first)}, the last after ${since(start, step.last)}.` : `It had it after ${since(start, step.first)}.`),
        step.not_concerned && `${of(step.not_concerned, 'other')} ${step.not_concerned === 1 ? 'watches' : 'watch'} something else.`,
        step.waiting && `${count(step.waiting)} still ${step.waiting === 1 ? 'waits' : 'wait'} for a full socket: ${step.waiting === 1 ? 'it reads' : 'they read'} slowly.`,
        step.held_back && `Held back for ${count(step.held_back)}, by their interval, until it or something newer goes out.`,
        step.dropped && `Dropped for ${count(step.dropped)}, whose queue was full.`,
        step.closed && `${count(step.closed)} ended before.`,
      ],
      mend: bad ? 'Let those clients watch fewer devices or read faster, or raise queue_bytes of the gateway. See which ones: sort the connections by what was dropped.' : '',
      view: bad || step.waiting ? 'connections' : '',
    };
  },
  no_connections: step => ({
    kind: 'wait', title: `Nobody is connected to ${place(step) || 'the path'}`, text: [sentence(step.reason)],
    mend: 'Nobody gets it. Let a client connect to this path, or change the path of the trigger.', view: 'trigger',
  }),
  rejected: step => ({ kind: 'bad', title: 'Rejected', text: [sentence(step.reason)], mend: 'It goes to the dead letters, should the trigger have them. Mend what the reason says.', view: 'trigger' }),
  retried: step => ({ kind: 'wait', title: 'To be tried again', text: [sentence(step.reason)], mend: 'It comes again by itself. If it goes on, mend what the reason says.' }),
  acknowledged: () => ({ title: 'Acknowledged', text: ['The broker may forget it.'] }),
  given_up: step => ({ kind: 'bad', title: 'Given up', text: [sentence(step.reason)], mend: 'It is lost, or among the dead letters, should the trigger have them.', view: 'trigger' }),
};

const views = {
  trigger: step => step.stream && ['The trigger', `#/triggers/${encodeURIComponent(step.stream)}`],
  connections: step => ['Its connections', `#/connections?${new URLSearchParams({ ...step.gateway && { gateway: step.gateway }, ...step.path && { path: step.path } })}`],
};

// inWords is a step as { kind: '' | 'wait' | 'bad', title, text, mend, link: [text, address] }.
export function inWords(step, way) {
  const start = instant(way.steps[0]?.at ?? way.message.event_metadata.created_at);
  const { kind = '', title, text, mend = '', view } = (words[step.step] ?? (() => ({ title: step.step, text: [sentence(step.reason)] })))(step, { message: way.message, start });
  return { kind, title, text: text.filter(Boolean).join(' '), mend, link: view && views[view](step) || undefined, after: Math.max(0, instant(step.at) - start) };
}

// verdict is the whole way in one sentence.
export function verdict({ steps, done }) {
  const names = new Set(steps.map(step => step.step)), written = steps.filter(step => step.step === 'written');
  const got = written.reduce((sum, step) => sum + (step.connections ?? 0), 0), dropped = written.reduce((sum, step) => sum + (step.dropped ?? 0), 0);
  if (names.has('given_up') || names.has('rejected')) return 'It was not delivered.';
  if (names.has('left_out')) return 'It was left out.';
  if (written.length) return `It came to ${of(got, 'connection')}${dropped ? `, and was dropped for ${count(dropped)}` : ''}.`;
  if (names.has('no_connections')) return 'It came to nobody: no one was connected.';
  if (steps.some(step => step.step === 'broadcast' && !step.connections)) return 'It came to nobody yet: no one was connected, and the route keeps it in its history.';
  if (!done) return steps.length ? 'After 10 s it was still on its way: what came later was not followed.' : 'It has come, and waits for the rest of its batch.';
  return names.has('stored') ? 'It is stored.' : 'It has ended its way.';
}
