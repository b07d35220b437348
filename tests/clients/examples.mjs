// Shows the examples of docs/ in Chromium: node examples.mjs CHROMIUM GATEWAY DIRECTORY
//
// GATEWAY is the address of one to use in place of that in the examples. It prints for each page what its table shows, as
// one JSON document a line, once there are two devices; and again for each line of its input, once that stands in a table.
// It keeps a screenshot of each page in DIRECTORY, and ends when its input does.
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { compile } from 'svelte/compiler';
import { compileScript, parse } from 'vue/compiler-sfc';
import { launch } from './browser.mjs';

const [executablePath, gateway, directory] = process.argv.slice(2);
const at = name => fileURLToPath(new URL(`../../docs/examples/${name}`, import.meta.url));
const read = async name => (await readFile(at(name), 'utf8'))
  .replaceAll('127.0.0.1:8080/devices', `${gateway}/telemetry`).replaceAll('127.0.0.1:8080', gateway);

// What a bundler of the user's does with a component.
const components = {
  jsx: ['import { createRoot } from "react-dom/client"; import { createElement } from "react"; createRoot(document.body).render(createElement(Devices));',
    source => ({ contents: source, loader: 'jsx' })],
  vue: ['import { createApp } from "vue"; createApp(Devices).mount(document.body);',
    source => ({ contents: compileScript(parse(source).descriptor, { id: 'devices', inlineTemplate: true }).content, loader: 'js' })],
  svelte: ['import { mount } from "svelte"; mount(Devices, { target: document.body });',
    source => ({ contents: compile(source, { generate: 'client' }).js.code, loader: 'js' })],
};

async function bundle(kind) {
  const [mount, transform] = components[kind];
  const { outputFiles: [out] } = await build({
    stdin: { contents: `import Devices from "${at(`Devices.${kind}`)}"; ${mount}`, resolveDir: import.meta.dirname },
    bundle: true, write: false, format: 'esm', jsx: 'automatic', conditions: ['browser'], logLevel: 'error',
    nodePaths: [fileURLToPath(new URL('../node_modules', import.meta.url))],
    define: { 'process.env.NODE_ENV': '"production"' },
    alias: { iotcast: fileURLToPath(new URL('../../internal/gateway/client/iotcast.js', import.meta.url)) },
    plugins: [{
      name: 'component',
      setup: b => b.onLoad({ filter: /docs\/examples\/Devices/ }, async () => ({ ...transform(await read(`Devices.${kind}`)), resolveDir: at('') })),
    }],
  });
  return out.text;
}

const css = await read('devices.css'), pages = { '/html': await read('devices.html'), '/devices.css': css };
for (const kind in components) {
  pages[`/${kind}`] = `<!doctype html><meta charset="utf-8"><title>Devices</title><link rel="stylesheet" href="devices.css"><body><script type="module" src="/${kind}.js"></script>`;
  pages[`/${kind}.js`] = await bundle(kind);
}
const server = createServer((request, response) => {
  const body = pages[request.url];
  const type = /\.(js|css)$/.exec(request.url)?.[1].replace('js', 'javascript') ?? 'html';
  response.writeHead(body ? 200 : 404, { 'Content-Type': `text/${type}` }).end(body);
});
await new Promise(resolve => { server.listen(0, '127.0.0.1', resolve); });

const browser = await launch(executablePath);
const shown = await Promise.all(['html', ...Object.keys(components)].map(async kind => {
  const page = await browser.newPage({ viewport: { width: 720, height: 360 } });
  page.on('pageerror', error => process.stdout.write(JSON.stringify({ kind, error: String(error) }) + '\n'));
  await page.goto(`http://127.0.0.1:${server.address().port}/${kind}`);
  return { kind, page };
}));

async function show(when, what) {
  await Promise.all(shown.map(async ({ kind, page }) => {
    await page.waitForFunction(when, what, { timeout: 60_000 });
    const rows = await page.$$eval('tbody tr', all => all.map(row => [...row.cells].map(cell => cell.textContent)));
    const state = await page.textContent('h1 small');
    await page.screenshot({ path: `${directory}/example-${kind}.png` });
    process.stdout.write(JSON.stringify({ kind, rows, state }) + '\n');
  }));
}
await show(() => document.querySelectorAll('tbody tr').length >= 2);
for await (const line of createInterface({ input: process.stdin })) {
  await show(text => document.querySelector('tbody').textContent.includes(text), line);
}
await browser.close();
process.exit();
