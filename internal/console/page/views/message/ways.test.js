import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keep, ownedBy, wayOf } from './ways.js';

const way = (id, payload = '', steps = []) => ({ event_id: String(id), done: true, message: { details: { payload } }, steps });

test('ways are bounded by number and by bytes', () => {
  for (let i = 0; i < 6000; i++) keep([way(i)]);
  assert.equal(wayOf('999'), undefined);
  assert.equal(wayOf('5999').event_id, '5999');
  for (let i = 0; i < 100; i++) keep([way(`large-${i}`, 'x'.repeat(1 << 20))]);
  assert.equal(wayOf('5999'), undefined);
  assert.equal(wayOf('large-80'), undefined);
  assert.equal(wayOf('large-99').event_id, 'large-99');
});

test('ways of an event are those of its text, and the newest one counts', () => {
  const event = [way('a', '', [{ step: 'received' }]), way('b')];
  keep(event, JSON.stringify({ ways: event }));
  assert.deepEqual(wayOf('a').steps, [{ step: 'received' }]);
  keep([way('a', '', [{ step: 'received' }, { step: 'acknowledged' }])]);
  assert.equal(wayOf('a').steps.length, 2);
  assert.deepEqual(wayOf('b').steps, []);
});

test('another account knows nothing of it', () => {
  ownedBy('one');
  keep([way('a')]);
  ownedBy('other');
  assert.equal(wayOf('a'), undefined);
});
