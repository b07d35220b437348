package iotcore

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// ValidateTopic tells why nobody can publish to topic in the topics of source, or returns nil. It knows the grammar, and
// not who publishes: of a device source, a topic that does not begin with $ may be an alias.
func ValidateTopic(source Source, topic string) error {
	err := validateTopic(source, topic)
	if err != nil {
		return fmt.Errorf("topic %s: %w", quote(topic), err)
	}
	return nil
}

func validateTopic(source Source, topic string) error {
	if strings.ContainsAny(topic, "+#") { // [MQTT-3.3.2-2]
		return errors.New("holds a wildcard: + and # are for subscriptions")
	}
	if err := validateSyntax(topic); err != nil {
		return err
	}
	if err := validateLevels(topic); err != nil {
		return err
	}
	if topic[0] != '$' {
		return nil
	}
	if source == Broker {
		return errors.New("broker topics do not begin with $: remove the $")
	}
	t := ParseTopic(topic)
	switch {
	case t.Kind == MonitoringTopic || strings.HasPrefix(topic, monitoringLevel+"/"):
		return errors.New("only the service itself publishes to monitoring topics")
	case !t.Standard():
		return errors.New("is none of $devices/<device>/<name> and $registries/<registry>/<name>, where the name is events, state, commands or config")
	}
	if err := ValidateID("the ID", t.ID); err != nil {
		return err
	}
	if n := utf8.RuneCountInString(t.Subtopic); n > maxSubtopicChars {
		return fmt.Errorf("has a subtopic of %d characters: give at most %d", n, maxSubtopicChars)
	}
	return nil
}
