package iotmqtt_test

import (
	"io"
	"net"

	packets5 "github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// connack lets a client in.
func connack(nc net.Conn) { _ = readAndAnswer(nc, fakeBroker{}) }

// fakeBroker answers CONNECT, SUBSCRIBE and UNSUBSCRIBE, in the version of MQTT that is tested.
type fakeBroker struct {
	resumed      bool
	subscribed   func(filters []string) (granted bool)
	unsubscribed func(filters []string) (answered bool)
}

// serve answers until something is not granted, or the connection ends.
func (b fakeBroker) serve(nc net.Conn) {
	for readAndAnswer(nc, b) == nil {
	}
	_ = nc.Close()
}

func readAndAnswer(nc net.Conn, b fakeBroker) error {
	if protocol == "5" {
		return readAndAnswer5(nc, b)
	}
	p, err := packets.ReadPacket(nc)
	if err != nil {
		return err
	}
	switch p := p.(type) {
	case *packets.ConnectPacket:
		answer := packets.NewControlPacket(packets.Connack).(*packets.ConnackPacket)
		answer.SessionPresent = b.resumed
		return answer.Write(nc)
	case *packets.SubscribePacket:
		if !b.subscribed(p.Topics) {
			return io.EOF
		}
		answer := packets.NewControlPacket(packets.Suback).(*packets.SubackPacket)
		answer.MessageID, answer.ReturnCodes = p.MessageID, p.Qoss
		return answer.Write(nc)
	case *packets.UnsubscribePacket:
		if !b.unsubscribed(p.Topics) {
			return io.EOF
		}
		answer := packets.NewControlPacket(packets.Unsuback).(*packets.UnsubackPacket)
		answer.MessageID = p.MessageID
		return answer.Write(nc)
	}
	return nil
}

func readAndAnswer5(nc net.Conn, b fakeBroker) error {
	p, err := packets5.ReadPacket(nc)
	if err != nil {
		return err
	}
	none := &packets5.Properties{}
	switch p := p.Content.(type) {
	case *packets5.Connect:
		_, err = (&packets5.Connack{SessionPresent: b.resumed, Properties: none}).WriteTo(nc)
	case *packets5.Subscribe:
		var filters []string
		var codes []byte
		for _, s := range p.Subscriptions {
			filters, codes = append(filters, s.Topic), append(codes, s.QoS)
		}
		if !b.subscribed(filters) {
			return io.EOF
		}
		_, err = (&packets5.Suback{PacketID: p.PacketID, Reasons: codes, Properties: none}).WriteTo(nc)
	case *packets5.Unsubscribe:
		if !b.unsubscribed(p.Topics) {
			return io.EOF
		}
		_, err = (&packets5.Unsuback{PacketID: p.PacketID, Reasons: make([]byte, len(p.Topics)), Properties: none}).WriteTo(nc)
	}
	return err
}
