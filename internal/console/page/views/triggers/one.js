import * as live from '../../live.js';
import { get, post, remove, versioned } from '../../api.js';
import { ask } from '../../dialog.js';
import { el, say, set } from '../../../../page/dom.js';
import { day, rate } from '../../../../page/format.js';
import { chart, Line } from '../../../../page/chart.js';
import { chip } from './list.js';
import { losses } from './losses.js';
import { address, path, paused, ruleOf, source, status, target, topic } from './rule.js';

const HOUR = 3_600_000;

export async function one(view, context, id) {
  const { account, go, signal } = context, { value: trigger, version } = await versioned(path(id), { signal });
  const { rule, to } = ruleOf(trigger), edits = account.may('editor') || account.may('editor', id);
  const state = el('p'), problem = el('p', { className: 'error', role: 'alert' });

  // change does one thing to the trigger, and shows it anew; what is refused stays to be read.
  async function change(button, done, what) {
    problem.textContent = '';
    button.disabled = true;
    try {
      await what();
      say(done);
      go(location.hash);
    } catch (error) {
      button.disabled = false;
      problem.textContent = error.conflict ? `${await faster(id)} Here is what it is now.` : error.message;
      if (error.conflict) setTimeout(() => { if (!signal.aborted) go(location.hash); }, 3000);
    }
  }
  const pause = el('button', {
    textContent: paused(trigger) ? 'Resume' : 'Pause',
    onclick: event => change(event.currentTarget, paused(trigger) ? 'Resumed.' : 'Paused.', () => post(`${path(id)}:${paused(trigger) ? 'resume' : 'pause'}`, {}, { version })),
  });
  const drop = el('button', {
    className: 'danger', textContent: 'Delete', async onclick(event) {
      const button = event.currentTarget;
      const sure = await ask({
        title: `Delete ${trigger.name || id}?`, confirm: 'Delete', danger: true,
        text: `Messages of ${source(trigger)} are not sent to ${target(trigger)} any more, and what the MQTT broker still keeps for the trigger is gone.`,
      });
      if (!sure) return;
      problem.textContent = '';
      try {
        await remove(path(id), { version });
        say('Deleted.');
        go('#/triggers');
      } catch (error) {
        problem.textContent = error.conflict ? await faster(id) : error.message;
        button.focus();
      }
    },
  });
  const details = [
    ['From', source(trigger)], ['Topic', topic(trigger)],
    ['Batch', `${rule.batchSettings?.size ?? 1} at most, or what came in ${rule.batchSettings?.cutoff ?? '1s'}`],
    ['To', el('a', { href: `#/connections?${new URLSearchParams({ gateway: to.gatewayId ?? '', path: to.path ?? '' })}`, textContent: target(trigger) })],
    to.serviceAccountId && ['Acts as', to.serviceAccountId],
    ...Object.entries(trigger.labels ?? {}).map(([name, value]) => [`Label ${name}`, value]),
    ['ID', id], trigger.createdAt && ['Created', day(Date.parse(trigger.createdAt))],
  ].filter(Boolean);
  const charts = [['received', 'Messages in', 0], ['envelopes', 'Envelopes', 2], ['failed', 'Failed', 1]].map(([name, label, slot]) => {
    const made = chart({ label, unit: 'a second', window: HOUR, floor: 0, gap: 20_000, format: rate, clock: () => latest?.samples.at(-1)?.at ?? Date.now() });
    const value = el('p', { className: 'now' });
    made.element.classList.add('tile');
    made.element.querySelector('header').after(value);
    return { name, made, value, slot };
  });
  signal.addEventListener('abort', () => { for (const { made } of charts) made.dispose(); }, { once: true });
  const tiles = el('section', { className: 'tiles', ariaLabel: 'Rates' }, ...charts.map(each => each.made.element));

  view.append(el('p', {}, el('a', { href: '#/triggers', textContent: 'All triggers' })),
    el('section', { className: 'card', ariaLabel: 'Trigger' },
      el('div', { className: 'bar' }, el('h2', { textContent: trigger.name || id }), state,
        ...(edits ? [el('a', { className: 'button', href: `${address(id)}?change`, textContent: 'Change' }), pause, drop] : [])),
      el('div', { className: 'inside' }, problem, trigger.description && el('p', { textContent: trigger.description }),
        el('dl', {}, ...details.map(([name, value]) => el('div', {}, el('dt', { textContent: name }), el('dd', {}, value)))))), tiles);

  let latest;
  live.subscribe(now => {
    latest = now;
    const figures = now.samples.at(-1)?.triggers?.[id];
    chip(state, status(trigger, figures));
    for (const { name, made, value, slot } of charts) {
      const line = new Line(1000, 1000);
      for (const sample of now.samples) if (sample.triggers?.[id]) line.add(sample.at, sample.triggers[id][name] ?? 0);
      made.lines = [{ name: made.element.ariaLabel, line, slot }];
      set(value, figures ? `${rate(figures[name] ?? 0)}/s` : '–');
      made.draw(true);
    }
  }, signal);

  const lost = await losses(id, context);
  const { operations = [] } = await get(`${path(id)}/operations?pageSize=20`, { signal });
  if (signal.aborted) return;
  view.append(lost, el('section', { className: 'card', ariaLabel: 'Changes' }, el('div', { className: 'bar' }, el('h2', { textContent: 'Changes' })),
    operations.length ? el('ul', { className: 'changes' }, ...operations.map(o => el('li', {}, el('span', { textContent: o.description }),
      el('span', { className: 'muted', textContent: `${day(Date.parse(o.createdAt))}, ${o.createdBy || 'local'}` })))) : el('p', { className: 'none', textContent: 'None is kept.' })));
}

// faster says who has changed a trigger in the meantime.
export async function faster(id) {
  try {
    const { operations = [] } = await get(`${path(id)}/operations?pageSize=1`);
    const last = operations[0];
    if (last) return `${!last.createdBy || last.createdBy === 'local' ? 'Somebody on this machine' : last.createdBy} was faster: ${last.description}, ${day(Date.parse(last.createdAt))}.`;
  } catch { /* it is said without a name */ }
  return 'Somebody was faster, and has changed it in the meantime.';
}
