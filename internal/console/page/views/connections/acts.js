// What can be done to connections.
import { ask, form } from '../../dialog.js';
import { post, remove } from '../../api.js';
import { base64 } from '../../facts.js';
import { count } from '../../../../page/format.js';
import { PATH } from './store.js';

const text = { name: 'data', label: 'Text', type: 'textarea', required: true, hint: 'It goes out as it stands here, as one message.' };

// send sends a text to one connection.
export const send = ({ id, identity }) => form({
  title: `Send to ${identity.sourceIp}`, fields: [text], confirm: 'Send',
  submit: ({ data }) => post(`${PATH}/${encodeURIComponent(id)}:send`, { type: 'TEXT', data: base64(data) }),
});

// disconnect closes a connection, after it has asked; it tells whether it did.
export async function disconnect({ id, identity, path }) {
  const sure = await ask({
    title: `Disconnect ${identity.sourceIp}?`, danger: true, confirm: 'Disconnect',
    text: `Its connection to ${path} is closed with 1000. Nothing keeps it from connecting again.`,
  });
  if (sure) await remove(`${PATH}/${encodeURIComponent(id)}`);
  return sure;
}

// broadcast sends a text to all of a path, and returns a sentence about it.
export const broadcast = ({ gatewayId, path }) => form({
  title: 'Broadcast to a path', confirm: 'Broadcast', text: 'Every connection of the path gets it, whatever it watches.',
  fields: [
    { name: 'gateway_id', label: 'Gateway, by its label', value: gatewayId, required: true },
    { name: 'path', label: 'Path', value: path, required: true },
    text,
  ],
  async submit(values) {
    const { connections, unreachable = [] } = await post(`/apigateways/websocket/v1/gateways/${encodeURIComponent(values.gateway_id)}:broadcast`,
      { path: values.path, type: 'TEXT', data: base64(values.data) });
    return `It goes to ${count(connections)} ${connections === 1 ? 'connection' : 'connections'} of ${values.path}.` +
      (unreachable.length ? ` Those of ${unreachable.join(', ')}, which did not answer, may not get it.` : '');
  },
});
