import { el } from '../../../page/dom.js';

export const title = 'Overview';
export const needs = 'viewer';

export function open(view) {
  view.append(el('p', { className: 'none', textContent: 'Nothing yet.' }));
}
