/**
 * Connects to a route of an iotcast gateway, and stays connected until `close()`: a lost connection is opened again and
 * goes on behind the last message that came.
 *
 * @param url of the route: ws, wss, http or https, or relative to the page, such as `/telemetry`. Its query is kept.
 * @throws TypeError if the URL cannot be one of a WebSocket, or if there is no WebSocket.
 */
export function connect(url: string | URL, options?: Options): Feed;

export interface Options {
  /** Called for each message, in order. */
  onMessage?(message: Message): void;

  /**
   * Called for each WebSocket message as it came, text or binary, before `onMessage` is for what it holds. `messages` are
   * those of the envelope that are new, or undefined if it is no envelope, such as an answer of the route's handlers.
   */
  onData?(data: string | ArrayBuffer, messages?: Message[]): void;

  /** Called when messages are missing, before it goes on with those that come after them. */
  onGap?(gap: Gap): void;

  /** Called when the state has changed. */
  onState?(state: State, detail: Detail): void;

  /** A token, or a function that is called for one before each connection: the way to replace one that expires. */
  token?: string | (() => string | undefined | Promise<string | undefined>);

  /** The query parameter that carries the token. Default: `"access_token"`. */
  queryParameter?: string;

  /** Carries the token as a subprotocol instead, behind this prefix. Proxies log URLs, but seldom subprotocols. */
  subprotocolPrefix?: string;

  /** Subprotocols to offer. Default: none. */
  protocols?: string | string[];

  /**
   * How long to wait before the next attempt, in milliseconds: a random time up to `min`, doubled with each attempt that
   * failed, but at most up to `max`. It starts anew after a connection that has lasted 5 s. Default: 1000 and 30,000.
   */
  backoff?: { min?: number; max?: number };

  /**
   * Takes a connection for dead on which nothing came for so many milliseconds, and opens another. A browser sees neither
   * pings nor a cable that was pulled: set it to some times the interval at which messages come. Default: 0, never.
   */
  silence?: number;

  /** Where to go on, from the `lastEventId` of an earlier feed, say before the page was loaded anew. Default: with what comes. */
  lastEventId?: string;

  /** The WebSocket to use, such as that of the npm package ws in Node before 22. Default: the global one. */
  WebSocket?: new (url: string, protocols: string[]) => object;
}

export interface Feed {
  readonly state: State;

  /** The `event_id` of the last message of the last envelope that came, or empty. */
  readonly lastEventId: string;

  /** Sends a message to the route's handlers. False: there is no connection now, and nothing was sent. */
  send(data: string | ArrayBuffer | ArrayBufferView | Blob): boolean;

  /** Ends a wait for the next attempt. */
  retry(): void;

  /** Ends the connection for good. No handler is called any more, but for `onState`, at once. */
  close(): void;
}

/** A message of a device or of a broker's topic. */
export interface Message {
  readonly event_metadata: {
    /** Unique. */
    readonly event_id: string;
    readonly event_type: string;
    /** RFC 3339, in UTC, with up to nanoseconds. */
    readonly created_at: string;
  };
  readonly details: {
    readonly registry_id?: string;
    readonly device_id?: string;
    readonly broker_id?: string;
    readonly mqtt_topic: string;
    /** In base64. */
    readonly payload: string;
  };
  /** The bytes that the device sent. Decoded when first asked for. */
  readonly payload: Uint8Array;
  /** The payload as UTF-8. What is none becomes U+FFFD. */
  text(): string;
  /** The payload as JSON. @throws SyntaxError if it is none. */
  json<T = any>(): T;
}

export type Gap =
  /** The history does not reach back to the last message that came. What it holds follows. */
  | { reason: 'history' }
  /** This client read too slowly, and the gateway has dropped so many messages for it. */
  | { reason: 'slow_consumer'; dropped: number }
  /** The connection was lost before a message with an `event_id` came: nobody knows where to go on. */
  | { reason: 'no_event_id' };

/** `connecting`, then `open`; after a loss `waiting`, then `connecting` again; `closed` after `close()`. */
export type State = 'connecting' | 'open' | 'waiting' | 'closed';

/** Of the state `waiting`, empty for the others. */
export interface Detail {
  /** Milliseconds until the next attempt. */
  delay?: number;
  /** Of the close: 1001 going away, 1012 restart, 1013 this client was too slow, 4401 the token has expired, 1006 lost or refused. */
  code?: number;
  reason?: string;
  /** What failed instead of a connection: the token function, or the time that it may take. */
  error?: unknown;
}
