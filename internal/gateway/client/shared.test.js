// Run by client_test.go: node --test. The worker and its tabs in one process, with WebSockets, locks and time of the test's
// own; real ones are in tests/.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { connect } from './iotcast.js';
import { SharedSocket } from './shared.js';
import './sharedworker.js';

let sockets, held, waiting, now, worker;

class FakeWebSocket {
  readyState = 0;
  sent = [];
  constructor(url, protocols) { Object.assign(this, { url: new URL(url), protocols }); sockets.push(this); }
  open() { this.readyState = 1; this.onopen({ type: 'open' }); }
  bring(...ids) { for (const id of ids) this.say(JSON.stringify({ messages: [message(id)] })); }
  say(data) { this.onmessage?.({ type: 'message', data }); }
  lose(code, reason) { this.readyState = 3; this.onclose?.({ type: 'close', code, reason }); }
  send(data) { this.sent.push(data); }
  close(code) { this.readyState = 3; this.closed = code; }
}

// A port hands over what is posted at once, as long as both ends are open.
function channel() {
  const end = () => ({ postMessage(data) { if (!this.shut && !this.other.shut) this.other.onmessage({ data: structuredClone(data) }); }, close() { this.shut = true; } });
  const ends = [end(), end()];
  [ends[0].other, ends[1].other] = [ends[1], ends[0]];
  return ends;
}
class FakeSharedWorker {
  constructor(url, options) {
    if (worker === 'refused') throw new Error('another origin');
    assert.match(String(url), /\/sharedworker\.js$/);
    assert.equal(options.type, 'module');
    const [ours, theirs] = channel();
    this.port = ours;
    queueMicrotask(() => worker === 'missing' ? this.onerror() : worker === 'silent' || globalThis.onconnect({ ports: [theirs] }));
  }
}
// A lock is held until what its holder has returned resolves; then the next has it.
const locks = {
  async request(name, use) {
    if (held.has(name)) await new Promise(resolve => { waiting.set(name, resolve); });
    held.add(name);
    await use();
    held.delete(name);
    waiting.get(name)?.();
  },
};

const message = id => ({ event_metadata: { event_id: id }, details: { mqtt_topic: 't', payload: btoa(id) } });
const turn = async () => { for (let i = 0; i < 4; i++) await new Promise(resolve => { setImmediate(resolve); }); };
const open = () => sockets.filter(s => s.readyState < 2);
const bring = (...ids) => { for (const id of ids) for (const socket of open()) socket.bring(id); };
const later = ms => { now += ms; };

// tab is the feed of one, and what it was told.
async function tab(options = {}, url = 'ws://gateway/telemetry') {
  const told = [];
  const feed = connect(url, {
    WebSocket: SharedSocket, heartbeat: 0, onMessage: m => told.push(m.text()), onGap: gap => told.push(gap.reason),
    onState: (state, { code, reason }) => { if (state === 'waiting') told.push(code, reason); }, ...options,
  });
  await turn();
  const socket = sockets.at(-1);
  if (socket?.readyState === 0) socket.open();
  if (options.watch) socket.say(JSON.stringify({ messages: [], watch: options.watch }));
  return { feed, told, socket };
}

beforeEach(() => {
  [sockets, held, waiting, now, worker] = [[], new Set(), new Map(), 0, undefined];
  Object.defineProperty(globalThis, 'navigator', { value: { locks }, configurable: true });
  Object.assign(globalThis, { WebSocket: FakeWebSocket, SharedWorker: FakeSharedWorker });
  mock.method(performance, 'now', () => now);
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  mock.method(Math, 'random', () => 0.5);
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
});

// shared are two tabs with one WebSocket, the second's.
async function shared(options, url) {
  const [a, b] = [await tab(options, url), await tab(options, url)];
  bring('0');
  later(2_000);
  bring('1');
  assert.deepEqual(open(), [b.socket]);
  for (const { told } of [a, b]) assert.deepEqual(told.splice(0), ['0', '1']);
  return [a, b];
}

test('tabs share a WebSocket, and the last to leave closes it', async () => {
  const [a, b] = await shared({ protocols: ['iotcast'], token: 'x' });
  bring('2');
  const c = await tab({ protocols: ['iotcast'], token: 'x', rewind: 60_000 });
  c.socket.bring('2'); // what it has missed
  later(2_000);
  bring('3', '4');
  assert.deepEqual(open(), [b.socket, c.socket], 'they have not brought the same for long enough');
  later(2_000);
  bring('5');
  assert.deepEqual(open(), [c.socket], 'that which was let in last');
  bring('6');
  assert.deepEqual([a.told, b.told, c.told], Array(3).fill(['2', '3', '4', '5', '6']));
  c.feed.close();
  a.feed.close();
  await turn();
  bring('7');
  assert.equal(b.told.at(-1), '7');
  b.feed.close();
  await turn();
  assert.deepEqual(open(), []);
  assert.equal(c.socket.closed, 1000);
});

test('only what brings the same to the same is shared', async () => {
  for (const options of [
    { token: 'y' }, { queryParameter: 'jwt' }, { subprotocolPrefix: 'b.' }, { protocols: 'p' }, { watch: { device_ids: ['boiler'] } }, { interval: 1000 }, { heartbeat: 1000 },
  ]) {
    sockets = [];
    const tabs = [await tab({ token: 'x' }), await tab({ token: 'x', ...options })];
    later(60_000);
    bring('1', '2');
    assert.equal(open().length, 2, JSON.stringify(options));
    for (const { feed } of tabs) feed.close();
    await turn();
  }
});

