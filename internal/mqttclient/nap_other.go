//go:build !linux

package mqttclient

import "time"

func nap(d time.Duration) { time.Sleep(d) }
