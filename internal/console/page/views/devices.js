// Registries, brokers and devices: #/devices, #/devices/<registry>, #/devices/<registry>/<device> and #/devices?broker=<broker>.
import { kinds } from './devices/kinds.js';
import { all } from './devices/all.js';
import { one } from './devices/one.js';
import { registry } from './devices/registry.js';

export const title = 'Devices';
export const needs = 'viewer';
export const partly = true;

export function open(view, context) {
  const { rest: [registryId, deviceId], query } = context;
  if (deviceId) return one(view, context, kinds.device, deviceId);
  if (registryId) return registry(view, context, registryId);
  if (query.get('broker')) return one(view, context, kinds.broker, query.get('broker'));
  return all(view, context);
}
