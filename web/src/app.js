// The sign-in form and the views. What is shown comes from the conversations; the wire is session.js.
import { Session, bare } from './session.js';

const $ = (id) => document.getElementById(id);
const config = await (await fetch('config.json')).json();
const conversations = new Map(); // bare or occupant address -> { messages, unread, presence, show }
let session = null;
let current = null;

const stateText = { online: 'online', away: 'away', offline: 'offline' };

function setUpForm() {
  for (const d of config.domains) $('domains').append(new Option(d));
  $('domain').value = config.domains[0] ?? '';
  $('domain').readOnly = !config.anyDomain && config.domains.length === 1;
  for (const kind of ['bosh', 'websocket']) {
    if (!config[kind]) document.querySelector(`[value=${kind}]`).disabled = true;
  }
  $('anonymous').addEventListener('change', () => {
    const off = $('anonymous').checked;
    $('account').hidden = off;
    $('user').required = $('password').required = !off;
  });
}

$('login').addEventListener('submit', (event) => {
  event.preventDefault();
  $('login-error').hidden = true;
  $('connect').disabled = true;
  $('connect').textContent = 'Connecting…';
  // People paste whole addresses into the user field.
  const [user, typed] = $('user').value.trim().split('@');
  session = new Session({
    config,
    transport: new FormData($('login')).get('transport'),
    domain: typed && !$('anonymous').checked ? typed : $('domain').value.trim(),
    user: $('anonymous').checked ? null : user,
    password: $('password').value,
    onState, onMessage, onPresence, onFailed,
  });
  session.connect();
});

function onState(state, detail) {
  $('me-dot').dataset.state = state === 'online' ? 'online' : 'offline';
  $('status').textContent = detail;
  if (state === 'online') {
    $('password').value = '';
    $('me').textContent = bare(session.jid);
    $('me').title = session.jid;
    $('sign-in').hidden = true;
    $('chat').hidden = false;
    for (const address of conversations.keys()) session.announce(address);
    if (!current) $('peer').focus();
  } else if (state === 'ended') {
    $('sign-in').hidden = false;
    $('chat').hidden = true;
    conversations.clear();
    current = null;
    $('login-error').textContent = detail;
    $('login-error').hidden = !detail;
    $('domain').focus();
  } else {
    for (const c of conversations.values()) c.presence = 'offline';
  }
  $('connect').disabled = state !== 'ended';
  $('connect').textContent = state === 'ended' ? 'Sign in' : 'Connecting…';
  render();
}

function conversation(address) {
  if (!conversations.has(address)) conversations.set(address, { messages: [], unread: 0, presence: 'offline', show: '' });
  return conversations.get(address);
}

function onMessage(from, text, id) {
  const c = conversation(from);
  c.messages.push({ text, id, mine: false, at: new Date() });
  if (from !== current || document.hidden) c.unread++;
  render();
}

function onPresence(from, presence, show) {
  if (!conversations.has(from)) return;
  Object.assign(conversation(from), { presence, show });
  render();
}

function onFailed(from, id, reason) {
  const m = conversations.get(from)?.messages.find((m) => m.mine && m.id === id);
  if (!m) return;
  m.failed = reason;
  render(true);
}

$('start').addEventListener('submit', (event) => {
  event.preventDefault();
  let address = $('peer').value.trim();
  if (!address.includes('@')) address += '@' + bare(session.jid).split('@').pop();
  if (!conversations.has(address)) session.announce(address);
  conversation(address);
  $('peer').value = '';
  open(address);
});

$('compose').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = $('text').value;
  if (!text.trim() || !session.online) return;
  conversation(current).messages.push({ text, id: session.message(current, text), mine: true, at: new Date() });
  $('text').value = '';
  render();
});
$('text').addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $('compose').requestSubmit();
});
$('back').addEventListener('click', () => { current = null; render(); $('peer').focus(); });
$('sign-out').addEventListener('click', () => session.end());
document.addEventListener('visibilitychange', () => render());
// A page that goes away says so, as far as the browser lets it.
addEventListener('pagehide', () => session?.end());

function open(address) {
  current = address;
  render();
  $('text').focus();
}

function render(redraw = false) {
  const c = conversations.get(current);
  if (c && !document.hidden) c.unread = 0;
  $('conversations').replaceChildren(...[...conversations].map(([address, each]) => entry(address, each)));
  $('chat').dataset.open = String(!!c);
  $('conversation').hidden = !c;
  $('empty').hidden = !!c;
  const unread = [...conversations.values()].reduce((n, each) => n + each.unread, 0);
  document.title = (unread ? `(${unread}) ` : '') + 'Chat · stanzagate';
  if (c) renderLog(c, redraw);
}

function renderLog(c, redraw) {
  $('with').textContent = current;
  $('with-dot').dataset.state = c.presence;
  $('with-state').textContent = c.show || stateText[c.presence];
  const log = $('log');
  // Only what is new is added, so that a screen reader reads only that.
  if (redraw || log.dataset.address !== current) log.replaceChildren();
  log.dataset.address = current;
  if (log.childElementCount === c.messages.length) return;
  log.append(...c.messages.slice(log.childElementCount).map(bubble));
  log.scrollTop = log.scrollHeight;
}

function entry(address, c) {
  const last = c.messages.at(-1);
  const button = el('button', { type: 'button' },
    el('span', { className: 'dot', ariaLabel: stateText[c.presence], role: 'img' }),
    el('span', { className: 'grow' }, el('div', { className: 'name' }, address),
      el('div', { className: 'muted preview' }, last ? (last.mine ? 'You: ' : '') + last.text : 'No messages yet')));
  button.querySelector('.dot').dataset.state = c.presence;
  if (c.unread) button.append(el('span', { className: 'badge', ariaLabel: `${c.unread} unread` }, String(c.unread)));
  button.setAttribute('aria-current', String(address === current));
  button.addEventListener('click', () => open(address));
  return el('li', {}, button);
}

function bubble(m) {
  const time = m.at.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  return el('li', { className: (m.mine ? 'mine' : '') + (m.failed ? ' failed' : '') },
    el('span', { className: 'sr' }, m.mine ? 'You: ' : 'They: '), el('span', { className: 'body' }, m.text),
    el('time', { dateTime: m.at.toISOString() }, m.failed ? `not delivered: ${m.failed}` : time));
}

function el(name, props, ...children) {
  const node = Object.assign(document.createElement(name), props);
  node.append(...children);
  return node;
}

setUpForm();
