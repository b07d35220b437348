// Run by client_test.go: node --test. Time and WebSockets are the test's own here; real ones are in tests/.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { connect } from './iotcast.js';

let sockets, random, listeners, asked, answer;

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
  asked = [];
  answer = () => { throw new TypeError('Failed to fetch'); };
  mock.method(globalThis, 'fetch', async (url, init) => { asked.push({ url: String(url), ...init }); return answer(); });
  mock.method(performance, 'now', () => Date.now());
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  mock.method(Math, 'random', () => random);
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
  for (const name of ['addEventListener', 'document', 'location']) delete globalThis[name];
});

// inPage gives the module what a page has.
function inPage(href = 'https://gateway/board/') {
  const page = {
    addEventListener: (name, f, { signal }) => {
      listeners[name] = f;
      signal.addEventListener('abort', () => { if (listeners[name] === f) delete listeners[name]; });
    },
  };
  Object.assign(globalThis, page, { document: { ...page, hidden: false }, location: { href } });
}

test('a payload may be JSON', async () => {
  const details = [{ payload: { t: 21.5, 'ж': [null] } }, { payload: 2150 }, { payload: null }, { payload_base64: '/w==' }, { payload_base64: '' }];
  const strings = [{ payload: 'VGVzdCA0' }];
  for (const payloadFormat of [undefined, 'json']) {
    const got = [];
    const { socket, feed } = await follow({ payloadFormat, onMessage: m => got.push(m) });
    socket().open();
    socket().message({ messages: [...details, ...strings].map((details, i) => ({ event_metadata: { event_id: `${i}` }, details })) });
    assert.deepEqual(got.slice(0, 3).map(m => m.json()), details.slice(0, 3).map(d => d.payload));
    assert.equal(got[0].text(), '{"t":21.5,"ж":[null]}');
    assert.deepEqual([...got[3].payload], [255]);
    assert.deepEqual([...got[4].payload], []);
    assert.equal(got[5].text(), payloadFormat ? '"VGVzdCA0"' : 'Test 4');
    feed.close();
  }
});

test('messages come decoded and in order', async () => {
  const got = [];
  const { socket, states } = await follow({ onMessage: m => got.push(m) });
  assert.equal(socket().url.href, 'ws://gateway/telemetry?room=7&heartbeat=30s');
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
  assert.equal(got[1].json(), undefined, 'text is no error');
});

test('no handler is called before connect has returned', () => {
  let feed;
  feed = connect('ws://gateway/', { WebSocket: FakeWebSocket, onState: () => assert.ok(feed) });
  assert.equal(feed.state, 'connecting');
  assert.equal(sockets.length, 0);
});

test('a URL is relative to the page, and of http, too', async () => {
  inPage();
  assert.equal((await follow({ heartbeat: 0 }, '/telemetry')).socket().url.href, 'wss://gateway/telemetry');
  assert.equal((await follow({ heartbeat: 0 }, new URL('http://other:8080/x'))).socket().url.href, 'ws://other:8080/x');
});

test('what cannot work is said at once', () => {
  assert.throws(() => connect('telemetry', { WebSocket: FakeWebSocket }), TypeError);
  assert.throws(() => connect('mqtt://gateway/', { WebSocket: FakeWebSocket }), /mqtt:\/\/gateway/);
  assert.throws(() => connect('ws://gateway/', { WebSocket: null }), /no WebSocket: pass { WebSocket } of npm ws/);
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
  assert.equal(hidden.socket().url.href, 'ws://gateway/telemetry?room=7&heartbeat=30s');
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
  const told = [];
  const { feed, socket } = await follow({ onMessage: m => { told.push(m.text()); throw new Error(m.text()); } });
  mock.method(console, 'error', error => { reported.push(error.message); });
  socket().open();
  socket().message(envelope('a'));
  globalThis.reportError = error => { reported.push(`page: ${error.message}`); };
  socket().message(envelope('b'));
  delete globalThis.reportError;
  assert.deepEqual(told, ['a', 'b']);
  assert.deepEqual(reported, ['a', 'page: b']);
  assert.equal(feed.state, 'open');
});

