// The form for a token, where a route needs one. The token goes nowhere but to the connection.
import { $ } from '../../../page/dom.js';

const form = $('token'), secret = $('secret'), problem = $('lacks');

// askToken shows the form, and says why; give is called with the token, and not given where none can be sent.
export function askToken(what, why, give) {
  form.querySelector('h2').textContent = what;
  form.querySelector('p').textContent = why;
  for (const part of form.querySelectorAll('label, div, #kept')) part.hidden = !give;
  const first = form.hidden;
  form.hidden = false;
  if (first || document.activeElement === document.body) secret.focus();
  form.onsubmit = e => {
    e.preventDefault();
    const token = secret.value.trim().replace(/^Bearer\s+/i, '');
    secret.value = '';
    problem.hidden = !!token;
    if (token) give(token);
    else secret.focus();
  };
}

export function hideToken() {
  form.hidden = problem.hidden = true;
  secret.value = '';
}
