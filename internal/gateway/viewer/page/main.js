import { connect } from '../../client/iotcast.js';

// Everything here is bounded: a page left open for a month holds what it held after an hour.
const WINDOW = 60_000;           // ms, the x axis
const SLOT = 50, SLOTS = 1280;   // a line keeps one point (low, high, last) every SLOT ms at most
const MAX = { panels: 8, lines: 12, devices: 500, measures: 32, rows: 100, chips: 24, envelopes: 50, notes: 10, gaps: 20 };

const $ = id => document.getElementById(id);
const el = (tag, props, ...kids) => { const e = Object.assign(document.createElement(tag), props); e.append(...kids); return e; };
const set = (e, text) => { if (e.textContent !== text) e.textContent = text; };
const still = matchMedia('(prefers-reduced-motion: reduce)');

// ---- formats -------------------------------------------------------------------------------------------------------
const whole = new Intl.NumberFormat('en');
const digits = [0, 1, 2, 3].map(n => new Intl.NumberFormat('en', { maximumFractionDigits: n }));
function fmt(v) {
  const a = Math.abs(v);
  if (a >= 1e9 || (a && a < 1e-3)) return v.toExponential(2);
  return digits[a >= 1e4 ? 0 : a >= 100 ? 1 : a >= 1 ? 2 : 3].format(v);
}
function span(ms) {
  const s = Math.round(ms / 1000);
  return s < 60 ? `${s} s` : s < 3600 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
}
const ago = ms => ms < 1500 ? 'now' : span(ms);
const clockTime = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const utf8 = new TextDecoder('utf-8', { fatal: true });
function bytesToText(bytes) {
  try { return utf8.decode(bytes); } catch { /* not text */ }
  const hex = Array.from(bytes.subarray(0, 1024), b => b.toString(16).padStart(2, '0')).join(' ');
  return `0x ${hex}${bytes.length > 1024 ? ' …' : ''}`;
}
function decode(message) {
  try { return bytesToText(message.payload); } catch { return String(message?.details?.payload ?? ''); } // no base64
}
const parse = text => { try { return JSON.parse(text); } catch { return undefined; } };
const isObject = v => typeof v === 'object' && v !== null && !Array.isArray(v);
function* numbers(v, prefix = '') {
  if (Number.isFinite(v)) yield ['value', v];
  else if (isObject(v)) for (const [k, x] of Object.entries(v)) {
    if (Number.isFinite(x)) yield [prefix + k, x];
    else if (!prefix && isObject(x)) yield* numbers(x, k + '.');
  }
}
async function copy(text, button) {
  try { await navigator.clipboard.writeText(text); } catch { // no clipboard API over plain HTTP
    const area = el('textarea', { value: text, className: 'sr' });
    document.body.append(area); area.select(); document.execCommand('copy'); area.remove(); button.focus();
  }
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = 'Copy'; }, 1500);
}

// ---- data ----------------------------------------------------------------------------------------------------------
class Line {
  t = new Float64Array(SLOTS); low = new Float64Array(SLOTS); high = new Float64Array(SLOTS); last = new Float64Array(SLOTS);
  start = 0; n = 0;
  at(k) { return (this.start + k) % SLOTS; }
  get end() { return this.n ? this.t[this.at(this.n - 1)] : -Infinity; }
  add(t, v) {
    let i = this.at(this.n - 1 + SLOTS);
    if (this.n && t - this.t[i] < SLOT) {
      this.low[i] = Math.min(this.low[i], v);
      this.high[i] = Math.max(this.high[i], v);
    } else {
      if (this.n < SLOTS) this.n++; else this.start = (this.start + 1) % SLOTS;
      i = this.at(this.n - 1);
      this.t[i] = t;
      this.low[i] = this.high[i] = v;
    }
    this.last[i] = v;
  }
  find(t) { // the first point at or after t
    let a = 0, b = this.n;
    while (a < b) { const m = (a + b) >> 1; if (this.t[this.at(m)] < t) a = m + 1; else b = m; }
    return a;
  }
}

const devices = new Map();  // name -> { name, slot, last: Map(measure -> {v, t}), text, t, count, hidden }
const panels = new Map();   // measure -> panel
const log = { kept: [], fresh: 0, paused: false, hover: false, shown: [] };
const total = { messages: 0, envelopes: 0, gaps: 0, resumed: 0 };
const perSecond = new Float64Array(61), second = { at: 0 }; // messages by the second, and the newest second written
const inSecond = s => s > second.at || s <= second.at - 61 ? 0 : perSecond[s % 61];
const gaps = [];            // the times between which messages are missing, for the charts
let overflow = false, swept = 0;

// Points carry the time of the server. offset takes it to this browser's clock: it is the smallest delay seen, learned
// from messages that arrive a while after the connection opened, since the first ones may be history.
let offset = 0, learned = false;
const clock = () => Date.now() - offset;
function stamp(createdAt, now) {
  const lag = now - Date.parse(createdAt);
  if (!(Math.abs(lag) < 864e5)) return now - offset;
  if (!learned && now - link.opened > 1500) { offset = lag; learned = true; } else if (lag < offset) offset = lag;
  return now - lag;
}

