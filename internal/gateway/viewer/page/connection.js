// The connection to a route, and what people should know of it.
import { connect } from '../../client/iotcast.js';
import { count, span } from '../../../page/format.js';
import { now } from '../../../page/timeline.js';
import { WINDOW } from './data.js';

// The gateway gives a sign of life at least each HEARTBEAT; after SILENCE without one the line is dead.
const HEARTBEAT = 5000, SILENCE = 13_000; // ms

// base is the path in front of what the gateway knows of its own: that of a proxy that has it below a prefix.
export const base = (pathname, at) => pathname.endsWith(at) ? pathname.slice(0, pathname.length - at.length) : '';

const endings = { 1001: 'The gateway has ended it', 1012: 'The gateway restarts', 1013: 'This page was too slow', 4401: 'The token has expired' };

// Connection follows one route after another. Handlers are { data(messages, text?), gap(what, why), resumed(away),
// state(connection), notice(what, why), needToken(what, why, able) }; able is false where the route takes no token from a page.
// State is 'connecting', 'live', 'reconnecting' or 'refused'.
export class Connection {
  state = 'connecting';
  opened = 0; // when, on the clock of the page; 0: it is not
  retryAt = 0;
  #feed; #lost = 0; #token; #on; #route; #url; #access; #query;

  // url(route) is where a route is, access(route) what the gateway says of it: { tokens, queryParameter, subprotocolPrefix,
  // history }. Query are the parameters of the page, which go with each connection: a token, say.
  constructor({ url, access, query }, handlers) {
    this.#url = url;
    this.#access = access;
    this.#query = query;
    this.#on = handlers;
  }

  get route() { return this.#route; }

  // follow goes to a route, without what was known of the last one.
  follow(route) {
    this.#route = route;
    this.#token = undefined;
    this.#lost = this.opened = 0;
    this.#connect();
  }

  // give takes a token, for as long as the page lives, and goes on where the connection was.
  give(token) {
    this.#token = token;
    this.#connect(this.#feed?.lastEventId);
  }

  retry() { this.#feed?.retry(); }

  #connect(lastEventId) {
    this.#feed?.close();
    const access = this.#access(this.#route) ?? {}, token = this.#token;
    const url = new URL(this.#url(this.#route)), { queryParameter, subprotocolPrefix, history } = access;
    for (const [name, value] of this.#query) if (!(token && name === queryParameter)) url.searchParams.append(name, value);
    this.#feed = connect(url.href, {
      token, subprotocolPrefix: token && subprotocolPrefix || undefined, queryParameter: queryParameter || undefined,
      rewind: history ? WINDOW : undefined, lastEventId, heartbeat: HEARTBEAT, silence: SILENCE, backoff: { max: 10_000 },
      onData: (data, messages) => this.#data(data, messages), onGap: gap => this.#gap(gap), onState: (state, detail) => this.#changed(state, detail),
    });
  }

  #data(data, messages) {
    if (messages && !messages.length) return; // a gap, a sign of life, or nothing new
    if (this.#lost) {
      this.#on.resumed(span(now() - this.#lost));
      this.#lost = 0;
    }
    this.#on.data(messages, messages ? undefined : data);
  }

  #gap({ reason, dropped }) {
    this.#lost = 0;
    this.#on.gap(...{
      history: ['Messages are missing.', 'The history of the route does not reach back to the last one that came.'],
      slow_consumer: [`${count(dropped)} ${dropped === 1 ? 'message is' : 'messages are'} missing.`, 'This page was too slow for them.'],
      no_event_id: ['Messages may be missing.', 'The connection was lost before the first one came.'],
    }[reason] ?? ['Messages are missing.', String(reason)]);
  }

  #changed(state, detail) {
    const at = now();
    if (state === 'closed' && !detail.error) return; // for another route, or with another token
    const words = state === 'waiting' || state === 'closed' ? this.#whyNot(detail) : '';
    this.state = { connecting: 'connecting', open: 'live', waiting: 'reconnecting', closed: 'refused' }[state];
    if (state === 'open') {
      this.opened = at;
      this.#on.notice();
    } else if (words) {
      if (this.opened) this.#lost ||= at;
      this.opened = 0;
      this.retryAt = at + (detail.delay ?? 0);
      const token = this.#tokenWanted(state, detail);
      if (token) this.#on.needToken(...token);
      else this.#on.notice('No connection.', words);
    }
    this.#on.state(this);
  }

  // tokenWanted says what is wrong with the token, if it is the token, and why.
  #tokenWanted(state, { code, reason, status, error }) {
    if (state !== 'closed') return undefined;
    if (code === 4401) return ['The token has expired.', reason && reason !== 'token expired' ? reason : 'With another one the page goes on where it was.'];
    if (status !== 401 && !(status === 403 && this.#token)) return undefined;
    const { queryParameter, subprotocolPrefix } = this.#access(this.#route) ?? {};
    const why = String(error.message).replace(/^\d+: /, '');
    if (!queryParameter && !subprotocolPrefix) return [`${this.#route} needs a token, and takes it in a header only,`, 'which a page cannot send: set subprotocol_prefix or query_parameter in the tokens of the route.', false];
    const given = this.#token || queryParameter && this.#query.has(queryParameter);
    return given ? ['The token is refused:', why] : [`${this.#route} needs a token.`, why];
  }

  #whyNot({ code, reason, error }) {
    if (error) {
      const text = error.message ?? String(error);
      if (this.opened && /^nothing for/.test(text)) return `Nothing came for ${span(SILENCE)}, not even a sign of life: the line is dead.`;
      if (text === 'offline') return 'This computer is offline.';
      return `Connecting to ${this.#route} failed: ${text}.`;
    }
    if (this.#lost && !this.opened) return 'The gateway cannot be reached. This page tries on, and goes on where it was.';
    if (!this.opened) return `Is the gateway running, has it the route ${this.#route}, and may this page connect to it?`;
    return `${endings[code] ?? 'It was lost'} (${code}${reason ? ': ' + reason : ''}).`;
  }
}