test('a refusal that will not change ends it, and says why', async () => {
  for (const [status, options] of [[401, {}], [401, { token: 'x' }], [403, { token: () => 'x' }], [404, {}]]) {
    answer = () => new Response('no such thing\n', { status });
    const { feed, socket, states } = await follow({ lastEventId: 'a', ...options }, 'wss://gateway/telemetry?room=7');
    socket().lose(1006);
    assert.equal(feed.state, 'waiting');
    await turn();
    await turn();
    const { state, status: got, error } = states.at(-1);
    assert.deepEqual([state, got, error?.message], ['closed', status, `${status}: no such thing`]);
    assert.equal(asked.at(-1).url, `https://gateway/telemetry?room=7&heartbeat=30s${options.token ? '&access_token=x' : ''}`);
    assert.equal(asked.at(-1).credentials, 'include', 'as with a handshake');
    const before = sockets.length;
    await after(60_000);
    assert.equal(sockets.length, before);
  }
});

test('any other refusal is tried again', async () => {
  for (const status of [200, 426, 429, 500, 503]) {
    answer = () => new Response('', { status });
    const { feed, socket } = await follow();
    for (let i = 0; i < 8; i++) { socket().lose(1006); await turn(); await after(60_000); }
    assert.equal(feed.state, 'connecting', String(status));
    feed.close();
  }
});

test('a connection that was open asks for no reason', async () => {
  answer = () => new Response('', { status: 404 });
  const { feed, socket } = await follow();
  socket().open();
  socket().lose(1006);
  await turn();
  assert.equal(asked.length, 0);
  assert.equal(feed.state, 'waiting');
});

test('an answer that comes after the next attempt counts for nothing', async () => {
  let give;
  answer = () => new Promise(resolve => { give = resolve; });
  const { feed, socket } = await follow();
  socket().lose(1006);
  await after(1000);
  socket().open();
  give(new Response('', { status: 403 }));
  await turn();
  assert.equal(feed.state, 'open');
});

test('a feed that has gone on asks no more why it was refused', async () => {
  const feed = connect('ws://gateway/', { WebSocket: FakeWebSocket, onState: state => { if (state === 'waiting') feed.retry(); } });
  await turn();
  sockets.at(-1).lose(1006);
  await turn();
  assert.equal(asked.length, 0);
  assert.equal(feed.state, 'connecting');
  feed.close();
});

test('tokens of a function are denied five times in a row', async () => {
  answer = () => new Response('', { status: 401 });
  const { feed, socket } = await follow({ token: () => 'x', subprotocolPrefix: 'bearer.' });
  for (let i = 0; i < 4; i++) { socket().lose(1006); await turn(); await turn(); assert.equal(feed.state, 'waiting'); await after(60_000); }
  assert.equal(asked.at(-1).headers.Authorization, 'Bearer x');
  assert.ok(!asked.at(-1).url.includes('bearer'));
  socket().open();
  socket().lose(4401);
  assert.equal(feed.state, 'waiting');
  await after(60_000);
  for (let i = 0; i < 5; i++) { assert.equal(feed.state, 'connecting'); socket().lose(1006); await turn(); await turn(); await after(60_000); }
  assert.equal(feed.state, 'closed');
});

test('a token that has expired, and no way to another, ends it', async () => {
  const { socket, states } = await follow({ token: 'x' });
  socket().open();
  socket().lose(4401, 'token_expired');
  const { state, code, error } = states.at(-1);
  assert.deepEqual([state, code, error.message], ['closed', 4401, 'token expired']);
});

