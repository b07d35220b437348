// How all tests start Chromium: as root, as CI runs, and without what it would
// do on its own.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { chromium } from 'playwright-core';

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

// violations is what axe finds in a page. Its policy is not for what a test brings along: the inspector may.
// Contrast is left out where the colours are the system's: then axe compares those of the page.
export async function violations(page) {
  await page.evaluate(axeSource);
  return page.evaluate(async () => {
    const forced = matchMedia('(forced-colors: active)').matches;
    return (await globalThis.axe.run(document, { rules: { 'color-contrast': { enabled: !forced } } })).violations;
  });
}

// errorsOf gathers the errors of a page's scripts, and what its policy forbids them.
export function errorsOf(page) {
  const errors = [];
  page.on('pageerror', error => errors.push(error.stack ?? String(error)));
  page.on('console', message => { if (/Content Security|Trusted/.test(message.text())) errors.push(message.text()); });
  return errors;
}

export const launch = (executablePath, ...more) => chromium.launch({
  executablePath,
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', ...more,
  ],
});
