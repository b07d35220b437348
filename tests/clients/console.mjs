// What tests/console_test.go does in the console.
import { run } from './consolepage.mjs';

const main = page => page.locator('#view');

await run({
  // see waits until a text is there.
  async see({ page, args }) { await main(page).getByText(args.text).first().waitFor(); },

  // wrong logs in with tokens that are no good, and returns what it is told.
  async wrong({ page, url, args }) {
    await page.goto(url);
    const told = [];
    for (const token of args.tokens) {
      await page.getByLabel('Token of a service account').fill(token);
      await page.keyboard.press('Enter');
      await page.waitForFunction(before => {
        const text = document.querySelector('#login .error').textContent;
        return text && text !== before;
      }, told.at(-1) ?? '');
      told.push(await page.locator('#login .error').textContent());
    }
    return told;
  },

  // enter gives a token to the login that is open.
  async enter({ page, args }) {
    await page.getByLabel('Token of a service account').fill(args.token);
    await page.getByRole('button', { name: 'Log in' }).click();
    await page.getByRole('button', { name: 'Log out' }).waitFor();
    return page.evaluate(() => location.hash);
  },
  // expire asks for one view after the other until the token has ended, and returns what is told, and where.
  async expire({ page }) {
    const login = page.getByLabel('Token of a service account');
    for (const end = Date.now() + 60_000; !await login.isVisible() && Date.now() < end;) {
      for (const name of ['Overview', 'Triggers']) await page.getByRole('link', { name, exact: true }).click({ timeout: 2000 }).catch(() => {});
      await page.waitForTimeout(300);
    }
    return { told: await page.locator('#login .error').textContent(), hash: await page.evaluate(() => location.hash) };
  },
  async leave({ page }) {
    await page.getByRole('button', { name: 'Log out' }).click();
    await page.getByLabel('Token of a service account').waitFor();
    return page.evaluate(() => ({ local: localStorage.length, session: sessionStorage.length, cookie: document.cookie }));
  },
  async loggedOut({ page }) {
    await page.getByLabel('Token of a service account').waitFor();
    return page.locator('#login .error').textContent();
  },

  async views({ page }) { return page.locator('#nav a').allTextContents(); },

  // create makes a trigger in the form, by keyboard alone, and returns what stood beside it.
  async create({ page, looks }) {
    await page.getByRole('link', { name: 'New trigger' }).or(page.getByRole('link', { name: 'Create a trigger' })).first().focus();
    await page.keyboard.press('Enter');
    await page.getByLabel('Name', { exact: true }).waitFor();
    const type = async (label, text) => {
      const field = page.getByLabel(label);
      for (let i = 0; i < 40 && !await field.evaluate(e => e === document.activeElement); i++) await page.keyboard.press('Tab');
      await page.keyboard.press('ControlOrMeta+A');
      await page.keyboard.type(text);
    };
    await page.keyboard.type('Telemetry!');
    await page.keyboard.press('Tab');
    await page.locator('[data-field=name] .error').waitFor();
    const beside = { name: await page.locator('[data-field=name] .error').textContent() };
    const found = await looks('trigger-new-problems');
    await page.getByLabel('Name', { exact: true }).focus();
    await page.keyboard.press('ControlOrMeta+A');
    await page.keyboard.type('telemetry');
    await type('Registry', 'home');
    await type('MQTT topic', '$devices/+/events');
    await type('Gateway', 'main');
    await type('Path', '/telemetry');
    await page.getByText('can be saved').waitFor();
    beside.yaml = await page.getByLabel('The stream as YAML').textContent();
    found.push(...await looks('trigger-new'));
    await page.getByRole('button', { name: 'Create' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Pause' }).waitFor();
    return { ...beside, found, hash: await page.evaluate(() => location.hash) };
  },

  // press presses a button of the view, and waits for what comes of it.
  async press({ page, args }) {
    await main(page).getByRole('button', { name: args.button, exact: true }).click();
    if (args.see) await page.getByText(args.see).first().waitFor();
  },
  async confirm({ page, args }) {
    await page.getByRole('dialog').getByRole('button', { name: args.button, exact: true }).click();
    await page.getByText(args.see).first().waitFor();
  },
  async follow({ page, args }) { await main(page).getByRole('link', { name: args.link, exact: true }).first().click(); },

  // remove asks for the trigger to be deleted, thinks better of it once, and returns where the focus was then.
  async remove({ page, shot }) {
    const button = main(page).getByRole('button', { name: 'Delete' });
    await button.click();
    await page.getByRole('dialog').waitFor();
    await shot('trigger-delete');
    await page.keyboard.press('Escape');
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    const focus = await page.evaluate(() => document.activeElement.textContent);
    await page.keyboard.press('Enter');
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
    await page.getByText('No trigger yet').waitFor();
    return focus;
  },

  // change fills a field of the form that is open, and saves.
  async change({ page, args }) {
    await page.getByLabel(args.label).fill(args.value);
    await page.getByRole('button', { name: 'Save' }).click();
    await page.getByText(args.see).first().waitFor();
  },

  // figure waits until a tile of the overview shows something other than nothing, and returns it.
  async figure({ page, args }) {
    const tile = page.getByRole('article', { name: args.label, exact: true }).locator('.now');
    for (const end = Date.now() + 60_000; Date.now() < end;) {
      const text = await tile.textContent().catch(() => '');
      if (/[1-9]/.test(text)) return text;
      await page.waitForTimeout(200);
    }
    throw new Error(`${args.label} shows ${await tile.textContent()}`);
  },

  async 'wrong-finding'({ page }) { await page.locator('.finding.error, .finding.warning').first().waitFor({ timeout: 60_000 }); },

  async buttons({ page }) { return main(page).locator('button:visible, a.button:visible').allTextContents(); },

  async away({ page }) { await page.getByText('iotcast does not answer, trying again').waitFor(); },
  async back({ page }) { await page.locator('#away').waitFor({ state: 'hidden' }); },

  // history walks through views by keyboard alone, then back, forward and by reloading.
  async history({ page }) {
    const at = () => page.evaluate(() => location.hash + ' ' + document.title);
    const seen = [];
    await page.locator('#nav a', { hasText: 'Overview' }).focus();
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.title.startsWith('Triggers'));
    seen.push(await at(), await page.evaluate(() => document.activeElement.id));
    await page.goBack();
    await page.waitForFunction(() => document.title.startsWith('Overview'));
    seen.push(await at());
    await page.goForward();
    await page.waitForFunction(() => document.title.startsWith('Triggers'));
    seen.push(await at());
    await page.reload();
    await page.waitForFunction(() => document.title.startsWith('Triggers'));
    seen.push(await at());
    return seen;
  },
});
