// One connection for all tabs of a browser: SharedSocket as the option WebSocket of iotcast.js's connect. sharedworker.js,
// which stands beside it, holds the WebSockets and says when they are shared. Where there is no such worker (Chrome on
// Android, a page of another origin than this module, one that is neither https nor of this machine), a tab has its own.

const START = 5_000; // ms for the worker to begin
const READ = 2 ** 16; // characters or bytes, after which the worker is told that they were read

export class SharedSocket {
  readyState = 0;
  #url; #port; #socket; #last; #timer;
  #read = 0;
  #begun = false;
  #release = () => {};

  constructor(url, protocols = []) {
    this.#url = url;
    const alone = () => this.#begin(() => {
      const socket = this.#socket = new WebSocket(url, protocols);
      socket.binaryType = 'arraybuffer';
      socket.onopen = socket.onmessage = socket.onclose = event => this.#tell(event);
    });
    // Without locks nobody would know when a tab is gone.
    if (!globalThis.SharedWorker || !navigator.locks) return void alone();
    try {
      const worker = new SharedWorker(new URL('./sharedworker.js', import.meta.url), { type: 'module', name: 'iotcast' });
      this.#timer = setTimeout(alone, START);
      this.#port = worker.port;
      worker.onerror = alone;
      worker.port.onmessage = ({ data }) => data ? this.#tell(data) : this.#begin(() => this.#join(url, protocols));
    } catch {
      alone();
    }
  }

  #begin(how) {
    if (this.#begun) return;
    this.#begun = true;
    clearTimeout(this.#timer);
    how();
  }

  // The browser lets go of the lock when the tab is gone, for whatever reason: no event tells that.
  #join(url, protocols) {
    const lock = crypto.randomUUID();
    navigator.locks.request(lock, () => {
      if (this.readyState === 3) return;
      this.#port.postMessage({ url, protocols, lock });
      return new Promise(resolve => { this.#release = resolve; });
    });
  }

  #tell(event) {
    const { type, data } = event;
    if (this.readyState === 3) return;
    if (type === 'open') this.readyState = 1;
    if (type === 'message' && !this.#socket) this.#note(data);
    this[`on${type}`]?.(event);
  }

  #note(data) {
    const text = typeof data === 'string' ? data : new TextDecoder().decode(data);
    if (/^\{"messages":\[(\{|\],"last)/.test(text)) this.#last = text;
    this.#read += data.length ?? data.byteLength;
    if (this.#read < READ) return;
    this.#port.postMessage({ read: this.#read });
    this.#read = 0;
  }

  // The URL by which another WebSocket goes on behind the last message.
  #behind() {
    if (!this.#last) return this.#url;
    const { messages, last_event_id: position } = JSON.parse(this.#last), url = new URL(this.#url);
    for (const name of ['rewind', 'latest']) url.searchParams.delete(name);
    url.searchParams.set('last_event_id', position || messages.at(-1).event_metadata?.event_id || '');
    return url.href;
  }

  send(message) {
    if (this.#socket) this.#socket.send(message);
    else this.#port.postMessage({ message, url: this.#behind() });
  }

  close() {
    this.readyState = 3;
    this.#begun = true;
    clearTimeout(this.#timer);
    this.#socket?.close(1000);
    this.#port?.close();
    this.#release();
  }
}
