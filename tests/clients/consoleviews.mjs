// What tests/consoleviews_test.go and tests/consolelife_test.go do in the console.
import { run } from './consolepage.mjs';

const main = page => page.locator('#view');
const dialog = page => page.locator('dialog');

// hide has a page think that nobody sees it, or that somebody does: no headless browser hides one by itself.
const hide = (page, hidden) => page.evaluate(hidden => {
  Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });
  document.dispatchEvent(new Event('visibilitychange'));
}, hidden);
const tabs = []; // of the scenario that has the name

await run({
  // tabs opens the tail in so many tabs, one after the other, each of which hides those before.
  async tabs({ context, url, args }) {
    for (let i = 0; i < args.tabs; i++) {
      if (i) await hide(tabs.at(-1), true);
      tabs.push(await context.newPage());
      await tabs.at(-1).goto(`${url}#/tail`);
      await tabs.at(-1).getByText('No message yet').waitFor();
    }
  },
  // shows shows a tab, hides the others, and waits until it has a text.
  async shows({ args }) {
    for (const tab of tabs) await hide(tab, tab !== tabs[args.tab]);
    await tabs[args.tab].getByText(args.text).first().waitFor();
  },
  async tabText({ args }) { return tabs[args.tab].locator('#view').innerText(); },

  // answer has the page get an answer of the test's own, by what is in its address; without a body, none ever. Then it is
  // asked for as always.
  async answer({ page, args }) {
    await page.route(url => url.href.includes(args.to), route => args.body === undefined ? undefined
      : route.fulfill({ status: args.status ?? 200, contentType: args.type ?? 'application/json', body: args.body }));
  },
  async asAlways({ page }) { await page.unrouteAll(); },
  // later has the clocks of the page go on at once, by so many seconds: they are those of clock, which is before the page is opened.
  async clock({ page }) { await page.clock.install(); },
  async later({ page, args }) { await page.clock.fastForward(args.seconds * 1000); },
  async focus({ page }) { return page.evaluate(() => document.activeElement.textContent); },
  async eval({ page, args }) { return page.evaluate(args.expression); },

  async hash({ page }) { return page.evaluate(() => location.hash); },
  async buttons({ page }) { return main(page).getByRole('button').allTextContents(); },

  // see waits until a text is there, unseen until it is gone.
  async see({ page, args }) { await page.getByText(args.text).first().waitFor(); },
  async unseen({ page, args }) { await page.getByText(args.text).first().waitFor({ state: 'hidden' }); },
  async count({ page, args }) { await page.waitForFunction(n => document.querySelector('.total')?.textContent.startsWith(n), args.text); },

  // fill types into a field of the view, by its label.
  async fill({ page, args }) { await main(page).getByLabel(args.label, { exact: args.exact ?? false }).fill(args.text); },
  async press({ page, args }) { await main(page).getByRole('button', { name: args.button }).first().click(); },
  // keys presses keys one after the other, wherever the focus is.
  async keys({ page, args }) {
    for (const key of args.keys) await page.keyboard.press(key);
    return page.evaluate(() => document.activeElement.textContent || document.activeElement.ariaLabel || document.activeElement.name);
  },

  // form opens a form with a button, fills it and submits it. With wrong it returns what stands at the fields, and goes on with
  // the values that mend it.
  async form({ page, args, shot }) {
    await main(page).getByRole('button', { name: args.button }).first().click();
    const fill = async values => { for (const [label, text] of Object.entries(values ?? {})) {
      const field = dialog(page).getByLabel(new RegExp('^' + label)).first();
      if (await field.evaluate(one => one.tagName) === 'SELECT') await field.selectOption(text);
      else await field.fill(text);
    } };
    const confirm = () => dialog(page).locator('button.main').click();
    let told;
    if (args.wrong) {
      await fill(args.wrong);
      await confirm();
      await dialog(page).locator('.error:not([hidden])').first().waitFor();
      told = await dialog(page).locator('.error:not([hidden])').allTextContents();
      if (args.shot) await shot(args.shot);
    }
    await fill(args.values);
    await confirm();
    await dialog(page).waitFor({ state: 'detached' });
    return told;
  },
  // sure presses a button that asks once, says no, and then yes. It returns what was asked.
  async sure({ page, args }) {
    await main(page).getByRole('button', { name: args.button }).first().click();
    const asked = await dialog(page).innerText();
    await page.keyboard.press('Escape');
    await dialog(page).waitFor({ state: 'detached' });
    await main(page).getByRole('button', { name: args.button }).first().click();
    await dialog(page).locator('button.main').click();
    await dialog(page).waitFor({ state: 'detached' });
    return asked;
  },

  // download presses a button that saves something, and returns what.
  async download({ page, args }) {
    const [file] = await Promise.all([page.waitForEvent('download'), main(page).getByRole('button', { name: args.button }).click()]);
    const parts = [];
    for await (const part of await file.createReadStream()) parts.push(part);
    return Buffer.concat(parts).toString();
  },

  // frames measures for some seconds how long frames are, in milliseconds, while somebody scrolls and types into the search.
  async frames({ page, args }) {
    const watched = page.evaluate(({ ms, scroll }) => new Promise(resolve => {
      const gaps = [], long = [], box = document.querySelector('.scroll'), end = performance.now() + ms;
      new PerformanceObserver(list => { for (const one of list.getEntries()) long.push(one.duration); }).observe({ type: 'longtask' });
      let before = performance.now(), down = 1;
      requestAnimationFrame(function frame(now) {
        gaps.push(now - before);
        before = now;
        if (scroll) { // there and back
          box.scrollTop += 97 * down;
          if (box.scrollTop + box.clientHeight >= box.scrollHeight || box.scrollTop === 0) down = -down;
        }
        if (now < end) return requestAnimationFrame(frame);
        gaps.sort((a, b) => a - b);
        const at = q => Math.round(gaps[Math.min(gaps.length - 1, Math.floor(gaps.length * q))] * 10) / 10;
        resolve({ frames: gaps.length, median: at(0.5), p99: at(0.99), longest: at(1), over50: gaps.filter(gap => gap > 50).length, longestTask: Math.max(0, ...long) });
      });
    }), args);
    if (args.search) {
      await page.waitForTimeout(args.ms / 3);
      await main(page).getByLabel(args.search.label).pressSequentially(args.search.text, { delay: 60 });
    }
    return watched;
  },
});
