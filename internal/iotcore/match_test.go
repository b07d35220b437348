package iotcore

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		filter, topic string
		want          bool
	}{
		// The examples of MQTT 3.1.1 section 4.7.1.
		{"sport/tennis/player1/#", "sport/tennis/player1", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
		{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
		{"sport/#", "sport", true},
		{"sport/#", "sports", false},
		{"#", "sport/tennis", true},
		{"#", "/", true},
		{"sport/tennis/+", "sport/tennis/player1", true},
		{"sport/tennis/+", "sport/tennis/player1/ranking", false},
		{"sport/+", "sport", false},
		{"sport/+", "sport/", true},
		{"+", "/finance", false},
		{"+/+", "/finance", true},
		{"/+", "/finance", true},
		{"+/tennis/#", "sport/tennis", true},
		// Section 4.7.2: topics beginning with $.
		{"#", "$SYS/uptime", false},
		{"+/monitor/Clients", "$SYS/monitor/Clients", false},
		{"$SYS/#", "$SYS/uptime", true},
		{"$SYS/monitor/+", "$SYS/monitor/Clients", true},
		{"+/#", "$devices/x/events", false},
		{"$devices/#", "$devices/x/events", true},
		{"$devices/+/events/#", "$devices/x/events", true},
		{"$devices/+/events/#", "$devices/x/events/a/b", true},
		{"$devices/+/events/#", "$devices/x/state", false},
		{"$devices/+/events", "$devices/x/events/a", false},
		// Section 4.7.3: case counts, levels may be empty, and a topic has at least one character.
		{"ACCOUNTS", "Accounts", false},
		{"a", "a", true},
		{"a", "a/", false},
		{"a/", "a", false},
		{"a//b", "a//b", true},
		{"a/+/b", "a//b", true},
		{"a/b", "a/b/c", false},
		{"a/b/c", "a/b", false},
		{"", "a", false},
		{"#", "", false},
	} {
		if got := Match(tt.filter, tt.topic); got != tt.want {
			t.Errorf("Match(%q, %q) = %v, want %v", tt.filter, tt.topic, got, tt.want)
		}
	}
}

// slowMatch says the same as Match in the plainest way: lists of levels and recursion.
func slowMatch(filter, topic string) bool {
	if filter == "" || topic == "" {
		return false
	}
	if strings.HasPrefix(topic, "$") && strings.ContainsAny(filter[:1], "+#") {
		return false
	}
	return matchLevels(strings.Split(filter, "/"), strings.Split(topic, "/"))
}

func matchLevels(filter, topic []string) bool {
	if len(filter) == 1 && filter[0] == "#" {
		return true
	}
	if len(filter) == 0 || len(topic) == 0 {
		return len(filter) == len(topic)
	}
	return (filter[0] == "+" || filter[0] == topic[0]) && matchLevels(filter[1:], topic[1:])
}

func FuzzMatch(f *testing.F) {
	f.Add("a/+/#", "a/b/c")
	f.Add("a/#", "a")
	f.Add("#", "$SYS")
	f.Add("$devices/+/events/#", "$devices/x/events/y")
	f.Add("+/+", "/")
	f.Fuzz(func(t *testing.T, filter, topic string) {
		if got, want := Match(filter, topic), slowMatch(filter, topic); got != want {
			t.Errorf("Match(%q, %q) = %v, want %v", filter, topic, got, want)
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Match("$devices/+/events/#", "$devices/areqjd6un3afc3cefcvm/events/kitchen/temperature")
	}
}

func TestCovers(t *testing.T) {
	for _, tt := range []struct {
		filter, other string
		want          bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"a", "+", false},
		{"+", "a", true},
		{"+", "+", true},
		{"+", "#", false},
		{"+/#", "#", false}, // but no topic is without a first level
		{"#", "a/+/b", true},
		{"#", "#", true},
		{"a/#", "a", true},
		{"a/#", "a/b/#", true},
		{"a/b/#", "a/#", false},
		{"a/+", "a/#", false},
		{"a/+", "a", false},
		{"a/+/c", "a/b/c", true},
		{"a/+/c", "a/b/+", false},
		{"#", "$devices/#", false},
		{"+/b", "$a/b", false},
		{"$devices/+/#", "$devices/+/events/#", true},
	} {
		if got := Covers(tt.filter, tt.other); got != tt.want {
			t.Errorf("Covers(%q, %q) = %v, want %v", tt.filter, tt.other, got, tt.want)
		}
	}
}

// What covers a filter matches whatever that matches.
func FuzzCovers(f *testing.F) {
	f.Add("a/#", "a/+/b", "a/x/b")
	f.Add("+", "#", "a/b")
	f.Add("#", "+/a", "$x/a")
	f.Add("a/#", "a", "a")
	f.Fuzz(func(t *testing.T, filter, other, topic string) {
		if validateSyntax(filter) != nil || validateSyntax(other) != nil || !Covers(filter, other) {
			return
		}
		if Match(other, topic) && !Match(filter, topic) {
			t.Errorf("Covers(%q, %q), and yet only the second matches %q", filter, other, topic)
		}
	})
}
