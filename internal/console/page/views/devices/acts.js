// What can be done to registries, devices and brokers.
import { ask, form } from '../../dialog.js';
import { versioned, patch, post, remove } from '../../api.js';
import { pathOf, readPairs, writePairs } from './kinds.js';

const name = value => ({ name: 'name', label: 'Name', value, required: true });
const description = value => ({ name: 'description', label: 'Description', value });
const labels = value => ({ name: 'labels', label: 'Labels, one a line', type: 'textarea', value: writePairs(value), hint: 'floor = 2' });
const aliases = value => ({
  name: 'topic_aliases', label: 'Aliases of topics, one a line', type: 'textarea', value: writePairs(value),
  hint: 'cellar/ = $devices/{id}/events/ has the topic cellar/heat stand for $devices/{id}/events/heat; {id} is the ID of the device',
});
const password = required => ({
  name: 'password', label: 'Password', required, value: random(),
  hint: `This one was made by chance: copy it now, it is not shown again. One of your own has at least 14 characters of three kinds.${
    required ? '' : ' Without one, nobody can log in until it is added.'}`,
});

// random makes a password of 120 bits by chance, with characters of all kinds.
const random = () => `${btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(15)))).replaceAll('+', '-').replaceAll('/', '_')}-aA1`;

const bodyOf = values => ({
  name: values.name, description: values.description, labels: readPairs(values.labels, 'labels'),
  ...'topic_aliases' in values && { topicAliases: readPairs(values.topic_aliases, 'topic_aliases') },
});

// create makes one of a kind, of a registry if it is a device, and returns it.
export const create = (kind, registryId) => form({
  title: `New ${kind.noun}`, confirm: 'Create',
  text: kind.aliases ? 'It logs in with its ID, which is its name where that is free, and a password or a certificate.' : undefined,
  fields: [name(), description(), password(false), ...kind.aliases ? [aliases()] : [], labels()],
  submit: values => post(kind.path, { ...bodyOf(values), ...values.password && { password: values.password }, ...registryId && { registryId } }),
});

// edit changes a thing as it is now, unless somebody else is faster.
export async function edit(kind, id) {
  const { value: thing, version } = await versioned(pathOf(kind, id));
  return form({
    title: `Change ${thing.name}`,
    fields: [name(thing.name), description(thing.description), ...kind.aliases ? [aliases(thing.topicAliases)] : [], labels(thing.labels)],
    submit: values => patch(pathOf(kind, id),
      { ...bodyOf(values), updateMask: ['name', 'description', 'labels', ...kind.aliases ? ['topicAliases'] : []].join(',') }, { version }),
  });
}

// destroy deletes a thing, after it has asked; it tells whether it did.
export async function destroy(kind, thing) {
  const sure = await ask({ title: `Delete ${kind.noun} ${thing.name}?`, text: kind.gone, confirm: 'Delete', danger: true });
  if (sure) await remove(pathOf(kind, thing.id));
  return sure;
}

// enable lets the devices of a registry in again, or disable, after it has asked, locks them out.
export async function enable(kind, thing, on) {
  const sure = on || await ask({
    title: `Disable registry ${thing.name}?`, confirm: 'Disable', danger: true,
    text: 'Nobody of it can log in until it is enabled again, and who is connected is disconnected at once.',
  });
  if (sure) await post(`${pathOf(kind, thing.id)}:${on ? 'enable' : 'disable'}`);
  return sure;
}

export const addPassword = (kind, id) => form({
  title: 'Add a password', confirm: 'Add', fields: [password(true)], submit: values => post(`${pathOf(kind, id)}/passwords`, values),
});

export const addCertificate = (kind, id) => form({
  title: 'Add a certificate', confirm: 'Add',
  fields: [{
    name: 'certificate_data', label: 'Certificate, as PEM', type: 'textarea', required: true,
    hint: 'From -----BEGIN CERTIFICATE----- on. The private key stays with the device.',
  }],
  submit: values => post(`${pathOf(kind, id)}/certificates`, { certificateData: values.certificate_data.trim() }),
});

export async function removeCredential(kind, id, credential, path) {
  const sure = await ask({
    title: `Remove this ${credential}?`, text: 'Who has logged in with it is disconnected at once.', confirm: 'Remove', danger: true,
  });
  if (sure) await remove(`${pathOf(kind, id)}/${path}`);
  return sure;
}
