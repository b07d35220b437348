// Run by client_test.go: node --test. What turns to server-sent events, and back; real ones are in tests/.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, mock, test } from 'node:test';
import { connect } from './iotcast.js';
import { EventStream } from './events.js';

let tries, random, status;

// A try is a FakeWebSocket or a FakeEventSource; the last one is in hand.
class FakeWebSocket {
  readyState = 0;
  constructor(url) { this.url = new URL(url); tries.push(this); }
  open() { this.readyState = 1; this.onopen(); }
  lose() { this.readyState = 3; this.onclose?.({ code: 1006, reason: '' }); }
  close() { this.readyState = 3; }
}
class FakeEventSource {
  constructor(url, init) { this.url = new URL(url); this.init = init; tries.push(this); }
  open() { this.onopen(); }
  message(envelope, lastEventId = '') { this.onmessage({ data: JSON.stringify(envelope), lastEventId }); }
  lose() { this.onerror(); }
  close() { this.closed = true; }
}

const message = (id, device = 'boiler') => ({ event_metadata: { event_id: id }, details: { device_id: device, mqtt_topic: 't', payload: '' + btoa(id) } });
const turn = async () => { for (let i = 0; i < 4; i++) await new Promise(resolve => { setImmediate(resolve); }); };
const last = () => tries.at(-1);
const kinds = () => tries.map(t => t.constructor === FakeWebSocket ? 'w' : 'e').join('');
const again = async () => { mock.timers.tick(60_000); await turn(); };
const fail = async () => { last().lose(); await turn(); await again(); };

async function follow(options = {}) {
  const told = [];
  const feed = connect('wss://gateway/telemetry?room=7', {
    WebSocket: FakeWebSocket, heartbeat: 0,
    onMessage: m => told.push(m.text()), onGap: gap => told.push(gap), ...options,
  });
  await turn();
  return { feed, told };
}

// broken is a feed on a network that breaks WebSockets, with events that are open.
async function broken(options) {
  const all = await follow(options);
  await fail();
  await fail();
  last().open();
  return all;
}

beforeEach(() => {
  tries = [];
  status = 426;
  globalThis.EventSource = FakeEventSource;
  mock.method(globalThis, 'fetch', async () => {
    if (!status) throw new TypeError('Failed to fetch');
    return new Response('', { status });
  });
  mock.timers.enable({ apis: ['setTimeout', 'Date'] });
  mock.method(Math, 'random', () => 0.5);
});
afterEach(() => {
  mock.timers.reset();
  mock.restoreAll();
  delete globalThis.EventSource;
});

test('two handshakes in a row of which only the upgrade failed, and it listens to events', async () => {
  const { feed, told } = await follow({ token: () => 'x', lastEventId: 'a' });
  await fail();
  assert.equal(kinds(), 'ww');
  await fail();
  assert.equal(kinds(), 'wwe');
  assert.equal(last().url.href, 'https://gateway/telemetry?room=7&last_event_id=a&access_token=x');
  assert.equal(last().init.withCredentials, true);
  assert.equal(feed.state, 'connecting');
  last().open();
  assert.equal(feed.state, 'open');
  last().message({ messages: [message('b')] }, 'b');
  assert.deepEqual(told, ['b']);
  assert.equal(feed.send('x'), false, 'there is no way to send');
  feed.close();
  assert.ok(last().closed);
});

test('behind events that were lost it tries a WebSocket once', async () => {
  const { told, feed } = await broken();
  last().message({ messages: [message('b')] }, 'b');
  const lost = last();
  await fail();
  assert.ok(lost.closed, 'it does not come back by itself');
  assert.equal(kinds(), 'wwew');
  await fail();
  assert.equal(kinds(), 'wwewe');
  assert.equal(last().url.searchParams.get('last_event_id'), 'b');
  last().open();
  await fail();
  last().open(); // the network has changed
  await fail();
  assert.equal(kinds(), 'wweweww', 'one that was open breaks no count');
  assert.equal(feed.state, 'connecting');
  assert.deepEqual(told, ['b']);
});

test('a route without events goes on with WebSockets', async () => {
  await follow();
  for (let i = 0; i < 9; i++) await fail();
  assert.equal(kinds(), 'wwewwwwwww', 'events once');
});

test('what else fails leaves it with WebSockets', async () => {
  for (const other of [0, 503]) {
    tries = [];
    const { feed } = await follow();
    for (let i = 0; i < 6; i++) {
      status = i % 2 ? 426 : other;
      await fail();
    }
    assert.equal(kinds(), 'wwwwwww');
    feed.close();
  }
});

