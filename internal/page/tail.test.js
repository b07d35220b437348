import assert from 'node:assert/strict';
import { test } from 'node:test';
import { csv, jsonLines, Tail } from './tail.js';
import { messageOf } from './values.js';

const message = (id, payload = '1') => messageOf({
  event_metadata: { event_id: String(id), created_at: '2026-01-01T00:00:00Z' }, details: { device_id: 'd', mqtt_topic: 't', payload: btoa(payload) },
});

test('a tail is bounded by messages and by bytes', () => {
  const tail = new Tail(100);
  for (let i = 0; i < 1000; i++) tail.add(message(i), i);
  assert.ok(tail.rows.length >= 100 && tail.rows.length <= 125, tail.rows.length);
  assert.equal(tail.rows.at(-1).message.event_metadata.event_id, '999');
  const large = new Tail(100_000), payload = 'x'.repeat(100_000);
  for (let i = 0; i < 300; i++) large.add(message(i, payload), i);
  assert.ok(large.rows.length < 80, large.rows.length);
  const json = new Tail(100_000);
  for (let i = 0; i < 300; i++) json.add(messageOf({ details: { device_id: 'd', payload: { values: Array(50_000).fill(1) } } }), i);
  assert.ok(json.rows.length < 80, json.rows.length);
});

test('paused, it holds, and counts what passes', () => {
  const tail = new Tail();
  tail.add(message(1), 1);
  tail.hold(true);
  tail.add(message(2), 2);
  assert.deepEqual([tail.rows.length, tail.passed, tail.holds('1'), tail.holds('2')], [1, 1, true, false]);
  tail.hold(false);
  tail.add(message(3), 3);
  assert.deepEqual([tail.rows.length, tail.passed], [2, 0]);
});

test('what is taken away', () => {
  const tail = new Tail();
  tail.add(message(1, '=1+"a"'), 1);
  tail.add(message(2, '-5.5'), 1);
  tail.add(message(3, 'a;=1+1;-b\n@c'), 1);
  assert.equal(csv(tail.rows), 'created_at,device_id,mqtt_topic,event_id,payload\r\n' +
    `2026-01-01T00:00:00Z,d,t,1,"'=1+""a"""\r\n2026-01-01T00:00:00Z,d,t,2,-5.5\r\n` +
    `2026-01-01T00:00:00Z,d,t,3,"a;'=1+1;'-b\n'@c"\r\n`);
  const streamed = new Tail();
  streamed.add(Object.assign(message(1, 'a'), { stream: 'alarms' }), 1);
  assert.equal(csv(streamed.rows), 'created_at,device_id,mqtt_topic,event_id,payload,stream\r\n2026-01-01T00:00:00Z,d,t,1,a,alarms\r\n');
  assert.deepEqual(jsonLines(tail.rows).trim().split('\n').map(line => JSON.parse(line).text), ['=1+"a"', '-5.5', 'a;=1+1;-b\n@c']);
});
