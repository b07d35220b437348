// The passwords and certificates of a thing.
import { get } from '../../api.js';
import { el } from '../../../../page/dom.js';
import { day } from '../../../../page/format.js';
import { button, card } from '../../facts.js';
import { addCertificate, addPassword, removeCredential } from './acts.js';
import { pathOf } from './kinds.js';

// credentials makes the part of a view; doing wraps what a button does, and shows what goes wrong.
export async function credentials(kind, id, { change, doing, signal }) {
  const [{ passwords = [] }, { certificates = [] }] = await Promise.all(['passwords', 'certificates']
    .map(what => get(`${pathOf(kind, id)}/${what}`, { signal })));
  const item = (text, since, what, path) => el('li', {},
    el('span', {}, el('code', { textContent: text }), el('span', { className: 'muted', textContent: ` since ${day(Date.parse(since))}` })),
    change && button('Remove…', doing(() => removeCredential(kind, id, what, path)), 'danger'));
  const items = [
    ...passwords.map(one => item(`Password ${one.id}`, one.createdAt, 'password', `passwords/${encodeURIComponent(one.id)}`)),
    ...certificates.map(one => item(`Certificate ${one.fingerprint.slice(0, 16)}…`, one.createdAt, 'certificate', `certificates/${encodeURIComponent(one.fingerprint)}`)),
  ];
  return card('Passwords and certificates', change ? [
    button('Add a password…', doing(() => addPassword(kind, id))), button('Add a certificate…', doing(() => addCertificate(kind, id))),
  ] : [], el('div', { className: 'body' }, items.length ? el('ul', { className: 'items' }, ...items)
    : el('p', { className: 'none', textContent: 'None: nobody can log in with this ID.' })));
}
