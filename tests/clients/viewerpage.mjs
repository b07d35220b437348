// Drives the viewer in Chromium: node viewerpage.mjs CHROMIUM DIRECTORY
//
// Each line of its input is one step in JSON, [NAME, ...ARGUMENTS], and each line of its output the result, {"value"} or
// {"error"}. Screenshots go to DIRECTORY. It ends when its input does.
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { errorsOf, launch, violations } from './browser.mjs';

const [executablePath, directory] = process.argv.slice(2);
const browser = await launch(executablePath);
const context = await browser.newContext({ viewport: { width: 1280, height: 1000 }, bypassCSP: false, acceptDownloads: true, ignoreHTTPSErrors: true });
const page = await context.newPage();
const errors = errorsOf(page);

const steps = {
  goto: url => page.goto(url).then(() => null),
  url: () => page.url(),
  eval: expression => page.evaluate(expression),
  // waitForFunction would have the page itself evaluate a string, which its policy forbids.
  async wait(expression) {
    const end = Date.now() + 60_000;
    while (!await page.evaluate(expression).catch(error => { if (!/context was destroyed/.test(error)) throw error; })) {
      if (Date.now() > end) throw new Error('not within a minute');
      await new Promise(resolve => setTimeout(resolve, 100));
    }
    return null;
  },
  fill: (selector, text) => page.fill(selector, text),
  click: selector => page.click(selector),
  press: key => page.keyboard.press(key),
  type: text => page.keyboard.type(text),
  size: (width, height) => page.setViewportSize({ width, height }),
  media: options => page.emulateMedia(options),
  shot: name => page.screenshot({ path: `${directory}/${name}.png` }).then(() => null),
  async download(selector) {
    const [file] = await Promise.all([page.waitForEvent('download'), page.click(selector)]);
    return readFile(await file.path(), 'utf8');
  },
  // axe says what is wrong, by rule and element.
  axe: async () => (await violations(page)).flatMap(v => v.nodes.map(n => `${v.id}: ${n.html.slice(0, 160)} ${n.any?.[0]?.message ?? ''}`)),
  errors: () => errors.splice(0),
};

for await (const line of createInterface({ input: process.stdin })) {
  const [name, ...args] = JSON.parse(line);
  let answer;
  try { answer = { value: await steps[name](...args) }; } catch (error) { answer = { error: String(error) }; }
  process.stdout.write(JSON.stringify(answer) + '\n');
}
await browser.close();
process.exit();
