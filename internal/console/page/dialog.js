// Dialogs: a question before what cannot be taken back, and a form. Both are modal, end with Escape, and give the focus back to
// where it was.
import { el } from '../../page/dom.js';
import { Refused } from './api.js';

let made = 0; // dialogs so far, for IDs

function show(className, title, ...content) {
  const id = `dialog${++made}`, before = document.activeElement;
  const dialog = el('dialog', { className: `card ${className}`, aria: { labelledby: id } },
    el('h2', { id, textContent: title }), ...content);
  const gone = new AbortController();
  dialog.addEventListener('close', () => {
    gone.abort();
    dialog.remove();
    if (before?.isConnected) before.focus();
  });
  addEventListener('hashchange', () => dialog.close(), { signal: gone.signal }); // another view: nobody is asked any more
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// ask asks once, and promises the answer. Confirm is what the button says that does it; danger colours it, and lets the focus
// begin on the other one.
export function ask({ title, text, confirm = 'Yes', danger = false }) {
  return new Promise(resolve => {
    let answer = false;
    const no = el('button', { type: 'button', textContent: 'Cancel', autofocus: danger, onclick: () => dialog.close() });
    const yes = el('button', {
      type: 'button', className: danger ? 'main danger' : 'main', textContent: confirm, autofocus: !danger,
      onclick() { answer = true; dialog.close(); },
    });
    const dialog = show('ask', title, el('p', { textContent: text }), el('div', { className: 'buttons' }, no, yes));
    dialog.addEventListener('close', () => resolve(answer));
  });
}

// form asks for values. Fields are { name, label, hint?, type?, value?, options?, required?, path? }: type is that of an input, or
// 'textarea', 'select' (options: [value, text] or values) or 'checkbox'; suggestions are values to choose from or not; path is the field of the request, should it not be the
// name. Submit is called with { name: value }, may be asynchronous, and what it refuses stands at the fields; the form stays open
// until it succeeds. The promise is for what submit returns, or undefined where somebody has thought better of it.
export function form({ title, text, fields, submit, confirm = 'Save' }) {
  return new Promise(resolve => {
    let answer;
    const set = fieldset(fields);
    const yes = el('button', { className: 'main', textContent: confirm });
    const body = el('form', {
      noValidate: true, async onsubmit(event) {
        event.preventDefault();
        if (yes.ariaDisabled === 'true' || !set.check()) return;
        yes.ariaDisabled = 'true'; // and not disabled, which would lose the focus
        try {
          answer = await submit(set.values());
          dialog.close();
        } catch (error) {
          set.refuse(error);
        } finally {
          yes.ariaDisabled = null;
        }
      },
    }, set.element, el('div', { className: 'buttons' }, el('button', { type: 'button', textContent: 'Cancel', onclick: () => dialog.close() }), yes));
    const dialog = show('form', title, text && el('p', { className: 'muted', textContent: text }), body);
    dialog.addEventListener('close', () => resolve(answer));
  });
}

// fieldset makes the fields of a form, with the place for what is wrong at each: { element, inputs, values(), check(), show(problems),
// owns(name, path), refuse(error), clear() }. Check tells whether what is required is there; show takes [{ field, description }]; refuse shows an error.
export function fieldset(fields) {
  const id = `fields${++made}`, inputs = {}, problems = {};
  const general = el('p', { className: 'error', role: 'alert', hidden: true });
  const element = el('div', { className: 'fields' });
  for (const field of fields) {
    const { name, label, hint, type = 'text', value = '', required = false } = field;
    const input = type === 'textarea' ? el('textarea', { value, spellcheck: false })
      : type === 'select' ? el('select', {}, ...(field.options ?? []).map(option => {
        const [v, text] = Array.isArray(option) ? option : [option, option];
        return el('option', { value: v, textContent: text });
      }))
      : el('input', { type, autocomplete: type === 'password' ? 'new-password' : 'off', spellcheck: false });
    if (type === 'checkbox') input.checked = !!value;
    else input.value = value;
    if (field.suggestions?.length) {
      input.setAttribute('list', `${id}-${name}-list`);
      element.append(el('datalist', { id: `${id}-${name}-list` }, ...field.suggestions.map(one => el('option', { value: one }))));
    }
    Object.assign(input, { id: `${id}-${name}`, name, required, placeholder: field.placeholder ?? '' });
    const problem = el('p', { id: `${id}-${name}-problem`, className: 'error', hidden: true });
    const help = hint && el('p', { id: `${id}-${name}-hint`, className: 'hint', textContent: hint });
    input.setAttribute('aria-describedby', [hint && `${id}-${name}-hint`, problem.id].filter(Boolean).join(' '));
    const title = el('label', { htmlFor: input.id }, label, !required && type !== 'checkbox' && el('span', { className: 'muted', textContent: ' (optional)' }));
    element.append(el('div', { className: type === 'checkbox' ? 'field check' : 'field', data: { field: name } }, title, input, help, problem));
    inputs[name] = input;
    problems[name] = problem;
  }
  element.append(general);

  function mark(name, text) {
    problems[name].textContent = text;
    problems[name].hidden = !text;
    inputs[name].ariaInvalid = text ? 'true' : null;
  }
  const plain = text => text.replace(/_/g, '').toLowerCase();
  // The field of a violation is a path such as rule.iot_message.mqtt_topic, in the names of the types or of JSON.
  function owner(path = '') {
    const whole = plain(path).replace(/\[\d+\]/g, ''), last = whole.split('.').pop();
    const by = test => fields.find(field => test(plain(field.path ?? field.name)));
    return by(p => p === whole || whole.endsWith('.' + p)) ?? by(p => p === last || p.endsWith('.' + last)) ?? by(p => whole.startsWith(p + '.'));
  }
  const set = {
    element, inputs,
    values: () => Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.type === 'checkbox' ? input.checked : input.value])),
    owns: (name, path) => owner(path)?.name === name,
    clear() {
      for (const name in inputs) mark(name, '');
      general.hidden = true;
    },
    check() {
      set.clear();
      const empty = fields.filter(({ name }) => inputs[name].required && !inputs[name].value.trim());
      for (const { name, label } of empty) mark(name, `${label} is needed.`);
      if (empty.length) inputs[empty[0].name].focus();
      return !empty.length;
    },
    show(found, rest = []) {
      set.clear();
      const others = [...rest];
      for (const { field, description } of found) {
        const at = owner(field);
        if (at) mark(at.name, [problems[at.name].textContent, description].filter(Boolean).join(' '));
        else others.push(field ? `${field}: ${description}` : description);
      }
      general.textContent = others.join('\n');
      general.hidden = !others.length;
    },
    refuse(error) {
      const found = error instanceof Refused ? error.fields : [];
      set.show(found, found.length ? [] : [error.message]);
      Object.values(inputs).find(input => input.ariaInvalid === 'true')?.focus();
    },
  };
  return set;
}
