// The ways of messages that this page has seen, the newest of them: who picks a message finds its way here.
const MOST = 5000, BYTES = 16 << 20;
const ways = new Map(); // event ID -> { way, size }
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

// keep takes ways as they come, each as far as it is now.
export function keep(more) {
  for (const way of more) {
    forget(way.event_id);
    const size = sizeOf(way);
    ways.set(way.event_id, { way, size });
    bytes += size;
  }
  for (const id of ways.keys()) {
    if (ways.size <= MOST && bytes <= BYTES) break;
    forget(id);
  }
}

export const wayOf = id => ways.get(id)?.way;

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
