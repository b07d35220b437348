// What is in a message: who sent it, its payload as a text, and the values that the payload holds.

const DEPTH = 4, MEASURES = 64, ITEMS = 16; // of a payload, what is read of it at most
const SENML_ABSOLUTE = 2 ** 28; // s: what is less is relative to now (RFC 8428, section 4.5.3)

const utf8 = new TextDecoder('utf-8', { fatal: true });
const isObject = v => typeof v === 'object' && v !== null && !Array.isArray(v);

// parse reads JSON, and is undefined for what is none.
export function parse(text) {
  try { return JSON.parse(text); } catch { return undefined; }
}

// pretty writes JSON with indents, and leaves what is none, or is nested too deeply for that, as it is.
export function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

// bytesText is UTF-8 as it is, and other bytes in hexadecimal.
export function bytesText(bytes) {
  try { return utf8.decode(bytes); } catch { /* not text */ }
  const hex = Array.from(bytes.subarray(0, 1024), b => b.toString(16).padStart(2, '0')).join(' ');
  return `0x ${hex}${bytes.length > 1024 ? ' …' : ''}`;
}

// bytesOf reads base64. Thousands of payloads are read at once where somebody begins to look for a text.
function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const binary = atob(base64), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

class Message {
  constructor(json) { Object.assign(this, json); }
  get payload() {
    const { payload, payload_base64: other } = this.details ?? {};
    if (other == null && typeof payload !== 'string') return new TextEncoder().encode(JSON.stringify(payload) ?? '');
    return bytesOf(other ?? payload);
  }
  text() { return new TextDecoder().decode(this.payload); }
  json() { return parse(this.text()); }
}

// messageOf makes a message, as the client has them, of one that came as JSON, say from GET /tap.
export const messageOf = json => new Message(json);

// payloadText is the payload as people read it.
export function payloadText(message) {
  try { return bytesText(message.payload); } catch { return String(message?.details?.payload ?? ''); } // no base64
}

// topicOf and nameOf say where a message came from: its device, or the topic of a broker.
export const topicOf = message => String(message?.details?.mqtt_topic ?? '').slice(0, 1000);
export const kindOf = message => message?.details?.device_id ? 'device' : 'topic';
export const nameOf = message => String(message?.details?.device_id || message?.details?.mqtt_topic || '(no name)').slice(0, 200);

// An epoch is told by its name and by its size: seconds, milliseconds, microseconds or nanoseconds of the years 2001 to 2100.
const epochName = /(^|[._])(ts|t|time|timestamp|epoch|at|when|date|utc)$|(Time|Timestamp|At)$|_(ms|us|ns)$/i;
function epoch(name, v) {
  if (!epochName.test(name)) return undefined;
  for (const per of [1, 1e3, 1e6, 1e9]) if (v >= 1e9 * per && v < 4.1e9 * per) return new Date(v / per * 1000).toISOString();
  return undefined;
}

const numeric = /^\s*[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?\s*$/i;

function scalar(name, v) {
  if (typeof v === 'string') {
    const n = numeric.test(v) ? Number(v) : NaN;
    return Number.isFinite(n) ? scalar(name, n) : v.slice(0, 200);
  }
  if (typeof v === 'number') return epoch(name, v) ?? v;
  return v;
}

function walk(v, name, depth, out) {
  if (out.length >= MEASURES || v === null || v === undefined) return;
  if (typeof v !== 'object') {
    if (name || typeof v !== 'string') out.push([name || 'value', scalar(name, v)]);
    else if (numeric.test(v)) out.push(['value', scalar('', v)]);
    return;
  }
  if (depth === DEPTH) return;
  const prefix = name && name + '.';
  if (Array.isArray(v)) v.slice(0, ITEMS).forEach((x, i) => walk(x, prefix + i, depth + 1, out));
  else for (const key in v) walk(v[key], prefix + key.slice(0, 80), depth + 1, out);
}

// isPack tells SenML: an array of records, each with a value of its own or with what the others build on.
const isPack = v => Array.isArray(v) && v.length > 0 && v.every(isObject) &&
  v.some(r => ('n' in r || 'bn' in r) && ['v', 'vs', 'vb', 'vd', 's'].some(k => k in r));

// A measure is called as its record is; the base name is in front only where a pack has several, as those are several things.
function senml(pack, createdAt) {
  const out = [], several = new Set(pack.map(r => r.bn).filter(x => x !== undefined)).size > 1;
  let bn = '', bt = 0, bu = '', bv = 0, bs = 0;
  for (const r of pack) {
    if (out.length >= MEASURES) break;
    if (typeof r.bn === 'string') bn = r.bn;
    if (Number.isFinite(r.bt)) bt = r.bt;
    if (typeof r.bu === 'string') bu = r.bu;
    if (Number.isFinite(r.bv)) bv = r.bv;
    if (Number.isFinite(r.bs)) bs = r.bs;
    const value = Number.isFinite(r.v) ? bv + r.v : r.vb ?? r.vs ?? r.vd ?? (Number.isFinite(r.s) ? bs + r.s : undefined);
    if (value === undefined || typeof value === 'object') continue;
    const own = typeof r.n === 'string' ? r.n : '', unit = typeof r.u === 'string' ? r.u : bu;
    const name = ((several ? bn + own : own || bn.replace(/[:/.\-_]+$/, '')) || 'value').slice(0, 160);
    const s = bt + (Number.isFinite(r.t) ? r.t : 0);
    const at = s >= SENML_ABSOLUTE ? s * 1000 : s ? createdAt + s * 1000 : undefined;
    out.push([typeof value === 'number' && unit && unit !== '/' ? `${name} (${unit.slice(0, 16)})` : name, typeof value === 'string' ? value.slice(0, 200) : value, at]);
  }
  return out;
}

// valuesOf is what a payload in JSON says: [measure, value] for each number, boolean and string in it, where nested ones have
// names with dots, and what is a number but for its quotes is one. An epoch is a text in RFC 3339. SenML (RFC 8428) has names
// with units where it has numbers, and a third element where a record has a time of its own, in milliseconds since 1970. Other payloads have no
// values, but a bare number, "21.5", and a bare boolean.
export function valuesOf(message, text = payloadText(message)) {
  const v = parse(text);
  if (isPack(v)) return senml(v, Date.parse(message?.event_metadata?.created_at) || Date.now());
  const out = [];
  walk(v, '', 0, out);
  return out;
}
