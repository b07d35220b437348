// To publish as a device, a registry or a broker, by the embedded broker.
import { form } from '../../dialog.js';
import { post, Refused } from '../../api.js';
import { base64 } from '../../facts.js';
import { pathOf } from './kinds.js';

const wrong = (field, description) => new Refused(400, description, [{ field, description }]);

// payloadOf reads what was typed as bytes.
export function payloadOf(format, text) {
  if (format === 'JSON') {
    try { JSON.parse(text); } catch (error) { throw wrong('data', `is not JSON: ${error.message}`); }
  }
  if (format !== 'Hex') return text;
  const digits = text.replaceAll(/\s|:/g, '');
  if (!/^([0-9a-f]{2})*$/i.test(digits)) throw wrong('data', 'is not hex: write two digits for each byte');
  return Uint8Array.from(digits.match(/../g) ?? [], pair => parseInt(pair, 16));
}

// fields of a form for a message; the names are those of the API.
export const fields = ({ topic, data = '', format = 'Text' }) => [
  { name: 'topic', label: 'Topic', value: topic, required: true },
  { name: 'format', label: 'Format', type: 'select', required: true, options: ['Text', 'JSON', 'Hex'], value: format },
  { name: 'data', label: 'Payload', type: 'textarea', value: data },
];

export const send = (kind, id, { topic, format, data }) =>
  post(`${pathOf(kind, id)}/publish`, { topic, data: base64(payloadOf(format, data)) });

const topics = { device: 'devices', registry: 'registries', broker: 'brokers' };

// usual is the topic that most messages of a thing have.
export const usual = (kind, id) => kind.noun === 'broker' ? 'test' : `$${topics[kind.noun]}/${id}/events`;

// publish asks for a message and publishes it.
export const publish = (kind, { id, name }) => form({
  title: `Publish as ${name}`, confirm: 'Publish', fields: fields({ topic: usual(kind, id), format: 'JSON', data: '{"temperature": 21.5}' }),
  submit: values => send(kind, id, values),
});
