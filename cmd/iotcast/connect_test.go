package main

import (
	"strings"
	"testing"
)

func TestEndpoint(t *testing.T) {
	for text, want := range map[string]endpoint{
		"127.0.0.1:4196":            {"127.0.0.1:4196", false},
		"localhost":                 {"localhost:4196", false},
		"[::1]:1":                   {"[::1]:1", false},
		"[2001:db8::1]":             {"[2001:db8::1]:4196", true},
		"iot.example.com:4196":      {"iot.example.com:4196", true},
		"127.0.0.1.example.com:1":   {"127.0.0.1.example.com:1", true},
		"http://iot.example.com:80": {"iot.example.com:80", false},
		"http://iot.example.com/":   {"iot.example.com:80", false},
		"https://127.0.0.1:4196":    {"127.0.0.1:4196", true},
		"https://iot.example.com":   {"iot.example.com:443", true},
	} {
		if got, err := parseEndpoint(text); err != nil || got != want {
			t.Errorf("%s: %v %v, want %v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                    "host:port",
		":4196":               "host:port",
		"ftp://host":          "neither http:// nor https://",
		"https://":            "host:port",
		"https://host/path":   "host:port",
		"https://me:x@host":   "host:port",
		"host:many":           "host:port",
		"https://host?a=b":    "host:port",
		"unix:///run/iotcast": "host:port",
	} {
		if got, err := parseEndpoint(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v %v, want %s", text, got, err, want)
		}
	}
}
