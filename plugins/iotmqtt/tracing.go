package iotmqtt

import (
	"context"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// tracing begins the span of each message when it was received. Benthos would
// begin it with the batch, and leave out the time in which that gathers.
type tracing struct{ tracer trace.Tracer } // nil: off, and costs nothing

func newTracing(res *service.Resources) tracing {
	provider := res.OtelTracer()
	if _, off := provider.(noop.TracerProvider); off {
		return tracing{}
	}
	return tracing{provider.Tracer("iotcast")}
}

// begin returns the context of a message that was received on topic. Benthos ends
// the span with the acknowledgement.
func (t tracing) begin(ctx context.Context, topic string, at time.Time) context.Context {
	if t.tracer == nil {
		return ctx
	}
	ctx, span := t.tracer.Start(ctx, "input_iot_mqtt", trace.WithTimestamp(at), trace.WithSpanKind(trace.SpanKindConsumer))
	// Named by the OpenTelemetry semantic conventions for messaging.
	span.SetAttributes(attribute.String("messaging.system", "mqtt"), attribute.String("messaging.destination.name", topic))
	return ctx
}
