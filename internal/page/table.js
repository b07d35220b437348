// A table of any number of rows, of which only those stand in the document that can be seen.
import { el, set } from './dom.js';

const ROW = 40; // px, as .virtual td in theme.css has it
const MORE = 8; // rows above and below

// table makes one. Columns are { id, title, text(item), compare?(a, b), width?, number?, cell?(item, td) }: text is what the
// cell says, cell fills it otherwise, and is called again with each update; compare makes the column one to sort by. The first
// column heads the row. Key names an item for as long as it lives. Open, if it is given, is called with an item that was
// chosen, and opens(item) tells whether there is anything to open. Empty is what stands there without items.
//
// It returns { element, update(items), items, sort: { column, down } }. Update takes the items anew, which may be the same ones
// with other values; it keeps their order unless a column to sort by was chosen.
export function table({ label, columns, key, open, opens = () => true, empty = 'Nothing yet.', sort = { column: '', down: false } }) {
  const heads = el('tr', { ariaRowIndex: '1' }), body = el('tbody'), none = el('p', { className: 'none', textContent: empty });
  const above = el('tr', { ariaHidden: 'true' }, el('td', { colSpan: columns.length })), below = above.cloneNode(true);
  above.className = below.className = 'gap';
  const grid = el('table', { className: 'virtual', ariaLabel: label }, el('thead', {}, heads), body);
  const element = el('div', { className: 'scroll', tabIndex: 0, role: 'region', ariaLabel: label }, grid, none);
  const rows = new Map(); // key -> { tr, cells, item }
  let given = [], items = [], frame = 0;

  for (const column of columns) {
    const th = el('th', { scope: 'col', className: column.number ? 'number' : '' });
    if (column.width) th.style.width = column.width;
    if (column.compare) {
      th.append(el('button', {
        className: 'plain', textContent: column.title, onclick() {
          sort = { column: column.id, down: sort.column === column.id && !sort.down };
          arrange();
        },
      }));
    } else th.textContent = column.title;
    heads.append(th);
  }

  function arrange() {
    const by = columns.find(column => column.id === sort.column);
    items = by?.compare ? [...given].sort((a, b) => (sort.down ? -1 : 1) * by.compare(a, b)) : given;
    columns.forEach((column, i) => {
      if (column.compare) heads.cells[i].ariaSort = column.id !== sort.column ? 'none' : sort.down ? 'descending' : 'ascending';
    });
    draw();
  }

  function rowOf(item) {
    const id = key(item);
    let row = rows.get(id);
    if (!row) {
      const cells = columns.map((column, i) => el(i ? 'td' : 'th', i ? { className: column.number ? 'number' : '' } : { scope: 'row' }));
      row = { tr: el('tr', {}, ...cells), cells };
      if (open && opens(item)) {
        const link = el('button', { className: 'plain open', onclick: () => open(row.item) });
        cells[0].append(link);
        row.head = link;
      }
      rows.set(id, row);
    }
    row.item = item;
    columns.forEach((column, i) => {
      const into = i === 0 && row.head || row.cells[i];
      if (column.cell) column.cell(item, into);
      else {
        const text = column.text(item);
        set(into, text);
        if (into.title !== text) into.title = text;
      }
    });
    return row;
  }

  function draw() {
    frame = 0;
    none.hidden = items.length > 0;
    grid.hidden = !items.length;
    const from = Math.max(0, Math.floor(element.scrollTop / ROW) - MORE);
    const to = Math.min(items.length, from + Math.ceil((element.clientHeight || 600) / ROW) + 2 * MORE);
    const shown = [];
    for (let i = from; i < to; i++) {
      const { tr } = rowOf(items[i]);
      tr.ariaRowIndex = String(i + 2);
      shown.push(tr);
    }
    for (const [id, row] of rows) {
      if (!shown.includes(row.tr) && !row.tr.contains(document.activeElement)) { // who has the focus keeps it
        row.tr.remove();
        rows.delete(id);
      }
    }
    grid.ariaRowCount = String(items.length + 1);
    above.firstChild.style.height = `${from * ROW}px`;
    below.firstChild.style.height = `${Math.max(0, items.length - to) * ROW}px`;
    const all = [above, ...shown, below];
    all.forEach((tr, i) => { if (body.children[i] !== tr) body.insertBefore(tr, body.children[i] ?? null); });
    while (body.children.length > all.length && !body.lastChild.contains(document.activeElement)) body.lastChild.remove();
  }
  const later = () => { frame ||= requestAnimationFrame(draw); };
  element.addEventListener('scroll', later, { passive: true });
  new ResizeObserver(later).observe(element);

  return {
    element,
    get items() { return items; },
    get sort() { return sort; },
    update(next) {
      given = next;
      arrange();
    },
  };
}
