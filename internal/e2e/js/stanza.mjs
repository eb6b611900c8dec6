// stanza over BOSH (two held requests, one stanza per body) or WebSocket (its own stream management).
import { createRequire } from 'node:module';
import { job, pass, fail, check, deadline, hello } from './common.mjs';

const XMPP = createRequire(import.meta.url)('stanza');
const j = job();
deadline();
const client = XMPP.createClient({
  jid: j.jid, password: j.password, useStreamManagement: !j.bosh,
  transports: j.bosh ? { bosh: j.url, websocket: false } : { websocket: j.url, bosh: false },
});
let back = false;
client.on('session:started', () => {
  client.sendPresence();
  client.sendMessage({ to: client.jid, type: 'chat', body: hello });
});
client.on('message', (m) => {
  check(m.body);
  back = true;
  client.disconnect();
});
client.on('auth:failed', () => fail('authentication'));
client.on('disconnected', () => (back ? pass() : fail('disconnected')));
client.connect();
