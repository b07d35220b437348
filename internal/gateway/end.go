package gateway

import (
	"errors"
	"io"
	"net"

	"github.com/coder/websocket"

	"github.com/iotcast/iotcast/internal/fanout"
)

// statusTokenExpired is a code of our own (RFC 6455, section 7.4.2), after the
// HTTP status that a new handshake with the same token would get.
const statusTokenExpired = 4401

// The reasons for the end of a connection, as metrics and logs give them.
const (
	reasonSlow     = "slow_consumer"
	reasonIdle     = "idle_timeout"
	reasonLifetime = "max_lifetime"
	reasonNoPong   = "ping_timeout"
	reasonTooBig   = "message_too_big"
	reasonUTF8     = "invalid_utf8"
	reasonProtocol = "protocol_error"
	reasonExpired  = "token_expired"
	reasonClient   = "closed_by_client"
	reasonServer   = "closed_by_server"
	reasonShutdown = "shutdown"
	reasonLost     = "connection_lost"
)

// Reasons are those that Observer.Closed may report.
func Reasons() []string {
	return []string{
		reasonSlow, reasonIdle, reasonLifetime, reasonNoPong, reasonTooBig, reasonUTF8, reasonProtocol,
		reasonExpired, reasonClient, reasonServer, reasonShutdown, reasonLost,
	}
}

// causes are what this side ends a connection for.
var causes = []struct {
	cause error
	end   End
}{
	{fanout.ErrSlowConsumer, End{fanout.TryAgainLater, reasonSlow}},
	{fanout.ErrIdle, End{fanout.GoingAway, reasonIdle}},
	{fanout.ErrLifetime, End{fanout.GoingAway, reasonLifetime}},
	{fanout.ErrNoPong, End{fanout.GoingAway, reasonNoPong}},
	{fanout.ErrLost, End{int(websocket.StatusAbnormalClosure), reasonLost}},
	{errShutdown, End{int(websocket.StatusGoingAway), reasonShutdown}},
	{errRestart, End{int(websocket.StatusServiceRestart), reasonShutdown}},
	{errExpired, End{statusTokenExpired, reasonExpired}},
	{errDisconnect, End{int(websocket.StatusNormalClosure), reasonServer}},
	{errFrameSize, End{int(websocket.StatusMessageTooBig), reasonTooBig}},
	{errUTF8, End{int(websocket.StatusInvalidFramePayloadData), reasonUTF8}},
	{errProtocol, End{int(websocket.StatusProtocolError), reasonProtocol}},
}

// endOf says how a connection ended: cause is what this side ended it for, if it
// did, err what its reader ended with.
func endOf(cause, err error) End {
	if errors.Is(err, websocket.ErrMessageTooBig) {
		return End{int(websocket.StatusMessageTooBig), reasonTooBig}
	}
	if cause == nil {
		switch status := websocket.CloseStatus(err); {
		case status != -1:
			return End{int(status), reasonClient}
		case lost(err):
			return End{int(websocket.StatusAbnormalClosure), reasonLost}
		default: // answered by the library
			return End{int(websocket.StatusProtocolError), reasonProtocol}
		}
	}
	for _, known := range causes {
		if errors.Is(cause, known.cause) {
			return known.end
		}
	}
	return End{int(websocket.StatusInternalError), reasonServer}
}

// lost reports whether a read error means that the socket is gone, rather than
// that the peer sent something wrong.
func lost(err error) bool {
	var op *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.As(err, &op)
}
