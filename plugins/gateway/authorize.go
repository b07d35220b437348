package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/iotcast/iotcast/internal/fanout"
	"github.com/iotcast/iotcast/internal/gateway"
	"github.com/iotcast/iotcast/internal/iotcore"
)

// Permit is what Options.Authorize grants. The zero value is everything, without an end.
type Permit struct {
	// Within is what the client may get at most, whatever it asks for; nil: everything. An empty Choice is nothing. It needs
	// Options.Watch.
	Within *Choice
	// Expires is when the connection is closed with 4401: a client needs another token then. Zero: it does not expire.
	Expires time.Time
	// Subprotocol is selected for the client: one of those that it offers, which a browser wants that offers any. So a page can
	// show a token, as new WebSocket(url, ["v1", "token." + token]) does.
	Subprotocol string
}

// Choice is messages of devices: of those with one of the device IDs, and of those with a topic that one of the MQTT topic
// filters covers.
type Choice struct {
	DeviceIDs []string
	Topics    []string
}

// check says what is wrong with a choice.
func (c *Choice) check() error {
	for _, id := range c.DeviceIDs {
		if err := iotcore.ValidateID("Within.DeviceIDs", id); err != nil {
			return err
		}
	}
	for _, filter := range c.Topics {
		if err := iotcore.ValidateSyntax(filter); err != nil {
			return fmt.Errorf("Within.Topics: %w", err)
		}
	}
	return nil
}

// StatusError is the HTTP status with which Options.Authorize refuses a request, from 400 to 599:
// http.StatusUnauthorized for one that lacks a good token. The clients of iotcast then ask for another one, and try again.
type StatusError int

// Error implements error.
func (s StatusError) Error() string { return fmt.Sprintf("%d %s", int(s), http.StatusText(int(s))) }

// authorizer is Options.Authorize as a gateway asks it.
type authorizer struct {
	ask   func(*http.Request) (Permit, error)
	watch bool
	log   *slog.Logger
}

func (a authorizer) connect(_ context.Context, r *gateway.Request) (gateway.Answer, error) {
	permit, err := a.ask(r.HTTP)
	if err != nil {
		a.log.Debug("Authorize refused a connection", "source_ip", r.SourceIP, "error", err)
		if status, ok := errors.AsType[StatusError](err); ok && status >= 400 && status <= 599 {
			return gateway.Answer{Status: int(status)}, nil
		}
		return gateway.Answer{Status: http.StatusForbidden}, nil
	}
	answer := gateway.Answer{Subprotocol: permit.Subprotocol, Until: permit.Expires}
	if permit.Within == nil {
		return answer, nil
	}
	err = permit.Within.check()
	if !a.watch {
		err = errors.New("without Options.Watch there is no Within")
	}
	if err != nil {
		a.log.Error("The Permit of Authorize cannot be granted, the connection is refused", "source_ip", r.SourceIP, "error", err)
		return gateway.Answer{Status: http.StatusInternalServerError}, nil
	}
	answer.Within = &fanout.Choice{Keys: slices.Clone(permit.Within.DeviceIDs), Filters: slices.Clone(permit.Within.Topics)}
	return answer, nil
}
