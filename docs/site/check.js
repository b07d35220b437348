// Looks at the built site in Chromium, without a network: node check.js CHROMIUM [DIRECTORY for screenshots]
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import markdownIt from 'markdown-it';
import { errorsOf, launch, violations } from '../../tests/clients/browser.mjs';
import { base, onSite, pages, root } from './pages.js';

const dist = fileURLToPath(new URL('dist', import.meta.url));
const origin = 'http://site.test';
const [chromium, screenshots] = process.argv.slice(2);
const found = [];

const browser = await launch(chromium);
const context = await browser.newContext({ reducedMotion: 'reduce' });
await context.route('**/*', route => {
  const url = new URL(route.request().url());
  const file = join(dist, decodeURI(url.pathname).slice(base.length).replace(/^$|\/$/, '$&index.html'));
  if (url.origin === origin && url.pathname.startsWith(base) && existsSync(file) && statSync(file).isFile()) return route.fulfill({ path: file });
  found.push(`asks for ${url}, which is not on the site`);
  return route.abort();
});
const page = await context.newPage();
const errors = errorsOf(page);
await page.goto(origin + base);

// All text of the Markdown is on its page, and nothing else.
const plain = markdownIt({ html: true });
for (const name of pages) {
  const built = readFileSync(join(dist, onSite(name).replace(/md$/, 'html')), 'utf8');
  const [got, want] = await page.evaluate(([built, source]) => [built, source].map((html, i) => {
    const text = new DOMParser().parseFromString(html, 'text/html').querySelector(i ? 'body' : '.vp-doc');
    for (const added of text.querySelectorAll('button, .lang')) added.remove();
    return text.textContent.replace(/[\s\u200B]/g, '');
  }), [built, plain.render(readFileSync(join(root, name), 'utf8'))]);
  if (got !== want) {
    let at = 0;
    while (got[at] === want[at]) at++;
    found.push(`${name} does not show its text: ${got.slice(at - 20, at + 40)}, and not ${want.slice(at - 20, at + 40)}`);
  }
}

// Pages are accessible, and fit their window.
for (const [name, path] of Object.entries({ front: '', reference: 'reference/iot_mqtt.html', cluster: 'cluster.html', performance: 'performance.html' })) {
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    for (const width of [390, 1280]) {
      await page.setViewportSize({ width, height: 900 });
      await page.goto(origin + base + path);
      await page.locator('.VPContent h1').waitFor();
      const about = `${name}-${width}-${colorScheme}`;
      if (screenshots) await page.screenshot({ path: join(screenshots, `${about}.png`) });
      for (const v of await violations(page)) found.push(`${about}: ${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 200)).join(' | ')}`);
      const over = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      if (over > 0) found.push(`${about} is ${over} px wider than its window`);
    }
  }
}

// Who chooses the dark side has the picture dark, too: it has no other way to know.
await page.emulateMedia({ colorScheme: 'light' });
await page.goto(origin + base);
await page.getByRole('switch').first().click();
if (screenshots) await page.screenshot({ path: join(screenshots, 'front-chosen-dark.png') });

// Search finds names as they are written, and leads there.
for (const [query, path] of Object.entries({ max_unacked: 'reference/iot_mqtt.html', slow_consumer: 'reference/websocket_gateways.html' })) {
  await page.goto(origin + base);
  await page.locator('#local-search button').click();
  await page.locator('#localsearch-input').fill(query);
  await page.locator(`.results a[href^="${base}${path}"]`).first().click({ timeout: 10_000 }).catch(() => found.push(`search for ${query} does not lead to ${path}`));
  await page.locator('.VPContent').getByText(query).first().waitFor();
}

found.push(...errors);
await browser.close();
for (const one of found) console.error(one);
process.exit(found.length ? 1 : 0);