const nameOf = m => String(m?.details?.device_id || m?.details?.mqtt_topic || '(no name)').slice(0, 200);
function deviceOf(name, now) {
  let d = devices.get(name);
  if (d) return d;
  if (devices.size >= MAX.devices) {
    overflow = true;
    if (now - swept < 1000) return undefined;
    swept = now;
    for (const [key, old] of devices) if (clock() - old.t > WINDOW) forget(key);
    if (devices.size >= MAX.devices) return undefined;
  }
  const used = new Set([...devices.values()].map(x => x.slot));
  let slot = 0;
  while (used.has(slot)) slot++;
  d = { name, slot, last: new Map(), text: '', t: 0, count: 0, hidden: false };
  devices.set(name, d);
  return d;
}
function forget(name) {
  devices.delete(name);
  for (const p of panels.values()) p.lines.delete(name);
}

function ingest(message, now) {
  const details = isObject(message?.details) ? message.details : {};
  const t = stamp(message?.event_metadata?.created_at, now);
  const d = deviceOf(nameOf(message), now);
  if (!d) return;
  d.count++;
  d.t = t;
  const text = decode(message);
  let any = false;
  for (const [measure, v] of numbers(parse(text))) {
    any = true;
    if (d.last.has(measure) || d.last.size < MAX.measures) d.last.set(measure, { v, t });
    lineOf(measure, d)?.add(t, v);
  }
  if (!any) d.text = text.slice(0, 120);
}

function lineOf(measure, device) {
  let p = panels.get(measure);
  if (!p) {
    if (panels.size >= MAX.panels) { // an old panel makes room once nothing is left to see in it
      const old = [...panels.values()].find(x => clock() - x.end > WINDOW);
      if (!old) return undefined;
      dropPanel(old);
    }
    p = addPanel(measure);
  }
  let line = p.lines.get(device.name);
  if (!line) {
    if (p.lines.size >= MAX.lines) {
      const old = [...p.lines].find(([, x]) => clock() - x.end > WINDOW);
      if (!old) return undefined;
      p.lines.delete(old[0]);
    }
    p.lines.set(device.name, line = new Line());
  }
  p.end = clock();
  return line;
}

// receive gets what came, and the messages in it; without messages it is no envelope, and shown as it is.
function receive(data, messages) {
  if (messages && !messages.length) return; // a gap, or nothing new
  resumed();
  const now = Date.now();
  const text = typeof data === 'string' ? data : bytesToText(new Uint8Array(data));
  for (const m of messages ?? []) ingest(m, now);
  const n = messages?.length ?? 0;
  total.envelopes++;
  total.messages += n;
  const s = Math.floor(now / 1000);
  for (; second.at < s; second.at = Math.max(second.at + 1, s - 60)) perSecond[(second.at + 1) % 61] = 0;
  perSecond[s % 61] += n;
  keep({ now, text, messages, row: null });
  frame ||= requestAnimationFrame(loop);
}
function keep(entry) {
  if (!matches(entry)) return;
  log.kept.unshift(entry);
  log.fresh++;
  const alike = log.kept.filter(e => !e.note === !entry.note);
  if (alike.length > (entry.note ? MAX.notes : MAX.envelopes)) log.kept.splice(log.kept.lastIndexOf(alike.at(-1)), 1); // notes outlive envelopes
}

// ---- connection ----------------------------------------------------------------------------------------------------
const config = parse($('config').textContent) ?? {};
const query = new URLSearchParams(location.search);
const routes = [...(config.routes ?? [])];
const asked = query.get('path');
if (asked?.startsWith('/') && !routes.includes(asked)) routes.push(asked);
let route = routes.includes(asked) ? asked : routes.includes(location.pathname) ? location.pathname : routes[0];
const link = { opened: 0, retryAt: 0, lost: 0, hush: 0 }; // lost: when, until it is known what that cost
let feed;

