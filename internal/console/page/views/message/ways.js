// The ways of messages that this page has seen, the newest of them: who picks a message finds its way here.
const MOST = 5000;
const ways = new Map(); // event ID -> way

let owner;

// ownedBy forgets what another account has seen.
export function ownedBy(account) {
  if (owner !== account) ways.clear();
  owner = account;
}

// keep takes ways as they come, each as far as it is now.
export function keep(more) {
  for (const way of more) {
    ways.delete(way.event_id);
    ways.set(way.event_id, way);
  }
  for (const id of ways.keys()) {
    if (ways.size <= MOST) break;
    ways.delete(id);
  }
}

export const wayOf = id => ways.get(id);

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
