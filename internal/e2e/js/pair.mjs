// Two Strophe.js sessions in Chromium that send each other numbered messages over BOSH. The arguments after the usual ones: the
// other user, and a JID that both tell of their presence. Standard input commands: a line "stop" ends the sending and asks for
// the outcome; its end ends the script. Standard output: the two JIDs, then the outcome, one JSON value a line.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { browser, job, fail } from './common.mjs';

const j = job();
const [other, witness] = j.rest;
const script = await readFile(new URL('node_modules/strophe.js/dist/strophe.umd.min.js', import.meta.url));
const server = createServer((req, res) => {
  const js = req.url === '/strophe.js';
  res.setHeader('Content-Type', js ? 'text/javascript' : 'text/html; charset=utf-8');
  res.end(js ? script : '<!doctype html><title>pair</title><script src="/strophe.js"></script>');
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const b = await browser();
const lines = createInterface({ input: process.stdin });
lines.on('close', async () => {
  await b.close();
  process.exit(0);
});
const page = await b.newPage();
await page.goto(`http://127.0.0.1:${server.address().port}/`);
const jids = await page.evaluate(async ({ url, users, password, witness }) => {
  const { Strophe, $msg, $pres } = globalThis.strophe ?? globalThis;
  const login = (jid) => new Promise((done, failed) => {
    const c = new Strophe.Connection(url);
    const s = { c, jid, sent: 0, got: new Set(), next: 0, doubled: 0, overtaken: 0, returned: 0, ended: [] };
    c.connect(jid, password, (status, why) => {
      if (status === Strophe.Status.CONNECTED) {
        s.jid = c.jid;
        c.addHandler((m) => {
          if (m.getAttribute('type') === 'error') {
            s.returned++;
            return true;
          }
          const n = Number(m.getElementsByTagName('body')[0].textContent);
          if (s.got.has(n)) s.doubled++;
          s.got.add(n);
          if (n > s.next) s.overtaken += n - s.next;
          s.next = Math.max(s.next, n + 1);
          return true;
        }, null, 'message');
        c.send($pres({ to: witness }));
        done(s);
      } else if ([Strophe.Status.AUTHFAIL, Strophe.Status.CONNFAIL, Strophe.Status.DISCONNECTED, Strophe.Status.ERROR].includes(status)) {
        s.ended.push(`status ${status} ${why ?? ''}`);
        failed(new Error(s.ended.join(', ')));
      }
    });
  });
  const pair = [await login(users[0]), await login(users[1])];
  globalThis.pair = pair;
  // Strophe puts its sending off by 100 ms with each stanza: whoever sends more often than that sends nothing.
  globalThis.timers = pair.map((s, i) => setInterval(() => {
    s.c.send($msg({ to: pair[1 - i].jid, type: 'chat' }).c('body').t(String(s.sent++)));
  }, 150));
  return pair.map((s) => s.jid);
}, { url: j.url, users: [`${j.jid}/strophe`, `${other}@${j.domain}/strophe`], password: j.password, witness }).catch((e) => fail(e.message));
console.log(JSON.stringify(jids));
lines.on('line', async () => {
  const outcome = await page.evaluate(async () => {
    globalThis.timers.forEach(clearInterval);
    const { pair } = globalThis;
    const complete = () => pair.every((s, i) => s.got.size + pair[1 - i].returned >= pair[1 - i].sent || s.ended.length > 0);
    for (let n = 0; n < 600 && !complete(); n++) await new Promise((done) => setTimeout(done, 100));
    return pair.map((s, i) => ({
      sent: pair[1 - i].sent, got: s.got.size, returned: pair[1 - i].returned, doubled: s.doubled, overtaken: s.overtaken, ended: s.ended.join(', '),
    }));
  });
  console.log(JSON.stringify(outcome));
});
