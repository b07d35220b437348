package gateway

import (
	"errors"

	"github.com/iotcast/iotcast/internal/fanout"
)

// Close codes that package fanout does not have (RFC 6455, section 7.4.1, and IANA's
// registry). The last is our own (section 7.4.2): 4000 and the HTTP status that a new
// handshake with the same token would get.
const (
	normalClosure      = 1000
	abnormalClosure    = 1006
	internalError      = 1011
	serviceRestart     = 1012
	statusTokenExpired = 4401
)

// Why this package ends connections. Package fanout has reasons of its own.
var (
	errShutdown = errors.New("server is shutting down")
	errRestart  = errors.New("service restart: connect again")
	errRemoved  = errors.New("route removed")
	errExpired  = errors.New("token expired")
)

// End is how a connection ended.
type End struct {
	Code   int    // the close code (RFC 6455, section 7.4); 1006 if the connection broke off
	Reason string // from a fixed set, as metrics and logs give it
}

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
	reasonRemoved  = "route_removed"
	reasonLost     = "connection_lost"
)

// Reasons returns those that Observer.Closed may report.
func Reasons() []string {
	return []string{
		reasonSlow, reasonIdle, reasonLifetime, reasonNoPong, reasonTooBig, reasonUTF8, reasonProtocol,
		reasonExpired, reasonClient, reasonServer, reasonShutdown, reasonRemoved, reasonLost,
	}
}

// causes are why this side ends a connection, and how it then ends.
var causes = []struct {
	cause error
	end   End
}{
	{fanout.ErrSlowConsumer, End{fanout.TryAgainLater, reasonSlow}},
	{fanout.ErrIdle, End{fanout.GoingAway, reasonIdle}},
	{fanout.ErrLifetime, End{fanout.GoingAway, reasonLifetime}},
	{fanout.ErrNoPong, End{fanout.GoingAway, reasonNoPong}},
	{fanout.ErrTooBig, End{fanout.MessageTooBig, reasonTooBig}},
	{fanout.ErrUTF8, End{fanout.InvalidPayload, reasonUTF8}},
	{fanout.ErrProtocol, End{fanout.ProtocolError, reasonProtocol}},
	{fanout.ErrLost, End{abnormalClosure, reasonLost}},
	{errShutdown, End{fanout.GoingAway, reasonShutdown}},
	{errRestart, End{serviceRestart, reasonShutdown}},
	{errRemoved, End{fanout.GoingAway, reasonRemoved}},
	{errExpired, End{statusTokenExpired, reasonExpired}},
	{errDisconnect, End{normalClosure, reasonServer}},
}

// endOf returns how a connection ended, by the cause of its end.
func endOf(cause error) End {
	if by, ok := errors.AsType[fanout.ClosedByPeer](cause); ok {
		return End{int(by.Code), reasonClient}
	}
	for _, known := range causes {
		if errors.Is(cause, known.cause) {
			return known.end
		}
	}
	return End{internalError, reasonServer}
}
