// The console: who is there, and which view is open. A view has an address, #/triggers/telemetry, and is a module of views/:
//
//   export const title = 'Triggers'
//   export const needs = 'viewer'          // the role without which it is not offered; absent: none
//   export function open(view, { rest, query, account, go, signal }) { … }
//
// Open fills the element view. Rest are the parts of the address behind the view's name, query its parameters, go changes the
// address, and signal is aborted when the view is left.
import * as api from './api.js';
import { $, el, say } from '../../page/dom.js';
import * as overview from './views/overview.js';
import * as triggers from './views/triggers.js';
import * as connections from './views/connections.js';
import * as devices from './views/devices.js';
import * as tail from './views/tail.js';
import * as message from './views/message.js';

const views = { overview, triggers, connections, devices, tail, message };

// Account is who calls, and what they may: { account, tokens, roles: [], restricted: { role: [resource…] } }. may('editor')
// tells whether a role holds on everything, may('editor', 'home') whether on a resource.
let account;

function allowed(answer) {
  const may = (role, ...resources) => !answer.tokens || answer.roles.includes(role) ||
    (answer.restricted?.[role] ?? []).some(id => resources.includes(id));
  return { ...answer, may };
}

let left = new AbortController();

function show() {
  left.abort();
  left = new AbortController();
  const view = $('view');
  view.replaceChildren();
  if (!account) return login();
  const [path, search = ''] = location.hash.slice(2).split('?'), [name, ...rest] = path.split('/').map(decodeURIComponent);
  const module = views[name] ?? overview;
  for (const link of $('nav').children) link.ariaCurrent = link.hash === `#/${name in views ? name : 'overview'}` ? 'page' : null;
  document.title = `${module.title} · iotcast`;
  say(module.title);
  module.open(view, { rest: rest.filter(Boolean), query: new URLSearchParams(search), account, go, signal: left.signal });
}

// go opens the view at an address, such as #/devices/boiler.
export function go(address) {
  if (location.hash === address) show();
  else location.hash = address;
}

function enter(answer) {
  account = allowed(answer);
  const offered = Object.entries(views).filter(([, view]) => !view.needs || account.may(view.needs));
  $('nav').replaceChildren(...offered.map(([name, view]) => el('a', { href: `#/${name}`, textContent: view.title })));
  $('nav').hidden = false;
  $('account').hidden = false;
  $('account').replaceChildren(...(account.tokens
    ? [el('span', { textContent: `${account.account} ` }), el('button', { textContent: 'Log out', onclick: leave })]
    : [el('span', { className: 'muted', textContent: 'this machine' })]));
  show();
}

// leave forgets the token.
export function leave() {
  api.useToken('');
  account = undefined;
  $('nav').hidden = $('account').hidden = true;
  show();
}

function login(error) {
  document.title = 'Log in · iotcast';
  const field = el('textarea', { id: 'token', required: true, spellcheck: false, autocomplete: 'off' });
  const problem = el('p', { className: 'error', role: 'alert', textContent: error ?? '' });
  $('view').replaceChildren(el('form', {
    id: 'login', className: 'card', async onsubmit(event) {
      event.preventDefault();
      api.useToken(field.value.trim());
      try {
        enter(await api.get('/console/account'));
      } catch (refused) {
        problem.textContent = refused.message;
      }
    },
  }, el('h2', { textContent: 'Log in' }),
  el('label', { htmlFor: 'token', textContent: 'Token of a service account that access_bindings of management_api names' }), field,
  el('p', { className: 'muted', textContent: 'It is kept in this page alone, and forgotten with it.' }),
  problem, el('button', { className: 'main', textContent: 'Log in' })));
  field.focus();
}

addEventListener('hashchange', show);
try {
  enter(await api.get('/console/account'));
} catch (error) {
  login(error.status === 401 ? '' : error.message);
}
