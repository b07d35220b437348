/**
 * Server-sent events in place of a WebSocket, on a route with `sse`. `connect` turns to it by itself where the network breaks
 * WebSockets; as its option `WebSocket` it is used from the start.
 */
export class EventStream {
  constructor(url: string);
}
