// Follows a route with iotcast's own client, in a page in Chromium:
// node feedpage.mjs CHROMIUM PAGE MODULE URL OPTIONS
//
// MODULE is the URL of the client. All else is as with feed.mjs. Errors of the
// page are printed, too.
import { createInterface } from 'node:readline';
import { launch } from './browser.mjs';

const [executablePath, at, module, url, options] = process.argv.slice(2);
const print = event => process.stdout.write(JSON.stringify(event) + '\n');
const browser = await launch(executablePath);
const page = await browser.newPage();
page.on('pageerror', error => print({ event: 'error', text: String(error) }));
await page.exposeFunction('print', print);
await page.goto(at);
await page.evaluate(async ([module, url, { tokenURL, ...options }]) => {
  const { connect } = await import(module);
  window.feed = connect(url, {
    token: tokenURL && (async () => (await fetch(tokenURL)).text()),
    onMessage: m => print({ event: 'message', id: m.event_metadata.event_id, text: m.text() }),
    onGap: gap => print({ event: 'gap', ...gap }),
    onState: (state, { code, reason, status }) => print({ event: state, code, reason, status }),
    ...options,
  });
}, [module, url, JSON.parse(options)]);

createInterface({ input: process.stdin })
  .on('line', line => page.evaluate(line => {
    if (line === 'close') return window.feed.close();
    window.feed.watch(JSON.parse(line)).then(
      inForce => window.print({ event: 'watch', text: JSON.stringify(inForce) }),
      error => window.print({ event: 'watch', reason: error.message }),
    );
  }, line))
  .on('close', async () => { await browser.close(); process.exit(); });
