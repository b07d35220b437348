package managementapi

import (
	"errors"
	"fmt"
	"os"

	api "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/triggers"
)

// sample is a trigger to try a template with.
var sample = &api.Trigger{Id: "sample", Rule: &api.Trigger_Rule{Rule: &api.Trigger_Rule_IotMessage{IotMessage: &api.Trigger_IoTMessage{
	RegistryId: "my-registry",
	Action: &api.Trigger_IoTMessage_GatewayWebsocketBroadcast{GatewayWebsocketBroadcast: &api.GatewayWebsocketBroadcast{
		GatewayId: "main", Path: "/telemetry",
	}},
}}}}

// templateFromConfig reads the template of triggers. One that the linter refuses is found out now, and not with the first
// trigger.
func templateFromConfig(conf *service.ParsedConfig) ([]byte, error) {
	path, err := conf.FieldString(fieldTriggerTemplate)
	if err != nil || path == "" {
		return nil, err // nil: the usual one
	}
	template, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	triggers.Complete(sample.Rule)
	stream, err := triggers.Maker{Template: template}.Stream(sample, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	lints, err := service.GlobalEnvironment().CoreConfigSchema("", "").NewStreamConfigLinter().LintYAML(stream)
	errs := []error{err}
	for _, lint := range lints {
		errs = append(errs, errors.New(lint.What))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("%s: a stream of a trigger would be refused: %w", path, err)
	}
	return template, nil
}
