package websocketgateways

const description = `Listeners for WebSocket connections. They live as long as the process: streams that broadcast to them come and go while the connections stay open. After the config has changed, SIGHUP or ` + "`-w`" + ` applies what is different here, and only the connections of routes that are gone end: see [a gateway that changes while it runs](../reload.md).

== Metadata of handlers

The messages of ` + "`on_connect`, `on_message` and `on_disconnect`" + ` have this metadata:

- ` + "`websocket_event_type`: `CONNECT`, `MESSAGE` or `DISCONNECT`" + `
- ` + "`websocket_gateway`, `websocket_path`" + `: where the connection is
- ` + "`websocket_connection_id`" + `: the same ID that the client got in the header ` + "`X-Yc-Apigateway-Websocket-Connection-Id`" + ` of the answer to its handshake
- ` + "`websocket_connected_at`" + `: RFC 3339, UTC
- ` + "`websocket_source_ip`, `websocket_user_agent`" + `: of the client
- ` + "`websocket_claims`" + `: of its token, an empty object without one
- ` + "`websocket_message_id`" + `: of ` + "`on_message`" + `; unique, and later ones are greater, as text
- ` + "`content_type`" + `: of ` + "`on_message`: `application/json`" + ` for a text message, ` + "`application/octet-stream`" + ` for a binary one. What it is at the end decides on the type of the answer
- ` + "`websocket_disconnect_status_code`, `websocket_disconnect_reason`" + `: of ` + "`on_disconnect`" + `; the reasons are those of ` + "`websocket_closed`" + ` below

== Metrics

All have the labels ` + "`gateway` and `path`" + `, unless it says otherwise.

| Metric | Type | Meaning |
|---|---|---|
| ` + "`websocket_gateway_up`" + ` | gauge | 1 while the gateway accepts connections; 0 while it cannot, since the process has no file descriptor left, once its listener has failed, and once it is not configured any more. Label ` + "`gateway`" + ` only |
| ` + "`websocket_accept_failed`" + ` | counter | how often a connection could not be accepted for want of file descriptors or memory, each try counted: once a second while that lasts. Label ` + "`gateway`" + ` only |
| ` + "`websocket_connections`" + ` | gauge | connections that are open |
| ` + "`websocket_handshakes`" + ` | counter | requests for a connection, by the HTTP ` + "`status`" + ` of the answer and the ` + "`reason`" + ` of a refusal. The path is empty for requests that find no route |
| ` + "`websocket_closed`" + ` | counter | connections that have ended, by ` + "`reason`" + ` |
| ` + "`websocket_messages`" + ` | counter | messages broadcast while anyone was connected |
| ` + "`websocket_deliveries`" + ` | counter | messages times connections: handed to a writer |
| ` + "`websocket_bytes`" + ` | counter | bytes of these, as they go over the wire, without TLS |
| ` + "`websocket_dropped`" + ` | counter | messages times connections that were dropped, with ` + "`slow_consumer: drop_oldest` or `latest`" + ` |
| ` + "`websocket_gaps`" + ` | counter | gaps that clients were told of, by ` + "`reason`: `history`" + ` (a client came back, and what it has missed is not, or not all, in the ` + "`history`) or `slow_consumer`" + ` (messages were dropped for it, however many) |
| ` + "`websocket_repeated`" + ` | counter | messages that came a second time, as after a lost acknowledgement, and were not sent again, since the ` + "`history`" + ` knew them |
| ` + "`websocket_queued_bytes`" + ` | gauge | bytes that wait for the connection for which the most do; at ` + "`queue_bytes`, `slow_consumer`" + ` applies |
| ` + "`websocket_history_messages`" + ` | gauge | messages from which a client can resume |
| ` + "`websocket_latest_messages`" + ` | gauge | devices or topics of which ` + "`latest`" + ` keeps the newest message |
| ` + "`websocket_watch_changes`" + ` | counter | messages by which clients chose anew, by ` + "`result`: `accepted` or `refused`" + ` |
| ` + "`websocket_received`, `websocket_received_bytes`" + ` | counter | messages from clients, and their bytes |
| ` + "`websocket_handler_errors`" + ` | counter | errors of handlers, by ` + "`handler`: `on_connect`, `on_message` or `on_disconnect`" + ` |
| ` + "`websocket_fanout_latency_ns`" + ` | timer | nanoseconds from the receipt of a message (for ` + "`iot_mqtt`" + `, of the first of its batch) until all connections were offered it. What a slow connection takes longer is not in it: see the queue |

Most of them are brought up to date once a second, so that no broadcast waits for a metric. What is before the gateway is counted by ` + "`iot_mqtt` and `websocket_broadcast`" + `, and by Benthos, ` + "`input_connection_lost` and `output_error`" + ` among others.

The reasons of ` + "`websocket_handshakes`" + `:

| Status | Reason | |
|---|---|---|
| 101 | none | the connection is open |
| 400, 405, 426 | ` + "`handshake`" + ` | no proper WebSocket handshake, of a client that may connect; 426 also for server-sent events on a route without ` + "`sse`" + ` |
| 200 | none | a stream of server-sent events is open |
| 400 | ` + "`query`" + ` | a parameter of the query is wrong, or the route cannot do what it asks for: the text of the answer says which and why |
| 401 | ` + "`token_missing`, `token_malformed`, `token_algorithm`, `token_unknown_key`, `token_signature`, `token_expired`, `token_not_yet_valid`, `token_issuer`, `token_audience`, `token_claim`" + ` | what is wrong with the token; the log has the details at debug level |
| 403 | ` + "`origin`" + ` | a page of this origin may not connect: ` + "`allowed_origins`" + ` |
| 403 | ` + "`token_route`" + ` | the token does not open the path: ` + "`routes_claim`" + ` |
| 403 | ` + "`token_watch`" + ` | the token has no proper claim of what may be watched: ` + "`watch.claim`" + ` |
| 401, 403 | ` + "`on_connect`" + ` | the handler refused it |
| 404 | ` + "`path`" + ` | there is no such route |
| 429 | ` + "`handshake_rate`, `max_connections_per_ip`" + ` | the limit of that name |
| 500 | ` + "`on_connect_failed`" + ` | the handler failed, the log has the error |
| 503 | ` + "`max_connections`, `route_max_connections`" + ` | the gateway's limit, or the path's |
| 503 | ` + "`token_keys_unavailable`" + ` | the keys could not be fetched from ` + "`jwks_url`" + ` |

Requests that net/http refuses before they reach the gateway, because their headers are too large or too slow, or are no HTTP, are not counted; they are in the log at debug level.

The reasons of ` + "`websocket_closed`" + `, with the close code that the client sees:

| Reason | Code | |
|---|---|---|
| ` + "`closed_by_client`" + ` | its own | the client closed the connection |
| ` + "`closed_by_server`" + ` | 1000 | the connection API closed it |
| ` + "`connection_lost`" + ` | 1006 | it broke off without a close: a client that left, or the network |
| ` + "`idle_timeout`" + ` | 1001 | see ` + "`idle_timeout`" + ` |
| ` + "`max_lifetime`" + ` | 1001 | see ` + "`max_lifetime`" + ` |
| ` + "`ping_timeout`" + ` | 1001 | the client did not answer a ping: see ` + "`ping_interval`" + ` |
| ` + "`shutdown`" + ` | 1001 | this process ended, or the gateway is not configured any more |
| ` + "`route_removed`" + ` | 1001 | the route is not configured any more |
| ` + "`slow_consumer`" + ` | 1013 | more than ` + "`queue_bytes`" + ` waited for it |
| ` + "`protocol_error`" + ` | 1002 | the client sent frames that no client may send |
| ` + "`invalid_utf8`" + ` | 1007 | the client sent a text message that is not UTF-8 |
| ` + "`message_too_big`" + ` | 1009 | larger than ` + "`max_message_bytes` or `max_frame_bytes`" + ` |
| ` + "`token_expired`" + ` | 4401 | a client needs a new token to connect again |

After 1001, 1006 and 1013 a client should connect again, and can resume where the route has a ` + "`history`" + `.
`