test('a token that is not to stand in a URL does not get there', async () => {
  await follow({ token: 'x', subprotocolPrefix: 'bearer.' });
  for (let i = 0; i < 4; i++) await fail();
  assert.equal(kinds(), 'wwwww');
});

test('an engine without EventSource goes on with WebSockets', async () => {
  delete globalThis.EventSource;
  await follow();
  for (let i = 0; i < 2; i++) await fail();
  await again();
  assert.equal(kinds(), 'www');
});

test('a choice is asked for anew', async () => {
  const { feed, told } = await broken({ rewind: 60_000 });
  last().message({ messages: [message('a')] }, 'a');
  const before = last(), answer = feed.watch({ device_ids: ['pump', 'press'], topics: ['$devices/#'] });
  assert.ok(before.closed);
  assert.equal(kinds(), 'wwee');
  const query = last().url.searchParams;
  assert.deepEqual([query.getAll('device_id'), query.getAll('topic')], [['pump', 'press'], ['$devices/#']]);
  assert.deepEqual(['last_event_id', 'latest', 'rewind', 'room'].map(name => query.get(name)), ['a', 'true', null, '7']);
  last().open();
  assert.equal(feed.state, 'open');
  assert.deepEqual(told, ['a'], 'no gap');
  last().message({ messages: [], watch: { device_ids: ['pump'], topics: [] } });
  assert.deepEqual(await answer, { device_ids: ['pump'], topics: [] });

  const all = feed.watch({});
  assert.equal(last().url.searchParams.has('device_id') || last().url.searchParams.has('topic'), false);
  last().open();
  last().message({ messages: [], watch: { device_ids: ['own'], topics: [] } });
  assert.deepEqual(await all, { device_ids: ['own'], topics: [] }, 'what a token allows');
});

test('a choice that is refused over events leaves the one before in force', async () => {
  const { feed, told } = await broken({ watch: { device_ids: ['boiler'] } });
  last().message({ messages: [], watch: { device_ids: ['boiler'], topics: [] } });
  last().message({ messages: [message('a')] }, 'a');
  const all = feed.watch({});
  last().open();
  last().message({ messages: [], error: { code: 'watch', message: 'name some' } });
  await assert.rejects(all, /name some/);
  assert.deepEqual(last().url.searchParams.getAll('device_id'), ['boiler']);
  assert.equal(last().url.searchParams.get('last_event_id'), 'a');
  last().open();
  last().message({ messages: [], watch: { device_ids: ['boiler'], topics: [] } });
  last().message({ messages: [message('b')] }, 'b');
  assert.deepEqual(told, ['a', 'b']);
  const tried = tries.length;
  await assert.rejects(feed.watch({ device_ids: [], topics: [] }), /empty/);
  assert.equal(tries.length, tried, 'the stream is as it was');
  assert.equal(feed.state, 'open');
});

test('a choice for which events are refused is given up', async () => {
  const { feed } = await broken({ watch: { device_ids: ['boiler'] } });
  last().message({ messages: [], watch: { device_ids: ['boiler'], topics: [] } });
  const answer = feed.watch({ topics: ['a/#/b'] });
  answer.catch(() => {});
  last().lose();
  feed.retry(); // the choice waits for no longer than 20 s
  await turn();
  assert.equal(kinds(), 'wweew');
  status = 400;
  last().lose();
  await turn();
  await assert.rejects(answer, /400/);
  await again();
  assert.deepEqual(last().url.searchParams.getAll('device_id'), ['boiler']);
});

test('events from the start, if they are asked for', async () => {
  const { told } = await follow({ WebSocket: EventStream });
  assert.equal(kinds(), 'e');
  last().open();
  last().message({ messages: [message('a')] }, 'a');
  await fail();
  assert.equal(kinds(), 'ee');
  assert.deepEqual(told, ['a']);
});

test('the position behind last values is that of the gateway', async () => {
  const { feed } = await broken();
  last().message({ messages: [message('a')] }, 'a');
  last().message({ messages: [message('old', 'pump')], last_event_id: 'a' }, 'a');
  assert.equal(feed.lastEventId, 'a');
  last().message({ messages: [message('a')], last_event_id: 'b' }, 'b');
  assert.equal(feed.lastEventId, 'b', 'nothing new in it');
});
