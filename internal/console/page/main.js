// The console: who is there, and which view is open. A view has an address, #/triggers/telemetry, and is a module of views/:
//
//   export const title = 'Triggers'
//   export const needs = 'viewer'          // the role without which it is not offered; absent: none
//   export const partly = true             // it is offered, too, where the role holds on some resources only
//   export function open(view, { rest, query, account, go, signal }) { … }
//
// Open fills the element view. Rest are the parts of the address behind the view's name, query its parameters, go changes the
// address, and signal is aborted when the view is left. Where open is asynchronous, what it throws is shown, and a view that
// iotcast did not answer is opened again once it does.
import * as api from './api.js';
import * as live from './live.js';
import { $, el, say, set } from '../../page/dom.js';
import * as overview from './views/overview.js';
import * as triggers from './views/triggers.js';
import * as connections from './views/connections.js';
import * as devices from './views/devices.js';
import * as tail from './views/tail.js';
import * as message from './views/message.js';

const views = { overview, triggers, connections, devices, tail, message };

// Account is who calls, and what they may: { account, tokens, roles: [], restricted: { role: [resource…] } }. may('editor')
// tells whether a role holds on everything, may('editor', 'home') whether on a resource, and on('editor') are the resources on
// which alone it holds.
let account;

function allowed(answer) {
  const on = role => answer.restricted?.[role] ?? [];
  const may = (role, ...resources) => !answer.tokens || answer.roles.includes(role) || on(role).some(id => resources.includes(id));
  return { ...answer, may, on };
}

const offered = view => !view.needs || account.may(view.needs) || view.partly && account.on(view.needs).length > 0;
const firstOffered = () => Object.keys(views).find(name => offered(views[name])); // connections takes no role

let left = new AbortController(), unanswered = false; // the view could not be opened, since iotcast did not answer

async function show() {
  left.abort();
  const { signal } = left = new AbortController();
  unanswered = false;
  const view = $('view');
  view.replaceChildren();
  if (!account) return login();
  const [path, search = ''] = location.hash.slice(2).split('?');
  let [name, ...rest] = path.split('/').map(part => { try { return decodeURIComponent(part); } catch { return part; } });
  if (!Object.hasOwn(views, name)) [name, rest] = [firstOffered(), []];
  const module = views[name];
  for (const link of $('nav').children) link.ariaCurrent = link.dataset.view === name ? 'page' : null;
  document.title = `${module.title} · iotcast`;
  say(module.title);
  if (!offered(module)) return view.append(missing(module));
  try {
    await module.open(view, { rest: rest.filter(Boolean), query: new URLSearchParams(search), account, go, signal });
  } catch (error) {
    if (signal.aborted) return;
    unanswered = api.AWAY.includes(error.status);
    view.replaceChildren(el('div', { className: 'card trouble', role: 'alert' },
      el('h2', { textContent: `${module.title} cannot be shown` }), el('p', { textContent: error.message }),
      el('p', {}, el('button', { textContent: 'Try again', onclick: show }))));
    if (error.status === undefined) throw error; // a mistake of the page's own: to the browser's console
  }
}

// missing says which role a view takes, and where it is given.
const missing = module => el('div', { className: 'card trouble' },
  el('h2', { textContent: `${module.title} takes another role` }),
  el('p', {}, 'The account ', el('strong', { textContent: account.account }), ' does not have the role ', el('code', { textContent: module.needs }),
    ' on everything. An administrator gives it in access_bindings of management_api:'),
  el('pre', { tabIndex: 0, textContent: `management_api:\n  access_bindings:\n    - { service_account_id: ${account.account}, roles: [ ${module.needs} ] }` }));

// go opens the view at an address, such as #/devices/boiler.
export function go(address) {
  if (location.hash === address) show().then(() => { if (!$('view').contains(document.activeElement)) $('view').focus({ preventScroll: true }); });
  else location.hash = address;
}

function enter(answer) {
  account = allowed(answer);
  $('nav').replaceChildren(...Object.entries(views).filter(([, view]) => offered(view)).map(([name, view]) => el('a', { href: `#/${name}`, textContent: view.title, data: { view: name } })));
  $('nav').hidden = $('account').hidden = false;
  $('account').replaceChildren(...(account.tokens
    ? [el('span', { className: 'muted who', textContent: account.account, title: account.account }), el('button', { textContent: 'Log out', onclick: () => leave() })]
    : [el('span', { className: 'muted', textContent: 'this machine' })]));
  if (account.may('viewer')) live.start();
  show();
}

