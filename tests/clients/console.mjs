// What tests/console_test.go does in the console.
import { run } from './consolepage.mjs';

const main = page => page.locator('#view');

await run({
  async open({ page, url, login, args }) {
    await login(url, args.token, args.address);
    return page.evaluate(() => document.title);
  },
  looks: ({ looks, args }) => looks(args.name),
  async shot({ shot, args }) { await shot(args.name); },

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
  // expire asks for one view after the other until the token has ended, the last being the one that stays.
  async expire({ page }) {
    const login = page.getByLabel('Token of a service account');
    for (const end = Date.now() + 60_000; !await login.isVisible() && Date.now() < end;) {
      for (const name of ['Overview', 'Triggers']) await page.getByRole('link', { name, exact: true }).click({ timeout: 2000 }).catch(() => {});
      await page.waitForTimeout(300);
    }
    return page.locator('#login .error').textContent();
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
  async text({ page }) { return main(page).innerText(); },

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
