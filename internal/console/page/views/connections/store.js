// The connections that a filter finds, loaded page by page and kept fresh where somebody looks.
import { get } from '../../api.js';

export const PATH = '/apigateways/websocket/v1/connections';
const PAGE = 1000;
const MOST = 20; // pages; whoever has more filters

// watches says in words what a connection gets.
export function watches({ watch }) {
  const all = [...watch?.deviceIds ?? [], ...watch?.topics ?? []];
  return all.length ? all.join(', ') : 'everything';
}

// Connections are what a filter finds: { gatewayId, path, sourceIp, deviceId, subject }, each of which may be empty.
export class Connections {
  #pages = []; // { after, upTo, items } in the order of IDs; upTo is empty for the last
  #filter;
  #signal;
  more = false;      // there are more than are kept
  unreachable = [];  // nodes of a cluster that did not answer

  constructor(filter, signal) {
    this.#filter = Object.entries(filter).filter(([, value]) => value);
    this.#signal = signal;
  }

  get items() { return this.#pages.flatMap(page => page.items); }

  async #page(after) {
    const query = new URLSearchParams([...this.#filter, ['pageSize', PAGE], ...after ? [['pageToken', after]] : []]);
    const answer = await get(`${PATH}?${query}`, { signal: this.#signal });
    this.unreachable = answer.unreachable ?? [];
    return { after, upTo: answer.nextPageToken ?? '', items: answer.connections.map(readable) };
  }

  // load walks through all pages from the one at an index, and says when each has come.
  async load(onPage, from = 0) {
    let at = from;
    for (let after = from ? this.#pages[from - 1].upTo : ''; at < MOST; at++) {
      const page = this.#pages[at] = await this.#page(after);
      onPage();
      if (!(after = page.upTo)) break;
    }
    this.more = at === MOST;
    this.#pages.length = Math.min(at + 1, MOST);
    onPage();
  }

  // refresh loads anew the pages of the IDs that are seen, and the last, on which new connections come.
  async refresh(seen, onPage) {
    const last = this.#pages.length - 1;
    for (let i = 0; i < last; i++) {
      const { after, upTo } = this.#pages[i];
      if (!seen.some(id => id > after && id <= upTo)) continue;
      const fresh = await this.#page(after);
      this.#pages[i] = { after, upTo, items: fresh.items.filter(item => item.id <= upTo) };
    }
    if (this.more) onPage();
    else await this.load(onPage, Math.max(0, last));
  }
}

// one finds a connection with all that a list says of it, or nothing if it has ended.
export async function find(id, signal) {
  const before = id.slice(0, -1) + String.fromCharCode(id.charCodeAt(id.length - 1) - 1) + '~';
  const answer = await get(`${PATH}?${new URLSearchParams({ pageSize: 1, pageToken: before })}`, { signal });
  return { connection: answer.connections.map(readable).find(one => one.id === id), unreachable: answer.unreachable ?? [] };
}

function readable(connection) {
  let text;
  return Object.assign(connection, {
    since: Date.parse(connection.connectedAt), active: Date.parse(connection.lastActiveAt),
    // has tells whether a word, in lower case, is anywhere in it.
    has(word) {
      const { id, gatewayId, path, identity, subject } = connection;
      text ??= [id, gatewayId, path, identity.sourceIp, identity.userAgent, subject, watches(connection)].join('\n').toLowerCase();
      return text.includes(word);
    },
  });
}
