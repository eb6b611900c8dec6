// @xmpp/client over WebSocket; it enables stream management by itself.
import WS from 'ws';
import { job, pass, fail, check, deadline, hello } from './common.mjs';

globalThis.WebSocket ??= WS;
const { client, xml } = await import('@xmpp/client');
const j = job();
deadline();
const c = client({ service: j.url, domain: j.domain, username: j.user, password: j.password, resource: 'xmppjs' });
let back = false;
c.on('error', (e) => back || fail(e.message));
c.on('offline', () => (back ? pass() : fail('offline')));
c.on('stanza', async (s) => {
  if (!s.is('message')) return;
  check(s.getChildText('body'));
  back = true;
  // COMPAT(@xmpp/client 0.14): one acknowledgement too many may come out of stop() and upset a server.
  await c.stop().catch(() => {});
  pass();
});
c.on('online', async (address) => {
  await c.send(xml('presence'));
  await c.send(xml('message', { to: address.toString(), type: 'chat' }, xml('body', {}, hello)));
});
await c.start();
