// The picture of a message's way: its steps, one below the other, as they come.
import { el } from '../../../../page/dom.js';
import { brief, clockMs } from '../../../../page/format.js';
import { inWords, verdict } from './words.js';
import { instant } from './ways.js';

// picture makes one for a way: { element, update(way) }.
export function picture() {
  const sum = el('p', { role: 'status' }), steps = el('ol', { className: 'way', ariaLabel: 'Its way' });
  const wait = el('p', { className: 'muted', textContent: 'Waiting for the next step…' });
  let drawn = '';
  return {
    element: el('div', { className: 'body' }, sum, steps, wait),
    update(way) {
      const state = JSON.stringify([way.done, way.steps]);
      if (state === drawn) return;
      drawn = state;
      sum.replaceChildren(el('strong', { textContent: verdict(way) }));
      steps.replaceChildren(...way.steps.map(step => {
        const { kind, title, text, mend, link, after } = inWords(step, way);
        return el('li', { data: kind && { kind } }, el('h3', { textContent: title }),
          el('time', { dateTime: step.at, title: step.at, textContent: `${clockMs(instant(step.at))} · +${brief(after)}` }),
          text && el('p', { textContent: text }), mend && el('p', {}, mend, link && ' ', link && el('a', { href: link[1], textContent: link[0] })),
          !mend && link && el('p', {}, el('a', { href: link[1], textContent: link[0] })));
      }));
      wait.hidden = way.done || way.steps.length > 0; // what has steps is final: at its end, or after 10 s
    },
  };
}
