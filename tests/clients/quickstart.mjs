// Opens the page of the quickstart in Chromium and waits until it shows live
// readings: node quickstart.mjs CHROMIUM URL SCREENSHOT
//
// It prints one JSON document with what it saw. It ends when its input does.
import { launch } from './browser.mjs';

const [executablePath, url, screenshot] = process.argv.slice(2);
const browser = await launch(executablePath);
process.stdin.resume().on('end', async () => { await browser.close(); process.exit(1); });

const seen = { errors: [] };
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 1100 } });
  page.on('console', message => { if (message.type() === 'error') seen.errors.push(message.text()); });
  page.on('pageerror', error => seen.errors.push(String(error)));
  page.on('requestfailed', request => seen.errors.push(`${request.url()}: ${request.failure()?.errorText}`));
  await page.goto(url);
  await page.waitForFunction(() => {
    const { state, messages, devices } = document.body.dataset;
    return state === 'live' && Number(messages) > 20 && devices === '4';
  }, null, { timeout: 30_000 });
  // A line needs some seconds of readings to be seen as one, and charts and tables are drawn by turns.
  await page.waitForFunction(() => Number(document.body.dataset.messages) > 100 &&
    document.querySelector('#messages tbody tr:not(.gap)') && document.querySelectorAll('#readings tbody tr:not(.gap)').length >= 4, null, { timeout: 30_000 });
  Object.assign(seen, await page.evaluate(() => ({
    ...document.body.dataset,
    rows: document.querySelectorAll('#readings tbody tr:not(.gap)').length,
    envelopes: document.querySelectorAll('#messages tbody tr:not(.gap)').length,
    // Each canvas of the chart: how many colours it has. A blank one has one.
    colours: [...document.querySelectorAll('#chart canvas')].map(canvas => {
      if (!canvas.width || !canvas.height) return 0;
      const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
      return new Set(new Uint32Array(data.buffer)).size;
    }),
  })));
  await page.screenshot({ path: screenshot });
} catch (error) {
  seen.errors.push(String(error));
}
process.stdout.write(JSON.stringify(seen) + '\n');
await browser.close();
process.exit(0);
