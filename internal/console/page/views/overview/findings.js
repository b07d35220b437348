// What is wrong, in words, the worst first.
import { el, say } from '../../../../page/dom.js';
import { span } from '../../../../page/format.js';

const ranks = { error: 0, warning: 1, notice: 2 }, words = { error: 'Error', warning: 'Warning', notice: 'Notice' };

// findingsOf makes the list: { element, update(findings) }.
export function findingsOf() {
  const element = el('section', { ariaLabel: 'What is wrong', className: 'findings' });
  let before;
  function update(findings) {
    const sorted = [...findings].sort((a, b) => ranks[a.severity] - ranks[b.severity] || Date.parse(a.since) - Date.parse(b.since));
    const now = JSON.stringify(sorted) + Math.floor(Date.now() / 30_000); // "for 3 min" goes on
    if (now === before || element.contains(document.activeElement)) return;
    if (before !== undefined) announce(sorted);
    before = now;
    element.replaceChildren(...(sorted.length ? sorted.map(finding) : [el('div', { className: 'card finding ok' },
      el('span', { className: 'mark', ariaHidden: 'true', textContent: '✓' }),
      el('div', {}, el('h2', { textContent: 'All is well' }), el('p', { className: 'muted', textContent: 'Nothing is known to be wrong.' })))]));
  }
  let said = 0;
  function announce(sorted) {
    const wrong = sorted.filter(f => f.severity !== 'notice').length;
    if (wrong !== said) say(wrong ? `${wrong === 1 ? '1 thing is' : `${wrong} things are`} wrong. ${sorted[0].what}` : 'All is well.');
    said = wrong;
  }
  return { element, update };
}

const finding = f => el('article', { className: `card finding ${f.severity}` },
  el('span', { className: 'mark', ariaHidden: 'true', textContent: f.severity === 'notice' ? 'i' : '!' }),
  el('div', {},
    el('h2', {}, el('span', { className: 'severity', textContent: `${words[f.severity] ?? f.severity}:` }), ` ${f.what}`),
    f.why && el('p', { textContent: f.why }),
    f.mend && el('p', {}, el('strong', { textContent: 'To mend it: ' }), f.mend)),
  el('p', { className: 'aside' },
    f.since && el('span', { className: 'muted', textContent: `for ${span(Math.max(0, Date.now() - Date.parse(f.since)))}` }),
    f.view && el('a', { className: 'button', href: f.view, ariaLabel: `Open ${f.view.replace('#/', '')}`, textContent: 'Open' })));
