/**
 * Connects to a route of an iotcast gateway, and stays connected until `close()`: a lost connection is opened again and
 * goes on behind the last message that came.
 *
 * @param url of the route: ws, wss, http or https, or relative to the page, such as `/telemetry`. Its query is kept.
 * @throws TypeError if the URL cannot be one of a WebSocket, or if there is no WebSocket.
 */
export function connect(url: string | URL, options?: Options): Feed;

export interface Options {
  /** Called for each message, in order. What a handler throws is reported like an error of the page, in Node on the console. */
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

  /** Whose messages to get, on a route with `watch`. Default: everything, or what the query of the URL says. */
  watch?: Choice;

  /** Get of each device no more than the newest message in so many milliseconds, on a route with `watch`. From 10 to 3,600,000. Default: all. */
  interval?: number;

  /** Begin with what came in the last so many milliseconds, on a route with `history`. Default: with what comes. */
  rewind?: number;

  /** Of what `feed.latest` keeps the newest message; that of the route's `latest.by`. Default: `"device"`. */
  latestBy?: 'device' | 'topic';

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
   * Asks the server for a sign of life when nothing else was sent for so many milliseconds, since a browser sees neither
   * pings nor a cable that was pulled. Once one has come, a connection on which nothing comes for 2.5 times as long is
   * taken for dead, and another opened. From 1,000 to 3,600,000; 0: none. Default: 30,000.
   */
  heartbeat?: number;

  /**
   * Takes a connection for dead on which nothing came for so many milliseconds, for a server that knows no heartbeats:
   * set it to some times the interval at which messages come. 0: never. Default: 2.5 heartbeats, once one has come.
   */
  silence?: number;

  /** Where to go on, from the `lastEventId` of an earlier feed, say before the page was loaded anew. Default: with what comes. */
  lastEventId?: string;

  /** The `payload_format` of the processor `iot_trigger`: without `json`, a JSON string is taken for base64. Default: `"base64"`. */
  payloadFormat?: 'base64' | 'json';

  /** Ends the feed when it is aborted, like `close()`. */
  signal?: AbortSignal;

  /**
   * The WebSocket to use, such as that of the npm package ws in Node before 22, `EventStream` of `iotcast/events.js` for
   * server-sent events from the start, or `SharedSocket` of `iotcast/shared.js` for one connection of all tabs. Default: the
   * global one, and where the network breaks it server-sent events.
   */
  WebSocket?: new (url: string, protocols: string[]) => object;
}

/** Messages that come from one of the devices, or whose topic one of the MQTT filters covers. Neither: everything. */
export interface Choice {
  device_ids?: string[];
  topics?: string[];
}

/**
 * Can be looped over: `for await (const message of feed)` has the messages that come from then on, and ends when the feed
 * does. @throws the error with which the feed was closed, or one if 10,000 messages wait for the loop.
 */
export interface Feed extends AsyncIterable<Message> {
  readonly state: State;

  /** The `event_id` of the last message of the last envelope that came, or what the gateway names behind last values; or empty. */
  readonly lastEventId: string;

  /**
   * The newest message of each device, by its ID, or of each topic where there is no device. A message with an empty payload
   * removes it, and a new choice empties all, since the newest of what is chosen follows on a route with `latest`.
   */
  readonly latest: Map<string, Message>;

  /**
   * Chooses anew whose messages to get, over the connection that is open or else with the next, and for all that follow.
   * It replaces the whole choice; none stands for everything.
   *
   * @returns what is in force: less than was asked for, if the token does not allow more. It rejects if the choice is
   * refused, and the one before stays, or if no answer comes within 20 s. Of choices in a row, all get the answer to the last.
   */
  watch(choice?: Choice): Promise<Choice>;

  /** Sends a message to the route's handlers. False: there is no connection now, or one of server-sent events, and nothing was sent. */
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
    /** In base64, or with the payload format `json` the JSON value. */
    readonly payload?: any;
    /** With the payload format `json`: what is not JSON, in base64. */
    readonly payload_base64?: string;
  };
  /** The bytes that the device sent, or those of its JSON written anew. Decoded when first asked for. */
  readonly payload: Uint8Array;
  /** The payload as UTF-8. What is none becomes U+FFFD. */
  text(): string;
  /** The payload as JSON, or undefined if it is none: a device may send what it likes. */
  json<T = any>(): T | undefined;
}

export type Gap =
  /** The history does not reach back to the last message that came. What it holds follows. */
  | { reason: 'history' }
  /** This client read too slowly, and the gateway has dropped so many messages for it. */
  | { reason: 'slow_consumer'; dropped: number }
  /** The connection was lost before a message with an `event_id` came: nobody knows where to go on. */
  | { reason: 'no_event_id' };

/**
 * `connecting`, then `open`; after a loss `waiting`, then `connecting` again; `closed` after `close()`, or, with an
 * `error`, when the gateway refuses in a way that another attempt does not change.
 */
export type State = 'connecting' | 'open' | 'waiting' | 'closed';

/** Of the state `waiting`, and of `closed` if it was not `close()`; empty for the others. */
export interface Detail {
  /** Milliseconds until the next attempt. */
  delay?: number;
  /** Of the close: 1001 going away, 1012 restart, 1013 this client was too slow, 4401 the token has expired, 1006 lost or refused. */
  code?: number;
  reason?: string;
  /** What the gateway has answered, when it was final: 401 no good token, 403 not for you, 404 no such route, 400 a parameter that is wrong. */
  status?: number;
  /** What failed instead of a connection: the token function, the time that it may take, or the refusal. */
  error?: unknown;
}
