// The other half of shared.js: a SharedWorker that holds the WebSockets of all tabs of a browser.
//
// Each tab begins with a WebSocket of its own, which brings what this tab has missed, or last values. When two of the same
// URL and subprotocols have brought the same messages for a while, and the last of them just now, both are at one place, and
// will bring the same: the tabs of the one change over to the other, with neither gap nor repeat, and it is closed. Nothing
// is kept for tabs to come, and no message is looked into.
//
// The while is there for an interval, in which the gateway holds values back: one socket may have brought a value that the
// other, at another node of a cluster, has yet to bring. After all that an interval may hold back there is no such value.
//
// The newest socket is the one that stays: that which the gateway has let in with the cookies of today.

const PROVEN = 2_000; // ms of the same messages; or twice the interval, if that is longer
const AHEAD = 1_000; // messages by which one may be ahead of the other
const UNREAD = 2 ** 24; // characters or bytes that may wait for a tab
const HEARTBEAT = '{"messages":[]}'; // comes when nothing else does: at each socket at its own time

const links = new Set(); // those that are open and tabs can share, the oldest first

// What tabs with one link have in common: all but where each begins. A token is a part of it, in the URL or in a subprotocol.
function keyOf(url, protocols) {
  const rest = new URL(url);
  for (const name of ['last_event_id', 'latest', 'rewind']) rest.searchParams.delete(name);
  return JSON.stringify([rest, protocols]);
}

// An interval in other units than seconds, which iotcast.js does not write, is not shared.
function provenAfter(url) {
  const interval = new URL(url).searchParams.get('interval') || '0s';
  return /^[\d.]+s$/.test(interval) ? Math.max(PROVEN, 2000 * parseFloat(interval)) : Infinity;
}

function tell(tab, event) { tab.port.postMessage(event); }

// open gives a tab a link of its own. To a tab that sends it remains its own: pending are the messages, to be sent first.
function open(tab, url, pending) {
  const link = { key: keyOf(url, tab.protocols), proven: provenAfter(url), tabs: new Set([tab]), pending };
  tab.link = link;
  let socket;
  try {
    socket = link.socket = new WebSocket(url, tab.protocols);
  } catch (error) {
    return tell(tab, { type: 'close', code: 1006, reason: String(error) });
  }
  // The answer to the choice of the URL was given to this tab before.
  let skip = pending && /[?&](device_id|topic)=/.test(url) && '{"messages":[],"watch":';
  socket.binaryType = 'arraybuffer';
  socket.onopen = () => {
    for (const data of link.pending?.splice(0) ?? []) socket.send(data);
    if (pending) return; // the tab has been open all the time
    for (const old of sharing(link.key)) pair(old, link);
    links.add(link);
    tell(tab, { type: 'open' });
  };
  socket.onmessage = ({ data }) => {
    if (skip && String(data).startsWith(skip)) return void (skip = '');
    for (const each of link.tabs) pass(each, data);
    if (links.size > 1 && links.has(link)) compare(link, data);
  };
  socket.onclose = ({ code, reason }) => {
    for (const each of link.tabs) tell(each, { type: 'close', code, reason });
    link.tabs.clear();
    drop(link);
  };
}

function drop(link) {
  links.delete(link);
  for (const other of links) if (other.newest === link) other.newest = other.ahead = null;
  const { socket } = link;
  if (!socket) return;
  socket.onopen = socket.onmessage = socket.onclose = null;
  socket.close(1000);
}

function leave(tab) {
  tab.link?.tabs.delete(tab);
  if (tab.link?.tabs.size === 0) drop(tab.link);
}

// A tab that is busy must not fill the memory: it comes back behind the last message that it has read.
function pass(tab, data) {
  tab.unread += data.length ?? data.byteLength;
  tell(tab, { type: 'message', data });
  if (tab.unread <= UNREAD) return;
  tell(tab, { type: 'close', code: 1013, reason: 'this tab reads too slowly' });
  leave(tab);
}

const sharing = key => [...links].filter(link => link.key === key);

// What an old link and the newest bring is compared: ahead has what each of them has brought and the other has not yet. Since
// then they have brought the same.
function pair(old, newest) { Object.assign(old, { newest, ahead: [[], []], since: performance.now() }); }

function compare(link, data) {
  if (data === HEARTBEAT) return;
  const text = typeof data === 'string' ? data : new TextDecoder().decode(data);
  const all = sharing(link.key), newest = all.pop();
  for (const old of link === newest ? all : [link]) follow(old, newest, link, text);
}

function follow(old, newest, link, text) {
  if (old.newest !== newest) pair(old, newest);
  const mine = old.ahead[+(link === old)], others = old.ahead[+(link !== old)], at = others.indexOf(text);
  if (at < 0) {
    if (mine.push(text) > AHEAD) pair(old, newest);
    return;
  }
  if (at || mine.length) old.since = performance.now(); // before it came what the other does not bring
  others.splice(0, at + 1);
  mine.length = 0;
  if (others.length || performance.now() - old.since < old.proven) return;
  for (const tab of old.tabs) newest.tabs.add(Object.assign(tab, { link: newest }));
  drop(old);
}

// A message, and what is answered to it, is the business of one tab. One that shares its link gets another, behind its last
// message. If it has seen none, nobody knows what it misses meanwhile.
function send(tab, data, url) {
  const { link } = tab;
  if (link.pending || link.tabs.size === 1) {
    links.delete(link);
    link.pending ??= [];
    if (link.socket?.readyState === 1) return link.socket.send(data);
    if (link.socket?.readyState === 0) link.pending.push(data);
    return;
  }
  leave(tab);
  if (!new URL(url).searchParams.get('last_event_id')) pass(tab, '{"messages":[],"gap":{"reason":"no_event_id"}}');
  open(tab, url, [data]);
}

globalThis.onconnect = ({ ports: [port] }) => {
  const tab = { port, unread: 0 };
  port.onmessage = ({ data: { url, protocols, lock, read, message } }) => {
    if (read) tab.unread -= read;
    else if (!lock) send(tab, message, url);
    else {
      tab.protocols = protocols;
      open(tab, url);
      navigator.locks.request(lock, () => leave(tab)); // the tab has let go of it, or is gone
    }
  };
  port.postMessage(null); // it runs
};
