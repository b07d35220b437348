// Opens the viewer in Chromium: node viewer.mjs CHROMIUM URL DIRECTORY
//
// For each line of its input it prints what the page shows as one JSON document,
// and keeps a screenshot DIRECTORY/LINE.png. It ends when its input does.
import { createInterface } from 'node:readline';
import { launch } from './browser.mjs';

const [executablePath, url, directory] = process.argv.slice(2);
const browser = await launch(executablePath);
const errors = [];
const page = await browser.newPage({ viewport: { width: 1280, height: 1100 } });
page.on('pageerror', error => errors.push(String(error)));
await page.goto(url);

for await (const line of createInterface({ input: process.stdin })) {
  const seen = await page.evaluate(() => ({
    ...document.body.dataset,
    pill: document.querySelector('#state span').textContent,
    notice: document.querySelector('#notice').hidden ? '' : document.querySelector('#notice p').textContent,
    names: [...document.querySelectorAll('#legend button')].map(button => button.dataset.device).sort(),
    notes: [...document.querySelectorAll('#notes .note p')].map(p => p.textContent),
  }));
  if (line !== 'look') await page.screenshot({ path: `${directory}/${line}.png` });
  process.stdout.write(JSON.stringify({ ...seen, errors }) + '\n');
}
await browser.close();
process.exit();
