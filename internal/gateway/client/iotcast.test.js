// Run by client_test.go: node --test. Time and WebSockets are the test's own here; real ones are in tests/.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { connect } from './iotcast.js';

let sockets, random, listeners;

class FakeWebSocket {
  readyState = 0;
  sent = [];
  constructor(url, protocols) {
    this.url = new URL(url);
    this.protocols = protocols;
    sockets.push(this);
  }
  open() { this.readyState = 1; this.onopen?.(); }
  message(data) { this.onmessage?.({ data: typeof data === 'string' || data instanceof ArrayBuffer ? data : JSON.stringify(data) }); }
  lose(code = 1006, reason = '') { this.readyState = 3; this.onclose?.({ code, reason }); }
  send(data) { this.sent.push(data); }
  close(code) { this.readyState = 3; this.closed = code; }
}

const message = (id, payload = id) => ({
  event_metadata: { event_id: id, event_type: 'yandex.cloud.events.iot.IoTMessage', created_at: '2019-09-25T15:51:17.872320525Z' },
  details: { registry_id: 'r', device_id: 'd', mqtt_topic: '$devices/d/events', payload: Buffer.from(payload).toString('base64') },
});
const envelope = (...ids) => ({ messages: ids.map(id => message(id)) });
const turn = () => new Promise(resolve => { setImmediate(resolve); });

// follow connects, and notes in one list what the handlers are told.
async function follow(options = {}, url = 'ws://gateway/telemetry?room=7#top') {
  const told = [], states = [];
  const feed = connect(url, {
    WebSocket: FakeWebSocket,
    onMessage: m => { told.push(m.text()); },
    onGap: gap => { told.push(gap); },
    onState: (state, detail) => { states.push({ state, ...detail }); },
    ...options,
  });
  await turn();
  return { feed, told, states, socket: () => sockets.at(-1) };
}
const after = async ms => { mock.timers.tick(ms); await turn(); };

beforeEach(() => {
  sockets = [];
  listeners = {};
  random = 1 - 2 ** -53;
  mock.timers.enable({ apis: ['setTimeout'] });
  mock.method(Math, 'random', () => random);
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
  for (const name of ['addEventListener', 'removeEventListener', 'document', 'location']) delete globalThis[name];
});

// inPage gives the module what a page has.
function inPage(href = 'https://gateway/board/') {
  const page = {
    addEventListener: (name, f) => { listeners[name] = f; },
    removeEventListener: (name, f) => { if (listeners[name] === f) delete listeners[name]; },
  };
  Object.assign(globalThis, page, { document: { ...page, hidden: false }, location: { href } });
}

test('messages come decoded and in order', async () => {
  const got = [];
  const { socket, states } = await follow({ onMessage: m => got.push(m) });
  assert.equal(socket().url.href, 'ws://gateway/telemetry?room=7');
  assert.equal(socket().binaryType, 'arraybuffer');
  socket().open();
  socket().message({ messages: [message('a', '{"t":21.5}'), message('b', 'Grüße'), message('c', '')] });
  socket().message(new TextEncoder().encode(JSON.stringify(envelope('d'))).buffer);
  assert.deepEqual(states, [{ state: 'connecting' }, { state: 'open' }]);
  assert.deepEqual(got.map(m => m.event_metadata.event_id), ['a', 'b', 'c', 'd']);
  assert.deepEqual(got[0].json(), { t: 21.5 });
  assert.equal(got[0].details.device_id, 'd');
  assert.equal(got[1].text(), 'Grüße');
  assert.deepEqual([...got[2].payload], []);
  assert.ok(got[1].payload instanceof Uint8Array);
  assert.equal(got[1].payload, got[1].payload, 'decoded once');
  assert.throws(() => got[1].json(), SyntaxError);
});

test('no handler is called before connect has returned', () => {
  let feed;
  feed = connect('ws://gateway/', { WebSocket: FakeWebSocket, onState: () => assert.ok(feed) });
  assert.equal(feed.state, 'connecting');
  assert.equal(sockets.length, 0);
});

test('a URL is relative to the page, and of http, too', async () => {
  inPage();
  assert.equal((await follow({}, '/telemetry')).socket().url.href, 'wss://gateway/telemetry');
  assert.equal((await follow({}, new URL('http://other:8080/x'))).socket().url.href, 'ws://other:8080/x');
});

test('what cannot work is said at once', () => {
  assert.throws(() => connect('telemetry', { WebSocket: FakeWebSocket }), TypeError);
  assert.throws(() => connect('mqtt://gateway/', { WebSocket: FakeWebSocket }), /mqtt:\/\/gateway/);
  assert.throws(() => connect('ws://gateway/', { WebSocket: null }), /option WebSocket/);
});

