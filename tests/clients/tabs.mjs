// Follows a route in tabs of one browser: node tabs.mjs CHROMIUM
//
// A line of its input is a JSON document. With a `page` it opens the tab of this name, which gets the client and shared.js from
// beside the URL `module`, and follows `url` with `options`; `watch` is a choice of its own, `send` a message, and `close` closes it.
// It prints what the handlers are told as feed.mjs does, with the name of the tab. It ends when its input does.
import { createInterface } from 'node:readline';
import { launch } from './browser.mjs';

const print = event => process.stdout.write(JSON.stringify(event) + '\n');
const browser = await launch(process.argv[2]);
const context = await browser.newContext();
const tabs = new Map();

async function open({ tab, page: at, module, url, options }) {
  const page = await context.newPage();
  tabs.set(tab, page);
  page.on('pageerror', error => print({ tab, event: 'error', text: String(error) }));
  await page.exposeFunction('print', event => print({ tab, ...event }));
  await page.goto(at);
  await page.evaluate(async ([module, url, options]) => {
    const { connect } = await import(`${module}/iotcast.js`);
    const { SharedSocket } = await import(`${module}/shared.js`);
    window.feed = connect(url, {
      WebSocket: SharedSocket,
      onMessage: m => print({ event: 'message', id: m.event_metadata.event_id, text: m.text() }),
      onData: (data, messages) => { if (!messages) print({ event: 'data', text: data }); },
      onGap: gap => print({ event: 'gap', ...gap }),
      onState: (state, { code, reason, status }) => print({ event: state, code, reason, status }),
      ...options,
    });
  }, [module, url, options]);
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line), { tab, page, watch, send } = command;
  if (page) await open(command);
  if (watch) {
    await tabs.get(tab).evaluate(watch => window.feed.watch(watch).then(
      inForce => window.print({ event: 'watch', text: JSON.stringify(inForce) }),
      error => window.print({ event: 'watch', reason: error.message }),
    ), watch);
  }
  if (send) await tabs.get(tab).evaluate(text => { window.feed.send(text); }, send);
  if (command.close) await tabs.get(tab).close();
}
await browser.close();
process.exit();
