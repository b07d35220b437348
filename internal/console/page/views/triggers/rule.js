// What a trigger listens to and where it sends, for people.

// ruleOf is the one rule of a trigger that there is here: { kind, rule, to }.
export function ruleOf(trigger) {
  const kind = trigger.rule?.iotBrokerMessage ? 'iotBrokerMessage' : 'iotMessage', rule = trigger.rule?.[kind] ?? {};
  return { kind, rule, to: rule.gatewayWebsocketBroadcast ?? {} };
}

export function source(trigger) {
  const { kind, rule } = ruleOf(trigger);
  if (kind === 'iotBrokerMessage') return `broker ${rule.brokerId}`;
  return rule.deviceId ? `device ${rule.deviceId} of ${rule.registryId}` : `registry ${rule.registryId}`;
}

export const topic = trigger => ruleOf(trigger).rule.mqttTopic || 'all topics';

export function target(trigger) {
  const { to } = ruleOf(trigger);
  return `${to.gatewayId ?? ''} ${to.path ?? ''}`.trim();
}

export const paused = trigger => trigger.status === 'PAUSED';

// path is that of a trigger in the API.
export const path = id => `/triggers/v1/triggers/${encodeURIComponent(id)}`;
export const address = id => `#/triggers/${encodeURIComponent(id)}`;

// status says how a trigger is, by what it is told to be and by what its stream does: { text, kind }.
export function status(trigger, figures) {
  if (paused(trigger)) return { text: 'paused', kind: 'warn' };
  if (!figures) return { text: 'active', kind: '' };
  return figures.connected ? { text: 'connected', kind: 'ok' } : { text: 'not connected', kind: 'bad' };
}
