package devbroker

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// talker is a client of a talk, which sends and receives packets byte by byte.
type talker struct {
	nc       net.Conn
	clientID string
}

// do does what a line of a talk says.
func (c *talker) do(what byte, packet string) error {
	switch what {
	case '>':
		c.send(encode(packet))
		return nil
	case '!':
		c.send(encodeFields(packet))
		return nil
	case '<':
		return c.receive(packet)
	}
	return c.act(packet)
}

func (c *talker) act(what string) error {
	switch what {
	case "end":
		return c.nc.Close()
	case "ping":
		return c.exchange("c0", "d0")
	case "connect 3.1.1":
		return c.exchange(fmt.Sprintf(`10 "MQTT" 04 02 003c %q`, c.clientID), "20 00 00")
	case "connect 5":
		return c.exchange(fmt.Sprintf(`10 "MQTT" 05 02 003c 00 %q`, c.clientID), "20 00 00 ...")
	}
	return errors.New("nobody knows how")
}

func (c *talker) exchange(packet, answer string) error {
	c.send(encode(packet))
	return c.receive(answer)
}

// send sends something. If the broker has hung up, what is received shows it.
func (c *talker) send(p []byte) { _, _ = c.nc.Write(p) }

func (c *talker) receive(packet string) error {
	if packet == "end" {
		return c.receiveEnd()
	}
	got, err := c.read()
	if err != nil {
		return err
	}
	packet, open := strings.CutSuffix(packet, "...")
	want := encode(packet)
	if bytes.Equal(got, want) || open && want[0] == got[0] && bytes.HasPrefix(body(got), body(want)) {
		return nil
	}
	return fmt.Errorf("got %.200x", got)
}

func (c *talker) receiveEnd() error {
	got, err := c.read()
	switch {
	case err == nil:
		return fmt.Errorf("got %.200x", got)
	case isTimeout(err):
		return errors.New("the connection stays open")
	}
	return nil
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

// encode is a packet as a talk has it, with its length.
func encode(packet string) []byte {
	raw := encodeFields(packet)
	return append(binary.AppendUvarint(raw[:1:1], uint64(len(raw)-1)), raw[1:]...)
}

var (
	fields   = regexp.MustCompile(`"[^"]*"|\S+`)
	repeated = regexp.MustCompile(`\((.+?)\)\*(\d+)`)
)

func encodeFields(packet string) (raw []byte) {
	for _, field := range fields.FindAllString(packet, -1) {
		field = repeated.ReplaceAllStringFunc(field, func(s string) string {
			parts := repeated.FindStringSubmatch(s)
			n, _ := strconv.Atoi(parts[2])
			return strings.Repeat(parts[1], n)
		})
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
	return raw
}
