// The browser's end of iotcast: one WebSocket after another, as if it were one that never breaks.
// What each option does, and its default, is in iotcast.d.ts.

const ATTEMPT = 20_000; // ms for the token and the handshake: a SYN into a tunnel fails much later by itself
const PROVEN = 5_000; // ms open, after which the next loss is a new one: until then the back-off goes on growing
const SEEN = 1_000; // event IDs kept, to know a message again
const WAITING = 10_000; // messages that may wait for a loop
const DENIALS = 5; // in a row, after which a function's tokens are taken for no good
const ASLEEP = 86_400_000; // ms that a page would wait that nobody can see
const BROKEN = 2; // handshakes in a row of which only the upgrade failed, after which server-sent events are tried

const page = globalThis;

const textOf = bytes => new TextDecoder().decode(bytes);
const failed = text => ({ error: new Error(text) });

class Message {
  #bytes; #json;
  constructor(message, json) {
    this.#json = json;
    this.event_metadata = message?.event_metadata;
    this.details = message?.details;
  }
  get payload() {
    const { payload, payload_base64: other } = this.details, base64 = other ?? payload;
    return this.#bytes ??= other == null && (this.#json || typeof payload !== 'string') ?
      new TextEncoder().encode(JSON.stringify(payload)) :
      Uint8Array.fromBase64?.(base64) ?? Uint8Array.from(atob(base64), c => c.charCodeAt());
  }
  text() { return textOf(this.payload); }
  json() {
    try { return JSON.parse(this.text()); } catch { /* a device may send what it likes */ }
  }
}

