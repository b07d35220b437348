// One connection, and what can be done to it.
import { el } from '../../../../page/dom.js';
import { count, day, size } from '../../../../page/format.js';
import { before, button, card, crumbs, facts, notice, trouble } from '../../facts.js';
import { each } from '../../poll.js';
import { disconnect, send } from './acts.js';
import { find } from './store.js';

const device = id => el('a', { href: `#/tail?device=${encodeURIComponent(id)}`, textContent: id });
const list = all => el('span', { className: 'list' }, ...all);

export function one(view, { rest: [id], account, signal }) {
  const said = notice(), body = el('div', { className: 'body' }), acts = el('div', { className: 'acts' });
  let connection, ended = false;
  view.append(crumbs(['Connections', '#/connections'], [id]), card('Connection', [acts], said.element, body));

  function draw() {
    const { watch, identity } = connection;
    body.replaceChildren(facts([
      ['Address', el('a', { href: `#/connections?${new URLSearchParams({ address: identity.sourceIp })}`, textContent: identity.sourceIp })],
      ['Subject of its token', connection.subject],
      ['Gateway and path', el('a', {
        href: `#/connections?${new URLSearchParams({ gateway: connection.gatewayId, path: connection.path })}`,
        textContent: `${connection.gatewayId} ${connection.path}`,
      })],
      ['Protocol', { websocket: 'WebSocket', sse: 'server-sent events' }[connection.protocol]],
      ['Connected since', `${day(connection.since)}, ${before(connection.since)}`],
      ['Last active', before(connection.active)],
      ['Watches devices', watch?.deviceIds?.length && list(watch.deviceIds.map(device)) || undefined],
      ['Watches topics', watch?.topics?.length && list(watch.topics.map(topic => el('code', { textContent: topic }))) || undefined],
      ['Watches', watch ? undefined : 'everything of its path'],
      ['Waits for its socket', connection.queuedBytes === undefined ? undefined : connection.queuedBytes
        ? `${size(connection.queuedBytes)}: it reads more slowly than messages come` : 'nothing'],
      ['Dropped for it', connection.dropped === undefined ? undefined : connection.dropped
        ? `${count(connection.dropped)} messages, as its queue was full: let it watch fewer devices, or raise queue_bytes of the gateway`
        : 'nothing'],
      ['Program', identity.userAgent],
      ['ID', el('code', { textContent: id })],
    ]));
  }

  function offer() {
    if (acts.children.length || !account.may('api-gateway.websocketWriter', connection.gatewayId)) return;
    const doing = act => async () => {
      try { await act(); } catch (error) { said.say(trouble(error)); }
    };
    acts.append(
      button('Send a text…', doing(async () => { if (await send(connection)) said.say('Sent.'); })),
      button('Disconnect…', doing(async () => { if (await disconnect(connection)) gone('Disconnected.'); }), 'danger'));
  }

  function gone(why) {
    ended = true;
    acts.replaceChildren();
    said.say(why);
    if (!connection) body.append(el('p', { className: 'none' }, 'See ', el('a', { href: '#/connections', textContent: 'who is connected' }), '.'));
  }

  each(5000, signal, async () => {
    if (ended) return;
    try {
      const found = await find(id, signal);
      if (ended) return;
      if (found.connection) {
        said.well();
        connection = found.connection;
        draw();
        offer();
      } else if (found.unreachable.length) {
        said.fail(`Not found here, and ${found.unreachable.join(', ')} did not answer: it may be there.`);
      } else gone(connection ? 'It has ended. What is below is the last that was known.' : 'There is no such connection: it has ended, or the address of this view is wrong.');
    } catch (error) {
      if (!signal.aborted) said.fail(trouble(error));
    }
  });
}