test('after a loss it resumes behind the last message', async () => {
  const { feed, socket, told, states } = await follow();
  socket().open();
  socket().message(envelope('a', 'b'));
  assert.equal(feed.lastEventId, 'b');
  socket().lose(1001, 'server is shutting down');
  assert.equal(feed.state, 'waiting');
  assert.equal(states.at(-1).code, 1001);
  assert.equal(states.at(-1).reason, 'server is shutting down');
  assert.equal(feed.send('x'), false);
  await after(1000);
  assert.equal(sockets.length, 2);
  assert.equal(socket().url.searchParams.get('last_event_id'), 'b');
  assert.equal(socket().url.searchParams.get('room'), '7');
  socket().open();
  socket().message(envelope('c'));
  assert.deepEqual(told, ['a', 'b', 'c']);
});

test('lastEventId goes on where an earlier feed was', async () => {
  const { socket } = await follow({ lastEventId: 'a b' });
  assert.equal(socket().url.searchParams.get('last_event_id'), 'a b');
});

test('full jitter: a random part of a delay that doubles up to max', async () => {
  for (const part of [0, 0.5, 1 - 2 ** -53]) {
    random = part;
    const { socket, states, feed } = await follow({ backoff: { min: 100, max: 1500 } });
    for (const bound of [100, 200, 400, 800, 1500, 1500]) {
      socket().lose();
      const { delay } = states.at(-1);
      assert.equal(delay, part * bound);
      const before = sockets.length;
      if (Math.floor(delay) > 1) {
        await after(Math.floor(delay) - 1);
        assert.equal(sockets.length, before, 'not earlier');
      }
      await after(2);
      assert.equal(sockets.length, before + 1, 'and not later');
    }
    feed.close();
  }
});

test('many failures in a row do not break the sums', async () => {
  const { socket, states } = await follow({ backoff: { min: 1, max: 7 } });
  for (let i = 0; i < 1200; i++) {
    socket().lose();
    await after(7);
  }
  socket().lose();
  assert.ok(states.at(-1).delay < 7 && states.at(-1).delay > 6.9);
});

test('the back-off starts anew only after a connection has lasted', async () => {
  const { socket, states } = await follow();
  const bound = () => Math.round(states.at(-1).delay);
  socket().lose();
  assert.equal(bound(), 1000);
  await after(1000);
  socket().open();
  await after(4999);
  socket().lose(1013);
  assert.equal(bound(), 2000, 'it was open, but not for 5 s');
  await after(2000);
  socket().open();
  await after(5000);
  socket().lose();
  assert.equal(bound(), 1000);
});

test('an attempt that hangs is given up', async () => {
  const { socket, states } = await follow();
  const stuck = socket();
  await after(20_000);
  assert.equal(states.at(-1).state, 'waiting');
  assert.match(states.at(-1).error.message, /20000 ms/);
  assert.equal(stuck.closed, 1000);
  stuck.open(); // too late
  assert.equal(states.at(-1).state, 'waiting');
  await after(1000);
  assert.notEqual(socket(), stuck);
});

test('silence ends a connection, if asked to', async () => {
  const { socket, states } = await follow({ silence: 3000 });
  socket().open();
  await after(2999);
  socket().message(envelope('a'));
  await after(2999);
  assert.equal(states.at(-1).state, 'open');
  await after(1);
  assert.equal(states.at(-1).state, 'waiting');
  assert.match(states.at(-1).error.message, /3000 ms/);
  await after(1000);
  assert.equal(socket().url.searchParams.get('last_event_id'), 'a');
  socket().open();
  await after(2500);
  socket().lose(1001);
  await after(500);
  assert.equal(states.at(-1).code, 1001, 'a loss ends the silence');
});

test('gaps are told before what comes after them', async () => {
  const { socket, told } = await follow();
  socket().open();
  socket().message({ messages: [], gap: { reason: 'history' } });
  socket().message(envelope('a'));
  socket().message({ messages: [], gap: { reason: 'slow_consumer', dropped: 12 } });
  socket().message(envelope('b'));
  assert.deepEqual(told, [{ reason: 'history' }, 'a', { reason: 'slow_consumer', dropped: 12 }, 'b']);
});

test('a loss before the first message is a gap', async () => {
  const { socket, told } = await follow();
  socket().lose();
  await after(1000);
  socket().open();
  assert.deepEqual(told, [], 'it was not open before');
  socket().lose();
  await after(2000);
  assert.equal(socket().url.searchParams.has('last_event_id'), false);
  socket().open();
  assert.deepEqual(told, [{ reason: 'no_event_id' }]);
});

