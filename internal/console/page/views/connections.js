import { el } from '../../../page/dom.js';

export const title = 'Connections';

export function open(view) {
  view.append(el('p', { className: 'none', textContent: 'Nothing yet.' }));
}
