package control

import (
	"context"
	"errors"

	brokers "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/broker/v1"
	devices "github.com/yandex-cloud/go-genproto/yandex/cloud/iot/devices/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/iotcast/iotcast/internal/devbroker"
	"github.com/iotcast/iotcast/internal/registry"
)

// Broker is the MQTT broker of this process.
type Broker interface {
	// Publish publishes as a registry, a device or a broker would.
	Publish(principalID, topic string, payload []byte) error
	// Activity is what the broker has seen of a device, false if it has seen nothing.
	Activity(deviceID string) (devbroker.Activity, bool)
}

// publish publishes without MQTT.
func publish(broker Broker, id, topic string, data []byte) error {
	if broker == nil {
		return status.Error(codes.FailedPrecondition, "this process has no MQTT broker to publish to: set mqtt_broker, or publish to yours by MQTT")
	}
	err := broker.Publish(id, topic, data)
	switch {
	case errors.Is(err, registry.ErrNotFound):
		return status.Error(codes.NotFound, err.Error())
	case errors.Is(err, registry.ErrForbidden):
		return status.Error(codes.PermissionDenied, err.Error())
	case errors.Is(err, registry.ErrInvalid):
		return status.Error(codes.InvalidArgument, err.Error())
	case errors.Is(err, registry.ErrNoRoom):
		return status.Error(codes.ResourceExhausted, err.Error())
	}
	return err
}

// registryDataService is yandex.cloud.iot.devices.v1.RegistryDataService.
type registryDataService struct {
	devices.UnimplementedRegistryDataServiceServer
	broker Broker
}

func (s registryDataService) Publish(
	_ context.Context, r *devices.PublishRegistryDataRequest,
) (*devices.PublishRegistryDataResponse, error) {
	return &devices.PublishRegistryDataResponse{}, publish(s.broker, r.RegistryId, r.Topic, r.Data)
}

// deviceDataService is yandex.cloud.iot.devices.v1.DeviceDataService.
type deviceDataService struct {
	devices.UnimplementedDeviceDataServiceServer
	broker Broker
}

func (s deviceDataService) Publish(_ context.Context, r *devices.PublishDeviceDataRequest) (*devices.PublishDeviceDataResponse, error) {
	return &devices.PublishDeviceDataResponse{}, publish(s.broker, r.DeviceId, r.Topic, r.Data)
}

// brokerDataService is yandex.cloud.iot.broker.v1.BrokerDataService.
type brokerDataService struct {
	brokers.UnimplementedBrokerDataServiceServer
	broker Broker
}

func (s brokerDataService) Publish(_ context.Context, r *brokers.PublishBrokerDataRequest) (*brokers.PublishBrokerDataResponse, error) {
	return &brokers.PublishBrokerDataResponse{}, publish(s.broker, r.BrokerId, r.Topic, r.Data)
}
