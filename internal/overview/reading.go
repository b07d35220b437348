package overview

import (
	"bytes"
	"cmp"
	"fmt"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// reading is what the metrics say at one time. Counters are totals.
type reading struct {
	triggers map[string]*counted // by stream of Benthos
	routes   map[route]*served
	gateways map[string]*listening // by label

	// Metrics of what has ended stay, and go on when it comes again.
	ended       map[string]*counted
	endedRoutes map[route]*served
}

// counted is one trigger, or another stream.
type counted struct {
	received, envelopes, dropped float64
	failed                       float64 // tries of the output that failed
	givenUp                      float64 // messages
	nobody                       float64 // envelopes for which no connection was open
	sessionsLost                 float64
	unacked, lag                 float64
	up, lost, refused            float64 // connections of the input
}

// route names one.
type route struct{ gateway, path string }

func (r route) String() string { return r.gateway + " " + r.path }

// served is one route.
type served struct {
	connections, queued                         float64
	envelopes, deliveries, bytes, dropped, slow float64
	delay, of                                   float64            // seconds, and how many they were
	refused                                     map[string]float64 // handshakes, by reason
	gaps                                        map[string]float64 // that clients were told of, by reason
	handlers                                    map[string]float64 // that failed, by name
}

// listening is one gateway.
type listening struct {
	up, acceptFailed float64
	refused          map[string]float64 // handshakes that found no route, by reason
}

// read reads the metrics of a process in Prometheus' text format.
func read(text []byte) (*reading, error) {
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("reading the metrics: %w", err)
	}
	r := &reading{
		triggers: map[string]*counted{}, routes: map[route]*served{}, gateways: map[string]*listening{},
		ended: map[string]*counted{}, endedRoutes: map[route]*served{},
	}
	for name, family := range families {
		if add := ofTrigger[name]; add != nil {
			for _, m := range family.Metric {
				add(r.trigger(labelOf(m, "stream")), value(m))
			}
		}
		if add := ofRoute[name]; add != nil {
			for _, m := range family.Metric {
				r.addToRoute(add, m)
			}
		}
		if add := ofGateway[name]; add != nil {
			for _, m := range family.Metric {
				add(r.gateway(labelOf(m, "gateway")), value(m))
			}
		}
	}
	for stream, c := range r.triggers { // of the process itself, which has a gateway's metrics and no input
		if stream == "" && c.up+c.refused+c.received+c.envelopes == 0 {
			delete(r.triggers, stream)
		}
	}
	return r, nil
}

// keep parts what there is from what has ended.
func (r *reading) keep(facts Facts) {
	for stream, c := range r.triggers {
		if facts.Streams && !facts.Running[stream] {
			r.ended[stream] = c
			delete(r.triggers, stream)
		}
	}
	if facts.Gateways == nil {
		return
	}
	for at, s := range r.routes {
		if _, ok := facts.Gateways[at.gateway].Routes[at.path]; !ok {
			r.endedRoutes[at] = s
			delete(r.routes, at)
		}
	}
	for label := range r.gateways {
		if _, ok := facts.Gateways[label]; !ok {
			delete(r.gateways, label)
		}
	}
}

// countedOf is what was counted of a stream, whether or not it ran.
func (r *reading) countedOf(stream string) *counted {
	if c := cmp.Or(r.triggers[stream], r.ended[stream]); c != nil {
		return c
	}
	return new(counted)
}

// servedOf is what was counted of a route, whether or not it was there.
func (r *reading) servedOf(at route) *served {
	if s := cmp.Or(r.routes[at], r.endedRoutes[at]); s != nil {
		return s
	}
	return new(served)
}

