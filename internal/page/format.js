// Numbers and times as people read them.

// plain shows, as JSON writes them, the characters that steer how others are shown: those of control, and those that turn the
// direction of text, by which a name could pass for another.
const steering = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u202a-\u202e\u2066-\u2069]/g;
export const plain = text => text.replace(steering, c => '\\u' + c.charCodeAt(0).toString(16).padStart(4, '0'));

const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const digits = [0, 1, 2, 3].map(n => new Intl.NumberFormat('en', { maximumFractionDigits: n }));

// count writes how many there are: 12,345.
export const count = n => whole.format(n);

// number writes a reading, with as many digits as say something.
export function number(v) {
  const a = Math.abs(v);
  if (a >= 1e9 || (a && a < 1e-3)) return v.toExponential(2);
  return digits[a >= 1e4 ? 0 : a >= 100 ? 1 : a >= 1 ? 2 : 3].format(v);
}

// rate writes how many a second.
export const rate = n => n && n < 10 ? n.toFixed(1) : whole.format(Math.round(n));

// size writes a number of bytes.
export function size(bytes) {
  const step = bytes < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(bytes) / 3));
  return `${digits[step && bytes / 1000 ** step < 100 ? 1 : 0].format(bytes / 1000 ** step)} ${['B', 'kB', 'MB', 'GB', 'TB'][step]}`;
}

// span writes how long something lasts, in milliseconds.
export function span(ms) {
  const s = Math.round(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return s % 3600 < 60 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor(s % 86_400 / 3600)} h`;
}

// brief writes how long a step takes: 0.3 ms, 12 ms, 1.4 s.
export const brief = ms => ms < 10 ? `${ms.toFixed(1)} ms` : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;

export const ago = ms => ms < 1500 ? 'now' : span(ms);

const clockTime = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
const dayTime = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });

// clock writes a time of day, clockMs with milliseconds; day one that may be of another day.
export const clock = at => clockTime.format(at);
export const clockMs = at => `${clockTime.format(at)}.${String(new Date(at).getMilliseconds()).padStart(3, '0')}`;
export const day = at => dayTime.format(at);
