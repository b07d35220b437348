package devbroker

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// conformance is a passage of a standard, and a talk that shows it. In the talk, each line is a packet of one of the clients,
// which are called by letters, and connect as they are named first:
//
//	a> 10 "MQTT" 04 02 003c "c"   it sends this: the first byte, then the remaining length is counted, then bytes in
//	                              hexadecimal, and texts in quotes, which have their length in two bytes before them
//	a< 20 00 00                   it receives this; ... are any bytes up to the end of the packet
//	a< end                        its connection is closed by the broker, with nothing more to read
//	a. end                        it closes its connection without a word
type conformance struct {
	section, name, talk string
}

// conform has talks with the broker at an address, which lets anyone connect.
func conform(t *testing.T, address string, all []conformance) {
	for _, c := range all {
		t.Run(c.section+" "+c.name, func(t *testing.T) {
			clients := map[string]*talker{}
			for line := range strings.Lines(c.talk) {
				line = strings.TrimSpace(line)
				if line == "" {
					continue
				}
				who, packet := line[:1], line[2:]
				if clients[who] == nil {
					nc, err := net.Dial("tcp", address)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = nc.Close() })
					clients[who] = &talker{nc}
				}
				if err := clients[who].do(line[1], strings.TrimSpace(packet)); err != nil {
					t.Fatalf("%.120s: %v", line, err)
				}
			}
		})
	}
}

// talker is a client of a talk.
type talker struct{ nc net.Conn }

