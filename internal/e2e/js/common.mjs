// What every client script does: take its job from the command line, and say how it went.
import { execSync } from 'node:child_process';

export const hello = 'hello <&> "q" \' é ☃ 𝄞 ]]>';

// job reads the arguments: the endpoint's URL, the domain, the user, the password.
export function job() {
  const [url, domain, user, password, ...rest] = process.argv.slice(2);
  return { url, domain, user, password, jid: `${user}@${domain}`, rest, bosh: url.startsWith('http') };
}

export function pass() {
  console.log('PASS');
  process.exit(0);
}

export function fail(why) {
  console.log('FAIL', why);
  process.exit(1);
}

// deadline ends the script when nothing else does.
export function deadline(seconds = 40) {
  setTimeout(() => fail('no end in time'), seconds * 1000).unref();
}

// check compares the message that came back.
export function check(text) {
  if (text !== hello) fail(`got back ${JSON.stringify(text)}`);
}

export async function browser() {
  const { chromium } = await import('playwright-core');
  const path = execSync('command -v chromium || command -v chromium-browser').toString().trim();
  return chromium.launch({
    executablePath: path,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost'],
  });
}
