// Where the Markdown of the repository stands on the site, and what its links become.
import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, dirname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { resolvePages } from 'vitepress';

export const base = process.env.BASE || '/'; // the path of the site on its host
export const root = fileURLToPath(new URL('../..', import.meta.url));
export const forge = `https://${/^module (\S+)/m.exec(readFileSync(join(root, 'go.mod'), 'utf8'))[1]}`;
export const editForge = path => `${forge}/edit/main/${path}`;

export const srcExclude = ['artefacts/**'];
export const pages = (await resolvePages(root, { srcExclude }, console)).pages;

const index = 'docs/README.md';

// onSite is where a page of the repository stands on the site: the index is the front page, and a README that of its directory.
// What lies at the root stands apart: some of it has the name of a page of docs.
export function onSite(page) {
  if (page === 'README.md') return 'start.md';
  if (!page.includes('/')) return `project/${page.toLowerCase()}`;
  return page.replace(/^docs\//, '').replace(/(^|\/)README\.md$/, '$1index.md');
}

// resolve says what a link of a page means: a page of the site, or a file that is on the forge. It throws for what is not there.
export function resolve(page, href) {
  const [path, anchor] = href.split('#', 2);
  if (!path) return { page, anchor };
  let target = normalize(join(dirname(page), decodeURI(path))).replace(/\/$/, '');
  if (target.startsWith('..') || !existsSync(join(root, target))) throw new Error(`${page}: ${href} is not there`);
  const folder = statSync(join(root, target)).isDirectory();
  if (folder && existsSync(join(root, target, 'README.md'))) target = join(target, 'README.md');
  if (target.endsWith('.md')) return { page: target, anchor };
  return { url: `${forge}/${folder ? 'tree' : 'blob'}/main/${target}${anchor ? `#${anchor}` : ''}` };
}

// sidebar has what the index names, in its order. Below the README of a directory stands what else is in there. It throws for a
// page that the index does not lead to.
export function sidebar() {
  const left = new Set(pages);
  left.delete(index);
  const groups = [];
  for (const [, heading, text, href] of readFileSync(join(root, index), 'utf8').matchAll(/^## (.*)$|^- \[(.*?)\]\((.*?)\)/gm)) {
    if (heading) {
      groups.push({ text: heading, items: [] });
      continue;
    }
    const { page } = resolve(index, href);
    groups.at(-1).items.push({ text, page });
    left.delete(page);
  }
  const link = page => `/${onSite(page)}`;
  const name = page => basename(page.replace(/\/README\.md$/, ''), '.md');
  for (const item of groups.flatMap(group => group.items)) {
    const folder = `${dirname(item.page)}/`;
    const below = basename(item.page) === 'README.md' ? [...left].filter(page => page.startsWith(folder)).sort() : [];
    for (const page of below) left.delete(page);
    item.link = link(item.page);
    if (below.length) {
      item.collapsed = true;
      item.items = below.map(page => ({ text: name(page), link: link(page) }));
    }
  }
  if (left.size) throw new Error(`${index} names no ${[...left].join(', ')}: say there what it is for`);
  return groups.filter(group => group.items.length);
}
