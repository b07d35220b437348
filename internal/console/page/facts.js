// Small pieces that the views about things are made of.
import { el, say, set } from '../../page/dom.js';
import { ago } from '../../page/format.js';

// facts is a list of names and what they have: entries are [name, text or element]; those without either are left out.
export function facts(entries) {
  return el('dl', { className: 'facts' }, ...entries.filter(([, value]) => value !== undefined && value !== '')
    .flatMap(([name, value]) => [el('dt', { textContent: name }), el('dd', {}, value)]));
}

// card is a part of a view with its heading, and with buttons beside it.
export function card(title, buttons, ...children) {
  return el('section', { className: 'card part' }, el('div', { className: 'bar' }, el('h2', { textContent: title }), ...buttons), ...children);
}

// crumbs lead to where this view belongs: [[text, address]…], the last is here.
export function crumbs(...steps) {
  return el('nav', { className: 'crumbs', ariaLabel: 'Where this is' }, ...steps.flatMap(([text, address], i) => [
    i > 0 && el('span', { ariaHidden: 'true', textContent: '›' }),
    address ? el('a', { href: address, textContent: text }) : el('span', { ariaCurrent: 'page', textContent: text }),
  ]));
}

// before says how long ago something was, by the clock that it is a time of.
export function before(at, now = Date.now()) {
  const ms = now - at;
  return ms < 1500 ? 'just now' : `${ago(ms)} ago`;
}

export const button = (textContent, onclick, className = '') => el('button', { type: 'button', textContent, onclick, className });

// notice is a line that says something, or nothing: { element, say(text), fail(text), well() }. What fail said stands there until
// all is well again. Where two notices say the same, a screen reader says it once.
export function notice() {
  const element = el('p', { className: 'notice', hidden: true });
  let failing = false;
  function show(text) {
    set(element, text ?? '');
    element.hidden = !text;
    if (text) say(text);
  }
  return {
    element,
    say(text) {
      failing = false;
      show(text);
    },
    fail(text) {
      failing = true;
      show(text);
    },
    well() {
      if (failing) {
        show('');
        say('');
      }
      failing = false;
    },
  };
}

// trouble is an error in words, with what to do about it.
export function trouble(error) {
  switch (error.status) {
    case 401: return `${error.message} Log out, and in again with a token that holds.`;
    case 403: return `${error.message}`;
    case 409: return !error.conflict ? error.message : 'Somebody else has changed it meanwhile. Close this, look at what it is now, and try again.';
    default: return error.message;
  }
}

// base64 writes bytes, or the UTF-8 of a text, as the API takes them.
export function base64(data) {
  const bytes = typeof data === 'string' ? new TextEncoder().encode(data) : data;
  let binary = '';
  for (let i = 0; i < bytes.length; i += 8192) binary += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(binary);
}