// ofTrigger is what metrics say of a stream.
var ofTrigger = map[string]func(*counted, float64){
	"input_received":                     func(c *counted, v float64) { c.received += v },
	"output_sent":                        func(c *counted, v float64) { c.envelopes += v },
	"output_error":                       func(c *counted, v float64) { c.failed += v },
	"iot_mqtt_rejected":                  func(c *counted, v float64) { c.givenUp += v },
	"websocket_broadcast_failed":         func(c *counted, v float64) { c.givenUp += v },
	"iot_mqtt_dropped":                   func(c *counted, v float64) { c.dropped += v },
	"websocket_broadcast_no_connections": func(c *counted, v float64) { c.nobody += v },
	"iot_mqtt_session_lost":              func(c *counted, v float64) { c.sessionsLost += v },
	"iot_mqtt_unacked":                   func(c *counted, v float64) { c.unacked += v },
	"iot_mqtt_oldest_unacked_seconds":    func(c *counted, v float64) { c.lag = max(c.lag, v) },
	"input_connection_up":                func(c *counted, v float64) { c.up += v },
	"input_connection_lost":              func(c *counted, v float64) { c.lost += v },
	"input_connection_failed":            func(c *counted, v float64) { c.refused += v },
}

// ofRoute is what metrics say of a route.
var ofRoute = map[string]func(*served, *dto.Metric){
	"websocket_connections":  func(s *served, m *dto.Metric) { s.connections = value(m) },
	"websocket_queued_bytes": func(s *served, m *dto.Metric) { s.queued = value(m) },
	"websocket_messages":     func(s *served, m *dto.Metric) { s.envelopes = value(m) },
	"websocket_deliveries":   func(s *served, m *dto.Metric) { s.deliveries = value(m) },
	"websocket_bytes":        func(s *served, m *dto.Metric) { s.bytes = value(m) },
	"websocket_dropped":      func(s *served, m *dto.Metric) { s.dropped = value(m) },
	"websocket_gaps":         func(s *served, m *dto.Metric) { s.gaps[labelOf(m, "reason")] += value(m) },
	"websocket_fanout_latency_ns": func(s *served, m *dto.Metric) {
		s.delay = m.GetSummary().GetSampleSum()/1e9 + m.GetHistogram().GetSampleSum() // Connect has histograms in seconds
		s.of = float64(m.GetSummary().GetSampleCount() + m.GetHistogram().GetSampleCount())
	},
	"websocket_closed": func(s *served, m *dto.Metric) {
		if labelOf(m, "reason") == "slow_consumer" {
			s.slow += value(m)
		}
	},
	"websocket_handshakes": func(s *served, m *dto.Metric) {
		if reason := labelOf(m, "reason"); reason != "" {
			s.refused[reason] += value(m)
		}
	},
	"websocket_handler_errors": func(s *served, m *dto.Metric) { s.handlers[labelOf(m, "handler")] += value(m) },
}

// ofGateway is what metrics say of a gateway.
var ofGateway = map[string]func(*listening, float64){
	"websocket_gateway_up":    func(l *listening, v float64) { l.up = v },
	"websocket_accept_failed": func(l *listening, v float64) { l.acceptFailed = v },
}

func (r *reading) trigger(stream string) *counted {
	if r.triggers[stream] == nil {
		r.triggers[stream] = new(counted)
	}
	return r.triggers[stream]
}

func (r *reading) gateway(label string) *listening {
	if r.gateways[label] == nil {
		r.gateways[label] = &listening{refused: map[string]float64{}}
	}
	return r.gateways[label]
}

// addToRoute adds a metric of a route. Without a path it is of a request that found none.
func (r *reading) addToRoute(add func(*served, *dto.Metric), m *dto.Metric) {
	at := route{labelOf(m, "gateway"), labelOf(m, "path")}
	if at.path == "" {
		if reason := labelOf(m, "reason"); reason != "" && m.Counter != nil {
			r.gateway(at.gateway).refused[reason] += value(m)
		}
		return
	}
	if r.routes[at] == nil {
		r.routes[at] = &served{refused: map[string]float64{}, gaps: map[string]float64{}, handlers: map[string]float64{}}
	}
	add(r.routes[at], m)
}

func labelOf(m *dto.Metric, name string) string {
	for _, one := range m.Label {
		if one.GetName() == name {
			return one.GetValue()
		}
	}
	return ""
}

func value(m *dto.Metric) float64 {
	return m.GetCounter().GetValue() + m.GetGauge().GetValue() + m.GetUntyped().GetValue()
}
