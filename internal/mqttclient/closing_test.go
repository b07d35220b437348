package mqttclient

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// TestCloseLosesNoAcknowledgements: a broker that is slow to read, and goes on
// sending meanwhile, gets every acknowledgement and the DISCONNECT, and then the end
// of the stream: not a reset, after which it would send those messages again.
func TestCloseLosesNoAcknowledgements(t *testing.T) {
	const messages = 500
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	closing := make(chan struct{})
	result := make(chan error, 1)
	go func() { result <- slowBroker(t, l, messages, closing) }()
	c := New(Config{
		URLs:       []*url.URL{{Scheme: "tcp", Host: l.Addr().String()}},
		Filters:    []string{"#"},
		QoS:        1,
		MaxUnacked: messages, KeepAlive: time.Minute, ConnectTimeout: time.Minute,
	}, slog.New(slog.DiscardHandler))
	s, err := c.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < messages; {
		m, err := s.Pop()
		if err != nil {
			t.Fatal(err)
		}
		if m == nil {
			<-s.Arrived()
			continue
		}
		n++
		s.Ack([]*Message{m})
	}
	close(closing)
	s.Close()
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func slowBroker(t *testing.T, l net.Listener, messages int, closing <-chan struct{}) error {
	nc, err := l.Accept()
	if err != nil {
		return err
	}
	defer nc.Close()
	if _, err := packets.ReadPacket(nc); err != nil {
		return err
	}
	_, _ = nc.Write(encode(t, packets.NewControlPacket(packets.Connack)))
	cp, err := packets.ReadPacket(nc)
	if err != nil {
		return err
	}
	suback := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
	suback.MessageID, suback.ReturnCodes = cp.Details().MessageID, []byte{1}
	_, _ = nc.Write(encode(t, suback))
	for i := range messages {
		_, _ = nc.Write(encode(t, publishPacket("a", 1, uint16(i+1), []byte("x"))))
	}
	<-closing
	for i := range 10 * messages { // of which the client reads some before it has closed
		if _, err := nc.Write(encode(t, publishPacket("a", 1, uint16(messages+i+1), make([]byte, 100)))); err != nil {
			return err
		}
	}
	for acks := 0; ; {
		cp, err := packets.ReadPacket(nc)
		if err != nil {
			return err
		}
		switch cp.(type) {
		case *packets.PubackPacket:
			acks++
		case *packets.DisconnectPacket:
			if acks < messages {
				return errors.New("acknowledgements are missing")
			}
			if _, err := nc.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
				return err
			}
			return nil
		}
	}
}
