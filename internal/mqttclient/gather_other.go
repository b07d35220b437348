//go:build !linux

package mqttclient

import "net"

// gather is of use on Linux alone.
func gather(nc net.Conn) net.Conn { return nc }
