// What samples of the overview add up to. A figure is undefined where nothing is known of it.

const sum = (things, of) => {
  let total;
  for (const thing of Object.values(things ?? {})) {
    const value = of(thing);
    if (value !== undefined) total = (total ?? 0) + value;
  }
  return total;
};
const most = (things, of) => Object.values(things ?? {}).reduce((high, thing) => {
  const value = of(thing);
  return value === undefined ? high : Math.max(high ?? 0, value);
}, undefined);

// latency is the mean of all deliveries, whichever route they went by.
function latency({ routes }) {
  let total = 0, deliveries = 0;
  for (const route of Object.values(routes ?? {})) {
    if (!route.deliveries || route.latency_ms === undefined) continue;
    total += route.latency_ms * route.deliveries;
    deliveries += route.deliveries;
  }
  return deliveries ? total / deliveries : undefined;
}

export const lostByTrigger = t => (t.failed ?? 0) + (t.dropped ?? 0);
export const lostByRoute = r => (r.dropped ?? 0) + (r.refused ?? 0) + (r.closed_slow ?? 0);

// Figures are { id, label, unit, help, of(sample) }.
export const figures = [
  { id: 'in', label: 'Messages in', unit: '/s', help: 'from devices and brokers', of: s => sum(s.triggers, t => t.received ?? 0) },
  { id: 'envelopes', label: 'Envelopes', unit: '/s', help: 'batches of messages that triggers send', of: s => sum(s.triggers, t => t.envelopes ?? 0) },
  { id: 'deliveries', label: 'Deliveries', unit: '/s', help: 'envelopes times the connections that got them', of: s => sum(s.routes, r => r.deliveries ?? 0) },
  { id: 'latency', label: 'Latency', unit: 'ms', help: 'from the receipt of a message, of a batch of its first one, until all connections were offered it, on average', of: latency },
  { id: 'connections', label: 'Connections', unit: '', help: 'open now', of: s => sum(s.routes, r => r.connections ?? 0) },
  { id: 'lag', label: 'Lag', unit: 's', help: 'of the trigger that is furthest behind', of: s => most(s.triggers, t => t.lag_seconds ?? 0) },
  { id: 'lost', label: 'Dropped', unit: '/s', help: 'messages that were given up, failed or had no room, and envelopes that met nobody, or that slow connections missed',
    of: s => (sum(s.triggers, lostByTrigger) ?? 0) + (sum(s.routes, r => r.dropped ?? 0) ?? 0), bad: true },
  { id: 'gaps', label: 'Gaps', unit: '/s', help: 'that clients were told of: they were slow, or came back and the history had not all', of: s => sum(s.routes, r => r.gaps ?? 0), bad: true },
];
