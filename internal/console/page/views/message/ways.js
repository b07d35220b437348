// The ways of messages that this page has seen, the newest of them: who picks a message finds its way here.
const MOST = 5000, BYTES = 16 << 20;
const ways = new Map(); // event ID -> { way or text, size }
let bytes = 0;

let owner;

// ownedBy forgets what another account has seen.
export function ownedBy(account) {
  if (owner !== account) {
    ways.clear();
    bytes = 0;
  }
  owner = account;
}

// What a way takes, about: its payload in base64, and what each step says.
const sizeOf = way => 1000 + (way.message?.details?.payload?.length ?? 0) + way.steps.reduce((sum, step) => sum + 300 + (step.reason?.length ?? 0), 0);

function forget(id) {
  bytes -= ways.get(id)?.size ?? 0;
  ways.delete(id);
}

// keep takes ways as they come, each as far as it is now. Text is the event that they were in: few are ever looked at, and texts
// are less to keep than objects.
export function keep(more, text) {
  for (const way of more) {
    forget(way.event_id);
    const kept = text ? { text, size: text.length / more.length } : { way, size: sizeOf(way) };
    ways.set(way.event_id, kept);
    bytes += kept.size;
  }
  for (const id of ways.keys()) {
    if (ways.size <= MOST && bytes <= BYTES) break;
    forget(id);
  }
}

export function wayOf(id) {
  const kept = ways.get(id);
  return kept?.text ? JSON.parse(kept.text).ways.find(way => way.event_id === id) : kept?.way;
}

// keepMessage remembers a message whose way has not come yet.
export function keepMessage(message) {
  const id = message.event_metadata.event_id;
  if (!ways.has(id)) keep([{ event_id: id, done: false, message, steps: [] }]);
}

// instant reads a time of RFC 3339 in milliseconds, with what it has below them.
export function instant(time) {
  const digits = /\.(\d+)/.exec(time)?.[1] ?? '';
  return Date.parse(time) + (digits.length > 3 ? Number(`0.${digits.slice(3)}`) : 0);
}
