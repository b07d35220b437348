// Package metakey names the metadata by which our components tell each other what
// they know of a message.
package metakey

// The keys that iot_mqtt sets and iot_trigger reads.
const (
	Source     = "iot_source"
	RegistryID = "iot_registry_id"
	DeviceID   = "iot_device_id"
	BrokerID   = "iot_broker_id"
	Topic      = "mqtt_topic"
	EventID    = "iot_event_id"
	ReceivedAt = "iot_received_at"
)

// Messages is the number of messages in an envelope, which iot_trigger sets.
const Messages = "iot_messages"
