// The few things that pages do with elements. What they show comes from devices and from people, so it is made plain.
import { plain } from './format.js';

export const $ = id => document.getElementById(id);

// el makes an element: properties by their names, and under data what stands in data-… and under aria what stands in aria-….
export function el(tag, { data, aria, ...properties } = {}, ...children) {
  if (typeof properties.textContent === 'string') properties.textContent = plain(properties.textContent);
  const element = Object.assign(document.createElement(tag), properties);
  for (const name in data) element.dataset[name] = data[name];
  for (const name in aria) element.setAttribute('aria-' + name, aria[name]);
  element.append(...children.filter(child => child !== undefined && child !== null && child !== false)
    .map(child => typeof child === 'string' ? plain(child) : child));
  return element;
}

// set changes a text only where it is another: what does not change costs no layout, and stays selected.
export function set(element, text) {
  text = plain(String(text ?? ''));
  if (element.textContent !== text) element.textContent = text;
}

// copy puts a text on the clipboard, and says so on the button for a while.
export async function copy(text, button) {
  try { await navigator.clipboard.writeText(text); } catch { // no clipboard API over plain HTTP
    const area = el('textarea', { value: text, className: 'sr' });
    (button.closest('dialog') ?? document.body).append(area); // what is outside of an open dialog cannot be selected
    area.select();
    document.execCommand('copy');
    area.remove();
    button.focus();
  }
  const label = button.dataset.label ??= button.textContent;
  button.textContent = 'Copied';
  setTimeout(() => { button.textContent = label; }, 1500);
}

// download saves a text as a file.
export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  el('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

// say has a screen reader say something, once it has said the rest.
let speaker;
export function say(text) {
  if (!speaker) document.body.append(speaker = el('p', { className: 'sr', role: 'status' }));
  set(speaker, text);
}
