// Line keeps the newest values of one thing over time: one point (low, high, last) for each slot of time, in a room that grows
// with what is there, up to a bound.
const FIRST = 8, WORDS = 4; // points to begin with; t, low, high and last of each

export class Line {
  #room = new Float64Array(FIRST * WORDS); #start = 0; #slot; #most;
  n = 0;

  // slot is how far apart points are at least, in milliseconds, and most how many are kept.
  constructor(slot = 50, most = 1280) { this.#slot = slot; this.#most = most; }

  #at(k) { return (this.#start + k) % (this.#room.length / WORDS) * WORDS; }

  // add takes values in any order of time: what is older than the newest point goes into it, but its time stays.
  add(t, v) {
    const room = this.#room, i = this.n ? this.#at(this.n - 1) : 0;
    if (this.n && t - room[i] < this.#slot) {
      room[i + 1] = Math.min(room[i + 1], v);
      room[i + 2] = Math.max(room[i + 2], v);
      room[i + 3] = v;
      return;
    }
    if (this.n === room.length / WORDS) {
      if (this.n < this.#most) this.#grow();
      else { this.#start = (this.#start + 1) % this.n; this.n--; }
    }
    this.#room.set([t, v, v, v], this.#at(this.n++));
  }

  #grow() {
    const to = new Float64Array(Math.min(this.#most, this.n * 2) * WORDS);
    for (let k = 0; k < this.n; k++) to.set(this.#room.subarray(this.#at(k), this.#at(k) + WORDS), k * WORDS);
    this.#room = to;
    this.#start = 0;
  }

  t(k) { return this.#room[this.#at(k)]; }
  low(k) { return this.#room[this.#at(k) + 1]; }
  high(k) { return this.#room[this.#at(k) + 2]; }
  last(k = this.n - 1) { return this.#room[this.#at(k) + 3]; }
  get end() { return this.n ? this.t(this.n - 1) : -Infinity; }

  // find is the first point at or after t.
  find(t) {
    let a = 0, b = this.n;
    while (a < b) {
      const m = (a + b) >> 1;
      if (this.t(m) < t) a = m + 1; else b = m;
    }
    return a;
  }
}
