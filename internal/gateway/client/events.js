// Server-sent events in place of a WebSocket, for networks that let none through: iotcast.js imports it only there. It
// has what iotcast.js uses of a WebSocket, but no readyState: nothing can be sent but a choice, and that by a new request.

const REFUSED = '{"messages":[],"error":'; // so begins the answer to a choice that cannot be

export class EventStream {
  #url; #source; #last; #before;

  constructor(url) {
    this.#url = new URL(url);
    this.#url.protocol = this.#url.protocol.replace('ws', 'http');
    this.#listen();
  }

  #listen() {
    const source = this.#source = new EventSource(this.#url, { withCredentials: true }); // a handshake has cookies, too
    source.onopen = () => {
      this.onopen?.();
      this.onopen = null; // a choice is no new connection
    };
    source.onmessage = ({ data, lastEventId }) => {
      this.#last = lastEventId || this.#last;
      const before = this.#before;
      this.#before = 0;
      if (before && data.startsWith(REFUSED)) this.#ask(before); // that stays in force
      this.onmessage?.({ data });
    };
    source.onerror = () => { // it would come back by itself, at once and with the old token
      source.close();
      this.onclose?.({ code: 1006, reason: '' });
    };
  }

  // Asks anew, with the choice of a message {"watch":{…}}, for what comes behind the last event, and for the last values
  // of what is chosen now.
  send(message) {
    const { device_ids = [], topics = [] } = JSON.parse(message).watch;
    // In a URL empty lists are none, and would ask for everything.
    if (message !== '{"watch":{}}' && !device_ids.length && !topics.length) {
      return this.onmessage?.({ data: REFUSED + '{"code":"watch","message":"empty lists"}}' });
    }
    const url = new URL(this.#url), query = url.searchParams;
    this.#before = this.#url;
    query.delete('device_id');
    query.delete('topic');
    query.delete('rewind');
    for (const id of device_ids) query.append('device_id', id);
    for (const filter of topics) query.append('topic', filter);
    query.set('latest', 'true');
    this.#ask(url);
  }

  #ask(url) {
    if (this.#last) url.searchParams.set('last_event_id', this.#last);
    this.#url = url;
    this.#source.close();
    this.#listen();
  }

  close() { this.#source.close(); }
}
