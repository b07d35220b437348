package websocketgateways

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/plugins/internal/duration"
)

const (
	fieldOnConnect      = "on_connect"
	fieldOnMessage      = "on_message"
	fieldOnDisconnect   = "on_disconnect"
	fieldHandlerTimeout = "handler_timeout"
)

// The metadata that handlers get and, where it says so, may set.
const (
	metaEventType        = "websocket_event_type" // CONNECT, MESSAGE or DISCONNECT
	metaGateway          = "websocket_gateway"
	metaPath             = "websocket_path"
	metaConnectionID     = "websocket_connection_id"
	metaConnectedAt      = "websocket_connected_at"
	metaSourceIP         = "websocket_source_ip"
	metaUserAgent        = "websocket_user_agent"
	metaClaims           = "websocket_claims"
	metaMessageID        = "websocket_message_id"
	metaDisconnectStatus = "websocket_disconnect_status_code"
	metaDisconnectReason = "websocket_disconnect_reason"
	metaStatus           = "websocket_status"      // set by on_connect
	metaSubprotocol      = "websocket_subprotocol" // set by on_connect
	metaContentType      = "content_type"
)

const (
	contentJSON   = "application/json"
	contentBinary = "application/octet-stream"
)

func handlerFields() []*service.ConfigField {
	return []*service.ConfigField{
		service.NewProcessorListField(fieldOnConnect).
			Description("Processors that decide on each request for the path, after limits, origins and tokens have. Whether it is a proper WebSocket handshake is looked at last: one that is none, such as a plain GET, is asked about, too. They get an object with `connection_id`, `gateway`, `path`, `source_ip`, `user_agent`, `headers`, `query`, `claims` (of the token), `subprotocols` and `certificate_subject`. The connection is refused with 403 if the message is dropped, or with 401 or 403 if the metadata `websocket_status` says so, and with 500 if a processor fails. The metadata `websocket_subprotocol` selects one of the client's subprotocols.").
			Optional().
			Example([]any{map[string]any{"mapping": `root = if this.query.room != "lobby" { deleted() }`}}),
		service.NewProcessorListField(fieldOnMessage).
			Description("Processors for each message from a client. What they make of it goes back to that client: as a text message if its metadata `content_type` is `application/json` or begins with `text/`, else as a binary one. Nothing goes back when the message is dropped. An error is logged and counted, and the connection stays open. Without this, messages from clients are discarded.").
			Optional().
			Example([]any{map[string]any{"mapping": `root = {"pong": this.ping}`}}),
		service.NewProcessorListField(fieldOnDisconnect).
			Description("Processors that are told of each connection that has ended. What they make of it goes nowhere.").
			Optional().
			Example([]any{map[string]any{"log": map[string]any{"message": `gone: ${! metadata("websocket_connection_id") }`}}}),
		duration.Field(fieldHandlerTimeout).
			Description("How long the processors of `on_message` and `on_disconnect` may take.").
			Default("10s").
			Example("2s").
			Advanced(),
	}
}

// processors are those of one handler.
type processors []*service.OwnedProcessor

// parseHandlers makes the handlers of a route.
func parseHandlers(conf *service.ParsedConfig, p *parts) (h gateway.Handlers, err error) {
	if h.Timeout, err = duration.Of(conf, fieldHandlerTimeout); err != nil {
		return h, err
	}
	if h.Timeout <= 0 {
		return h, fmt.Errorf("%s must be greater than 0s", fieldHandlerTimeout)
	}
	for name, use := range map[string]func(processors){
		fieldOnConnect:    func(ps processors) { h.Connect = ps.connect },
		fieldOnMessage:    func(ps processors) { h.Message = ps.message },
		fieldOnDisconnect: func(ps processors) { h.Disconnect = ps.disconnect },
	} {
		if !conf.Contains(name) {
			continue
		}
		ps, err := p.processors(conf, name)
		if err != nil {
			return h, fmt.Errorf("%s: %w", name, err)
		}
		if len(ps) > 0 {
			use(ps)
		}
	}
	return h, nil
}

// run passes a message through the processors.
func (ps processors) run(ctx context.Context, m *service.Message) (service.MessageBatch, error) {
	batches, err := service.ExecuteProcessors(ctx, ps, service.MessageBatch{m})
	if err != nil {
		return nil, err
	}
	var all service.MessageBatch
	for _, b := range batches {
		all = append(all, b...)
	}
	return all, nil
}

