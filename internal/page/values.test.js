import assert from 'node:assert/strict';
import { test } from 'node:test';
import { plain } from './format.js';
import { messageOf, nameOf, payloadText, pretty, valuesOf } from './values.js';

const of = (payload, created_at = '2026-01-01T00:00:00Z') => messageOf({
  event_metadata: { event_id: '1', created_at }, details: { device_id: 'd', mqtt_topic: 't', payload: btoa(payload) },
});
const values = payload => valuesOf(of(typeof payload === 'string' ? payload : JSON.stringify(payload)));

test('no character steers how others are shown', () => {
  assert.equal(plain('pump\u202egnp.exe\u0007\u2066'), 'pump\\u202egnp.exe\\u0007\\u2066');
  assert.equal(plain('line\r\n\tnext, Jürgen, Москва, שלום'), 'line\r\n\tnext, Jürgen, Москва, שלום');
});

test('values of JSON', () => {
  assert.deepEqual(values({ a: 1, b: true, c: 'on', d: '21.5', e: null, f: { g: { h: 2 } }, i: [3, 4] }), [
    ['a', 1], ['b', true], ['c', 'on'], ['d', 21.5], ['f.g.h', 2], ['i.0', 3], ['i.1', 4],
  ]);
  assert.deepEqual(values('21.5'), [['value', 21.5]]);
  assert.deepEqual(values('"21.5"'), [['value', 21.5]]);
  assert.deepEqual(values('true'), [['value', true]]);
  assert.deepEqual(values('"hello"'), []);
  assert.deepEqual(values('no JSON'), []);
  assert.equal(values(Object.fromEntries(Array.from({ length: 1000 }, (_, i) => ['m' + i, i]))).length, 64);
});

test('an epoch is a time, and a number that is large is a number', () => {
  assert.deepEqual(values({ ts: 1767225600, timestamp: 1767225600000, energy: 1767225600 }), [
    ['ts', '2026-01-01T00:00:00.000Z'], ['timestamp', '2026-01-01T00:00:00.000Z'], ['energy', 1767225600],
  ]);
});

test('SenML', () => {
  assert.deepEqual(values([
    { bn: 'urn:dev:1:', bt: 1.7e9, bu: 'Cel', n: 'a', v: 20 }, { n: 'b', u: '%RH', t: -5, v: 60 }, { n: 'c', vb: true }, { n: 'd', vs: 'x' }, { n: 'e', bv: 10, v: 1, u: '' },
  ]), [
    ['a (Cel)', 20, 1.7e12], ['b (%RH)', 60, 1.7e12 - 5000], ['c', true, 1.7e12], ['d', 'x', 1.7e12], ['e', 11, 1.7e12],
  ]);
  assert.deepEqual(values([{ n: 'urn:dev:ow:1', u: 'Cel', v: 23.1 }]), [['urn:dev:ow:1 (Cel)', 23.1, undefined]]);
  assert.deepEqual(values([{ bn: 'one:', n: 'a', v: 1 }, { bn: 'two:', n: 'a', v: 2 }]).map(v => v[0]), ['one:a', 'two:a']);
});

test('nesting without end throws nothing', () => {
  const deep = '{"a":'.repeat(100_000) + '1' + '}'.repeat(100_000);
  assert.deepEqual(values(deep), []);
  assert.equal(pretty(deep), deep);
  assert.deepEqual(values('['.repeat(50_000) + ']'.repeat(50_000)), []);
});

test('payloads as people read them', () => {
  assert.equal(payloadText(of('\xff\x00')), '0x ff 00');
  assert.equal(payloadText(messageOf({ details: { payload: 'no base64!' } })), 'no base64!');
  assert.equal(payloadText(messageOf({ details: { payload: { a: 1 } } })), '{"a":1}');
  assert.equal(nameOf(messageOf({ details: { mqtt_topic: 'a/b' } })), 'a/b');
});
