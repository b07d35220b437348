// A dialog with all of a message, or of a device.
import { copy, el } from './dom.js';
import { valuesList } from './devices.js';
import { plain } from './format.js';
import { kindOf, nameOf, payloadText, pretty } from './values.js';

// paint writes JSON in colours, as text nodes.
export function paint(pre, text) {
  text = plain(text);
  if (text.length > 60_000) { pre.textContent = text; return; }
  let at = 0;
  for (const m of text.matchAll(/("(?:\\.|[^"\\])*")(\s*:)?|-?\d[\d.eE+-]*|\btrue\b|\bfalse\b|\bnull\b/g)) {
    pre.append(text.slice(at, m.index), el('span', { className: m[2] ? 'k' : m[1] ? 's' : 'n', textContent: m[0] }));
    at = m.index + m[0].length;
  }
  pre.append(text.slice(at));
}

// block is a piece of JSON, or of any text, with a button that copies it.
export function block(label, text) {
  const pre = el('pre', { tabIndex: 0, ariaLabel: label, role: 'group' }), button = el('button', { textContent: 'Copy', ariaLabel: `Copy: ${label}`, onclick: () => copy(text, button) });
  paint(pre, text);
  return el('div', { className: 'block' }, el('div', { className: 'head' }, el('span', { className: 'muted', textContent: label }), button), pre);
}

// show opens a dialog, which Escape, its button and a press beside it close. The focus goes back to where it was.
export function show(title, ...content) {
  const close = el('button', { textContent: 'Close' });
  const dialog = el('dialog', { className: 'card', ariaLabel: title }, el('div', { className: 'bar' }, el('h2', { textContent: title }), close), el('div', { className: 'body' }, ...content));
  close.onclick = () => dialog.close();
  dialog.onclick = e => { if (e.target === dialog) dialog.close(); };
  const before = document.activeElement, place = before?.closest('.scroll');
  dialog.onclose = () => {
    dialog.remove();
    (before?.isConnected ? before : place)?.focus(); // a row may be gone meanwhile
  };
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// showMessage shows a message. More are elements below it.
export function showMessage(message, ...more) {
  const { event_metadata, details } = message;
  return show(`Message of ${kindOf(message) === 'device' ? 'device' : 'topic'} ${nameOf(message)}`,
    block('Payload', pretty(payloadText(message))), block('Message as it came', pretty(JSON.stringify({ event_metadata, details }))), ...more);
}

export const showDevice = (device, clock, ...more) => show(device.name,
  el('p', { className: 'muted', textContent: [device.kind === 'device' ? 'Device' : 'Topic of a broker', device.registry, device.kind === 'device' && device.topic].filter(Boolean).join(' · ') }),
  valuesList(device, clock), ...more);
