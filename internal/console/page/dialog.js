// Questions, as dialogs: the focus goes into them, Escape closes them, and it goes back to where it was.
import { el } from '../../page/dom.js';

let ids = 0;

// show opens a dialog and resolves with what its content has answered, or undefined if it was closed.
function show(title, content) {
  return new Promise(resolve => {
    const id = `dialog-${++ids}`;
    const dialog = el('dialog', { className: 'card', onclose() { dialog.remove(); resolve(answer); } }, el('h2', { id, textContent: title }));
    dialog.setAttribute('aria-labelledby', id);
    let answer;
    dialog.append(content(value => { answer = value; dialog.close(); }));
    document.body.append(dialog);
    dialog.showModal();
    addEventListener('hashchange', () => dialog.close(), { once: true });
  });
}

// ask asks once before something is done, and tells whether to do it. What it says must name what will happen.
export function ask({ title, text, act = 'OK', danger = false }) {
  return show(title, done => el('form', { method: 'dialog', onsubmit(event) { event.preventDefault(); done(true); } },
    el('p', { textContent: text }),
    el('div', { className: 'acts' }, el('button', { type: 'button', textContent: 'Cancel', onclick: () => done(false), autofocus: true }),
      el('button', { className: danger ? 'danger' : 'main', textContent: act })))).then(Boolean);
}

// form asks for fields, { name, label, value?, type?, rows?, options?, hint?, required?, extra? }, and has submit do it with their
// values by name. What submit throws stands at the fields that it names, or below them. It resolves with what submit returned.
export function form({ title, text, fields, act = 'Save', danger = false, submit }) {
  return show(title, done => {
    const problem = el('p', { className: 'error', role: 'alert' }), rows = new Map();
    for (const field of fields) {
      const id = `field-${++ids}`, error = el('p', { id: `${id}-error`, className: 'error' });
      const input = field.options
        ? el('select', { id }, ...field.options.map(option => el('option', { value: option, textContent: option || '—' })))
        : el(field.rows ? 'textarea' : 'input', { id, autocomplete: 'off', spellcheck: false });
      if (field.rows) input.rows = field.rows;
      else if (!field.options) input.type = field.type ?? 'text';
      input.value = field.value ?? '';
      input.required = Boolean(field.required);
      if (field.hint) input.setAttribute('aria-describedby', `${id}-hint`);
      rows.set(field.name, {
        input, error, id,
        row: el('div', { className: 'field' }, el('label', { htmlFor: id, textContent: field.label }), input,
          field.extra?.(input), field.hint && el('p', { id: `${id}-hint`, className: 'muted', textContent: field.hint }), error),
      });
    }
    const go = el('button', { className: danger ? 'danger' : 'main', textContent: act });
    const wrong = (name, text) => {
      const row = rows.get(name) ?? rows.get(name.split(/[.[]/)[0]);
      if (!row) return false;
      row.error.textContent = text;
      row.input.setAttribute('aria-invalid', 'true');
      row.input.setAttribute('aria-errormessage', `${row.id}-error`);
      return true;
    };
    return el('form', {
      async onsubmit(event) {
        event.preventDefault();
        problem.textContent = '';
        for (const { input, error } of rows.values()) { error.textContent = ''; input.removeAttribute('aria-invalid'); }
        go.disabled = true;
        try {
          done(await submit(Object.fromEntries([...rows].map(([name, { input }]) => [name, input.value]))) ?? true);
        } catch (error) {
          const placed = (error.fields ?? []).filter(({ field, description }) => wrong(field, `${description}.`));
          if (!placed.length) problem.textContent = error.message;
          else [...rows.values()].find(({ input }) => input.ariaInvalid === 'true')?.input.focus();
        } finally {
          go.disabled = false;
        }
      },
    }, text && el('p', { className: 'muted', textContent: text }), ...[...rows.values()].map(({ row }) => row), problem,
    el('div', { className: 'acts' }, el('button', { type: 'button', textContent: 'Cancel', onclick: () => done() }), go));
  });
}