test('what was seen is dropped, and only that', async () => {
  const { feed, socket, told } = await follow();
  socket().open();
  socket().message(envelope('a', 'b', 'b'));
  socket().lose();
  await after(1000);
  socket().open();
  socket().message(envelope('a', 'b', 'c'));
  socket().message(envelope('b'));
  assert.deepEqual(told, ['a', 'b', 'c']);
  assert.equal(feed.lastEventId, 'c');
  const anonymous = message('x', 'no ID');
  delete anonymous.event_metadata.event_id;
  socket().message({ messages: [anonymous, anonymous] });
  assert.deepEqual(told.slice(3), ['no ID', 'no ID']);
  assert.equal(feed.lastEventId, 'c');
  for (let i = 0; i < 1000; i++) socket().message(envelope(String(i)));
  socket().message(envelope('a'));
  assert.equal(told.length, 3 + 2 + 1000 + 1, 'after a thousand others an ID is forgotten');
});

test('a token goes with every attempt', async () => {
  let n = 0;
  const { socket } = await follow({ token: async () => `token-${++n}` });
  assert.equal(socket().url.searchParams.get('access_token'), 'token-1');
  assert.deepEqual(socket().protocols, []);
  socket().open();
  socket().lose(4401, 'token_expired');
  await after(1000);
  assert.equal(socket().url.searchParams.get('access_token'), 'token-2');

  assert.equal((await follow({ token: 'a&b', queryParameter: 'jwt' })).socket().url.searchParams.get('jwt'), 'a&b');
  const hidden = await follow({ token: () => 'secret', subprotocolPrefix: 'bearer.', protocols: 'iotcast' });
  assert.deepEqual(hidden.socket().protocols, ['iotcast', 'bearer.secret']);
  assert.equal(hidden.socket().url.href, 'ws://gateway/telemetry?room=7');
  const none = await follow({ token: () => undefined, subprotocolPrefix: 'bearer.', protocols: ['iotcast'] });
  assert.deepEqual(none.socket().protocols, ['iotcast']);
});

test('a token that cannot be had is tried again', async () => {
  let answers = [() => { throw new Error('offline'); }, () => Promise.reject(new Error('still')), () => new Promise(() => {}), () => 'x'];
  const { states } = await follow({ token: () => answers.shift()() });
  assert.equal(states.at(-1).error.message, 'offline');
  await after(1000);
  assert.equal(states.at(-1).error.message, 'still');
  await after(2000);
  await after(20_000);
  assert.match(states.at(-1).error.message, /20000 ms/);
  assert.equal(sockets.length, 0);
  await after(4000);
  assert.equal(sockets.length, 1);
});

test('a token that comes after the end opens nothing', async () => {
  for (const outcome of ['resolve', 'reject']) {
    let give;
    const { feed, states } = await follow({ token: () => new Promise((resolve, reject) => { give = { resolve, reject }[outcome]; }) });
    feed.close();
    give(new Error('late'));
    await turn();
    assert.equal(sockets.length, 0);
    assert.deepEqual(states.map(s => s.state), ['connecting', 'closed']);
  }
});

test('close ends it for good, from wherever', async () => {
  inPage();
  for (const when of ['before', 'connecting', 'open', 'waiting']) {
    sockets = [];
    const told = [];
    const feed = connect('/telemetry', { WebSocket: FakeWebSocket, onMessage: m => told.push(m), onState: s => told.push(s) });
    if (when !== 'before') await turn();
    if (when === 'open' || when === 'waiting') sockets[0].open();
    if (when === 'waiting') sockets[0].lose();
    feed.close();
    feed.close();
    assert.equal(told.at(-1), 'closed', when);
    assert.equal(told.filter(s => s === 'closed').length, 1, when);
    assert.deepEqual(listeners, {}, when);
    const n = told.length, socket = sockets[0];
    socket?.message(envelope('a'));
    socket?.lose();
    feed.retry();
    await after(60_000);
    assert.equal(told.length, n, when);
    assert.ok(sockets.length <= 1, when);
    if (when === 'open' || when === 'connecting') assert.equal(socket.closed, 1000, when);
  }
});

test('close in a handler stops at once', async () => {
  const told = [];
  const { feed, socket } = await follow({ onMessage: m => { told.push(m.text()); if (m.text() === 'd') feed.close(); } });
  socket().open();
  socket().message(envelope('a', 'b'));
  socket().message(envelope('c', 'd', 'e'));
  assert.deepEqual(told, ['a', 'b', 'c', 'd']);
  assert.equal(feed.lastEventId, 'b', 'the server resumes behind whole envelopes: this one is to come again');

  for (const at of ['connecting', 'open', 'waiting']) {
    const told = [];
    const own = connect('ws://gateway/', { WebSocket: FakeWebSocket, onState: s => { told.push(s); if (s === at) own.close(); } });
    await turn();
    if (at !== 'connecting') sockets.at(-1).open();
    if (at === 'waiting') sockets.at(-1).lose();
    await after(60_000);
    assert.deepEqual(told.slice(-2), [at, 'closed']);
  }
});

