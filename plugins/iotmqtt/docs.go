package iotmqtt

const description = `
A message is acknowledged to the broker only after the output has accepted the batch that it is in, and in the order in which the broker sent it. With ` + "`qos: 1`, `clean_session: false` and a `client_id`" + ` a crash of this process at any instant loses nothing that the broker still holds; what was under way comes twice, at most ` + "`max_unacked`" + ` messages. A crash of the broker can make more of them come twice: those whose acknowledgement it had not saved.

A batch that the output rejects comes again, after 100 ms at first and then up to a second, while the batches behind it go on, or with ` + "`strict_order`" + ` wait. One that can never be sent, since ` + "`iot_trigger` or `websocket_broadcast`" + ` says so (too large, not UTF-8), does not come again: it is logged with the reason, counted in ` + "`iot_mqtt_rejected`" + ` and acknowledged, unless a ` + "`fallback`" + ` output takes it.

A broker sends only so many messages before it waits for acknowledgements, with Mosquitto 20, so that a batch holds no more than that. When the broker waits, the batch goes at once, and the log says so once: see [brokers](../brokers.md).

What no topic filter covers is left out, whatever the broker sends, and of filters that another one covers only that is subscribed to.

The messages of a clean session are kept by nobody else: those that find no room are dropped and counted, whatever their QoS, and so are those that had been received and were not yet on their way when the stream stops.

Retained messages come when the session begins. To a session that was resumed the broker sends them again, with each reconnection, update and restart: they are left out and counted in ` + "`iot_mqtt_retained_repeated`" + `. A topic filter that was added to a running stream brings its own. With ` + "`clean_session: true`" + ` each connection is a new session.

The files of the field ` + "`tls`" + ` are read for each connection, so that a renewed certificate needs no restart.

After a lost connection, and where there is no broker yet, the input connects again, with a back-off from 100 ms to 1 s, and subscribes again. After a login that was refused it waits for 1, 2, 4 and 8 s, and then for 10 s each time: brokers that count lock out who tries faster. If the broker has meanwhile lost a persistent session, the log says so, and the metric ` + "`iot_mqtt_session_lost`" + ` counts it.

A connection on which nothing comes for one and a half times ` + "`keepalive`" + `, not even the answer to a ping, counts as lost. If the broker ends three connections in a row within 5 s of accepting them, another client probably uses the same ` + "`client_id`" + `: the log says so, and the input connects with a back-off from 1 s to 30 s, until a connection lasts.

With ` + "`protocol: 5`" + ` errors and the log say why a broker refuses a login or a topic filter, or ends a connection, in the words of its reason codes. What is sent to browsers is the same with either version.

With ` + "`leases`" + ` the input is connected while one of its parts is, or while there is none for it, and not while it has no lease. A part is yielded when what is under way is acknowledged, so nothing comes twice when processes are added or stopped. See [several nodes](../cluster.md).

== Metadata

- ` + "`mqtt_topic`" + `: the topic as published
- ` + "`mqtt_qos`, `mqtt_retained`, `mqtt_duplicate`, `mqtt_message_id`" + `: of the PUBLISH packet (the ID is 0 at QoS 0)
- ` + "`mqtt_content_type`, `mqtt_response_topic`, `mqtt_correlation_data`" + `: with ` + "`protocol: 5`" + `, properties of the message that have a value
- ` + "`mqtt_message_expiry`" + `: in how many seconds the message was of no use any more when it was received, if the publisher has said so
- ` + "`mqtt_payload_utf8`" + `: true, if the publisher says that the payload is text
- ` + "`mqtt_user_property_<name>`" + `: each user property; the values of a name that comes several times are joined with ` + "`, `" + `
- ` + "`iot_source`" + `: ` + "`device` or `broker`" + `
- ` + "`iot_registry_id`, `iot_device_id`" + `: of a device source. The device ID is empty where a registry sent the message, or where the topic does not tell who did. The device of an alias topic is known if ` + "`iot_registries`" + ` has the alias
- ` + "`iot_broker_id`" + `: of a broker source
- ` + "`iot_received_at`" + `: when the message was received, RFC 3339 with nanoseconds, UTC
- ` + "`iot_event_id`" + `: a UUID of version 7, made once for each message that was received, so that it stays the same when the message is replayed in this process

== Metrics

- ` + "`iot_mqtt_unacked`" + `: messages received and not yet acknowledged
- ` + "`iot_mqtt_oldest_unacked_seconds`" + `: how long ago the oldest of these was received. It grows while the output accepts nothing
- ` + "`iot_mqtt_dropped`" + `: messages that the broker will not send again, of QoS 0 or a clean session, for which there was no room or which were not yet on their way when the stream stopped
- ` + "`iot_mqtt_rejected`" + `: messages that the output rejected and that were given up: those that can never be sent, and with ` + "`auto_replay_nacks: false`" + ` all
- ` + "`iot_mqtt_retained_repeated`" + `: retained messages that were left out, since the session had got them before
- ` + "`iot_mqtt_expired`" + `: messages that were left out, and acknowledged, since the message expiry of their publisher had passed before they were on their way
- ` + "`iot_mqtt_session_lost`" + `: persistent sessions that the broker had lost when the input connected again
- ` + "`iot_mqtt_parts`" + `: with ` + "`leases`" + `, the parts that this process holds
- ` + "`input_connection_up`, `input_connection_lost`, `input_connection_failed`" + `: connections that were made, lost and tried in vain, of any input of Benthos

The first two are brought up to date once a second.
`
