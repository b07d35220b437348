// What GET /console/overview tells, for as long as somebody is logged in: the last hour, and what is wrong. Views take it from
// here, so that there is one stream, whichever is open.
import { follow } from './api.js';
import { inOrder } from '../../page/timeline.js';

const HOUR = 3_600_000;

// latest is { period, samples: [{ at (ms), triggers, routes }], findings, process, state, error }, where state is that of follow.
let latest = empty(), running;
const readers = new Set();

function empty() { return { period: 5, samples: [], findings: undefined, process: undefined, state: 'waiting', error: undefined }; }

function tell() { for (const reader of readers) reader(latest); }

export function start() {
  stop();
  running = new AbortController();
  const { signal } = running;
  let anew = true;
  follow('/console/overview', {
    signal,
    onState(state, error) {
      anew ||= state === 'live';
      latest = { ...latest, state, error };
      tell();
    },
    onData(event) {
      const came = (event.samples ?? []).map(sample => ({ ...sample, at: Date.parse(sample.at) }));
      const first = came[0]?.at ?? Infinity;
      const kept = latest.samples.filter(sample => sample.at < first || !anew); // the first of a stream has the hour again
      anew = false;
      const period = event.period_seconds ?? latest.period, samples = inOrder(kept.concat(came), 1000 * period);
      const from = (samples.at(-1)?.at ?? 0) - HOUR;
      latest = {
        ...latest, period, samples: samples.filter(sample => sample.at > from),
        findings: event.findings ?? [], process: event.process ?? latest.process,
      };
      tell();
    },
  });
}

// again does not wait until the stream comes back by itself.
export function again() { if (running) start(); }

export function stop() {
  running?.abort();
  running = undefined;
  latest = empty();
  tell();
}

export const now = () => latest;

// subscribe calls reader with what there is, now and with each change, until the signal.
export function subscribe(reader, signal) {
  readers.add(reader);
  signal?.addEventListener('abort', () => readers.delete(reader), { once: true });
  reader(latest);
}
