// Package metakey names the metadata by which the input tells the processor what
// it knows of a message.
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
