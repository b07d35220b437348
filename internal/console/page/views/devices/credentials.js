// The passwords and certificates of a thing.
import { get } from '../../api.js';
import { el } from '../../../../page/dom.js';
import { day } from '../../../../page/format.js';
import { button, card } from '../../facts.js';
import { addCertificate, addPassword, removeCredential } from './acts.js';
import { pathOf } from './kinds.js';

// credentials makes the part of a view: { element, load() }. Doing wraps what a button does, and shows what goes wrong. The
// buttons stay where they are when it is loaded anew, and with them the focus.
export function credentials(kind, id, { change, doing, signal }) {
  const body = el('div', { className: 'body' });
  const add = change ? [
    button('Add a password…', doing(() => addPassword(kind, id))), button('Add a certificate…', doing(() => addCertificate(kind, id))),
  ] : [];
  const item = (text, since, what, path) => el('li', {},
    el('span', {}, el('code', { textContent: text }), el('span', { className: 'muted', textContent: ` since ${day(Date.parse(since))}` })),
    change && button('Remove…', doing(() => removeCredential(kind, id, what, path)), 'danger'));
  return {
    element: card('Passwords and certificates', add, body),
    async load() {
      const [{ passwords = [] }, { certificates = [] }] = await Promise.all(['passwords', 'certificates']
        .map(what => get(`${pathOf(kind, id)}/${what}`, { signal })));
      const items = [
        ...passwords.map(one => item(`Password ${one.id}`, one.createdAt, 'password', `passwords/${encodeURIComponent(one.id)}`)),
        ...certificates.map(one => item(`Certificate ${one.fingerprint.slice(0, 16)}…`, one.createdAt, 'certificate', `certificates/${encodeURIComponent(one.fingerprint)}`)),
      ];
      const within = body.contains(document.activeElement); // the button of what is gone: the focus goes to what is nearest
      body.replaceChildren(items.length ? el('ul', { className: 'items' }, ...items)
        : el('p', { className: 'none', textContent: 'None: nobody can log in with this ID.' }));
      if (within) add[0].focus();
    },
  };
}
