// What the viewer holds of a route. All of it is bounded: a page left open for a month holds what it held after an hour.
import { Devices } from '../../../page/devices.js';
import { Line } from '../../../page/line.js';
import { Tail } from '../../../page/tail.js';
import { now, Timeline } from '../../../page/timeline.js';

export const WINDOW = 60_000; // ms, of the charts
const LINES = 20_000, MEASURES = 200, GAPS = 20; // at most
const SETTLED = 2000; // ms after a connection opened, what comes is live
const SECONDS = 61; // of the rate

export class Data {
  devices = new Devices();
  tail = new Tail();
  measures = new Map(); // measure -> Map of a device's name -> Line
  gaps = []; // [from, to], where messages are missing
  total = { messages: 0, envelopes: 0, gaps: 0, resumed: 0 };
  #timeline = new Timeline(WINDOW);
  #lines = 0; #newest; #gap; #swept = 0;
  #rates = new Float64Array(SECONDS); #second = Math.floor(now() / 1000);

  // receive takes the messages of an envelope. Opened is when the connection was, on the clock of the page.
  receive(messages, opened) {
    const at = now(), live = at - opened > SETTLED;
    this.total.envelopes++;
    this.total.messages += messages.length;
    this.#count(at, messages.length);
    for (const message of messages) {
      const created = message?.event_metadata?.created_at;
      this.tail.add(message, Date.parse(created) || Date.now());
      this.#ingest(message, this.#timeline.place(created, at, live));
    }
  }

  #ingest(message, at) {
    if (this.#gap) {
      this.#gap[1] = Math.max(this.#gap[0], at);
      this.#gap = undefined;
    }
    this.#newest = at;
    const known = this.devices.ingest(message, at);
    for (const [measure, value, time] of known?.values ?? []) {
      if (typeof value !== 'number') continue;
      // A record of SenML has a time of its own, on the clock of its device: what counts is how long before its message it is.
      const before = time ? Date.parse(message.event_metadata?.created_at) - time : 0;
      this.#line(measure, known.device.name)?.add(before > 0 && before < WINDOW ? at - before : at, value);
    }
  }

  #line(measure, name) {
    let lines = this.measures.get(measure);
    if (!lines) {
      if (this.measures.size >= MEASURES) return undefined;
      this.measures.set(measure, lines = new Map());
    }
    let line = lines.get(name);
    if (!line) {
      if (this.#lines >= LINES) return undefined;
      lines.set(name, line = new Line());
      this.#lines++;
    }
    return line;
  }

  // missed notes that messages are missing from when the newest came to when the next one does.
  missed() {
    const at = now();
    this.total.gaps++;
    this.gaps.push(this.#gap = [this.#newest ?? at, at]);
    if (this.gaps.length > GAPS) this.gaps.shift();
  }

  // sweep makes room: lines in which nothing is left to see go, and with them measures.
  sweep() {
    const at = now();
    if (at - this.#swept < 10_000) return;
    this.#swept = at;
    for (const [measure, lines] of this.measures) {
      for (const [name, line] of lines) {
        if (line.end >= at - WINDOW) continue;
        lines.delete(name);
        this.#lines--;
      }
      if (!lines.size) this.measures.delete(measure);
    }
    if (this.devices.size < this.devices.most) return;
    for (const device of this.devices.values()) if (at - device.at > WINDOW) this.devices.forget(device.name);
  }

  #count(at, n) {
    const s = Math.floor(at / 1000);
    for (; this.#second < s; this.#second = Math.max(this.#second + 1, s - SECONDS + 1)) this.#rates[(this.#second + 1) % SECONDS] = 0;
    this.#rates[s % SECONDS] += n;
  }

  // inSecond is how many messages came in the second k before this one.
  inSecond(k) {
    const s = Math.floor(now() / 1000) - k;
    return s > this.#second || s <= this.#second - SECONDS ? 0 : this.#rates[s % SECONDS];
  }
}