// leave forgets the token, and what came by it. The view comes back with the next one.
function leave(why) {
  live.stop();
  api.useToken('');
  account = undefined;
  left.abort();
  $('nav').hidden = $('account').hidden = true;
  document.querySelector('dialog')?.close();
  $('view').replaceChildren();
  login(why);
}

// refusalOf says what is wrong with the token of a login.
function refusalOf(error) {
  const expired = error.status === 401 && api.tokenExpired();
  if (expired) return `This token expired on ${expired.toLocaleString('en-GB')}. Ask for a new one.`;
  if (error.status === 401) return `This token is not accepted: ${error.message}.`.replace(/\.\.$/, '.');
  return error.message;
}

let entering = false; // a login is at it: what it is told is shown at its field

function login(why = '') {
  document.title = 'Log in · iotcast';
  const field = el('textarea', {
    id: 'token', required: true, spellcheck: false, autocomplete: 'off', autocapitalize: 'off', ariaDescription: 'It stays in this page.',
    onkeydown(event) {
      if (event.key !== 'Enter' || event.shiftKey) return;
      event.preventDefault();
      form.requestSubmit();
    },
  });
  const problem = el('p', { id: 'refused', className: 'error', role: 'alert', textContent: why });
  field.setAttribute('aria-describedby', 'refused');
  const form = el('form', {
    id: 'login', className: 'card', noValidate: true, async onsubmit(event) {
      event.preventDefault();
      if (entering) return;
      const token = field.value.replace(/\s+/g, '').replace(/^Bearer/, '');
      problem.textContent = token ? '' : 'Paste a token first.';
      field.ariaInvalid = token ? null : 'true';
      if (!token) return field.focus();
      entering = true;
      try {
        api.useToken(token);
        enter(await api.get('/console/account'));
        $('view').focus();
      } catch (refused) {
        problem.textContent = refusalOf(refused);
        api.useToken('');
        field.ariaInvalid = 'true';
        field.select();
      } finally {
        entering = false;
      }
    },
  }, el('h2', { textContent: 'Log in' }),
  el('label', { htmlFor: 'token', textContent: 'Token of a service account' }), field, problem,
  el('p', { className: 'muted', textContent: 'One that access_bindings of management_api name. It is kept in this page alone, and forgotten with it.' }),
  el('button', { className: 'main', textContent: 'Log in' }));
  $('view').replaceChildren(form);
  field.focus();
}

// away: iotcast has not answered. It is asked again until it does, and what could not be shown is shown then.
let asking = false;
async function away() {
  if (asking) return;
  asking = true;
  for (;; await new Promise(resolve => setTimeout(resolve, 1000))) {
    try {
      const answer = await api.get('/console/account');
      if (!account) enter(answer);
    } catch (error) {
      if (error.status === 0 || error.status >= 500) {
        $('away').hidden = false;
        set($('away').firstElementChild, 'iotcast does not answer, trying again.');
        continue;
      }
    }
    break;
  }
  asking = false;
  const was = !$('away').hidden;
  $('away').hidden = true;
  if (!was) return;
  say('iotcast answers again.');
  live.again();
  if (unanswered) show();
}

api.events.addEventListener('lost', away);
api.events.addEventListener('unauthorised', ({ detail }) => {
  if (!account || entering) return;
  leave(api.tokenExpired() ? 'Your token has expired. Log in again, and you are back where you were.'
    : `Your token is not accepted any more: ${detail.message}. Log in again, and you are back where you were.`);
});
addEventListener('hashchange', async () => {
  await show();
  if (account && !$('view').contains(document.activeElement)) $('view').focus({ preventScroll: true }); // as with a new page, reading begins at the view
});

// A number beside Overview says how much is wrong, whatever is open.
live.subscribe(({ findings = [] }) => {
  const link = $('nav').querySelector('[data-view=overview]'), wrong = findings.filter(f => f.severity !== 'notice');
  if (!link) return;
  link.replaceChildren(overview.title, ...(wrong.length ? [el('span', {
    className: `badge ${wrong.some(f => f.severity === 'error') ? 'bad' : 'warn'}`, textContent: ` ${wrong.length}`,
    title: wrong.length === 1 ? '1 thing is wrong' : `${wrong.length} things are wrong`,
  })] : []));
});

try {
  entering = true;
  enter(await api.get('/console/account'));
} catch (error) {
  login(error.status === 401 ? '' : error.message);
} finally {
  entering = false;
}
