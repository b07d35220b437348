package control

import (
	"context"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/endpoint"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// services are those of the original that are here, by the IDs under which its clients look for their addresses.
var services = []string{"endpoint", "operation", "iot-devices", "iot-data", "iot-broker", "serverless-triggers", "serverless-apigateway-connections"}

// endpointService is yandex.cloud.endpoint.ApiEndpointService: all services are where this one was asked.
type endpointService struct {
	endpoint.UnimplementedApiEndpointServiceServer
}

func (s endpointService) Get(ctx context.Context, r *endpoint.GetApiEndpointRequest) (*endpoint.ApiEndpoint, error) {
	for _, id := range services {
		if id == r.ApiEndpointId {
			return &endpoint.ApiEndpoint{Id: id, Address: asked(ctx)}, nil
		}
	}
	return nil, status.Errorf(codes.NotFound, "there is no service %.64q here, but %v", r.ApiEndpointId, services)
}

func (s endpointService) List(ctx context.Context, _ *endpoint.ListApiEndpointsRequest) (*endpoint.ListApiEndpointsResponse, error) {
	answer := new(endpoint.ListApiEndpointsResponse)
	for _, id := range services {
		answer.Endpoints = append(answer.Endpoints, &endpoint.ApiEndpoint{Id: id, Address: asked(ctx)})
	}
	return answer, nil
}

// asked is the address by which the client has found this process, which is the one that it can reach.
func asked(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	if authority := md.Get(":authority"); len(authority) > 0 {
		return authority[0]
	}
	return ""
}
