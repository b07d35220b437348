// The management API, as this page calls it. The token stands in memory alone: it is gone with the page.
import { looking, once, seen } from './poll.js';

const ABORTED = 10; // of google.rpc.Code
export const AWAY = [0, 502, 503, 504]; // no answer, or that of a proxy
const PATIENCE = 20_000; // ms, within which there is an answer to what only asks

let token = '';
export const useToken = value => { token = value; };

// Refused is an answer that is no success: status is that of HTTP (0: there was none), fields are what is wrong with which field
// of a request, [{ field, description }], conflict whether somebody else was faster.
export class Refused extends Error {
  constructor(status, message, fields = []) {
    super(message);
    this.status = status;
    this.fields = fields;
    this.conflict = false;
  }
}

// What the page as a whole must know: 'lost' is an event where iotcast has not answered, 'unauthorised' where it does not know the
// token (any more), with the error in detail.
export const events = new EventTarget();

function tell(error, signal) {
  const name = AWAY.includes(error.status) ? 'lost' : error.status === 401 ? 'unauthorised' : '';
  if (name && !signal?.aborted) events.dispatchEvent(new CustomEvent(name, { detail: error }));
  return error;
}

// tokenExpired tells when the token has ended, should it be one that says so and that has.
export function tokenExpired() {
  try {
    const at = JSON.parse(atob(token.split('.')[1].replace(/-/g, '+').replace(/_/g, '/'))).exp * 1000;
    return at < Date.now() ? new Date(at) : undefined;
  } catch { return undefined; }
}

const headers = more => ({ ...(token && { authorization: `Bearer ${token}` }), ...more });

const violations = answer => (answer?.details ?? []).flatMap(detail => detail.fieldViolations ?? []);

async function refusal(response) {
  const text = await response.text();
  let answer;
  try { answer = JSON.parse(text); } catch { /* a proxy has answered */ }
  const refused = new Refused(response.status, answer?.message ?? (text.slice(0, 300) || response.statusText), violations(answer));
  refused.conflict = answer?.code === ABORTED;
  return refused;
}

// call sends a request and returns its answer as JSON. An operation that has failed is thrown, of one that is done the
// response is returned. Version is that of versioned: the change is refused (409) where somebody was faster.
export async function call(method, path, body, options) {
  const { answer } = await request(method, path, body, options);
  if (answer?.error) throw new Refused(502, answer.error.message, violations(answer.error));
  return answer && 'done' in answer && 'response' in answer ? answer.response : answer;
}

// versioned reads a resource with its version, for a change that must not undo another: { value, version }.
export async function versioned(path, options) {
  const { answer, headers } = await request('GET', path, undefined, options);
  return { value: answer, version: headers.get('etag') ?? undefined };
}

// A question that is not answered in time is given up. A change is waited for: whether it was made would not be known.
async function request(method, path, body, { signal, version } = {}) {
  const late = new AbortController(), until = [late.signal, ...signal ? [signal] : []];
  const timer = method === 'GET' && setTimeout(() => late.abort(), PATIENCE);
  let response;
  try {
    response = await fetch(path, {
      method, signal: AbortSignal.any(until), cache: 'no-store', credentials: 'omit',
      headers: headers({ ...(body !== undefined && { 'content-type': 'application/json' }), ...(version && { 'if-match': version }) }),
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    if (response.ok) return { answer: await response.json(), headers: response.headers };
  } catch (error) {
    if (signal?.aborted) throw error;
    throw tell(new Refused(0, late.signal.aborted
      ? `iotcast has not answered within ${PATIENCE / 1000} s: it is busy, the line is dead, or other pages of this browser use up its connections to it.`
      : 'iotcast does not answer: is it running, and can this page still reach it?'), signal);
  } finally {
    clearTimeout(timer);
  }
  throw tell(await refusal(response), signal);
}

export const get = (path, options) => call('GET', path, undefined, options);
export const post = (path, body = {}, options) => call('POST', path, body, options);
export const patch = (path, body, options) => call('PATCH', path, body, options);
export const remove = (path, options) => call('DELETE', path, undefined, options);

// pages walks through a list: what of each page, as long as there are more.
export async function* pages(path, field, options) {
  const url = new URL(path, location.href);
  do {
    const page = await get(url.pathname + url.search, options);
    yield page[field] ?? [];
    url.searchParams.set('pageToken', page.nextPageToken ?? '');
  } while (url.searchParams.get('pageToken'));
}

// all is the whole of a list, as far as an account may see it: where its roles hold on some resources only, those of them that
// there are.
export async function all(path, field, account, options) {
  if (account.may('viewer')) {
    const found = [];
    for await (const page of pages(`${path}?pageSize=1000`, field, options)) found.push(...page);
    return found;
  }
  const mine = await Promise.all(account.on('viewer').map(id => get(`${path}/${encodeURIComponent(id)}`, options).catch(error => {
    if (error.status !== 404 && error.status !== 403) throw error; // it is the ID of something else
  })));
  return mine.filter(Boolean);
}

// follow reads server-sent events from a path, with the token in a header, which EventSource cannot send. It comes back by
// itself when the stream ends, ends the stream while nobody looks at the page, and all of it with the signal. onData gets what
// each event holds, and its text; onState gets 'live', 'unseen', 'waiting' or, for good, 'refused', with the error.
export async function follow(path, { signal, onData, onState }) {
  for (let wait = 500; !signal.aborted; wait = Math.min(2 * wait, 10_000)) {
    await seen(signal);
    const round = new AbortController(), until = looking(AbortSignal.any([signal, round.signal]));
    try {
      const response = await fetch(path, { signal: until, cache: 'no-store', credentials: 'omit', headers: headers({ accept: 'text/event-stream' }) });
      if (!response.ok) throw await refusal(response);
      onState?.('live');
      wait = 500;
      let rest = '';
      for await (const text of texts(response.body)) {
        const events = (rest + text).split('\n\n');
        rest = events.pop();
        for (const event of events) {
          const data = event.split('\n').filter(line => line.startsWith('data: ')).map(line => line.slice(6)).join('\n');
          if (data) onData(JSON.parse(data), data);
        }
      }
      throw new Refused(0, 'The connection to iotcast has ended.');
    } catch (error) {
      if (signal.aborted) return;
      if (until.aborted) {
        onState?.('unseen');
        continue;
      }
      tell(error.status === undefined ? new Refused(0, error.message) : error, signal);
      if ([400, 401, 403, 404, 501].includes(error.status)) return onState?.('refused', error);
      onState?.('waiting', error);
    } finally {
      round.abort();
    }
    await once(signal, done => { const timer = setTimeout(done, wait); return () => clearTimeout(timer); });
  }
}

// texts reads a body. A link that dies without a word is found out by the server's signs of life, which come each 10 s.
async function* texts(body) {
  const reader = body.getReader(), decoder = new TextDecoder();
  try {
    for (;;) {
      let timer;
      const silence = new Promise((_, reject) => { timer = setTimeout(() => reject(new Refused(0, 'Nothing came for 25 s.')), 25_000); });
      const { done, value } = await Promise.race([reader.read(), silence]).finally(() => clearTimeout(timer));
      if (done) return;
      yield decoder.decode(value, { stream: true });
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
