// The kinds of things of the registry API: they are made, changed and deleted in the same way.

export const kinds = {
  registry: {
    noun: 'registry', path: '/iot-devices/v1/registries', list: 'registries', field: 'iot_registries',
    address: ({ id }) => `#/devices/${encodeURIComponent(id)}`, above: () => '#/devices',
    gone: 'Its passwords and certificates go with it. Its devices must be deleted before.',
  },
  device: {
    noun: 'device', path: '/iot-devices/v1/devices', list: 'devices', field: 'iot_registries', aliases: true,
    address: ({ id, registryId }) => `#/devices/${encodeURIComponent(registryId)}/${encodeURIComponent(id)}`,
    above: ({ registryId }) => `#/devices/${encodeURIComponent(registryId)}`,
    gone: 'Its passwords and certificates go with it, and its connection ends at once.',
  },
  broker: {
    noun: 'broker', path: '/iot-broker/v1/brokers', list: 'brokers', field: 'iot_brokers',
    address: ({ id }) => `#/devices?broker=${encodeURIComponent(id)}`, above: () => '#/devices',
    gone: 'Its passwords and certificates go with it, and its connections end at once.',
  },
};

export const pathOf = (kind, id) => `${kind.path}/${encodeURIComponent(id)}`;

// fixed tells whether a thing stands in the config file, where alone it can be changed.
export const fixed = thing => thing.labels?.['managed-by'] === 'config-file';

// mayChange tells whether an account may change a thing, or publish to it.
export const mayChange = (account, thing) => account.may('editor', thing.id, thing.registryId);
export const mayPublish = (account, thing) => mayChange(account, thing) || account.may('iot.devices.writer', thing.id, thing.registryId);

// Pairs are written one a line, as 'name = value'.
export const writePairs = pairs => Object.entries(pairs ?? {}).map(([name, value]) => `${name} = ${value}`).join('\n');

export function readPairs(text, field) {
  const pairs = {};
  for (const line of text.split('\n').map(one => one.trim()).filter(Boolean)) {
    const [, name, value] = /^([^=]*?)\s*=\s*(.*)$/.exec(line) ?? [];
    if (!name) throw Object.assign(new Error(`"${line}" is no pair`), { fields: [{ field, description: `"${line}" is not of the form name = value` }] });
    pairs[name] = value;
  }
  return pairs;
}
