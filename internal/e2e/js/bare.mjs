// Strophe.js in Chromium on a bare page of another origin, so that CORS and Origin checks take part.
import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { browser, job, pass, fail, check, deadline, hello } from './common.mjs';

const j = job();
deadline();
const script = await readFile(new URL('node_modules/strophe.js/dist/strophe.umd.min.js', import.meta.url));
const server = createServer((req, res) => {
  const js = req.url === '/strophe.js';
  res.setHeader('Content-Type', js ? 'text/javascript' : 'text/html; charset=utf-8');
  res.end(js ? script : '<!doctype html><title>bare</title><script src="/strophe.js"></script>');
});
await new Promise((done) => server.listen(0, '127.0.0.1', done));
const b = await browser();
try {
  const page = await b.newPage();
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  const got = await page.evaluate(({ url, jid, password, text }) => new Promise((done) => {
    const { Strophe, $msg, $pres } = globalThis.strophe ?? globalThis;
    const c = new Strophe.Connection(url);
    let body = 'nothing';
    c.connect(`${jid}/bare`, password, (status, why) => {
      if (status === Strophe.Status.CONNECTED) {
        c.addHandler((m) => {
          body = m.getElementsByTagName('body')[0].textContent;
          c.disconnect();
        }, null, 'message');
        c.send($pres());
        c.send($msg({ to: c.jid, type: 'chat' }).c('body').t(text));
      } else if (status === Strophe.Status.AUTHFAIL || status === Strophe.Status.CONNFAIL) body = `status ${status} ${why}`;
      else if (status === Strophe.Status.DISCONNECTED) done(body);
    });
  }), { url: j.url, jid: j.jid, password: j.password, text: hello });
  check(got);
} catch (e) {
  fail(e.message);
} finally {
  await b.close();
  server.close();
}
pass();
