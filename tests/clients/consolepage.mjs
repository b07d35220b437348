// The harness of the console's tests: node SCENARIOS.mjs CHROMIUM URL DIRECTORY
//
// A file of scenarios ends with run({ name: async ({ page, …, args }) => result, … }). For each line of its input, a JSON document
// {"name", "args"}, it runs that scenario in one and the same page, and prints {"result", "failed", "errors"}: errors are those of
// the page's scripts. It ends when its input does.
import { createInterface } from 'node:readline';
import { errorsOf, launch, violations } from './browser.mjs';

// Each width, and each theme at two of them: all with all takes twice as long.
const appearances = [[390, 'light'], [768, 'dark'], [1280, 'light'], [1920, 'dark']];

// common are the scenarios of every file.
const common = {
  async open({ page, url, login, args }) {
    await login(url, args.token, args.address);
    return page.evaluate(() => document.title);
  },
  looks: ({ looks, args }) => looks(args.name),
  forced: ({ forced, args }) => forced(args.name),
  async shot({ shot, args }) { await shot(args.name); },
  text: ({ page }) => page.locator('#view').innerText(),
};

export async function run(scenarios) {
  const [executablePath, url, directory] = process.argv.slice(2);
  const browser = await launch(executablePath);
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, reducedMotion: 'reduce', acceptDownloads: true, ignoreHTTPSErrors: true });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const errors = errorsOf(page);

  const kit = { page, context, browser, url, ...tools(page, directory) };
  for await (const line of createInterface({ input: process.stdin })) {
    const { name, args = {} } = JSON.parse(line), answer = {};
    try {
      answer.result = await { ...common, ...scenarios }[name]({ ...kit, args }) ?? null;
    } catch (error) {
      answer.failed = error.stack ?? String(error);
      await page.screenshot({ path: `${directory}/failed-${name}.png` }).catch(() => {});
    }
    process.stdout.write(JSON.stringify({ ...answer, errors }) + '\n');
  }
  await browser.close();
  process.exit();
}

function tools(page, directory) {
  const shot = (name, options) => page.screenshot({ path: `${directory}/console-${name}.png`, ...options });

  // login opens the console at an address, with a token where one is asked for.
  async function login(url, token, address = '#/overview') {
    await page.goto('about:blank');
    await page.goto(url + address);
    if (token === undefined) return;
    await page.getByLabel('Token of a service account').fill(token);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('button', { name: 'Log out' }).waitFor();
  }

  // axe returns what is against WCAG, and against what axe thinks best besides.
  async function axe() {
    return (await violations(page)).map(v => `${v.id}: ${v.help}: ${v.nodes.slice(0, 5).map(n => n.html.slice(0, 200)).join(' | ')}`);
  }

  // painted waits until what was drawn for another size or theme is drawn anew.
  const painted = () => page.evaluate(() => new Promise(resolve => { requestAnimationFrame(() => requestAnimationFrame(() => requestAnimationFrame(resolve))); }));

  const wider = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

  // looks keeps screenshots of what is open in each appearance, and returns what axe finds, and where the page is wider than its
  // window.
  async function looks(name) {
    const found = [];
    for (const [width, colorScheme] of appearances) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' });
      await page.setViewportSize({ width, height: width < 800 ? 844 : 900 });
      await painted();
      for (const one of await axe()) found.push(`${name} ${width} ${colorScheme}: ${one}`);
      const over = await wider();
      if (over > 0) found.push(`${name} ${width} ${colorScheme}: the page is ${over} px wider than its window`);
      await shot(`${name}-${width}-${colorScheme}`, { fullPage: true });
    }
    await page.emulateMedia({ colorScheme: null, reducedMotion: 'reduce' });
    await page.setViewportSize({ width: 1280, height: 900 });
    return found;
  }
  // forced does so for 1280 px at 200 %, in forced colours. It is for the end: what this Chromium paints behind a page stays like that.
  async function forced(name) {
    await page.emulateMedia({ colorScheme: 'dark', forcedColors: 'active', reducedMotion: 'reduce' });
    await page.setViewportSize({ width: 640, height: 450 });
    await painted();
    const found = (await axe()).map(one => `${name} in forced colours: ${one}`), over = await wider();
    if (over > 0) found.push(`${name} at 200 %: the page is ${over} px wider than its window`);
    await shot(`${name}-forced`, { fullPage: true });
    return found;
  }
  return { shot, login, axe, looks, forced };
}
