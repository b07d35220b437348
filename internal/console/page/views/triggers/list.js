import * as live from '../../live.js';
import { all } from '../../api.js';
import { notice, trouble } from '../../facts.js';
import { each } from '../../poll.js';
import { sparkline } from '../../sparkline.js';
import { el, set } from '../../../../page/dom.js';
import { rate } from '../../../../page/format.js';
import { table } from '../../../../page/table.js';
import { address, source, status, target, topic } from './rule.js';

export async function list(view, { account, go, signal }) {
  const found = () => all('/triggers/v1/triggers', 'triggers', account, { signal });
  let first = await found(), triggers = first;
  const make = account.may('editor') && el('a', { className: 'button main', href: '#/triggers?new', textContent: 'New trigger' });
  const makeFirst = account.may('editor') ? make.cloneNode(true) : el('p', { className: 'muted', textContent: 'To create one takes the role editor.' });
  const none = el('div', { className: 'card trouble' }, el('h2', { textContent: 'No trigger yet' }),
    el('p', { textContent: 'A trigger takes the messages of devices or of a broker and sends them, in batches, to every connection on a path of a gateway.' }), makeFirst);
  const said = notice(), heading = el('h2');
  let samples = [], now = {};
  const figure = trigger => now[trigger.id];
  const search = el('input', { type: 'search', placeholder: 'Search', ariaLabel: 'Search triggers', oninput: update });
  const by = text => (a, b) => text(a) < text(b) ? -1 : text(a) > text(b) ? 1 : 0;
  const grid = table({
    label: 'Triggers', key: trigger => trigger.id, open: trigger => go(address(trigger.id)), empty: 'No trigger is like that.',
    columns: [
      { id: 'name', title: 'Trigger', text: trigger => trigger.name || trigger.id, compare: by(trigger => trigger.name || trigger.id) },
      { id: 'status', title: 'Status', cell: (trigger, td) => chip(td, status(trigger, figure(trigger))), compare: by(trigger => status(trigger, figure(trigger)).text) },
      { id: 'source', title: 'From', text: source, compare: by(source) },
      { id: 'topic', title: 'Topic', text: topic, compare: by(topic) },
      { id: 'target', title: 'To', text: target, compare: by(target) },
      { id: 'rate', title: 'Messages in', number: true, text: trigger => `${rate(figure(trigger)?.received ?? 0)}/s`, compare: (a, b) => (figure(a)?.received ?? 0) - (figure(b)?.received ?? 0) },
      { id: 'hour', title: 'Last hour', cell: (trigger, td) => sparkline(td, samples.map(sample => sample.triggers?.[trigger.id]?.received)) },
      { id: 'failed', title: 'Failed', number: true, cell(trigger, td) {
        const n = figure(trigger)?.failed ?? 0;
        set(td, n ? `${rate(n)}/s` : '–');
        td.classList.toggle('bad', n > 0);
      }, compare: (a, b) => (figure(a)?.failed ?? 0) - (figure(b)?.failed ?? 0) },
    ],
  });
  function update() {
    const text = search.value.trim().toLowerCase();
    set(heading, triggers.length === 1 ? '1 trigger' : `${triggers.length} triggers`);
    none.hidden = triggers.length > 0;
    some.hidden = !none.hidden;
    grid.update(triggers.filter(trigger => !text || [trigger.name, trigger.id, trigger.description, source(trigger), topic(trigger), target(trigger)].some(one => one?.toLowerCase().includes(text))));
  }
  const some = el('div', { className: 'card' }, el('div', { className: 'bar' }, heading, search, make), grid.element);
  view.append(said.element, none, some);
  live.subscribe(latest => {
    samples = latest.samples;
    now = samples.at(-1)?.triggers ?? {};
    update();
  }, signal);
  each(10_000, signal, async () => {
    try {
      triggers = first ?? await found();
      first = undefined;
      said.well();
      update();
    } catch (error) {
      if (!signal.aborted) said.fail(trouble(error));
    }
  });
}

// chip shows a status in an element.
export function chip(into, { text, kind }) {
  if (!into.firstChild) into.append(el('span'));
  into.firstChild.className = `chip ${kind}`;
  set(into.firstChild, text);
}