test('one that lags behind, or misses something, changes at the same place', async () => {
  const [a, b] = [await tab(), await tab()];
  const first = a.socket, second = b.socket;
  later(5_000);
  first.bring('1', '2', '3');
  second.bring('1', '2');
  assert.equal(open().length, 2);
  first.say('{"messages":[],"gap":{"reason":"slow_consumer","dropped":1}}');
  second.bring('3', '4');
  first.bring('5');
  second.bring('5');
  assert.equal(open().length, 2, 'one has not brought 4');
  later(2_000);
  second.bring('6', '7');
  second.say('{"messages":[]}');
  first.bring('6');
  assert.equal(open().length, 2, 'one is behind');
  first.bring('7');
  assert.equal(open().length, 1);
  bring('8');
  assert.deepEqual(a.told, ['1', '2', '3', 'slow_consumer', '5', '6', '7', '8']);
  assert.deepEqual(b.told, ['1', '2', '3', '4', '5', '6', '7', '8']);
});

test('an interval takes longer, since values are held back', async () => {
  const url = 'ws://gateway/telemetry?interval=';
  for (const [interval, ms] of [['10s', 20_000], ['1m', Infinity]]) {
    sockets = [];
    const tabs = [await tab({}, url + interval), await tab({}, url + interval)];
    later(Math.min(ms, 1e9) - 1);
    bring('1');
    assert.equal(open().length, 2);
    later(1);
    bring('2');
    assert.equal(open().length, ms === Infinity ? 2 : 1);
    for (const { feed } of tabs) feed.close();
    await turn();
  }
});

test('a loss is told to all, with its reason, and they share again', async () => {
  const [a, b] = await shared();
  b.socket.lose(1012, 'restart');
  assert.deepEqual([a.told, b.told], [[1012, 'restart'], [1012, 'restart']]);
  mock.timers.tick(1_000);
  await turn();
  assert.deepEqual(open().map(s => s.url.searchParams.get('last_event_id')), ['1', '1'], 'each goes on where it was');
  for (const socket of open()) socket.open();
  later(2_000);
  bring('2');
  assert.equal(open().length, 1);
  bring('3');
  assert.deepEqual([a.told.slice(2), b.told.slice(2)], [['2', '3'], ['2', '3']]);
});

test('what a tab sends goes over a WebSocket of its own', async () => {
  const [a, b] = await shared({ watch: { device_ids: ['boiler'] } });
  const answer = a.feed.watch({ device_ids: ['pump'] });
  const own = sockets.at(-1);
  assert.equal(own.url.searchParams.get('last_event_id'), '1');
  bring('2'); // to the other alone
  own.open();
  own.say('{"messages":[],"watch":{"device_ids":["boiler"],"topics":[]}}'); // to the choice of the URL
  assert.deepEqual(own.sent, ['{"watch":{"device_ids":["pump"]}}']);
  own.bring('2');
  own.say('{"messages":[],"watch":{"device_ids":["pump"],"topics":[]}}');
  assert.deepEqual(await answer, { device_ids: ['pump'], topics: [] });
  assert.ok(a.feed.send('on'));
  assert.equal(own.sent.at(-1), 'on');
  later(5_000);
  bring('3');
  assert.equal(open().length, 2, 'it is not shared any more');
  assert.deepEqual([a.told, b.told], [['2', '3'], ['2', '3']]);
  assert.deepEqual(b.socket.sent, []);
});

test('a tab that shares with nobody sends as it is', async () => {
  const a = await tab();
  assert.ok(a.feed.send('on'));
  assert.deepEqual([sockets.length, a.socket.sent], [1, ['on']]);
  const b = await tab();
  later(5_000);
  bring('1');
  assert.equal(open().length, 2, 'what is answered is for that tab');
  assert.deepEqual(b.told, ['1']);
});

test('a tab that has seen no message and sends is told that it may miss some', async () => {
  const [a, b] = [await tab(), await tab()];
  later(5_000);
  for (const socket of open()) socket.say('hello'); // no envelope: of no event ID
  assert.equal(open().length, 1);
  a.feed.send('on');
  assert.deepEqual([a.told, b.told], [['no_event_id'], []]);
});

test('a tab that reads too slowly is let go', async () => {
  const [a, b] = await shared();
  const text = `{"messages":[],"x":"${'x'.repeat(2 ** 20)}"}`;
  for (let i = 0; i < 40; i++) open()[0].say(text); // they read, and say so
  assert.deepEqual([a.told, b.told], [[], []]);
  const [ours, theirs] = channel(), heard = [];
  ours.onmessage = ({ data }) => heard.push(data); // it says nothing
  globalThis.onconnect({ ports: [theirs] });
  held.add('l');
  ours.postMessage({ url: 'ws://gateway/other', protocols: [], lock: 'l' });
  for (let i = 0; i < 40; i++) sockets.at(-1).say(text);
  assert.equal(heard.at(-1).code, 1013);
  assert.equal(sockets.at(-1).closed, 1000);
});

test('without the worker a tab has a WebSocket of its own', async () => {
  for (const how of ['refused', 'missing', 'silent', 'no worker', 'no locks']) {
    [sockets, worker] = [[], how];
    if (how === 'no worker') delete globalThis.SharedWorker;
    if (how === 'no locks') {
      globalThis.SharedWorker = FakeSharedWorker;
      Object.defineProperty(globalThis, 'navigator', { value: {}, configurable: true });
    }
    const { feed, told } = await tab();
    if (how === 'silent') {
      assert.equal(sockets.length, 0);
      mock.timers.tick(5_000);
      sockets[0].open();
    }
    assert.equal(feed.state, 'open', how);
    sockets[0].bring('1');
    assert.ok(feed.send('on'));
    assert.deepEqual([told, sockets[0].sent, sockets.length], [['1'], ['on'], 1]);
    feed.close();
    assert.equal(sockets[0].closed, 1000);
  }
});
