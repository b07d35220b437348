package iotmqtt

import (
	"strings"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/mqttclient"
)

// The metadata that only messages with properties have, and that only as far as they have them (MQTT 5, section 3.3.2.3).
const (
	keyUTF8            = "mqtt_payload_utf8"
	keyExpiry          = "mqtt_message_expiry"
	keyContentType     = "mqtt_content_type"
	keyResponseTopic   = "mqtt_response_topic"
	keyCorrelationData = "mqtt_correlation_data"
	prefixUserProperty = "mqtt_user_property_"
)

func setProperties(msg *service.Message, p *mqttclient.Properties) {
	if p.UTF8 {
		msg.MetaSetMut(keyUTF8, true)
	}
	if p.Expiry != nil {
		msg.MetaSetMut(keyExpiry, int(p.Expiry.Seconds()))
	}
	for key, value := range map[string]string{
		keyContentType: p.ContentType, keyResponseTopic: p.ResponseTopic, keyCorrelationData: string(p.CorrelationData),
	} {
		if value != "" {
			msg.MetaSetMut(key, value)
		}
	}
	// A name that comes several times has its values joined as those of an HTTP field are (RFC 9110, section 5.3).
	values := make(map[string][]string, len(p.User))
	for _, u := range p.User {
		values[u.Name] = append(values[u.Name], u.Value)
	}
	for name, all := range values {
		msg.MetaSetMut(prefixUserProperty+name, strings.Join(all, ", "))
	}
}
