// What happened to the connection: the last notes, and the one above the page.
import { $, el, say } from '../../../page/dom.js';
import { clock, clockMs } from '../../../page/format.js';

const NOTES = 10;
let hush;

const text = document.querySelector('#notice p');
document.querySelector('#notice button').onclick = () => notify();

// notify shows something above the page, or nothing. Good news go by themselves.
export function notify(what, why, { at, good } = {}) {
  clearTimeout(hush);
  $('notice').hidden = !what;
  $('notice').className = good ? 'card good' : 'card';
  if (!what) return;
  say(`${what} ${why}`);
  text.replaceChildren(el('b', { textContent: what }), why, ...at ? [el('span', { className: 'muted', textContent: ` ${clock(at)}` })] : []);
  if (good) hush = setTimeout(notify, 6000);
}

// note keeps a text, newest first.
export function note(words, gap) {
  const at = Date.now(), list = $('notes').querySelector('ol');
  list.prepend(el('li', { className: gap ? 'note gap' : 'note' }, el('i'), el('p', { textContent: words }), el('time', { textContent: clockMs(at) })));
  while (list.children.length > NOTES) list.lastChild.remove();
  $('notes').hidden = false;
}

export function clearNotes() {
  $('notes').hidden = true;
  $('notes').querySelector('ol').replaceChildren();
  notify();
}