test('close in onGap stops what comes with it', async () => {
  const told = [];
  const { feed, socket } = await follow({ onGap: gap => { told.push(gap.reason); feed.close(); }, onData: () => told.push('data') });
  socket().open();
  socket().message({ messages: [message('a')], gap: { reason: 'history' } });
  assert.deepEqual(told, ['history']);
});

test('a handler that throws costs no other message, and is reported', async () => {
  const reported = [];
  const catcher = error => reported.push(error.message);
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', catcher);
  const told = [];
  const { socket } = await follow({ onMessage: m => { told.push(m.text()); m.json(); } });
  socket().open();
  socket().message(envelope('a', 'b'));
  await turn();
  process.off('uncaughtException', catcher);
  for (const other of others) process.on('uncaughtException', other);
  assert.deepEqual(told, ['a', 'b']);
  assert.equal(reported.length, 2);
});

test('onData sees everything as it came', async () => {
  const data = [];
  const { socket, told } = await follow({ onData: (d, messages) => data.push([d, messages?.map(m => m.text())]) });
  socket().open();
  const binary = new Uint8Array([0xff, 0]).buffer;
  for (const d of [JSON.stringify(envelope('a', 'b')), JSON.stringify(envelope('b', 'c')), 'pong', '{"answer":42}', 'null', '{"messages":7}', binary]) socket().message(d);
  assert.deepEqual(data, [
    [JSON.stringify(envelope('a', 'b')), ['a', 'b']], [JSON.stringify(envelope('b', 'c')), ['c']],
    ['pong', undefined], ['{"answer":42}', undefined], ['null', undefined], ['{"messages":7}', undefined], [binary, undefined],
  ]);
  assert.deepEqual(told, ['a', 'b', 'c']);
});

test('an envelope of another make breaks nothing', async () => {
  const got = [];
  const { socket, feed } = await follow({ onMessage: m => got.push(m.details) });
  socket().open();
  socket().message({ messages: [null, {}, 7, { event_metadata: null, details: { any: 'thing' } }] });
  socket().message(envelope('a'));
  assert.deepEqual(got.slice(0, 4), [undefined, undefined, undefined, { any: 'thing' }]);
  assert.equal(got.length, 5);
  assert.equal(feed.lastEventId, 'a');
});

test('send goes to the open connection', async () => {
  const { feed, socket } = await follow();
  assert.equal(feed.send('early'), false);
  socket().open();
  assert.equal(feed.send('x'), true);
  socket().readyState = 2;
  assert.equal(feed.send('closing'), false);
  assert.deepEqual(socket().sent, ['x']);
});

test('it hurries when the network is back or the page is seen again, with jitter', async () => {
  inPage();
  for (const event of ['online', 'visibilitychange']) {
    const { feed, socket, states } = await follow({ backoff: { min: 1000, max: 60_000 } });
    for (let i = 0; i < 5; i++) { socket().lose(1006); await after(60_000); }
    socket().lose(1012, 'restart');
    assert.ok(states.at(-1).delay > 30_000);
    document.hidden = true;
    listeners[event]();
    assert.ok(states.at(-1).delay > 30_000, 'nobody looks');
    document.hidden = false;
    random = 0.25;
    const before = sockets.length;
    listeners[event]();
    assert.deepEqual(states.at(-1), { state: 'waiting', code: 1012, reason: 'restart', delay: 250 });
    await after(250);
    assert.equal(sockets.length, before + 1);
    socket().open();
    listeners[event]();
    assert.equal(feed.state, 'open', 'a connection that stands is left alone');
    random = 1 - 2 ** -53;
    feed.close();
  }
});

test('retry ends the wait', async () => {
  const { feed, socket, states } = await follow();
  socket().open();
  feed.retry();
  assert.equal(feed.state, 'open');
  socket().lose();
  feed.retry();
  await turn();
  assert.equal(sockets.length, 2);
  assert.equal(states.at(-1).state, 'connecting');
  await after(1000);
  assert.equal(sockets.length, 2, 'the wait is over');
});

test('a WebSocket that cannot be made is tried again', async () => {
  let broken = true;
  const { states } = await follow({ WebSocket: class extends FakeWebSocket {
    constructor(...args) { if (broken) throw new Error('insecure'); super(...args); }
  } });
  assert.equal(states.at(-1).error.message, 'insecure');
  broken = false;
  await after(1000);
  assert.equal(sockets.length, 1);
});
