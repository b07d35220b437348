// A line of a table's cell: how something went over the window, without axes. It says nothing that the number beside it does not.
const W = 96, H = 26, MOST = 48, NS = 'http://www.w3.org/2000/svg';

const make = (tag, attributes) => {
  const element = document.createElementNS(NS, tag);
  for (const name in attributes) element.setAttribute(name, attributes[name]);
  return element;
};

// sparkline draws values, of which undefined ones are missing, into the element. It uses what it has drawn there before.
export function sparkline(into, values) {
  let svg = into.querySelector('svg');
  if (!svg) {
    svg = make('svg', { class: 'spark', viewBox: `0 0 ${W} ${H}`, 'aria-hidden': 'true' });
    svg.append(make('path', {}));
    into.append(svg);
  }
  const each = Math.max(1, Math.ceil(values.length / MOST)), points = [];
  for (let i = values.length; i > 0; i -= each) { // from the newest: the last point always holds as many as the others
    const part = values.slice(Math.max(0, i - each), i).filter(v => v !== undefined);
    points.unshift(part.length ? Math.max(...part) : undefined);
  }
  const high = Math.max(1e-9, ...points.filter(v => v !== undefined)), from = MOST - points.length;
  let path = '', pen = 'M';
  points.forEach((v, i) => {
    if (v === undefined) { pen = 'M'; return; }
    path += `${pen}${(1 + (from + i) / (MOST - 1) * (W - 2)).toFixed(1)} ${(H - 2 - v / high * (H - 4)).toFixed(1)}`;
    pen = 'L';
  });
  svg.firstChild.setAttribute('d', path);
}
