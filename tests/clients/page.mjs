// Opens a page in Chromium, and prints its text whenever that has changed:
// node page.mjs CHROMIUM URL
//
// Errors of the page are printed, too. It ends when its input does.
import { launch } from './browser.mjs';

const [executablePath, url] = process.argv.slice(2);
const print = event => process.stdout.write(JSON.stringify(event) + '\n');
const browser = await launch(executablePath);
const page = await browser.newPage();
page.on('pageerror', error => print({ event: 'error', text: String(error) }));
await page.exposeFunction('print', text => print({ event: 'text', text }));
await page.goto(url);
await page.evaluate(() => {
  const tell = () => window.print(document.body.innerText);
  new MutationObserver(tell).observe(document.body, { subtree: true, childList: true, characterData: true });
  tell();
});

process.stdin.on('end', async () => { await browser.close(); process.exit(); }).resume();
