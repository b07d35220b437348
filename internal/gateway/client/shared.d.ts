/**
 * One connection for all tabs of a browser that connect by the same URL and subprotocols, as the option `WebSocket` of
 * `connect`. Where there is no SharedWorker, and in a page of another origin than this module, it is a WebSocket of the tab.
 */
export class SharedSocket {
  constructor(url: string, protocols?: string | string[]);
}
