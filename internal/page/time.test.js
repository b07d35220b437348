import assert from 'node:assert/strict';
import { test } from 'node:test';
import { slots } from './colours.js';
import { Line } from './line.js';
import { inOrder, Timeline } from './timeline.js';

const iso = ms => new Date(ms).toISOString();
const T = Date.parse('2026-01-01T00:00:00Z');

test('a line grows up to its bound, and then forgets', () => {
  const line = new Line(10, 20);
  for (let i = 0; i < 100; i++) line.add(i * 10, i);
  assert.equal(line.n, 20);
  assert.deepEqual([line.t(0), line.last(0), line.end, line.last()], [800, 80, 990, 99]);
  assert.equal(line.find(905), 11);
  line.add(995, -1); // of the same slot
  assert.deepEqual([line.n, line.low(19), line.high(19), line.last()], [20, -1, 99, -1]);
});

test('history is where it belongs, whatever the clocks say', () => {
  for (const wrong of [0, 600_000, -600_000]) {
    const timeline = new Timeline(60_000), at = T + wrong;
    const places = [50, 30, 10, 0].map(s => timeline.place(iso(T - s * 1000), at, false) - at);
    assert.ok(places.every((p, i) => p <= 0 && p >= -60_000 && (!i || p >= places[i - 1])), `${wrong}: ${places}`);
    assert.equal(timeline.place(iso(T + 5000), at + 5000, true), at + 5000);
  }
});

test('a step of the clock of ten minutes empties nothing', () => {
  for (const step of [600_000, -600_000]) {
    const timeline = new Timeline(60_000);
    assert.equal(timeline.place(iso(T), T, true), T);
    const place = timeline.place(iso(T + 1000 + step), T + 1000, true);
    assert.equal(place, T + 1000);
  }
});

test('a clock that is set back leaves no time twice', () => {
  const at = [0, 5, 10, 4, 9].map(at => ({ at, n: at }));
  assert.deepEqual(inOrder(at, 5), [{ at: -11, n: 0 }, { at: -6, n: 5 }, { at: -1, n: 10 }, { at: 4, n: 4 }, { at: 9, n: 9 }]);
  assert.deepEqual(inOrder([], 5), []);
});

test('colours belong to names', () => {
  const names = ['boiler', 'cellar', 'greenhouse', 'rooftop', 'a', 'b', 'c', 'd', 'e'];
  const one = slots(names), other = slots([...names].reverse());
  for (const name of names) assert.equal(one.get(name), other.get(name));
  assert.equal(new Set(one.values()).size, names.length);
  assert.ok([...slots(names.slice(0, 4)).values()].every(slot => slot < 8));
});