func (c *talker) do(what byte, packet string) error {
	switch {
	case what == '>':
		_, err := c.nc.Write(encode(packet))
		return err
	case what == '.':
		return c.nc.Close()
	case packet == "end":
		got, err := c.read()
		if err == nil {
			return fmt.Errorf("got %x", got)
		}
		if isTimeout(err) {
			return errors.New("the connection stays open")
		}
		return nil
	}
	got, err := c.read()
	if err != nil {
		return err
	}
	packet, open := strings.CutSuffix(packet, "...")
	want := encode(packet)
	if bytes.Equal(got, want) {
		return nil
	}
	if begin := body(want); open && want[0] == got[0] && bytes.HasPrefix(body(got), begin) {
		return nil
	}
	return fmt.Errorf("got %.200x", got)
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// read reads a packet.
func (c *talker) read() ([]byte, error) {
	_ = c.nc.SetReadDeadline(time.Now().Add(patience))
	packet := make([]byte, 1)
	if _, err := io.ReadFull(c.nc, packet); err != nil {
		return nil, err
	}
	length, err := binary.ReadUvarint(byteReader{io.TeeReader(c.nc, (*appender)(&packet))})
	if err != nil {
		return nil, err
	}
	body := make([]byte, length)
	_, err = io.ReadFull(c.nc, body)
	return append(packet, body...), err
}

type appender []byte

func (a *appender) Write(p []byte) (int, error) {
	*a = append(*a, p...)
	return len(p), nil
}

// body is what comes after the length of a packet.
func body(packet []byte) []byte {
	_, n := binary.Uvarint(packet[1:])
	return packet[1+n:]
}

func encode(packet string) []byte {
	var raw []byte
	for field := range strings.FieldsSeq(packet) {
		if text, ok := strings.CutPrefix(field, `"`); ok {
			text = strings.TrimSuffix(text, `"`)
			raw = append(binary.BigEndian.AppendUint16(raw, uint16(len(text))), text...)
			continue
		}
		b, err := hex.DecodeString(field)
		if err != nil {
			panic(fmt.Sprintf("%s: %v", field, err))
		}
		raw = append(raw, b...)
	}
	return append(binary.AppendUvarint(raw[:1:1], uint64(len(raw)-1)), raw[1:]...)
}

// refusals are answers to a CONNECT.
var refusals = []conformance{
	{"3.1.1 [MQTT-3.1.2-2]", "unknown level", `
		a> 10 "MQTT" 06 02 003c "c"
		a< 20 00 01
		a< end`},
	{"3.1.1 [MQTT-3.1.2-2]", "level of the other name", `
		a> 10 "MQTT" 03 02 003c "c"
		a< 20 00 01
		a< end
		b> 10 "MQIsdp" 04 02 003c "c"
		b< 20 00 01
		b< end`},
	{"3.1.1 [MQTT-3.1.3-8]", "persistent session without client ID", `
		a> 10 "MQTT" 04 00 003c ""
		a< 20 00 02
		a< end`},
	{"3.1 3.1", "no client ID", `
		a> 10 "MQIsdp" 03 02 003c ""
		a< 20 00 02
		a< end`},
	{"3.1.1 [MQTT-3.1.4-1]", "malformed: reserved flag", `
		a> 10 "MQTT" 04 03 003c "c"
		a< end`},
	{"3.1.1 [MQTT-3.1.4-1]", "malformed: will of QoS 3", `
		a> 10 "MQTT" 04 1e 003c "c" "will" "x"
		a< end`},
	{"3.1.1 [MQTT-3.1.4-1]", "malformed: flag of a will without will", `
		a> 10 "MQTT" 04 22 003c "c"
		a< end`},
	{"5.0 3.1.2.2", "malformed: reserved flag", `
		a> 10 "MQTT" 05 03 003c 00 "c"
		a< 20 00 82 ...
		a< end`},
	{"3.1.1 [MQTT-3.1.0-2]", "a second CONNECT", `
		a> 10 "MQTT" 04 02 003c "c"
		a< 20 00 00
		a> 10 "MQTT" 06 02 003c "c"
		a< end`},
	{"3.1.1 [MQTT-3.1.3-6]", "no client ID", `
		a> 10 "MQTT" 04 02 003c ""
		a< 20 00 00
		a> c0
		a< d0`},
}

// connects are what a CONNECT may hold.
var connects = []conformance{
	{"3.1 3.2", "no session present", `
		a> 10 "MQIsdp" 03 00 003c "sp31"
		a< 20 00 00
		a> e0
		a< end
		b> 10 "MQIsdp" 03 00 003c "sp31"
		b< 20 00 00`},
	{"3.1.1 [MQTT-3.2.2-2]", "session present", `
		a> 10 "MQTT" 04 00 003c "sp311"
		a< 20 00 00
		a> e0
		a< end
		b> 10 "MQTT" 04 00 003c "sp311"
		b< 20 01 00`},
	{"3.1.1 3.1.3.3", "empty will payload", `
		a> 10 "MQTT" 04 02 003c "heir"
		a< 20 00 00
		a> 82 0001 "empty/will" 01
		a< 90 0001 01
		b> 10 "MQTT" 04 0e 003c "c" "empty/will" ""
		b< 20 00 00
		b. end
		a< 32 "empty/will" 0001`},
	{"5.0 3.1.3.4", "empty will payload", `
		a> 10 "MQTT" 04 02 003c "heir5"
		a< 20 00 00
		a> 82 0001 "empty/will5" 00
		a< 90 0001 00
		b> 10 "MQTT" 05 06 003c 00 "c5" 00 "empty/will5" ""
		b< 20 00 00 ...
		b. end
		a< 30 "empty/will5"`},
	{"3.1.1 3.1.3.5", "user name and empty password", `
		a> 10 "MQTT" 04 c2 003c "c" "user" ""
		a< 20 00 00`},
	{"5.0 3.1.3.6", "user name and empty password", `
		a> 10 "MQTT" 05 c2 003c 00 "c" "user" ""
		a< 20 00 00 ...`},
	{"5.0 3.1.2.9", "password alone", `
		a> 10 "MQTT" 05 42 003c 00 "c" "pass"
		a< 20 00 00 ...`},
}

// keepAlives are those that a counter of 16 bits cannot multiply.
var keepAlives = []conformance{
	{"3.1.1 [MQTT-3.1.2-24]", "of twelve hours, and of none", `
		a> 10 "MQTT" 04 02 aaab "a"
		a< 20 00 00
		b> 10 "MQTT" 04 02 0000 "b"
		b< 20 00 00
		a> c0
		a< d0
		b> c0
		b< d0`},
	{"3.1.1 [MQTT-3.1.2-24]", "of a second", `
		a> 10 "MQTT" 04 02 0001 "a"
		a< 20 00 00
		a> c0
		a< d0
		a< end`},
}

// malformed are packets that end the connection, and nothing else: the will is published.
var malformed = []conformance{
	{"5.0 3.8.3", "SUBSCRIBE without options", `
		a> 10 "MQTT" 05 02 003c 00 "a"
		a< 20 00 00 ...
		a> 82 0001 00 "m/will" 00
		a< 90 0001 00 00
		b> 10 "MQTT" 05 06 003c 00 "b" 00 "m/will" "bye"
		b< 20 00 00 ...
		b> 82 0001 00 "m/a"
		b< end
		a< 30 "m/will" 00 627965
		c> 10 "MQTT" 05 00 003c 00 "b"
		c< 20 00 00 ...`},
	{"3.1.1 3.8.3", "SUBSCRIBE without QoS", `
		a> 10 "MQTT" 04 02 003c "a"
		a< 20 00 00
		a> 82 0001 "m/a"
		a< end`},
}

// bridges are what Mosquitto does for its bridges, which no standard tells.
var bridges = []conformance{
	{"Mosquitto", "level of a bridge", `
		a> 10 "MQTT" 84 2e 003c "b" "$SYS/broker/connection/x/state" "0"
		a< 20 00 00
		b> 10 "MQIsdp" 83 02 003c "b2"
		b< 20 00 00`},
	{"Mosquitto", "state of a bridge", `
		a> 10 "MQTT" 84 2e 003c "b" "$SYS/broker/connection/y/state" "0"
		a< 20 00 00
		a> 33 "$SYS/broker/connection/y/state" 0001 31
		a< 40 0001
		a> 35 "$SYS/broker/connection/y/state" 0002 31
		a< 50 0002
		a> 62 0002
		a< 70 0002
		b> 10 "MQTT" 04 02 003c "c"
		b< 20 00 00
		b> 82 0001 "$SYS/broker/connection/y/#" 00
		b< 90 0001 00
		b< 31 "$SYS/broker/connection/y/state" 31
		a. end
		b< 30 "$SYS/broker/connection/y/state" 30`},
	{"Mosquitto", "no echo, and the retain flag as it came", `
		a> 10 "MQTT" 84 02 003c "b"
		a< 20 00 00
		a> 82 0001 "bridge/#" 00
		a< 90 0001 00
		a> 32 "bridge/a" 0001 31
		a< 40 0001
		b> 10 "MQTT" 04 02 003c "c"
		b< 20 00 00
		b> 33 "bridge/b" 0001 32
		b< 40 0001
		a< 31 "bridge/b" 32
		b> 33 "bridge/b" 0002
		b< 40 0002`},
	{"3.1.1 [MQTT-3.3.5-2]", "system topics are acknowledged", `
		a> 10 "MQTT" 04 02 003c "a"
		a< 20 00 00
		a> 82 0001 "$SYS/mine/#" 00
		a< 90 0001 00
		a> 33 "$SYS/mine/a" 0001 31
		a< 40 0001
		a> 33 "$share/mine/a" 0002 31
		a< 40 0002
		a> c0
		a< d0`},
	{"5.0 3.4", "system topics by an alias", `
		a> 10 "MQTT" 05 02 003c 00 "a"
		a< 20 00 00 ...
		b> 10 "MQTT" 05 02 003c 00 "b"
		b< 20 00 00 ...
		b> 82 0001 00 "$SYS/broker/connection/z/#" 00
		b< 90 0001 00 00
		a> 33 "$SYS/broker/connection/z/state" 0001 03 230001 31
		a< 40 0001
		a> 32 "" 0002 03 230001 32
		a< 40 0002
		b< 30 "$SYS/broker/connection/z/state" 00 31
		b< 30 "$SYS/broker/connection/z/state" 00 32`},
}

// wildcards are which topics filters cover: a is subscribed, and b publishes.
var wildcards = []conformance{
	{"3.1.1 4.7.1.2", "a/+/# covers a/b", `
		a> 10 "MQTT" 04 02 003c "a"
		a< 20 00 00
		a> 82 0001 "w1/+/#" 00
		a< 90 0001 00
		b> 10 "MQTT" 04 02 003c "b"
		b< 20 00 00
		b> 30 "w1" 31
		b> 30 "w1/b" 32
		b> 30 "w1/" 33
		b> 30 "w1/b/c/d" 34
		a< 30 "w1/b" 32
		a< 30 "w1/" 33
		a< 30 "w1/b/c/d" 34`},
	{"3.1.1 4.7.1.2", "+/# covers the first level, and no $ topic", `
		a> 10 "MQTT" 04 02 003c "a"
		a< 20 00 00
		a> 82 0001 "+/#" 00
		a< 90 0001 00
		b> 10 "MQTT" 04 02 003c "b"
		b< 20 00 00
		b> 30 "$w2" 31
		b> 30 "$w2/b" 31
		b> 30 "w2" 32
		b> 30 "/" 33
		b> 30 "w2/b" 34
		a< 30 "w2" 32
		a< 30 "/" 33
		a< 30 "w2/b" 34`},
	{"3.1.1 4.7.1.2", "a/# and a/+/# bring what a and a/b retain", `
		b> 10 "MQTT" 04 02 003c "b"
		b< 20 00 00
		b> 33 "w3" 0001 31
		b< 40 0001
		a> 10 "MQTT" 04 02 003c "a"
		a< 20 00 00
		a> 82 0001 "w3/#" 00
		a< 90 0001 00
		a< 31 "w3" 31
		b> 31 "w3" 
		a< 30 "w3"
		b> 33 "w3/b" 0001 31
		b< 40 0001
		a< 30 "w3/b" 31
		a> 82 0001 "w3/+/#" 00
		a< 90 0001 00
		a< 31 "w3/b" 31
		a> 82 0002 "w3/+" 00
		a< 90 0002 00
		a< 31 "w3/b" 31`},
	{"3.1.1 4.7.1.2", "a/b is covered once, and by what is left", `
		a> 10 "MQTT" 04 02 003c "a"
		a< 20 00 00
		a> 82 0001 "w4/+/#" 00 "w4/+" 00
		a< 90 0001 00 00
		b> 10 "MQTT" 04 02 003c "b"
		b< 20 00 00
		b> 30 "w4/b" 31
		a< 30 "w4/b" 31
		a> a2 0002 "w4/+"
		a< b0 0002
		b> 30 "w4/b" 32
		a< 30 "w4/b" 32
		a> a2 0002 "w4/+/#"
		a< b0 0002
		b> 32 "w4/b" 0001 33
		b< 40 0001
		a> c0
		a< d0`},
	{"5.0 4.8.2", "a shared a/+/# covers a/b", `
		a> 10 "MQTT" 05 02 003c 00 "a"
		a< 20 00 00 ...
		a> 82 0001 00 "$share/g/w5/+/#" 00
		a< 90 0001 00 00
		b> 10 "MQTT" 04 02 003c "b"
		b< 20 00 00
		b> 30 "w5/b" 31
		a< 30 "w5/b" 00 31`},
	{"3.1.1 [MQTT-4.7.1-2] [MQTT-4.7.1-3]", "wildcards beside others are refused", `
		a> 10 "MQTT" 04 02 003c "a"
		a< 20 00 00
		a> 82 0001 "a#" 00 "a+/b" 00 "a/#/b" 00 "a/b" 00
		a< 90 0001 80 80 80 00`},
	{"5.0 3.9.3", "wildcards beside others are refused", `
		a> 10 "MQTT" 05 02 003c 00 "a"
		a< 20 00 00 ...
		a> 82 0001 00 "a#" 00 "$share/g/a+" 00 "$share/g/" 00 "a" 00
		a< 90 0001 00 8f 8f 8f 00`},
}

// depths are topics and filters of many levels: 200 is what Mosquitto takes, too.
var depths = []conformance{
	{"200 levels", "200 levels pass", `
		a> 10 "MQTT" 04 02 003c "a"
		a< 20 00 00
		a> 82 0001 "` + levels(199) + `/#" 00
		a< 90 0001 00
		b> 10 "MQTT" 04 02 003c "b"
		b< 20 00 00
		b> 32 "` + levels(200) + `" 0001 31
		b< 40 0001
		a< 30 "` + levels(200) + `" 31`},
	{"3.1.1 3.9.3", "a filter of 201 levels", `
		a> 10 "MQTT" 04 02 003c "a"
		a< 20 00 00
		a> 82 0001 "` + levels(201) + `" 00
		a< 90 0001 80
		a> a2 0002 "` + levels(201) + `"
		a< b0 0002`},
	{"3.1.1 3.9.3", "a filter of 32,768 levels", `
		a> 10 "MQTT" 04 02 003c "a"
		a< 20 00 00
		a> 82 0001 "` + strings.Repeat("/", 32767) + `" 00 "` + strings.Repeat("/", 65534) + `#" 01
		a< 90 0001 80 80`},
	{"5.0 3.9.3", "a filter of 201 levels", `
		a> 10 "MQTT" 05 02 003c 00 "a"
		a< 20 00 00 ...
		a> 82 0001 00 "` + levels(201) + `" 00 "$share/g/` + levels(201) + `" 00
		a< 90 0001 00 8f 8f`},
	{"3.1.1 3.3.5", "a topic of 201 levels", `
		a> 10 "MQTT" 04 02 003c "a"
		a< 20 00 00
		a> 32 "` + levels(201) + `" 0001 31
		a< end`},
	{"3.1.1 3.3.5", "a topic of 65,536 levels, QoS 0 and retained", `
		a> 10 "MQTT" 04 02 003c "a"
		a< 20 00 00
		a> 31 "` + strings.Repeat("/", 65535) + `" 31
		a< end`},
	{"5.0 3.14.2.1", "a topic of 201 levels", `
		a> 10 "MQTT" 05 02 003c 00 "a"
		a< 20 00 00 ...
		a> 32 "` + levels(201) + `" 0001 00 31
		a< e0 90 ...
		a< end`},
	{"3.1.1 3.1.4", "a will to a topic of 201 levels", `
		a> 10 "MQTT" 04 06 003c "a" "` + levels(201) + `" "x"
		a< 20 00 05
		a< end`},
}

// flows are what comes to a client of MQTT 5 that takes little at once.
var flows = []conformance{
	{"5.0 [MQTT-3.3.1-1]", "no DUP on what has waited for room", `
		a> 10 "MQTT" 05 00 003c 08 1100000e10 210001 "dup"
		a< 20 00 00 ...
		a> 82 0001 00 "f/a" 01
		a< 90 0001 00 01
		b> 10 "MQTT" 04 02 003c "b"
		b< 20 00 00
		b> 32 "f/a" 0001 31
		b< 40 0001
		b> 32 "f/a" 0002 32
		b< 40 0002
		b> 32 "f/a" 0003 33
		b< 40 0003
		a< 32 "f/a" 0001 00 31
		a. end
		c> 10 "MQTT" 05 00 003c 08 1100000e10 210001 "dup"
		c< 20 01 00 ...
		c< 3a "f/a" 0001 00 31
		c> c0
		c< d0
		c> 40 0001
		c< 32 "f/a" 0002 00 32
		c. end
		d> 10 "MQTT" 05 00 003c 08 1100000e10 210002 "dup"
		d< 20 01 00 ...
		d< 3a "f/a" 0002 00 32
		d< 32 "f/a" 0003 00 33
		b> 32 "f/a" 0004 34
		b< 40 0004
		d> c0
		d< d0
		d> 40 0003
		d< 32 "f/a" ...`},
	{"5.0 4.9", "more PUBREL than room", `
		a> 10 "MQTT" 05 00 003c 05 1100000e10 "rel"
		a< 20 00 00 ...
		a> 82 0001 00 "f/r" 02
		a< 90 0001 00 02
		b> 10 "MQTT" 04 02 003c "b"
		b< 20 00 00
		b> 34 "f/r" 0001 31
		b< 50 0001
		b> 62 0001
		b< 70 0001
		b> 34 "f/r" 0002 32
		b< 50 0002
		b> 62 0002
		b< 70 0002
		a< 34 "f/r" 0001 00 31
		a< 34 "f/r" 0002 00 32
		a> 50 0001
		a< 62 0001
		a> 50 0002
		a< 62 0002
		a> e0
		a< end
		b> 34 "f/r" 0003 33
		b< 50 0003
		b> 62 0003
		b< 70 0003
		c> 10 "MQTT" 05 00 003c 08 1100000e10 210001 "rel"
		c< 20 01 00 ...
		c< 62 ...
		c< 62 ...
		c> 70 0001
		c> c0
		c< d0
		c> 70 0002
		c< 34 "f/r" ...`},
	{"5.0 [MQTT-3.1.2-25]", "above Maximum Packet Size", `
		a> 10 "MQTT" 05 00 003c 0d 1100000e10 270000001e 210001 "size"
		a< 20 00 00 ...
		a> 82 0001 00 "f/s" 01
		a< 90 0001 00 01
		b> 10 "MQTT" 05 02 003c 00 "b"
		b< 20 00 00 ...
		b> 32 "f/s" 0001 00 000102030405060708090a0b0c0d0e0f101112131415
		b< 40 0001
		b> 32 "f/s" 0002 00 000102030405060708090a0b0c0d0e0f10111213
		b< 40 0002
		b> 32 "f/s" 0003 18 26 "key" "a-longer-value-1" 31
		b< 40 0003
		b> 32 "f/s" 0004 00 32
		b< 40 0004
		a< 32 "f/s" 0001 00 000102030405060708090a0b0c0d0e0f10111213
		a> c0
		a< d0
		a> 40 0001
		a< 32 "f/s" 0002 00 32
		a. end`},
	{"5.0 [MQTT-3.1.2-25]", "above Maximum Packet Size in a session", `
		a> 10 "MQTT" 05 00 003c 05 1100000e10 "size2"
		a< 20 00 00 ...
		a> 82 0001 00 "f/t" 01
		a< 90 0001 00 01
		a> e0
		a< end
		b> 10 "MQTT" 05 02 003c 00 "b"
		b< 20 00 00 ...
		b> 32 "f/t" 0001 00 000102030405060708090a0b0c0d0e0f101112131415
		b< 40 0001
		b> 32 "f/t" 0002 00 32
		b< 40 0002
		c> 10 "MQTT" 05 00 003c 0a 1100000e10 270000001e "size2"
		c< 20 01 00 ...
		c< 32 "f/t" 0002 00 32
		c. end
		d> 10 "MQTT" 05 00 003c 05 1100000e10 "size2"
		d< 20 01 00 ...
		d< 3a "f/t" 0002 00 32
		d> c0
		d< d0`},
	{"5.0 [MQTT-3.1.2-29]", "user properties, though no problem information is wanted", `
		a> 10 "MQTT" 05 02 003c 02 1700 "a"
		a< 20 00 00 ...
		a> 82 0001 00 "f/u" 00
		a< 90 0001 00 00
		b> 10 "MQTT" 05 02 003c 00 "b"
		b< 20 00 00 ...
		b> 30 "f/u" 07 26 "k" "v" 31
		a< 30 "f/u" 07 26 "k" "v" 31`},
	{"5.0 4.9", "a resumed session, QoS 2", `
		a> 10 "MQTT" 05 00 003c 05 1100000e10 "rm2"
		a< 20 00 00 ...
		a> 82 0001 00 "f/b" 02
		a< 90 0001 00 02
		a> e0
		a< end
		b> 10 "MQTT" 04 02 003c "b"
		b< 20 00 00
		b> 34 "f/b" 0001 31
		b< 50 0001
		b> 62 0001
		b< 70 0001
		b> 34 "f/b" 0001 32
		b< 50 0001
		b> 62 0001
		b< 70 0001
		b> 34 "f/b" 0001 33
		b< 50 0001
		b> 62 0001
		b< 70 0001
		c> 10 "MQTT" 05 00 003c 08 1100000e10 210001 "rm2"
		c< 20 01 00 ...
		c< 34 "f/b" 0001 00 31
		c> 50 0001
		c< 62 0001
		c> c0
		c< d0
		c. end
		d> 10 "MQTT" 05 00 003c 08 1100000e10 210001 "rm2"
		d< 20 01 00 ...
		d< 62 0001
		d> c0
		d< d0
		d> 70 0001
		d< 34 "f/b" 0002 00 32
		d> c0
		d< d0
		d> 50 0002
		d< 62 0002
		d> 70 0002
		d< 34 "f/b" 0003 00 33`},
}

// wills are what others receive of a client of MQTT 5 that is gone.
var wills = []conformance{
	{"5.0 3.1.3.2", "a will has its properties", `
		a> 10 "MQTT" 05 02 003c 00 "a"
		a< 20 00 00 ...
		a> 82 0001 00 "will/a" 01
		a< 90 0001 00 01
		b> 10 "MQTT" 05 0e 003c 00 "b" 22 0101 03 "text/plain" 08 "re" 09 "data" 26 "k" "v" "will/a" "bye"
		b< 20 00 00 ...
		b. end
		a< 32 "will/a" 0001 22 0101 03 "text/plain" 08 "re" 09 "data" 26 "k" "v" 627965`},
	{"5.0 3.1.3.2.4", "a will expires, retained too", `
		a> 10 "MQTT" 05 02 003c 00 "a"
		a< 20 00 00 ...
		a> 82 0001 00 "will/b" 00
		a< 90 0001 00 00
		b> 10 "MQTT" 05 26 003c 00 "b" 05 0200010000 "will/b" "bye"
		b< 20 00 00 ...
		b. end
		a< 30 "will/b" 05 0200 ...
		a> 82 0001 00 "will/b" 00
		a< 90 0001 00 00
		a< 31 "will/b" 05 0200 ...`},
	{"5.0 3.1.3.2.2", "a delayed will, retained, without an expiry", `
		a> 10 "MQTT" 05 02 003c 00 "a"
		a< 20 00 00 ...
		a> 82 0001 00 "will/c" 00
		a< 90 0001 00 00
		b> 10 "MQTT" 05 26 003c 05 1100000e10 "b" 05 1800000001 "will/c" "bye"
		b< 20 00 00 ...
		b. end
		a< 30 "will/c" 00 627965
		a> 82 0001 00 "will/c" 00
		a< 90 0001 00 00
		a< 31 "will/c" 00 627965`},
	{"5.0 3.1.3.2.2", "a delay ends with the session", `
		a> 10 "MQTT" 05 02 003c 00 "a"
		a< 20 00 00 ...
		a> 82 0001 00 "will/d" 00
		a< 90 0001 00 00
		b> 10 "MQTT" 05 06 003c 00 "b" 05 1800000e10 "will/d" "1"
		b< 20 00 00 ...
		b. end
		a< 30 "will/d" 00 31
		c> 10 "MQTT" 05 06 003c 05 1100000e10 "b" 05 1800000e10 "will/d" "2"
		c< 20 00 00 ...
		d> 10 "MQTT" 05 02 003c 00 "b"
		d< 20 00 00 ...
		a< 30 "will/d" 00 32`},
	{"5.0 [MQTT-3.1.3-9]", "a will is not published if its client comes back", `
		a> 10 "MQTT" 05 02 003c 00 "a"
		a< 20 00 00 ...
		a> 82 0001 00 "will/e" 00
		a< 90 0001 00 00
		b> 10 "MQTT" 05 06 003c 05 1100000e10 "back" 05 1800000001 "will/e" "no"
		b< 20 00 00 ...
		b. end
		c> 10 "MQTT" 05 00 003c 05 1100000e10 "back"
		c< 20 01 00 ...
		d> 10 "MQTT" 05 06 003c 05 1100000002 "late" 05 1800000002 "will/e" "later"
		d< 20 00 00 ...
		d. end
		a< 30 "will/e" 00 6c61746572`},
	{"5.0 3.14.2.1", "DISCONNECT with the will", `
		a> 10 "MQTT" 05 02 003c 00 "a"
		a< 20 00 00 ...
		a> 82 0001 00 "will/f" 00
		a< 90 0001 00 00
		b> 10 "MQTT" 05 06 003c 00 "b" 00 "will/f" "no"
		b< 20 00 00 ...
		b> e0
		b< end
		c> 10 "MQTT" 05 06 003c 00 "c" 00 "will/f" "yes"
		c< 20 00 00 ...
		c> e0 04
		a< 30 "will/f" 00 796573`},
}

// limits are what the CONNACK of MQTT 5 tells of this broker.
var limits = []conformance{
	{"5.0 [MQTT-3.3.4-3]", "a retained message has the subscription identifier", `
		a> 10 "MQTT" 05 02 003c 00 "ident"
		a< 20 00 00 ...
		a> 31 "f/ident" 00 31
		a> 82 0001 02 0b07 "f/ident" 00
		a< 90 0001 00 00
		a< 31 "f/ident" 02 0b07 31`},
	{"5.0 3.2.2.3", "Receive Maximum, Topic Alias Maximum, Maximum Packet Size", `
		a> 10 "MQTT" 05 02 003c 00 "a"
		a< 20 00 00 0b 21ffff 2203e8 2700400000
		a> 30 "l/a" 03 2303e8 31
		a> c0
		a< d0
		a> 30 "l/a" 03 2303e9 31
		a< e0 94 ...
		a< end`},
	{"5.0 [MQTT-3.3.2-7]", "what is sent again has its topic, though the client takes aliases", `
		a> 10 "MQTT" 05 00 003c 08 1100000e10 220005 "alias"
		a< 20 00 00 ...
		a> 82 0001 00 "l/b" 01
		a< 90 0001 00 01
		b> 10 "MQTT" 04 02 003c "b"
		b< 20 00 00
		b> 32 "l/b" 0001 31
		b> 32 "l/b" 0002 32
		a< 32 "l/b" 0001 00 31
		a< 32 "l/b" 0002 00 32
		a. end
		c> 10 "MQTT" 05 00 003c 08 1100000e10 220005 "alias"
		c< 20 01 00 ...
		c< 3a "l/b" 0001 00 31
		c< 3a "l/b" 0002 00 32`},
}

func levels(n int) string { return strings.Repeat("a/", n-1) + "a" }

// logins fail where nobody has an empty password.
var logins = []conformance{
	{"3.1.1 3.2.2.3", "empty password", `
		a> 10 "MQTT" 04 c2 003c "c" "d1" ""
		a< 20 00 05
		a< end`},
	{"3.1 3.2", "empty password", `
		a> 10 "MQIsdp" 03 c2 003c "c" "d1" ""
		a< 20 00 05
		a< end`},
	{"5.0 3.2.2.2", "empty password", `
		a> 10 "MQTT" 05 c2 003c 00 "c" "d1" ""
		a< 20 00 86 ...
		a< end`},
}

func TestConformance(t *testing.T) {
	b := startBroker(t, Config{}, nil)
	for _, all := range [][]conformance{refusals, connects, bridges, keepAlives, malformed, wildcards, depths} {
		conform(t, b.Addr().String(), all)
	}
	conform(t, b.Addr().String(), limits)
	conform(t, b.Addr().String(), flows)
	conform(t, b.Addr().String(), wills)
}

func TestConformanceOfLogins(t *testing.T) {
	conform(t, startLab(t).Addr().String(), logins)
	conform(t, startBroker(t, Config{Users: map[string]string{"d1": password}}, nil).Addr().String(), logins)
}