// connect is gateway.Handlers.Connect.
func (ps processors) connect(ctx context.Context, req *gateway.Request) (gateway.Answer, error) {
	m := message(ctx, &req.Info, "CONNECT")
	m.SetStructuredMut(map[string]any{
		"connection_id": req.ID, "gateway": req.Gateway, "path": req.Path,
		"source_ip": req.SourceIP, "user_agent": req.UserAgent,
		"headers": joined(req.Header), "query": joined(req.Query),
		"claims": claims(&req.Info), "subprotocols": toAny(req.Subprotocols),
		"certificate_subject": req.CertificateSubject,
	})
	out, err := ps.run(ctx, m)
	switch {
	case err != nil:
		return gateway.Answer{}, err
	case len(out) == 0:
		return gateway.Answer{Status: http.StatusForbidden}, nil
	case out[0].GetError() != nil:
		return gateway.Answer{}, out[0].GetError()
	}
	var answer gateway.Answer
	if s, ok := out[0].MetaGet(metaStatus); ok {
		answer.Status, err = strconv.Atoi(s)
		if err != nil || answer.Status != http.StatusUnauthorized && answer.Status != http.StatusForbidden {
			return answer, fmt.Errorf("the metadata %s must be 401 or 403, not %q", metaStatus, s)
		}
	}
	answer.Subprotocol, _ = out[0].MetaGet(metaSubprotocol)
	return answer, nil
}

// message is gateway.Handlers.Message.
func (ps processors) message(ctx context.Context, c *gateway.Connection, in gateway.Message) (replies []gateway.Message, err error) {
	info := c.Info()
	m := message(ctx, &info, "MESSAGE")
	m.SetBytes(in.Data)
	m.MetaSetMut(metaMessageID, in.ID)
	if m.MetaSetMut(metaContentType, contentBinary); in.Text {
		m.MetaSetMut(metaContentType, contentJSON)
	}
	out, err := ps.run(ctx, m)
	for _, reply := range out {
		if failed := reply.GetError(); failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		data, bad := reply.AsBytes()
		if bad != nil {
			err = errors.Join(err, bad)
			continue
		}
		replies = append(replies, gateway.Message{Text: isText(reply), Data: data})
	}
	return replies, err
}

func isText(m *service.Message) bool {
	kind, _ := m.MetaGet(metaContentType)
	kind, _, _ = strings.Cut(strings.ToLower(kind), ";")
	return kind == contentJSON || strings.HasPrefix(kind, "text/")
}

// disconnect is gateway.Handlers.Disconnect.
func (ps processors) disconnect(ctx context.Context, c *gateway.Connection, end gateway.End) error {
	info := c.Info()
	m := message(ctx, &info, "DISCONNECT")
	m.MetaSetMut(metaDisconnectStatus, strconv.Itoa(end.Code))
	m.MetaSetMut(metaDisconnectReason, end.Reason)
	out, err := ps.run(ctx, m)
	for _, o := range out {
		err = errors.Join(err, o.GetError())
	}
	return err
}

// message is a Benthos message about a connection.
func message(ctx context.Context, info *gateway.Info, event string) *service.Message {
	m := service.NewMessageWithContext(ctx, nil)
	for key, value := range map[string]string{
		metaEventType: event, metaGateway: info.Gateway, metaPath: info.Path, metaConnectionID: info.ID,
		metaConnectedAt: info.ConnectedAt.Format(time.RFC3339Nano), metaSourceIP: info.SourceIP, metaUserAgent: info.UserAgent,
	} {
		m.MetaSetMut(key, value)
	}
	m.MetaSetMut(metaClaims, claims(info))
	return m
}

// claims are those of the connection's token, an empty object if it has none.
func claims(info *gateway.Info) map[string]any {
	if info.Claims == nil {
		return map[string]any{}
	}
	return info.Claims
}

func joined(values map[string][]string) map[string]any {
	all := make(map[string]any, len(values))
	for name, v := range values {
		all[name] = strings.Join(v, ", ")
	}
	return all
}

func toAny(list []string) []any {
	all := make([]any, len(list))
	for i, s := range list {
		all[i] = s
	}
	return all
}