function follow() {
  feed?.close();
  if (!route) return;
  const pass = new URLSearchParams(query); // other parameters of the page go with the request: a token, say
  pass.delete('path');
  const path = encodeURI(route).replace(/[?#]/g, encodeURIComponent);
  feed = connect(`${location.origin}${path}${pass.size ? '?' + pass : ''}`, {
    onData: receive, onGap: missed, onState: changed, backoff: { max: 10_000 },
  });
}

function changed(state, detail) {
  const now = Date.now();
  if (state === 'closed' && !detail.error) return; // for another route
  if (state === 'open') {
    link.opened = now;
    learned = false;
    notify();
  }
  if (state === 'waiting' || state === 'closed') {
    notify('No connection.', whyNot(detail));
    if (link.opened) link.lost ||= now;
    link.opened = 0;
    link.retryAt = now + (detail.delay ?? 0);
  }
  document.body.dataset.state = { connecting: 'connecting', open: 'live', waiting: 'reconnecting', closed: 'reconnecting' }[state];
  $('say').textContent = { connecting: 'Connecting', open: `Connected to ${route}`, waiting: 'Connection lost, reconnecting', closed: 'Refused' }[state];
  $('retry').hidden = state !== 'waiting';
  tick();
}

function whyNot({ code, reason, error }) {
  if (error) return `Connecting to ${route} failed: ${error.message ?? error}.`;
  if (link.lost && !link.opened) return 'The gateway cannot be reached. This page tries on, and goes on where it was.';
  if (!link.opened) return `Is the gateway running, has it the route ${route}, and may this page connect to it?`;
  const said = { 1001: 'The gateway has ended it', 1012: 'The gateway restarts', 1013: 'This page was too slow', 4401: 'The token has expired' }[code];
  return `${said ?? 'It was lost'} (${code}${reason ? ': ' + reason : ''}).`;
}

function missed({ reason, dropped }) {
  const now = Date.now(), [what, why] = {
    history: ['Messages are missing.', 'The history of the route does not reach back to the last one that came.'],
    slow_consumer: [`${whole.format(dropped)} ${dropped === 1 ? 'message is' : 'messages are'} missing.`, 'This page was too slow for them.'],
    no_event_id: ['Messages may be missing.', 'The connection was lost before the first one came.'],
  }[reason] ?? ['Messages are missing.', String(reason)];
  total.gaps++;
  gaps.push([(link.lost || now) - offset, now - offset]);
  if (gaps.length > MAX.gaps) gaps.shift();
  link.lost = 0;
  keep({ now, note: `${what} ${why}`, gap: true });
  notify(what, why, now);
  wake();
}

// resumed: what comes next after a loss, and is no gap, comes without one.
function resumed() {
  if (!link.lost) return;
  const now = Date.now(), away = span(now - link.lost);
  total.resumed++;
  keep({ now, note: `Back after ${away}, and nothing is missing.` });
  notify(`Back after ${away}.`, 'Nothing is missing.');
  $('notice').className = 'card good';
  link.hush = setTimeout(notify, 6000);
  link.lost = 0;
}

function notify(what, text, at) {
  clearTimeout(link.hush);
  $('notice').hidden = !what;
  $('notice').className = 'card';
  if (what) document.querySelector('#notice p').replaceChildren(el('b', { textContent: what }), text, ...(at ? [el('span', { className: 'muted', textContent: ` ${clockTime.format(at)}` })] : []));
}
document.querySelector('#notice button').onclick = () => notify();
$('retry').onclick = () => feed.retry();

// ---- charts --------------------------------------------------------------------------------------------------------
const theme = { c: [] };
function readTheme() {
  const css = getComputedStyle(document.documentElement), get = name => css.getPropertyValue(name).trim();
  for (const name of ['ink', 'muted', 'grid', 'card', 'accent', 'edge', 'warn']) theme[name] = get('--' + name);
  theme.c = Array.from({ length: 8 }, (_, i) => get('--c' + i));
  dirty = true;
}
const colour = d => theme.c[d.slot % 8];
const dash = d => [[], [6, 4], [2, 3]][Math.floor(d.slot / 8) % 3];
const FONT = '11.5px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif';
const hover = { panel: null, f: 0 };
let frame = 0, drawn = 0, points = 0, dirty = true, accented = null;

const sizes = new ResizeObserver(list => {
  for (const { target, contentRect } of list) { const p = panels.get(target.dataset.measure); if (p) { p.w = contentRect.width; p.h = contentRect.height; } }
  wake();
});
const sight = new IntersectionObserver(list => {
  for (const { target, isIntersecting } of list) { const p = panels.get(target.dataset.measure); if (p) p.visible = isIntersecting; }
  wake();
});
function wake() { dirty = true; frame ||= requestAnimationFrame(loop); }

function addPanel(measure) {
  const canvas = el('canvas', { tabIndex: 0, role: 'img' }), meta = el('span');
  canvas.dataset.measure = measure;
  const card = el('article', { className: 'panel card' }, el('header', {}, el('h2', { textContent: measure, title: measure }), meta), canvas);
  card.dataset.measure = measure;
  const p = { measure, card, canvas, meta, ctx: canvas.getContext('2d'), lines: new Map(), w: 0, h: 0, visible: true, lo: NaN, hi: NaN, end: 0, box: null };
  const point = (f, e) => { hover.panel = p; hover.f = Math.min(1, Math.max(0, f)); hover.y = e?.clientY; wake(); };
  const leave = () => { if (hover.panel === p) { hover.panel = null; $('tip').hidden = true; wake(); } };
  canvas.onpointermove = e => { if (p.box) point((e.offsetX - p.box.x) / p.box.w, e); };
  canvas.onpointerleave = canvas.onblur = leave;
  canvas.onkeydown = e => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
    if (step) { e.preventDefault(); point(hover.panel === p ? hover.f + step / 60 : 1); }
    if (e.key === 'Escape') leave();
  };
  canvas.onfocus = () => { canvas.ariaLabel = `${measure}, now: ` + [...p.lines].map(([name, l]) => `${name} ${fmt(l.last[l.at(l.n - 1)])}`).join(', '); };
  panels.set(measure, p);
  $('chart').append(card);
  sizes.observe(canvas);
  sight.observe(canvas);
  return p;
}
function dropPanel(p) {
  if (hover.panel === p) { hover.panel = null; $('tip').hidden = true; }
  sizes.unobserve(p.canvas);
  sight.unobserve(p.canvas);
  p.card.remove();
  panels.delete(p.measure);
}

// A frame is drawn up to 25 times a second while something moves (less often when there is much to draw), at once when
// something changed, and not at all otherwise.
function loop(now) {
  frame = 0;
  let moving = true;
  if (dirty || now - drawn >= (still.matches ? 500 : Math.max(40, Math.min(250, points / 40)))) {
    drawn = now;
    moving = false;
    points = 0;
    const eager = dirty;
    dirty = false;
    for (const p of panels.values()) if (p.visible && p.w && draw(p, eager)) moving = true;
  }
  if (moving || dirty) frame ||= requestAnimationFrame(loop);
}

function ticks(lo, hi, n) {
  const raw = (hi - lo) / n, mag = 10 ** Math.floor(Math.log10(raw)), nice = [1, 2, 2.5, 5, 10].find(m => m * mag >= raw * .999), step = nice * mag;
  const out = [], places = Math.min(20, Math.max(0, (nice === 2.5) - Math.floor(Math.log10(step) + 1e-9)));
  for (let i = Math.ceil(lo / step); i * step <= hi; i++) {
    const v = i * step;
    out.push([v, Math.abs(v) >= 1e6 || step < 1e-4 ? (v ? v.toExponential(1) : '0') : v.toFixed(places)]);
  }
  return out;
}

function draw(p, eager) {
  const { ctx, canvas, w, h } = p, scale = devicePixelRatio || 1, t1 = clock(), t0 = t1 - WINDOW;
  const pw = Math.round(w * scale), ph = Math.round(h * scale);
  if (canvas.width !== pw || canvas.height !== ph) { canvas.width = pw; canvas.height = ph; }
  ctx.setTransform(scale, 0, 0, scale, 0, 0);
  ctx.clearRect(0, 0, w, h);
  ctx.font = FONT;
  ctx.lineJoin = ctx.lineCap = 'round';

  const lines = [];
  let lo = Infinity, hi = -Infinity, alive = false;
  for (const [name, line] of p.lines) {
    const d = devices.get(name), from = line.find(t0);
    if (!d || from === line.n) continue;
    alive = true;
    if (d.hidden) continue;
    const first = Math.max(0, from - 1);
    for (let k = from; k < line.n; k++) { const i = line.at(k); lo = Math.min(lo, line.low[i]); hi = Math.max(hi, line.high[i]); }
    lines.push({ d, line, first, v: line.last[line.at(line.n - 1)] });
  }
  p.range = lines.length ? [lo, hi] : null;
  if (!lines.length) { lo = 0; hi = 1; }
  const pad = (hi - lo) * .1 || Math.abs(hi) * .02 || .5;
  lo -= pad; hi += pad;
  const near = Math.abs(p.lo - lo) + Math.abs(p.hi - hi) < (hi - lo) * .004;
  if (!(p.hi > p.lo) || near || still.matches) { p.lo = lo; p.hi = hi; }
  else {
    if (!eager || !alive) { p.lo += (lo - p.lo) * .22; p.hi += (hi - p.hi) * .22; }
    p.lo = Math.min(p.lo, lo + pad); p.hi = Math.max(p.hi, hi - pad); // no line leaves the panel meanwhile
  }

  // frame and grid
  const grid = ticks(p.lo, p.hi, Math.max(2, h / 36));
  const left = Math.max(...grid.map(([, s]) => ctx.measureText(s).width), 16) + 8;
  const right = Math.max(...lines.map(l => ctx.measureText(fmt(l.v)).width), 20) + 18;
  const box = p.box = { x: left, y: 8, w: Math.max(40, w - left - right), h: h - 32 };
  const X = t => box.x + (t - t0) / WINDOW * box.w, Y = v => box.y + (p.hi - v) / (p.hi - p.lo) * box.h;
  ctx.lineWidth = 1;
  ctx.strokeStyle = theme.grid;
  ctx.fillStyle = theme.muted;
  ctx.beginPath();
  ctx.textBaseline = 'middle';
  ctx.textAlign = 'right';
  for (const [v, s] of grid) {
    const y = Math.round(Y(v)) + .5;
    ctx.moveTo(box.x, y); ctx.lineTo(box.x + box.w, y);
    ctx.fillText(s, box.x - 8, y);
  }
  ctx.textAlign = 'center';
  for (const s of [60, 45, 30, 15, 0]) {
    const x = Math.round(box.x + (1 - s / 60) * box.w) + .5;
    ctx.moveTo(x, box.y); ctx.lineTo(x, box.y + box.h);
    ctx.textAlign = s === 60 ? 'left' : 'center';
    ctx.fillText(s ? `−${s} s` : 'now', s === 60 ? x - 2 : x, h - 10);
  }
  ctx.stroke();

  // lines, above what is missing of them
  ctx.save();
  ctx.beginPath();
  ctx.rect(box.x, 0, box.w + 6, box.y + box.h + 4);
  ctx.clip();
  ctx.fillStyle = theme.warn;
  for (const [from, to] of gaps) {
    ctx.globalAlpha = .16;
    ctx.fillRect(X(from), box.y, Math.max(2, X(to) - X(from)), box.h);
    ctx.globalAlpha = .8;
    ctx.fillRect(X(to) - 1, box.y, 1.5, box.h);
  }
  for (const { d, line, first } of lines) {
    const faint = accented && accented !== d, count = line.n - first, column = count > box.w ? WINDOW / box.w : 0;
    points += Math.min(count, box.w);
    ctx.globalAlpha = faint ? .15 : 1;
    ctx.strokeStyle = ctx.fillStyle = colour(d);
    ctx.lineWidth = accented === d ? 2.75 : 1.9;
    ctx.setLineDash(dash(d));
    ctx.beginPath();
    let key = -1, x = 0, low = 0, high = 0, x0 = NaN;
    for (let k = first; k <= line.n; k++) { // points that share a pixel column become one vertical stroke
      const i = line.at(k), next = k === line.n ? -2 : column ? Math.floor(line.t[i] / column) : k;
      if (next === key) { low = Math.min(low, line.low[i]); high = Math.max(high, line.high[i]); continue; }
      if (key >= 0) { ctx.lineTo(x, Y(low)); if (high > low) ctx.lineTo(x, Y(high)); }
      if (next === -2) break;
      key = next; x = X(column ? key * column : line.t[i]); low = line.low[i]; high = line.high[i];
      if (x0 !== x0) x0 = x;
    }
    const v = line.last[line.at(line.n - 1)];
    ctx.lineTo(x, Y(v));
    ctx.stroke();
    ctx.setLineDash([]);
    if (lines.length < 3 && !faint) { // few lines: a soft area below
      ctx.lineTo(x, box.y + box.h); ctx.lineTo(x0, box.y + box.h);
      const fade = ctx.createLinearGradient(0, box.y, 0, box.y + box.h);
      fade.addColorStop(0, colour(d) + '30'); fade.addColorStop(1, colour(d) + '00');
      ctx.fillStyle = fade; ctx.fill(); ctx.fillStyle = colour(d);
    }
    if (count <= 40) for (let k = first; k < line.n; k++) { const i = line.at(k); disc(ctx, X(line.t[i]), Y(line.last[i]), 2); }
    ctx.strokeStyle = theme.card;
    ctx.lineWidth = 1.5;
    disc(ctx, x, Y(v), 4, true);
  }
  ctx.restore();

  // current values, pushed apart
  const gap = 14, labels = lines.map(l => ({ ...l, y: Y(l.v) })).sort((a, b) => a.y - b.y);
  let floor = box.y + 4;
  for (const l of labels) floor = (l.y = Math.max(l.y, floor)) + gap;
  let roof = box.y + box.h;
  for (const l of labels.reverse()) roof = (l.y = Math.min(l.y, roof)) - gap;
  ctx.textAlign = 'left';
  ctx.lineWidth = 3;
  ctx.lineCap = 'butt';
  for (const l of labels) {
    if (l.y < 4) continue;
    ctx.globalAlpha = accented && accented !== l.d ? .25 : 1;
    ctx.strokeStyle = colour(l.d);
    ctx.setLineDash(dash(l.d).map(n => n / 2));
    ctx.beginPath(); ctx.moveTo(box.x + box.w + 10, l.y - 5); ctx.lineTo(box.x + box.w + 10, l.y + 5); ctx.stroke();
    ctx.fillStyle = theme.ink;
    ctx.fillText(fmt(l.v), box.x + box.w + 16, l.y);
  }
  ctx.globalAlpha = 1;
  ctx.setLineDash([]);

  if (hover.panel) crosshair(p, lines, X, Y, t0);
  return alive;
}

function disc(ctx, x, y, r, ring) {
  ctx.beginPath();
  ctx.arc(x, y, r, 0, 7);
  ctx.fill();
  if (ring) ctx.stroke();
}

// The crosshair stands in every panel; the panel under the pointer also lists the values.
function crosshair(p, lines, X, Y, t0) {
  const { ctx, box } = p, t = t0 + hover.f * WINDOW, x = box.x + hover.f * box.w, rows = [];
  ctx.strokeStyle = theme.muted;
  ctx.lineWidth = 1;
  ctx.setLineDash([3, 3]);
  ctx.beginPath(); ctx.moveTo(x, box.y); ctx.lineTo(x, box.y + box.h); ctx.stroke();
  ctx.setLineDash([]);
  ctx.strokeStyle = theme.card;
  for (const { d, line } of lines) {
    let k = Math.min(line.find(t), line.n - 1);
    if (k && t - line.t[line.at(k - 1)] < line.t[line.at(k)] - t) k--;
    const i = line.at(k);
    if (line.t[i] < t0 || Math.abs(line.t[i] - t) > WINDOW / 6) continue;
    ctx.fillStyle = colour(d);
    disc(ctx, X(line.t[i]), Y(line.last[i]), 4, true);
    rows.push([line.last[i], d]);
  }
  if (hover.panel !== p) return;
  const tip = $('tip'), ageOf = (1 - hover.f) * 60;
  tip.replaceChildren(el('div', { className: 'muted', textContent: ageOf < .5 ? 'now' : `${ageOf.toFixed(0)} s ago` }),
    ...rows.sort((a, b) => b[0] - a[0]).map(([v, d]) => el('div', {}, swatch(d), el('span', { textContent: d.name }), el('b', { textContent: fmt(v) }))));
  tip.hidden = false;
  const r = p.canvas.getBoundingClientRect(), tw = tip.offsetWidth, th = tip.offsetHeight;
  const tx = Math.max(8, Math.min(innerWidth - tw - 8, r.left + x + (hover.f > .5 ? -tw - 16 : 16)));
  tip.style.transform = `translate(${tx}px, ${Math.max(8, Math.min(innerHeight - th - 8, (hover.y ?? r.top + r.height / 2) - th / 2))}px)`;
}
function swatch(d) {
  const i = el('i', { className: 'swatch' });
  const [on] = dash(d);
  i.style.setProperty('--c', `var(--c${d.slot % 8})`);
  if (on) { i.classList.add('dash'); i.style.setProperty('--on', on / 1.5 + 'px'); }
  return i;
}

// ---- the rest of the page, four times a second ---------------------------------------------------------------------
function tick() {
  const now = Date.now(), { dataset } = document.body, state = dataset.state;
  dataset.messages = total.messages;
  dataset.envelopes = total.envelopes;
  dataset.devices = devices.size;
  dataset.gaps = total.gaps;
  dataset.resumed = total.resumed;
  set(document.querySelector('#state span'), state === 'live' ? 'Live' : state === 'connecting' ? 'Connecting…' : feed?.state === 'closed' ? 'Refused' : `Reconnecting in ${Math.max(1, Math.ceil((link.retryAt - now) / 1000))} s`);
  if (document.hidden) return;

  const s = Math.floor(now / 1000), full = Math.min(3, Math.max(1, s - Math.floor(link.opened / 1000)));
  let rate = 0;
  for (let k = 1; k <= full; k++) rate += inSecond(s - k) / full;
  set($('count'), whole.format(total.messages));
  set($('rate'), rate && rate < 10 ? rate.toFixed(1) : whole.format(Math.round(rate)));
  set($('devices'), whole.format(devices.size) + (overflow ? '+' : ''));
  const since = $('since');
  if (state === 'live') since.replaceChildren(clockTime.format(link.opened), el('small', { textContent: span(now - link.opened) }));
  else set(since, '–');
  drawSpark(now);

  const first = !total.envelopes;
  $('empty').hidden = panels.size > 0;
  $('tables').hidden = first;
  if (!panels.size) describeEmpty(state, first);
  const counts = new Map();
  for (const d of devices.values()) for (const m of d.last.keys()) counts.set(m, (counts.get(m) ?? 0) + 1);
  for (const p of panels.values()) {
    const more = (counts.get(p.measure) ?? 0) - p.lines.size;
    p.card.dataset.lines = p.lines.size;
    set(p.meta, (p.range ? p.range[0] < p.range[1] ? `${fmt(p.range[0])} to ${fmt(p.range[1])}` : 'steady' : 'nothing in the last 60 s') + (more > 0 ? ` · +${more} more` : ''));
  }
  const more = counts.size - panels.size;
  $('note').hidden = more <= 0;
  set($('note'), `+${more} more ${more === 1 ? 'measure' : 'measures'} in the table below`);
  renderLegend();
  renderReadings();
  renderLog();
}

const example = `${config.publish ?? 'mosquitto_pub'} -t '$devices/my-device/events' -m '{"temperature":21.5}'`;
function describeEmpty(state, first) {
  const box = $('empty');
  set(box.querySelector('h2'), !route ? 'This gateway has no routes' : !first ? 'Nothing to chart yet' : state === 'live' ? `Connected to ${route}` : `Connecting to ${route}…`);
  set(box.querySelector('p'), !route ? 'Add one under websocket_gateways[].routes and reload the page.'
    : !first ? 'Messages arrive, but none holds a number. A payload like this one draws a line:'
      : state === 'live' ? 'Waiting for messages… publish one:' : 'When the connection stands, publish a message:');
  box.querySelector('.try').hidden = !route;
}
document.querySelector('.try code').textContent = example;
document.querySelector('.try button').onclick = e => copy(example, e.currentTarget);

function drawSpark(now) {
  const canvas = $('spark'), scale = devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight, ctx = canvas.getContext('2d');
  if (!w) return;
  canvas.width = w * scale;
  canvas.height = h * scale;
  ctx.scale(scale, scale);
  const s = Math.floor(now / 1000), n = 30, each = w / n, value = k => inSecond(s - k);
  let top = 1;
  for (let k = 1; k <= n; k++) top = Math.max(top, value(k));
  ctx.fillStyle = theme.accent;
  for (let k = 1; k <= n; k++) {
    const bar = Math.max(2, value(k) / top * h);
    ctx.globalAlpha = value(k) ? .35 + .65 * (1 - k / n) : .18;
    ctx.beginPath(); ctx.roundRect(w - k * each, h - bar, each - 2, bar, 1.5); ctx.fill();
  }
}

let legendKey = '';
function renderLegend() {
  const list = [...devices.values()].slice(0, MAX.chips), key = list.map(d => d.name).join('\n') + devices.size;
  $('legend').hidden = !panels.size;
  if (key === legendKey) return;
  legendKey = key;
  accented = null;
  $('legend').replaceChildren(...list.map(d => {
    const chip = el('button', { title: d.name, ariaPressed: String(!d.hidden) }, swatch(d), el('span', { textContent: d.name }));
    chip.onclick = () => { d.hidden = !d.hidden; chip.ariaPressed = String(!d.hidden); wake(); };
    chip.onpointerenter = chip.onfocus = () => { accented = d.hidden ? null : d; wake(); };
    chip.onpointerleave = chip.onblur = () => { accented = null; wake(); };
    return el('li', {}, chip);
  }), ...(devices.size > list.length ? [el('li', { className: 'muted', textContent: `+${devices.size - list.length} more` })] : []));
}

const TEXT = '\0'; // the column of payloads without numbers
let columnsKey, readingRows = new Map();
function renderReadings() {
  const list = [...devices.values()].slice(0, MAX.rows), columns = new Set();
  for (const d of list) for (const m of d.last.keys()) if (columns.size < MAX.measures) columns.add(m);
  if (list.some(d => d.text)) columns.add(TEXT);
  const [head, body] = $('readings').children, key = [...columns].join('\n');
  if (key !== columnsKey) {
    columnsKey = key;
    readingRows = new Map();
    body.replaceChildren();
    head.replaceChildren(el('tr', {}, ...['Device', ...columns, 'Age', 'Messages'].map(c => el('th', { scope: 'col', textContent: c === TEXT ? 'text' : c }))));
  }
  const t = clock();
  for (const d of list) {
    let row = readingRows.get(d);
    if (!row) {
      const cells = new Map([...columns, 'Age', 'Messages'].map((c, i) => {
        const td = el('td', c === TEXT ? { className: 'text' } : {});
        td.dataset.label = c === TEXT ? 'text' : c;
        return [i < columns.size ? c : TEXT + c, td];
      }));
      row = { tr: el('tr', {}, el('th', { scope: 'row', title: d.name }, swatch(d), el('span', { textContent: d.name })), ...cells.values()), cells };
      readingRows.set(d, row);
      body.append(row.tr);
    }
    for (const [c, td] of row.cells) {
      const last = d.last.get(c);
      set(td, c === TEXT ? d.text || '–' : c === TEXT + 'Age' ? ago(t - d.t) : c === TEXT + 'Messages' ? whole.format(d.count) : last ? fmt(last.v) : '–');
      if (last) { const title = `${last.v}, ${ago(t - last.t)}`; if (td.title !== title) td.title = title; }
    }
    row.tr.classList.toggle('stale', t - d.t > WINDOW);
  }
  for (const [d, row] of readingRows) if (devices.get(d.name) !== d) { row.tr.remove(); readingRows.delete(d); }
  set($('rows'), devices.size > list.length ? `+${devices.size - list.length} more` : '');
}

// ---- envelopes -----------------------------------------------------------------------------------------------------
function matches(entry) {
  const q = $('filter').value.trim().toLowerCase();
  return !q || entry.note || (entry.messages ?? []).some(m => {
    const d = m?.details;
    return [d?.device_id, d?.mqtt_topic, d?.registry_id, d?.broker_id].some(x => String(x ?? '').toLowerCase().includes(q));
  });
}
function paint(pre, text) { // JSON in colours, as text nodes
  if (text.length > 60_000) { pre.textContent = text; return; }
  let at = 0;
  for (const m of text.matchAll(/("(?:\\.|[^"\\])*")(\s*:)?|-?\d[\d.eE+-]*|\btrue\b|\bfalse\b|\bnull\b/g)) {
    pre.append(text.slice(at, m.index), el('span', { className: m[2] ? 'k' : m[1] ? 's' : 'n', textContent: m[0] }));
    at = m.index + m[0].length;
  }
  pre.append(text.slice(at));
}
const pretty = text => { const v = parse(text); return v === undefined ? text : JSON.stringify(v, null, 2); };

function timeOf({ now }) {
  const time = new Date(now);
  return el('time', { textContent: `${clockTime.format(time)}.${String(time.getMilliseconds()).padStart(3, '0')}` });
}
function rowOf(entry) {
  if (entry.row) return entry.row;
  if (entry.note) {
    return entry.row = el('div', { className: entry.gap ? 'note gap' : 'note' }, el('i'), el('p', { textContent: entry.note }), timeOf(entry));
  }
  const list = entry.messages ?? [], last = list.at(-1), names = new Set(list.map(nameOf));
  const who = names.size === 1 ? [...names][0] : names.size ? `${names.size} devices` : 'not an envelope';
  const device = devices.get(who), { mqtt_topic = '' } = last?.details ?? {}, topic = names.size === 1 && mqtt_topic !== who ? mqtt_topic : '';
  const icon = device ? swatch(device) : el('i', { className: 'swatch' });
  const preview = entry.messages ? decode(last) : entry.text;
  const row = el('details', {}, el('summary', {}, icon,
    el('div', {}, el('b', { textContent: who }), el('span', { className: 'muted', textContent: list.length > 1 ? `${list.length} messages` : topic })),
    timeOf(entry),
    el('code', { textContent: preview.slice(0, 200) || '(empty payload)' })));
  row.ontoggle = () => {
    row.querySelector('.raw')?.remove();
    if (!row.open) return;
    hold(true);
    const raw = el('div', { className: 'raw' }), text = pretty(entry.text);
    const block = (label, json) => {
      const pre = el('pre', { tabIndex: 0 }), button = el('button', { textContent: 'Copy', onclick: () => copy(json, button) });
      paint(pre, json);
      raw.append(el('div', {}, el('p', { className: 'muted', textContent: label }), pre, button));
    };
    for (const m of list.slice(0, 10)) block(list.length > 1 ? `Payload from ${nameOf(m)}` : 'Payload', pretty(decode(m)));
    block(list.length > 10 ? `Envelope (+${list.length - 10} more messages)` : entry.messages ? 'Envelope' : 'As received', text);
    row.append(raw);
  };
  return entry.row = row;
}

function hold(paused) {
  log.paused = paused;
  if (!paused) $('envelopes').scrollTop = 0;
  renderLog();
}
function renderLog(force) {
  const list = $('envelopes'), held = log.paused || log.hover || list.scrollTop > 4 || list.contains(document.activeElement);
  set($('pause'), !held ? 'Pause' : log.paused ? (log.fresh ? `Resume · ${whole.format(log.fresh)} new` : 'Resume') : 'Holding');
  if (held && !force) return;
  log.fresh = 0;
  const shown = log.kept.filter(matches);
  if (!shown.length) {
    if (!list.querySelector('.none')) list.replaceChildren(el('p', { className: 'none', textContent: 'No envelope matches yet.' }));
  } else if (shown[0] !== log.shown[0] || shown.length !== log.shown.length) {
    list.replaceChildren(...shown.map(rowOf));
  }
  log.shown = shown;
}
$('pause').onclick = () => { hold(!log.paused); };
$('filter').oninput = () => renderLog(true);
$('envelopes').onpointerenter = e => { log.hover = e.pointerType === 'mouse'; renderLog(); };
$('envelopes').onpointerleave = () => { log.hover = false; };

// ---- start ---------------------------------------------------------------------------------------------------------
function reset() {
  for (const p of [...panels.values()]) dropPanel(p);
  devices.clear();
  Object.assign(log, { kept: [], fresh: 0, paused: false, shown: [] });
  Object.assign(total, { messages: 0, envelopes: 0, gaps: 0, resumed: 0 });
  Object.assign(link, { opened: 0, lost: 0 });
  perSecond.fill(0);
  gaps.length = 0;
  overflow = false;
  offset = 0;
  notify();
}
function showRoute() { document.querySelector('#path code').textContent = location.host + (routes.length > 1 ? '' : route ?? ''); }

$('title').textContent = config.title ?? 'iotcast';
$('pick').hidden = routes.length < 2;
$('route').append(...routes.map(r => el('option', { value: r, textContent: r, selected: r === route })));
$('route').onchange = e => {
  route = e.target.value;
  const url = new URL(location.href);
  url.searchParams.set('path', route);
  history.replaceState(null, '', url);
  reset();
  showRoute();
  follow();
};
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { readTheme(); wake(); });
document.addEventListener('visibilitychange', () => { if (!document.hidden) { tick(); wake(); } });
second.at = Math.floor(Date.now() / 1000);
showRoute();
readTheme();
tick();
follow();
setInterval(tick, 250);
