// Colours of things by their names: the same thing has the same one on each page and after each load.
import { el } from './dom.js';

export const COLOURS = 8; // --c0 … of theme.css
const DASHES = [[], [6, 4], [2, 3]];

function hash(name) { // FNV-1a
  let h = 2166136261;
  for (let i = 0; i < name.length; i++) h = Math.imul(h ^ name.charCodeAt(i), 16777619);
  return (h ^ h >>> 15) >>> 0;
}

// slots gives each name a number: what it is called decides, and where two want the same, the first by the alphabet has it. The
// same names have the same numbers, in whatever order they come.
export function slots(names) {
  const given = new Map(), taken = new Set();
  for (const name of [...names].sort()) {
    const wish = hash(name) % COLOURS;
    let slot = wish;
    for (let i = 0; taken.has(slot) && i < COLOURS * DASHES.length; i++) {
      slot = (wish + i) % COLOURS + Math.floor(i / COLOURS) * COLOURS;
    }
    taken.add(slot);
    given.set(name, slot);
  }
  return given;
}

// dash is the pattern of a slot's line.
export const dash = slot => DASHES[Math.floor(slot / COLOURS) % DASHES.length];

// swatch is a piece of a slot's line, for people who see; the name stands beside it.
export function swatch(slot) {
  const [on] = dash(slot), i = el('i', { className: on ? 'swatch dash' : 'swatch' });
  i.style.setProperty('--c', `var(--c${slot % COLOURS})`);
  if (on) i.style.setProperty('--on', on / 1.5 + 'px');
  return i;
}
