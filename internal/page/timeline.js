// Timeline puts messages, which carry the time of a server, on the clock of this page, which goes at one pace whatever is done
// to the clocks of either.
const LATE = 30_000; // ms, after which what comes live is late because a clock was set

// now is the clock of the page, in milliseconds.
export const now = () => performance.timeOrigin + performance.now();

export class Timeline {
  #offset; #window; #settled = false; // settled: the offset is that of a live message

  // window is how far back a route may begin with its history, in milliseconds: what seems older tells of another clock.
  constructor(window) { this.#window = window; }

  // place is when a message was made, on the clock of the page: never after it came, at. Live says that it is no history.
  place(createdAt, at, live) {
    const lag = at - Date.parse(createdAt);
    if (!Number.isFinite(lag)) return at;
    if (this.#offset === undefined) this.#offset = Math.min(lag, 0);
    if (live && !this.#settled || lag < this.#offset || live && lag > this.#offset + LATE) this.#offset = lag;
    else if (!live && lag > this.#offset + this.#window + 2000) this.#offset = lag - this.#window;
    this.#settled ||= live;
    return at - (lag - this.#offset);
  }
}

// inOrder has times that were taken one after the other, each { at }, go up: where a clock was set back, what was before moves
// back with it, so that it stands apart by a period. What is newest stays.
export function inOrder(all, period) {
  const ordered = [...all];
  for (let i = ordered.length - 2; i >= 0; i--) {
    if (ordered[i].at >= ordered[i + 1].at) ordered[i] = { ...ordered[i], at: ordered[i + 1].at - period };
  }
  return ordered;
}
