// One person's XMPP session over Strophe.js: which transport, when to try again, what presence means.
import { Strophe, $msg, $pres } from 'strophe.js';

export const bare = (jid) => Strophe.getBareJidFromJid(jid);

const retries = 6;

const names = { websocket: 'WebSocket', bosh: 'BOSH' };

export class Session {
  #o; #connection = null; #kinds; #tries = 0; #leaving = false; #was = false; #reason = ''; #known = new Set(); #answered = new Set(); #timer = 0;
  online = false;

  // o: config, transport, domain, user (null: anonymous), password, and the callbacks onState, onMessage, onPresence, onFailed.
  constructor(o) {
    this.#o = o;
    const all = ['websocket', 'bosh'].filter((k) => o.config[k]);
    this.#kinds = o.transport === 'auto' ? all : [o.transport];
  }

  get jid() { return this.#connection?.jid ?? ''; }

  connect() {
    const { config, domain, user, password } = this.#o;
    const url = new URL(config[this.#kinds[0]], location.href);
    if (this.#kinds[0] === 'websocket') url.protocol = url.protocol.replace('http', 'ws');
    this.#reason = '';
    this.#answered.clear();
    this.#connection = new Strophe.Connection(url.href);
    const jid = user === null ? domain : `${user}@${domain}/web-${crypto.getRandomValues(new Uint32Array(1))[0].toString(36)}`;
    this.#o.onState('connecting', `Connecting over ${names[this.#kinds[0]]}…`);
    const mine = this.#connection;
    this.#connection.connect(jid, user === null ? null : password, (status, condition) => {
      if (mine === this.#connection) this.#status(status, condition);
    });
  }

  end() {
    this.#leaving = true;
    clearTimeout(this.#timer);
    if (this.#connection?.connected) this.#connection.disconnect('');
    else this.#o.onState('ended', '');
  }

  // announce shows our presence to somebody this person chose to talk to, who may not have us in the roster.
  announce(address) {
    this.#known.add(bare(address));
    if (this.online) this.#connection.send($pres({ to: address }));
  }

  message(to, text) {
    if (!this.#known.has(bare(to))) this.announce(to);
    const id = this.#connection.getUniqueId('m');
    this.#connection.send($msg({ to, type: 'chat', id }).c('body').t(text));
    return id;
  }

  #status(status, condition) {
    const S = Strophe.Status;
    if (status === S.CONNECTED) this.#up();
    else if (status === S.AUTHFAIL) {
      this.#reason = 'The server refused this user or password.';
      this.#leaving = true;
      this.#connection.disconnect(''); // Strophe would leave the session open for another try
    }
    else if (status === S.CONNFAIL || status === S.ERROR) this.#reason = explain(condition) || this.#reason;
    else if (status === S.CONNTIMEOUT) this.#reason = 'The server did not answer in time.';
    else if (status === S.DISCONNECTED) this.#down();
  }

  #up() {
    this.online = this.#was = true;
    this.#tries = 0;
    const c = this.#connection;
    c.addHandler((m) => { this.#message(m); return true; }, null, 'message');
    c.addHandler((p) => { this.#presence(p); return true; }, null, 'presence');
    c.send($pres());
    this.#o.onState('online', `Online · ${names[this.#kinds[0]]}`);
  }

  #down() {
    this.online = false;
    if (this.#leaving) return this.#o.onState('ended', this.#reason);
    // Automatic: some networks let no WebSocket through, and long polling gets there.
    if (!this.#was && this.#kinds.length > 1) {
      this.#kinds.shift();
      return this.connect();
    }
    // An anonymous person would come back as somebody else.
    if (!this.#was || this.#o.user === null || this.#tries >= retries) {
      return this.#o.onState('ended', this.#reason || 'The connection was lost.');
    }
    const wait = Math.min(30, 2 ** this.#tries++);
    this.#o.onState('waiting', `Connection lost, trying again in ${wait} s`);
    this.#timer = setTimeout(() => this.connect(), wait * 1000);
  }

  #message(m) {
    const from = bare(m.getAttribute('from') ?? '');
    if (m.getAttribute('type') === 'error') {
      const why = [...(m.querySelector('error')?.children ?? [])][0]?.localName ?? 'error';
      return this.#o.onFailed(from, m.getAttribute('id'), why.replaceAll('-', ' '));
    }
    const body = [...m.children].find((e) => e.localName === 'body');
    if (!body || m.getAttribute('type') === 'groupchat') return;
    this.#o.onMessage(from, body.textContent, m.getAttribute('id'));
  }

  #presence(p) {
    const full = p.getAttribute('from') ?? '';
    const type = p.getAttribute('type');
    if (bare(full) === bare(this.jid)) return;
    const show = [...p.children].find((e) => e.localName === 'show')?.textContent ?? '';
    const status = [...p.children].find((e) => e.localName === 'status')?.textContent ?? '';
    if (type === null) {
      this.#answer(full);
      this.#o.onPresence(bare(full), show && show !== 'chat' ? 'away' : 'online', status);
    } else if (type === 'unavailable') {
      this.#answered.delete(full);
      this.#o.onPresence(bare(full), 'offline', '');
    }
  }

  // Strangers learn nothing. Once per peer's session, or two such clients would answer each other for ever.
  #answer(full) {
    if (!this.#known.has(bare(full)) || this.#answered.has(full)) return;
    this.#answered.add(full);
    this.announce(full);
  }
}

function explain(condition) {
  return {
    'host-unknown': 'This gateway does not serve that domain.',
    'remote-connection-failed': 'The chat server cannot be reached.',
    'conflict': 'Signed in elsewhere with the same name.',
    'policy-violation': 'The gateway refused the connection.',
    'system-shutdown': 'The server is shutting down.',
  }[condition] ?? (typeof condition === 'string' && condition ? `Connection failed (${condition}).` : '');
}
