// How the Markdown of a forge becomes a page: its text as it is written, its links checked.
import { relative } from 'node:path';
import { resolve, onSite, root } from './pages.js';

const anchors = new Map(); // of each page
const links = []; // to an anchor

export const markdown = {
  theme: { light: 'github-light-high-contrast', dark: 'github-dark-default' },
  attrs: { disable: true }, // braces behind a word are text
  anchor: { slugify },
  config(md) {
    md.disable('emoji'); // and so are words between colons
    md.core.ruler.push('repository', repository);
    const render = md.render.bind(md);
    md.render = (...all) => render(...all).replaceAll('{{', '&#123;&#123;'); // Vue would take it for code
  },
};

// slugify names the anchors of headings as forges do, so that one link works here and there.
function slugify(heading) {
  return heading.trim().toLowerCase().replace(/[^\p{L}\p{M}\p{N}\p{Pc}\- ]/gu, '').replaceAll(' ', '-');
}

// repository turns links to files of the repository into those of the site and the forge.
function repository({ tokens, env }) {
  const page = relative(root, env.realPath ?? env.path);
  anchors.set(page, new Set(tokens.map(token => token.attrGet('id')).filter(Boolean)));
  tokens.forEach((token, i) => {
    if (token.type === 'th_open' && !tokens[i + 1].content) token.tag = tokens[i + 2].tag = 'td'; // the corner of a table heads nothing
  });
  for (const token of tokens.flatMap(token => [token, ...token.children ?? []])) {
    if (token.type === 'code_block') token.type = 'fence'; // is copied, and shown as written, as those are
    if (token.type.startsWith('html_') && /<(?!\/?(details|summary|code)>|!--)/.test(token.content)) {
      throw new Error(`${page}: no browser shows ${token.content.trim()}: escape it`);
    }
    const href = { link_open: token.attrGet('href'), image: token.attrGet('src') }[token.type];
    if (!href || /^[a-z]+:/.test(href)) continue;
    const { page: target, anchor, url } = resolve(page, href);
    if (token.type === 'image') continue;
    if (anchor && target) links.push({ page, href, target, anchor: decodeURI(anchor) });
    token.attrSet('href', url ?? (target === page ? '' : `/${onSite(target)}`) + (anchor ? `#${anchor}` : ''));
  }
}

// unmetAnchors ends a build for links to headings that are not there.
export function unmetAnchors() {
  const unmet = links.filter(({ target, anchor }) => !anchors.get(target)?.has(anchor)).map(({ page, href }) => `${page}: no heading for ${href}`);
  if (unmet.length) throw new Error([...new Set(unmet)].join('\n'));
}
