// The browser's end of iotcast: one WebSocket after another, as if it were one that never breaks.
// What each option does, and its default, is in iotcast.d.ts.

const ATTEMPT = 20_000; // ms for the token and the handshake: a SYN into a tunnel fails much later by itself
const PROVEN = 5_000; // ms open, after which the next loss is a new one: until then the back-off goes on growing
const SEEN = 1_000; // event IDs kept, to know a message again

class Message {
  #bytes;
  constructor(message) {
    this.event_metadata = message?.event_metadata;
    this.details = message?.details;
  }
  get payload() {
    return this.#bytes ??= Uint8Array.from(atob(this.details.payload), c => c.charCodeAt(0));
  }
  text() { return new TextDecoder().decode(this.payload); }
  json() { return JSON.parse(this.text()); }
}

export function connect(url, {
  onMessage, onData, onGap, onState,
  token, queryParameter = 'access_token', subprotocolPrefix, protocols = [],
  backoff: { min = 1000, max = 30_000 } = {}, silence, lastEventId = '', WebSocket = globalThis.WebSocket,
} = {}) {
  const { addEventListener, removeEventListener, document, location } = globalThis;
  const address = new URL(url, location?.href);
  address.protocol = address.protocol.replace('http', 'ws');
  address.hash = '';
  if (!/^wss?:$/.test(address.protocol)) throw new TypeError(`${address} is no URL of a WebSocket`);
  if (!WebSocket) throw new TypeError('there is no WebSocket here: give the option WebSocket');
  const seen = new Set();
  let state = 'connecting', socket, attempts = 0, opened = false, last;
  let current; // the attempt or connection in hand; what another has started is void
  let timer; // of the state: ends an attempt, proves a connection, ends a wait
  let quiet;

  // What a handler throws is reported like that of any listener, and costs no other message.
  function call(handler, ...args) {
    if (state === 'closed' && handler !== onState) return;
    try { handler?.(...args); } catch (error) { queueMicrotask(() => { throw error; }); }
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
    socket = null;
  }

  async function attempt() {
    leave();
    const mine = current;
    timer = setTimeout(() => wait({ error: new Error(`no connection within ${ATTEMPT} ms`) }), ATTEMPT);
    become('connecting');
    try {
      const secret = typeof token === 'function' ? await token() : token;
      if (mine !== current) return;
      const target = new URL(address), offers = [].concat(protocols);
      if (lastEventId) target.searchParams.set('last_event_id', lastEventId);
      if (secret && subprotocolPrefix) offers.push(subprotocolPrefix + secret);
      else if (secret) target.searchParams.set(queryParameter, secret);
      socket = new WebSocket(target.href, offers);
    } catch (error) {
      if (mine === current) wait({ error });
      return;
    }
    socket.binaryType = 'arraybuffer';
    socket.onopen = open;
    socket.onmessage = receive;
    socket.onerror = () => {}; // a close event follows; the ws package throws if nobody listens
    socket.onclose = ({ code, reason }) => wait({ code, reason });
  }

  function open() {
    clearTimeout(timer);
    timer = setTimeout(() => { attempts = 0; }, PROVEN);
    listen();
    const again = opened;
    opened = true;
    become('open');
    if (again && !lastEventId) call(onGap, { reason: 'no_event_id' });
  }

  function listen() {
    clearTimeout(quiet);
    if (silence) quiet = setTimeout(() => wait({ error: new Error(`nothing came for ${silence} ms`) }), silence);
  }

  // Full jitter: many clients that lost the same server come back one by one.
  function wait(detail) {
    leave();
    const delay = Math.random() * Math.min(max, min * 2 ** attempts++);
    timer = setTimeout(attempt, delay);
    last = detail;
    become('waiting', { ...detail, delay });
  }

  // The network is back, or somebody looks: soon, but still not all clients at once.
  function hurry() {
    if (state !== 'waiting' || document?.hidden) return;
    attempts = 0;
    wait(last);
  }

  function receive({ data }) {
    listen();
    let envelope;
    try { envelope = JSON.parse(typeof data === 'string' ? data : new TextDecoder().decode(data)); } catch { /* not ours */ }
    const all = envelope?.messages;
    if (!Array.isArray(all)) return call(onData, data);
    if (envelope.gap) call(onGap, envelope.gap);
    const fresh = [];
    for (const message of all) {
      const id = message?.event_metadata?.event_id;
      if (seen.has(id)) continue;
      if (id && seen.add(id).size > SEEN) seen.delete(seen.values().next().value);
      fresh.push(new Message(message));
    }
    call(onData, data, fresh);
    fresh.forEach((message, i) => {
      if (state === 'closed') return;
      // The server resumes behind a whole envelope: nothing of this one counts as seen before its last message.
      if (i + 1 === fresh.length) lastEventId = all.at(-1)?.event_metadata?.event_id || lastEventId;
      call(onMessage, message);
    });
  }

  const feed = {
    get state() { return state; },
    get lastEventId() { return lastEventId; },
    send(data) {
      const able = state === 'open' && socket.readyState === 1;
      if (able) socket.send(data);
      return able;
    },
    retry() { if (state === 'waiting') attempt(); },
    close() {
      if (state === 'closed') return;
      leave();
      removeEventListener?.('online', hurry);
      document?.removeEventListener('visibilitychange', hurry);
      become('closed');
    },
  };
  addEventListener?.('online', hurry);
  document?.addEventListener('visibilitychange', hurry);
  queueMicrotask(() => current || attempt()); // no handler is called before the caller has the feed
  return feed;
}
