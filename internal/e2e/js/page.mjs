// The gateway's own page in Chromium: a wrong password, then two people who chat, and one who leaves.
// Arguments after the usual ones: the second user, the transport (auto, websocket, bosh), a file for a picture.
import { browser, job, pass, fail, deadline } from './common.mjs';

const j = job();
const [peer, transport, picture] = j.rest;
deadline(55);
const b = await browser();
const problems = [];

async function person() {
  const page = await (await b.newContext({ viewport: { width: 1100, height: 720 } })).newPage();
  page.setDefaultTimeout(20000);
  page.on('pageerror', (e) => problems.push(e.message));
  page.on('console', (m) => /Content Security Policy/.test(m.text()) && problems.push(m.text()));
  await page.goto(j.url);
  return page;
}

async function signIn(page, user, password) {
  await page.fill('#domain', j.domain);
  await page.fill('#user', user);
  await page.fill('#password', password);
  await page.check(`input[name=transport][value=${transport}]`, { force: true });
  await page.click('#connect');
}

async function say(page, text) {
  await page.fill('#text', text);
  await page.press('#text', 'Enter');
}

const bubble = (page, text) => page.locator('#log .body').getByText(text, { exact: true }).waitFor();

try {
  const [alice, bob] = await Promise.all([person(), person()]);
  await signIn(alice, j.user, `${j.password} or not`);
  await alice.locator('#login-error').getByText('refused').waitFor();
  await Promise.all([signIn(alice, j.user, j.password), signIn(bob, peer, j.password)]);
  await Promise.all([alice, bob].map((p) => p.locator('#status').getByText('Online').waitFor()));
  await alice.fill('#peer', `${peer}@${j.domain}`);
  await alice.press('#peer', 'Enter');
  await say(alice, 'Hi! I came over WebSocket or BOSH & <b>nobody</b> can tell.');
  await bob.getByRole('button', { name: j.jid }).click();
  await bubble(bob, 'Hi! I came over WebSocket or BOSH & <b>nobody</b> can tell.');
  await say(bob, 'Same here. “Quotes”, ☃ and e\u0301 arrive too.');
  await bubble(alice, 'Same here. “Quotes”, ☃ and e\u0301 arrive too.');
  await say(alice, 'Shall we meet at seven?');
  await bubble(bob, 'Shall we meet at seven?');
  await say(bob, 'Seven it is.');
  await bubble(alice, 'Seven it is.');
  await alice.locator('#with-dot[data-state=online]').waitFor();
  if (picture) await alice.screenshot({ path: picture });
  await bob.click('#sign-out');
  await alice.locator('#with-dot[data-state=offline]').waitFor();
  if (problems.length) fail(problems.join('; '));
} catch (e) {
  fail(`${e.message}\n${problems.join('\n')}`);
} finally {
  await b.close();
}
pass();
