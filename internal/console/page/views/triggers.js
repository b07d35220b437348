// Triggers: the list, one of them, and the form that makes and changes one.
//
//	#/triggers                    all        #/triggers?new             a new one
//	#/triggers/telemetry          one        #/triggers/telemetry?change
import * as live from '../live.js';
import { el } from '../../../page/dom.js';
import { list } from './triggers/list.js';
import { one } from './triggers/one.js';
import { create, change } from './triggers/edit.js';

export const title = 'Triggers';
export const needs = 'viewer';
export const partly = true;

export async function open(view, context) {
  const { rest: [id], query, account } = context, edits = account.may('editor');
  try {
    if (id && query.has('change') && (edits || account.may('editor', id))) await change(view, context, id);
    else if (id) await one(view, context, id);
    else if (query.has('new') && edits) await create(view, context);
    else await list(view, context);
  } catch (error) {
    if (error.status === 404 && id) view.replaceChildren(live.now().samples.at(-1)?.triggers?.[id] ? stream(id) : gone(id));
    else if (error.status === 400 && /iotcast streams/.test(error.message)) view.replaceChildren(noStreams());
    else throw error;
  }
}

const gone = id => el('div', { className: 'card trouble' }, el('h2', { textContent: `There is no trigger ${id}` }),
  el('p', { textContent: 'It may have been deleted.' }), el('p', {}, el('a', { className: 'button', href: '#/triggers', textContent: 'All triggers' })));

const stream = id => el('div', { className: 'card trouble' }, el('h2', { textContent: `${id} is a stream, but no trigger` }),
  el('p', { textContent: 'It comes from a file that iotcast was started with, or was made at /streams, and is changed there.' }),
  el('p', {}, el('a', { href: `#/tail?${new URLSearchParams({ trigger: id })}`, textContent: 'Its messages as they come' })));

const noStreams = () => el('div', { className: 'card trouble' }, el('h2', { textContent: 'Triggers need the streams mode' }),
  el('p', { textContent: 'A trigger is a stream, and this process runs one stream of its config alone. Start it in streams mode, without --no-api, and triggers can be made here:' }),
  el('pre', { tabIndex: 0, textContent: 'iotcast streams -o root.yaml' }));
