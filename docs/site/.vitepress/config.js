import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitepress';
import { markdown, unmetAnchors } from '../markdown.js';
import { base, editForge, forge, onSite, sidebar, srcExclude } from '../pages.js';

export default defineConfig({
  title: 'iotcast',
  description: 'Readings from MQTT devices, live, in thousands of browsers.',
  lang: 'en-GB',
  base,
  srcDir: '../..',
  srcExclude,
  outDir: 'dist',
  cacheDir: 'node_modules/.vitepress',
  rewrites: onSite,
  markdown,
  ignoreDeadLinks: 'localhostLinks', // they are for who follows the text
  buildEnd: unmetAnchors,
  transformPageData({ filePath }) {
    // What a command of the repository has written is changed elsewhere.
    if (/^docs\/(reference\/|capacity\.md)/.test(filePath)) return { frontmatter: { editLink: false } };
  },
  vite: { plugins: [{ name: 'imports-of-pages', enforce: 'pre', resolveId: importOfPage }] },
  themeConfig: {
    sidebar: sidebar(),
    outline: [2, 3],
    editLink: { pattern: editForge(':path'), text: 'Edit this page' },
    nav: [{ text: 'Source', link: forge }],
    search: { provider: 'local', options: { miniSearch: { options: { tokenize } } } },
  },
});

// importOfPage finds Vue for pages, which lie where no node_modules are above them.
function importOfPage(id, importer, options) {
  if (importer?.endsWith('.md') && /^vue\b/.test(id)) return this.resolve(id, fileURLToPath(import.meta.url), options);
}

// tokenize finds the name of a field or a metric as a whole, and by its words. It runs in the browser, too: it knows nothing around it.
function tokenize(text) {
  return (text.match(/[\p{L}\p{N}_]+/gu) ?? []).flatMap(name => name.includes('_') ? [name, ...name.split('_').filter(Boolean)] : name);
}
