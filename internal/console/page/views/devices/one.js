// One device or broker; and the parts about a thing, which a registry has, too.
import { get } from '../../api.js';
import { el } from '../../../../page/dom.js';
import { day } from '../../../../page/format.js';
import { before, button, card, crumbs, facts, notice, trouble } from '../../facts.js';
import { each } from '../../poll.js';
import { destroy, edit, enable } from './acts.js';
import { credentials } from './credentials.js';
import { fixed, mayChange, mayPublish, pathOf } from './kinds.js';
import { publish } from './publish.js';
import { values } from './live.js';

export function one(view, context, kind, id) {
  const { rest: [registryId] } = context;
  view.append(crumbs(['Devices', '#/devices'], ...registryId ? [[registryId, `#/devices/${encodeURIComponent(registryId)}`]] : [], [id]));
  if (kind.aliases) values(view, context, id);
  thing(view, context, kind, id);
}

const pairs = all => Object.keys(all ?? {}).length ? el('span', { className: 'list' }, ...Object.entries(all)
  .map(pair => el('code', { textContent: pair.join(' = ') }))) : undefined;

const when = time => time ? `${day(Date.parse(time))}, ${before(Date.parse(time))}` : undefined;

// thing shows what is known of a registry, a device or a broker, its credentials, and what the account may do to it. OnThing is
// called with it whenever it was loaded.
export function thing(view, { account, go, signal }, kind, id, onThing) {
  const said = notice(), body = el('div', { className: 'body' }), acts = el('div', { className: 'acts' }), secret = el('div', { className: 'part-slot' });
  view.append(el('div', { className: 'two' }, card(`About this ${kind.noun}`, [acts], said.element, body), secret));

  // doing shows what goes wrong, and what is then.
  const doing = act => async () => {
    try {
      if (await act()) await load(true);
    } catch (error) {
      said.say(trouble(error));
    }
  };

  function draw() {
    const { monitoringData: seen = {} } = it;
    body.replaceChildren(...[
      fixed(it) && el('p', { className: 'muted', textContent: `It stands in the config file, in ${kind.field}: change it there, and iotcast takes the change.` }),
      facts([
        ['Name', it.name], ['ID', el('code', { textContent: it.id })],
        ['Status', it.status && (it.status === 'ACTIVE' ? 'active' : it.status === 'DISABLED' ? 'disabled: nobody of it can log in' : it.status.toLowerCase())],
        ['Description', it.description], ['Labels', pairs(it.labels)], ['Aliases', kind.aliases ? pairs(it.topicAliases) ?? 'none' : undefined],
        ['Since', fixed(it) ? undefined : it.createdAt && day(Date.parse(it.createdAt))],
        ['Last login', when(seen.lastAuthTime) && `${when(seen.lastAuthTime)}, from ${seen.lastAuthIp}`],
        ['Last published', when(seen.lastPubActivityTime)], ['Last received', when(seen.lastSubActivityTime)],
        ['Last online', when(seen.lastOnlineTime)], ['Disconnected', when(seen.lastDisconnectTime)],
      ]),
    ].filter(Boolean));
  }

  // Who is at a button stays there, as long as there is one for it.
  let offered, it;
  function offer() {
    const change = mayChange(account, it) && !fixed(it), publishes = mayPublish(account, it), off = it.status === 'DISABLED';
    const now = [change, publishes, off].join();
    if (now === offered) return change;
    offered = now;
    const at = acts.contains(document.activeElement) ? [...acts.children].indexOf(document.activeElement) : -1;
    acts.replaceChildren(...[
      publishes && button('Publish…', doing(async () => { if (await publish(kind, it)) said.say('Published.'); })),
      change && button('Change…', doing(() => edit(kind, id))),
      change && kind.noun === 'registry' && (off ? button('Enable', doing(() => enable(kind, it, true))) : button('Disable…', doing(() => enable(kind, it, false)), 'danger')),
      change && button('Delete…', doing(async () => { if (await destroy(kind, it)) go(kind.above(it)); }), 'danger'),
    ].filter(Boolean));
    acts.children[at]?.focus();
    return change;
  }

  let secrets, changes, known = false; // known: the secrets are there
  async function load(changed) {
    try {
      it = await get(`${pathOf(kind, id)}${kind.aliases ? '?deviceView=FULL' : ''}`, { signal });
      const change = offer();
      draw();
      if (changes !== change) {
        changes = change;
        secrets = credentials(kind, id, { change, doing, signal });
        secret.replaceChildren(secrets.element);
        known = false;
      }
      if (changed || !known) {
        await secrets.load();
        known = true;
      }
      said.well();
      onThing?.(it);
    } catch (error) {
      if (!signal.aborted) said.fail(error.status === 404 ? `There is no such ${kind.noun}: it was deleted, or the address of this view is wrong.` : trouble(error));
    }
  }
  each(10_000, signal, () => load(false));
}
