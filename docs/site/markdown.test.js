// What a page must not have ends the build, and says where.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createMarkdownRenderer } from 'vitepress';
import { markdown, unmetAnchors } from './markdown.js';
import { root } from './pages.js';

const md = await createMarkdownRenderer(root, markdown, '/docs/');
const render = (page, text) => md.render(text, { path: root + page });

test('what is not there', () => {
  for (const link of ['gone.md', '../internal/gone.go', '../../outside.md']) {
    assert.throws(() => render('docs/live.md', `[text](${link})`), { message: `docs/live.md: ${link} is not there` });
  }
  assert.throws(() => render('README.md', '![text](docs/gone.svg)'), /README.md: docs\/gone.svg is not there/);
});

test('a heading that is not there', () => {
  render('docs/tap.md', '## What `is` there?\n\n[here](#what-is-there) [not](#what-is-not)');
  render('docs/live.md', '[there](tap.md#what-is-there) [not](tap.md#nor-this)');
  assert.throws(unmetAnchors, { message: 'docs/tap.md: no heading for #what-is-not\ndocs/live.md: no heading for tap.md#nor-this' });
});

test('what a browser would not show', () => {
  assert.throws(() => render('docs/live.md', 'topics/<device>/events'), /docs\/live.md: no browser shows <device>/);
  assert.match(render('docs/live.md', '{{ a }} {.b} :tada: `{{ c }}`'), /<p>&#123;&#123; a }} {.b} :tada: <code>&#123;&#123; c }}<\/code><\/p>/);
});

test('where links lead', () => {
  const forge = 'https://github.com/iotcast/iotcast';
  for (const [link, want] of Object.entries({
    'live.md': '/docs/live.html', '../README.md#run-it': '/docs/start.html#run-it', '../SECURITY.md': '/docs/project/security.html',
    'reference/README.md': '/docs/reference/', '../internal/gateway/client': '/docs/internal/gateway/client/',
    '../internal/fanout': `${forge}/tree/main/internal/fanout`, '../LICENSE': `${forge}/blob/main/LICENSE`,
  })) assert.match(render('docs/tap.md', `[text](${link})`), new RegExp(`href="${want}"`));
});