export function connect(url, {
  onMessage, onData, onGap, onState,
  token, queryParameter = 'access_token', subprotocolPrefix, protocols = [],
  watch, interval, rewind, latestBy,
  backoff: { min = 1000, max = 30_000 } = {}, heartbeat = 30_000, silence, lastEventId = '', signal, payloadFormat, WebSocket = page.WebSocket,
} = {}) {
  const { document, location } = page, fetches = token?.call;
  const address = new URL(url, location?.href);
  address.protocol = address.protocol.replace('http', 'ws');
  address.hash = '';
  const wrong = /^wss?:$/.test(address.protocol) ? !WebSocket && ': pass { WebSocket } of npm ws' : ` URL: ${address}`;
  if (wrong) throw new TypeError('no WebSocket' + wrong);
  const seen = new Set(), latest = new Map(), readers = new Set(), listeners = new AbortController();
  let state = 'connecting', socket, secret, last, attempts = 0, denials = 0, opened, beats;
  let current; // the attempt or connection in hand; what another has started is void
  let timer; // of the state: ends an attempt, proves a connection, ends a wait
  let due; // when a wait ends
  let quiet; // the timer of a dead link
  let granted = watch; // the last choice that was accepted; the newest is watch
  let asked; // the last choice that the server was told
  let unanswered = 0, waiters = []; // of choices
  let broken = 0; // handshakes in a row of which only the upgrade failed; NaN once events have failed, too

  const ended = () => state === 'closed';

  // What a handler throws is reported, and ends neither the feed nor, in Node, the process.
  function call(handler, ...args) {
    if (ended() && handler !== onState) return;
    try { handler?.(...args); } catch (error) { (page.reportError ?? console.error)(error); }
  }

  function become(next, detail = {}) {
    state = next;
    call(onState, next, detail);
  }

  function leave() {
    current = {};
    clearTimeout(timer);
    clearTimeout(quiet);
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(1000);
    }
  }

  const deadline = ms => setTimeout(() => wait(failed(`nothing for ${ms} ms`)), ms);

  async function attempt() {
    leave();
    const mine = current;
    timer = deadline(ATTEMPT);
    become('connecting');
    try {
      let Socket = WebSocket;
      if (broken >= BROKEN) {
        broken = NaN;
        ({ EventStream: Socket } = await import('./events.js'));
      }
      secret = fetches ? await token() : token;
      if (mine !== current) return;
      const target = new URL(address), query = target.searchParams, offers = [].concat(protocols);
      const seconds = ms => ms && ms / 1000 + 's';
      const parameters = {
        heartbeat: seconds(heartbeat), interval: seconds(interval), last_event_id: lastEventId, rewind: !lastEventId && seconds(rewind), latest: waiters.length > 0,
        device_id: watch && (watch.device_ids ?? []), topic: watch && (watch.topics ?? []), [queryParameter]: !subprotocolPrefix && secret,
      };
      for (const name in parameters) {
        if (!parameters[name]) continue;
        query.delete(name);
        for (const value of [].concat(parameters[name])) query.append(name, value);
      }
      if (secret && subprotocolPrefix) offers.push(subprotocolPrefix + secret);
      unanswered = +(query.has('device_id') || query.has('topic'));
      asked = unanswered && watch;
      socket = new Socket(target.href, offers);
      socket.onclose = ({ code, reason }) => {
        const refused = state === 'connecting';
        if (code === 4401 && !fetches) return end({ code, reason, ...failed('token expired') });
        wait({ code, reason });
        if (refused && state === 'waiting') explain(target);
      };
      socket.binaryType = 'arraybuffer';
      socket.onopen = open;
      socket.onmessage = receive;
      socket.onerror = () => {}; // a close event follows; the ws package throws if nobody listens
    } catch (error) {
      if (mine === current) wait({ error });
    }
  }

  // A page cannot see why a handshake was refused. The gateway refuses a plain GET by the same rules, and asks for an
  // upgrade (426) if there is nothing else to refuse. What CORS hides may change as well as not: the wait goes on.
  async function explain(target) {
    const mine = current, before = broken;
    broken = 0;
    target.protocol = target.protocol.replace('ws', 'http');
    target.searchParams.delete('last_event_id'); // a server may wait for that message
    try {
      const answer = await fetch(target, {
        headers: secret && subprotocolPrefix ? { Authorization: `Bearer ${secret}` } : {},
        credentials: 'include', cache: 'no-store', signal: AbortSignal.timeout(ATTEMPT),
      });
      const { status } = answer;
      // The token of a subprotocol is not to stand in a URL, and events have no other place for it.
      if (status === 426 && !subprotocolPrefix) broken = before + 1;
      denials = status === 401 ? denials + 1 : 0;
      if (![400, 403, 404].includes(status) && denials < (fetches ? DENIALS : 1)) return;
      const error = new Error(`${status}: ${(await answer.text()).trim()}`);
      if (mine !== current) return;
      if (status !== 400 || watch === granted) return end({ status, error });
      watch = granted; // the new choice may be what is wrong
      settle(0, error);
    } catch { /* no answer */ }
  }

  function end(detail) {
    if (ended()) return;
    leave();
    last = detail;
    listeners.abort();
    become('closed', detail);
    settle();
    for (const take of readers) take();
  }

  function open() {
    clearTimeout(timer);
    timer = setTimeout(() => { attempts = 0; }, PROVEN);
    listen();
    denials = 0;
    broken = +!socket.readyState; // behind a stream of events one handshake is enough to find out
    if (waiters.length) choose();
    become('open');
    if (opened && !lastEventId) call(onGap, { reason: 'no_event_id' });
    opened = true;
  }

  // A choice in the query is answered like one in a message.
  function choose() {
    if (asked === watch) return;
    asked = watch;
    unanswered++;
    socket.send(JSON.stringify({ watch }));
  }

  // how is 0 to reject, 1 to resolve.
  function settle(how = 0, value = last.error ?? new Error('closed')) {
    for (const waiter of waiters.splice(0)) waiter[how](value);
  }

  function answered({ watch: inForce, error }) {
    if (unanswered) unanswered--;
    if (inForce) granted = unanswered ? inForce : watch;
    if (unanswered) return; // that of a newer choice is to come
    watch = granted;
    if (error) return settle(0, Object.assign(new Error(), error));
    if (waiters.length) latest.clear(); // the newest of what is chosen now follows
    settle(1, inForce);
  }

  // Whatever comes puts off the moment when the link is taken for dead.
  function listen() {
    clearTimeout(quiet);
    const ms = silence ?? (beats && heartbeat * 2.5);
    if (ms) quiet = deadline(ms);
  }

  // Full jitter: many clients that lost the same server come back one by one.
  const jitter = () => Math.random() * Math.min(max, min * 2 ** attempts++);

  function wait(detail, delay = jitter()) {
    leave();
    timer = setTimeout(attempt, delay);
    due = Date.now() + delay;
    last = detail;
    become('waiting', { ...detail, delay });
  }

  // The network is back, or somebody looks: soon, but still not all clients at once.
  function hurry() {
    if (state !== 'waiting' || document?.hidden) return;
    attempts = broken = 0;
    wait(last, Math.min(jitter(), Math.max(0, due - Date.now())));
  }

  function receive({ data }) {
    let envelope;
    try { envelope = JSON.parse(typeof data === 'string' ? data : textOf(data)); } catch { /* not ours */ }
    const all = envelope?.messages, position = envelope?.last_event_id;
    // A server that does not know the parameter sends no heartbeats.
    beats ||= all?.length === 0 && !envelope.gap;
    listen();
    if (!Array.isArray(all)) return call(onData, data);
    if (envelope.watch || envelope.error) answered(envelope);
    if (envelope.gap) call(onGap, envelope.gap);
    const fresh = [];
    for (const each of all) {
      const message = new Message(each, payloadFormat === 'json'), id = message.event_metadata?.event_id, again = seen.has(id);
      const { device_id, mqtt_topic, payload } = message.details ?? {}, key = latestBy !== 'topic' && device_id || mqtt_topic;
      // What comes again is no news. An empty payload removes a value, as in MQTT.
      if (key && !(again && latest.has(key))) latest[payload === '' ? 'delete' : 'set'](key, message);
      if (again) continue;
      if (id && seen.add(id).size > SEEN) seen.delete(seen.values().next().value);
      fresh.push(message);
    }
    call(onData, data, fresh);
    fresh.forEach((message, i) => {
      if (ended()) return;
      // The server resumes behind a whole envelope: nothing of this one counts as seen before its last message.
      if (i + 1 === fresh.length) lastEventId = position || all.at(-1)?.event_metadata?.event_id || lastEventId;
      for (const take of readers) take(message);
      call(onMessage, message);
    });
    if (!fresh.length) lastEventId = position || lastEventId;
  }

  const close = () => end({});
  const feed = {
    latest, close,
    get state() { return state; },
    get lastEventId() { return lastEventId; },
    send(data) {
      const able = state === 'open' && socket.readyState === 1;
      if (able) socket.send(data);
      return able;
    },
    watch(choice) {
      const answer = new Promise((resolve, reject) => {
        waiters.push([reject, resolve]);
        setTimeout(reject, ATTEMPT, new Error('no answer')).unref?.();
      });
      answer.catch(() => {}); // who does not wait for it need not know
      watch = { ...choice };
      if (state === 'open') choose();
      if (ended()) settle();
      return answer;
    },
    async *[Symbol.asyncIterator]() {
      const queue = [];
      let wake;
      const take = message => {
        if (queue.length <= WAITING) queue.push(message);
        wake?.();
      };
      readers.add(take);
      try {
        while (!ended() && queue.length <= WAITING) {
          if (queue.length) yield queue.shift();
          else await new Promise(resolve => { wake = resolve; });
        }
        if (!ended()) throw new Error('too slow');
        if (last.error) throw last.error;
      } finally {
        readers.delete(take);
      }
    },
    retry() { if (state === 'waiting') attempt(); },
  };
  for (const [target, name, handler] of [
    [page, 'online', hurry], [page, 'pageshow', hurry], [document, 'visibilitychange', hurry], [signal, 'abort', close],
    [page, 'offline', () => wait(failed('offline'))],
    [page, 'pagehide', () => wait({}, ASLEEP)], // a page with a connection is not kept for the way back
  ]) target?.addEventListener?.(name, handler, listeners); // whose signal ends it
  queueMicrotask(() => signal?.aborted ? close() : current || attempt()); // no handler is called before the caller has the feed
  return feed;
}
