package main

import (
	"fmt"

	"github.com/urfave/cli/v2"
	triggers "github.com/yandex-cloud/go-genproto/yandex/cloud/serverless/triggers/v1"

	"github.com/iotcast/iotcast/internal/triggerfile"
)

// readTriggers reads those of --file, with a gateway and a service account as flags say.
func (c *call) readTriggers() (all []*triggers.Trigger, isList bool, err error) {
	path := c.String(flagFile)
	text, err := readFileOrStdin(c.Context, path)
	if err != nil {
		return nil, false, fmt.Errorf("reading --%s: %w", flagFile, err)
	}
	all, isList, err = triggerfile.Decode(text, func(trigger string, reason error) {
		c.warn(fmt.Errorf("trigger %s is skipped: %w", trigger, reason))
	})
	if err != nil {
		return nil, false, fmt.Errorf("--%s %s: %w", flagFile, path, err)
	}
	if len(all) == 0 {
		return nil, false, fmt.Errorf("--%s %s has no trigger for iotcast", flagFile, path)
	}
	for _, t := range all {
		overrideAction(c.Context, t)
	}
	return all, isList, nil
}

func overrideAction(c *cli.Context, t *triggers.Trigger) {
	r, err := ruleOf(t)
	if err != nil {
		return
	}
	if c.IsSet(flagGateway) {
		r.action.GatewayId = c.String(flagGateway)
	}
	if c.IsSet(flagServiceAccount) {
		r.action.ServiceAccountId = c.String(flagServiceAccount)
	}
}