test('a link without heartbeats is dead, once there was one', async () => {
  const { socket, states } = await follow({ heartbeat: 2000 });
  assert.equal(socket().url.searchParams.get('heartbeat'), '2s');
  socket().open();
  socket().message({ messages: [], gap: { reason: 'history' } });
  socket().message(envelope('a'));
  await after(60_000);
  assert.equal(states.at(-1).state, 'open', 'an old server knows no heartbeats');
  socket().message({ messages: [] });
  await after(4999);
  socket().message(envelope('b'));
  await after(4999);
  assert.equal(states.at(-1).state, 'open');
  await after(1);
  assert.match(states.at(-1).error.message, /5000 ms/);
  await after(1000);
  socket().open();
  await after(5000);
  assert.match(states.at(-1).error.message, /5000 ms/, 'from the first moment of the next');
});

test('it says so when the network is gone, and leaves a page that sleeps', async () => {
  inPage();
  const { socket, states } = await follow();
  socket().open();
  socket().message(envelope('a'));
  listeners.offline();
  assert.match(states.at(-1).error.message, /offline/);
  listeners.online();
  await after(1000);
  socket().open();
  const kept = socket(), before = sockets.length;
  listeners.pagehide();
  assert.equal(kept.closed, 1000);
  await after(60_000);
  assert.equal(sockets.length, before, 'asleep');
  assert.equal(states.at(-1).state, 'waiting');
  listeners.pageshow();
  await after(1000);
  assert.equal(socket().url.searchParams.get('last_event_id'), 'a');
  assert.equal(sockets.length, before + 1);
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

test('a hurry never lengthens the wait', async () => {
  inPage();
  const { socket, states } = await follow();
  socket().lose();
  await after(900);
  listeners.online();
  assert.ok(states.at(-1).delay <= 100, `${states.at(-1).delay} ms`);
  listeners.visibilitychange();
  await after(100);
  assert.equal(sockets.length, 2);
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

// settled is what has become of a promise so far.
async function settled(promise) {
  const pending = {};
  await turn();
  return Promise.race([promise, pending]).then(value => value === pending ? 'pending' : value, error => `${error.code}: ${error.message}`);
}
const boiler = { device_ids: ['boiler'], topics: [] }, pump = { device_ids: ['pump'], topics: ['$devices/+/events/alarm/#'] };
const inForce = (watch = {}) => ({ messages: [], watch });
const refusal = text => ({ messages: [], error: { code: 'watch', message: text } });
const of = (device_id, id, details = {}) => {
  const one = message(id);
  Object.assign(one.details, { device_id, mqtt_topic: `$devices/${device_id}/events` }, details);
  return one;
};

test('what it wants is asked for by the query', async () => {
  const { socket } = await follow({ watch: pump, interval: 500, rewind: 300_000, heartbeat: 15_000 }, 'ws://gateway/telemetry?device_id=old&latest=false');
  const query = socket().url.searchParams;
  assert.deepEqual(query.getAll('device_id'), ['pump']);
  assert.deepEqual(query.getAll('topic'), ['$devices/+/events/alarm/#']);
  assert.deepEqual(['interval', 'rewind', 'heartbeat', 'latest'].map(name => query.get(name)), ['0.5s', '300s', '15s', 'false']);
  socket().open();
  assert.deepEqual(socket().sent, [], 'the query has said it');
  socket().message(inForce(pump));
  socket().message(envelope('a'));
  socket().lose();
  await after(1000);
  assert.equal(socket().url.searchParams.get('rewind'), null, 'it goes on where it was');
  assert.equal(socket().url.searchParams.get('interval'), '0.5s');

  const own = await follow({}, 'ws://gateway/?device_id=own');
  assert.equal(own.socket().url.searchParams.get('device_id'), 'own', 'the query of the URL is kept');
});

test('watch changes the choice without another connection, and for the next', async () => {
  const { feed, socket } = await follow({ watch: boiler });
  socket().open();
  socket().message(inForce(boiler));
  const answer = feed.watch(pump);
  assert.deepEqual(socket().sent.map(JSON.parse), [{ watch: pump }]);
  assert.equal(await settled(answer), 'pending');
  socket().message(inForce({ device_ids: ['pump'], topics: [] }));
  assert.deepEqual(await settled(answer), { device_ids: ['pump'], topics: [] }, 'less than was asked for: what the token allows');
  assert.equal(sockets.length, 1);
  socket().message(envelope('a'));
  socket().lose();
  await after(1000);
  assert.deepEqual(socket().url.searchParams.getAll('device_id'), ['pump']);
  socket().open();
  socket().message(inForce(pump));

  const all = feed.watch();
  assert.deepEqual(JSON.parse(socket().sent[0]), { watch: {} });
  socket().message(inForce());
  assert.deepEqual(await settled(all), {});
  socket().lose();
  await after(2000);
  assert.equal(socket().url.searchParams.has('device_id'), false);
});

test('a choice that is refused leaves what was in force', async () => {
  const { feed, socket } = await follow({ watch: boiler });
  socket().open();
  socket().message(inForce(boiler));
  const first = feed.watch({ topics: ['a/#/b'] });
  socket().message(refusal('no filter'));
  assert.equal(await settled(first), 'watch: no filter');
  socket().lose();
  await after(1000);
  assert.deepEqual(socket().url.searchParams.getAll('device_id'), ['boiler']);
  assert.deepEqual(socket().url.searchParams.getAll('topic'), []);
});

test('of choices in a row the last counts', async () => {
  const { feed, socket } = await follow();
  socket().open();
  const answers = [feed.watch(boiler), feed.watch(pump)];
  socket().message(inForce(boiler));
  assert.equal(await settled(answers[0]), 'pending', 'that is not in force for long');
  socket().message(inForce(pump));
  for (const answer of answers) assert.deepEqual(await settled(answer), pump);
  const more = [feed.watch(boiler), feed.watch({ topics: [''] })];
  socket().message(inForce(boiler));
  socket().message(refusal('empty'));
  assert.equal(await settled(more[1]), 'watch: empty');
  socket().lose();
  await after(1000);
  assert.deepEqual(socket().url.searchParams.getAll('device_id'), ['boiler']);
});

test('a choice made without a connection goes with the next', async () => {
  const { feed, socket } = await follow();
  const early = feed.watch(boiler); // the handshake is on its way without it
  socket().open();
  assert.deepEqual(socket().sent.map(JSON.parse), [{ watch: boiler }]);
  socket().lose();
  assert.equal(await settled(early), 'pending');
  const late = feed.watch(pump);
  await after(1000);
  assert.deepEqual(socket().url.searchParams.getAll('device_id'), ['pump']);
  socket().open();
  assert.deepEqual(socket().sent, []);
  socket().message(inForce(pump));
  for (const answer of [early, late]) assert.deepEqual(await settled(answer), pump);

  socket().lose();
  await after(2000);
  const between = feed.watch(boiler); // the query holds another
  socket().open();
  assert.deepEqual(socket().sent.map(JSON.parse), [{ watch: boiler }]);
  socket().message(inForce(pump));
  assert.equal(await settled(between), 'pending');
  socket().message(inForce(boiler));
  assert.deepEqual(await settled(between), boiler);
});

test('a choice for which the handshake is refused is given up', async () => {
  answer = () => new Response('topic: no filter', { status: 400 });
  const { feed, socket } = await follow({ watch: boiler });
  socket().open();
  socket().lose();
  const bad = feed.watch({ topics: ['a/#/b'] });
  await after(1000);
  socket().lose();
  await turn();
  assert.equal(await settled(bad), 'undefined: 400: topic: no filter');
  assert.equal(feed.state, 'waiting');
  await after(2000);
  assert.deepEqual(socket().url.searchParams.getAll('device_id'), ['boiler']);
  socket().lose();
  await turn();
  await turn();
  assert.equal(feed.state, 'closed', 'nothing is left to give up');
});

test('a choice without an answer', async () => {
  const { feed, socket } = await follow();
  socket().open();
  const unheard = feed.watch(boiler);
  await after(20_000);
  assert.match(await settled(unheard), /no answer/);
  const cut = feed.watch(boiler);
  feed.close();
  assert.match(await settled(cut), /closed/);
  assert.match(await settled(feed.watch(pump)), /closed/);
});

test('latest is what is newest of each device or topic', async () => {
  const { feed, socket } = await follow();
  const shown = () => [...feed.latest].map(([key, m]) => `${key}=${m.text()}`).join(' ');
  socket().open();
  socket().message({ messages: [of('boiler', 'a'), of('pump', 'b'), of('boiler', 'c'), of(undefined, 'd', { mqtt_topic: 'home/door' }), null, {}] });
  assert.equal(shown(), 'boiler=c pump=b home/door=d');
  socket().message({ messages: [of('boiler', 'a'), of('pump', 'e', { payload: '' })] });
  assert.equal(shown(), 'boiler=c home/door=d', 'a repeat is no news, and an empty payload removes');
  socket().lose();
  await after(1000);
  socket().open();
  assert.equal(shown(), 'boiler=c home/door=d', 'it outlives a connection');

  feed.watch(boiler);
  socket().message(refusal('no'));
  assert.equal(shown(), 'boiler=c home/door=d');
  feed.watch(boiler);
  socket().message(inForce(boiler));
  assert.equal(shown(), '');
  socket().message({ messages: [of('boiler', 'c')] });
  assert.equal(shown(), 'boiler=c', 'the server sends the newest of a new choice again');

  const topics = await follow({ latestBy: 'topic' });
  topics.socket().open();
  topics.socket().message({ messages: [of('boiler', 'f'), of('boiler', 'g', { mqtt_topic: '$devices/boiler/state' })] });
  assert.deepEqual([...topics.feed.latest.keys()], ['$devices/boiler/events', '$devices/boiler/state']);
});

test('latest outlives a loss with a choice in the query', async () => {
  const { feed, socket } = await follow({ watch: boiler });
  for (let i = 0; i < 2; i++) {
    socket().open();
    socket().message(inForce(boiler));
    socket().message({ messages: [of('boiler', 'a')] });
    assert.deepEqual([...feed.latest.keys()], ['boiler']);
    socket().lose();
    await after(4000);
  }
  socket().open();
  socket().message(inForce(boiler));
  assert.deepEqual([...feed.latest.keys()], ['boiler'], 'nothing new was chosen');
});

test('a signal ends it', async () => {
  const over = new AbortController();
  const { feed, states } = await follow({ signal: over.signal });
  over.abort();
  assert.equal(feed.state, 'closed');
  assert.deepEqual(states.at(-1), { state: 'closed' });
  const before = sockets.length;
  assert.equal((await follow({ signal: AbortSignal.abort() })).feed.state, 'closed');
  assert.equal(sockets.length, before, 'nor is anything begun');
});

test('a loop over the messages', async () => {
  const { feed, socket, told } = await follow();
  socket().open();
  const read = [], loop = (async () => { for await (const m of feed) read.push(m.text()); })();
  const two = (async () => {
    const some = [];
    for await (const m of feed) if (some.push(m.text()) === 2) return some;
  })();
  socket().message(envelope('a', 'b', 'c'));
  await turn();
  socket().lose();
  await after(1000);
  socket().open();
  socket().message(envelope('d'));
  await turn();
  assert.deepEqual(await two, ['a', 'b']);
  assert.equal(feed.state, 'open', 'the end of a loop is not that of the feed');
  feed.close();
  await loop;
  assert.deepEqual(read, ['a', 'b', 'c', 'd']);
  assert.deepEqual(told, read);
  for await (const m of feed) assert.fail(m.text());
});

test('a loop ends with the error of the feed', async () => {
  answer = () => new Response('', { status: 404 });
  const { feed, socket } = await follow();
  const loop = (async () => { for await (const m of feed) assert.fail(m.text()); })();
  socket().lose();
  await assert.rejects(loop, /404/);
});

test('a loop that does not keep up ends with an error', async () => {
  const { feed, socket } = await follow();
  socket().open();
  const loop = (async () => { for await (const m of feed) assert.fail(m.text()); })();
  for (let i = 0; i < 10_001; i++) socket().message(envelope(String(i)));
  await assert.rejects(loop, /too slow/);
  assert.equal(feed.state, 'open');
});
