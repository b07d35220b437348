// Package opentelemetry is the tracer open_telemetry_collector, with the fields that Redpanda
// Connect's has: that one is under the Redpanda Community License. Import only one of the two.
package opentelemetry

import (
	"context"
	"errors"
	"fmt"

	"github.com/redpanda-data/benthos/v4/public/service"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	fieldService  = "service"
	fieldHTTP     = "http"
	fieldGRPC     = "grpc"
	fieldAddress  = "address"
	fieldURL      = "url"
	fieldSecure   = "secure"
	fieldTags     = "tags"
	fieldSampling = "sampling"
	fieldEnabled  = "enabled"
	fieldRatio    = "ratio"

	tagService = "service.name"
	tagVersion = "service.version"
)

func init() {
	service.MustRegisterOtelTracerProvider("open_telemetry_collector", Spec(), newProvider)
}

// Spec describes the tracer's configuration.
func Spec() *service.ConfigSpec {
	return service.NewConfigSpec().
		Stable().
		Version("0.1.0").
		Summary("Sends traces to collectors of OpenTelemetry, by OTLP over HTTP or gRPC.").
		Fields(
			service.NewStringField(fieldService).
				Description("The name of the service in traces.").
				Default("benthos"),
			collectors(fieldHTTP, "localhost:4318"),
			collectors(fieldGRPC, "localhost:4317"),
			service.NewStringMapField(fieldTags).
				Description("Attributes that all traces have. `"+tagService+"` and `"+tagVersion+"` replace those made of `service` and of the version.").
				Default(map[string]any{}).
				Advanced(),
			service.NewObjectField(fieldSampling,
				service.NewBoolField(fieldEnabled).
					Description("Whether to send only a part of the traces.").
					Default(false),
				service.NewFloatField(fieldRatio).
					Description("Which part of them, from 0 to 1.").
					Example(0.01).
					Optional()).
				Description("Which traces are sent."),
		)
}

func collectors(name, address string) *service.ConfigField {
	return service.NewObjectListField(name,
		service.NewStringField(fieldAddress).
			Description("The host and port of the collector.").
			Example(address).
			Optional(),
		service.NewStringField(fieldURL).
			Description("The old name of `address`.").
			Default(address).
			Deprecated(),
		service.NewBoolField(fieldSecure).
			Description("Whether to use TLS.").
			Default(false)).
		Description("Collectors to send to over " + map[string]string{fieldHTTP: "HTTP", fieldGRPC: "gRPC"}[name] + ".")
}

// newProvider does not wait for collectors: the exporters connect when there are spans to send.
func newProvider(conf *service.ParsedConfig) (trace.TracerProvider, error) {
	attributes, err := parseAttributes(conf)
	if err != nil {
		return nil, err
	}
	options := []sdk.TracerProviderOption{sdk.WithResource(resource.NewSchemaless(attributes...))}

	sampled, err := conf.FieldBool(fieldSampling, fieldEnabled)
	if err != nil {
		return nil, err
	}
	if sampled {
		var ratio float64
		if conf.Contains(fieldSampling, fieldRatio) {
			if ratio, err = conf.FieldFloat(fieldSampling, fieldRatio); err != nil {
				return nil, err
			}
		}
		options = append(options, sdk.WithSampler(sdk.TraceIDRatioBased(ratio)))
	}

	clients, err := parseClients(conf)
	if err != nil {
		return nil, err
	}
	for _, client := range clients {
		exporter, err := otlptrace.New(context.Background(), client)
		if err != nil {
			return nil, fmt.Errorf("a collector of open_telemetry_collector: %w", err)
		}
		options = append(options, sdk.WithBatcher(exporter))
	}
	return sdk.NewTracerProvider(options...), nil
}

func parseAttributes(conf *service.ParsedConfig) (attributes []attribute.KeyValue, err error) {
	name, err := conf.FieldString(fieldService)
	if err != nil {
		return nil, err
	}
	tags, err := conf.FieldStringMap(fieldTags)
	if err != nil {
		return nil, err
	}
	if _, named := tags[tagService]; !named {
		attributes = append(attributes, attribute.String(tagService, name))
		// A service of another name has a version of its own.
		if _, versioned := tags[tagVersion]; !versioned {
			attributes = append(attributes, attribute.String(tagVersion, conf.EngineVersion()))
		}
	}
	for key, value := range tags {
		attributes = append(attributes, attribute.String(key, value))
	}
	return attributes, nil
}

func parseClients(conf *service.ParsedConfig) (clients []otlptrace.Client, err error) {
	err = eachCollector(conf, fieldHTTP, func(address string, secure bool) {
		options := []otlptracehttp.Option{otlptracehttp.WithEndpoint(address)}
		if !secure {
			options = append(options, otlptracehttp.WithInsecure())
		}
		clients = append(clients, otlptracehttp.NewClient(options...))
	})
	if err != nil {
		return nil, err
	}
	err = eachCollector(conf, fieldGRPC, func(address string, secure bool) {
		options := []otlptracegrpc.Option{otlptracegrpc.WithEndpoint(address)}
		if !secure {
			options = append(options, otlptracegrpc.WithInsecure())
		}
		clients = append(clients, otlptracegrpc.NewClient(options...))
	})
	return clients, err
}

func eachCollector(conf *service.ParsedConfig, field string, do func(address string, secure bool)) error {
	list, err := conf.FieldObjectList(field)
	if err != nil {
		return err
	}
	for i, c := range list {
		address, _ := c.FieldString(fieldAddress) // optional
		if address == "" {
			if address, err = c.FieldString(fieldURL); err != nil {
				return err
			}
		}
		if address == "" {
			return fmt.Errorf("%s[%d].%s: %w", field, i, fieldAddress, errNoAddress)
		}
		secure, err := c.FieldBool(fieldSecure)
		if err != nil {
			return err
		}
		do(address, secure)
	}
	return nil
}

var errNoAddress = errors.New("must not be empty: it is the host and port of a collector")
