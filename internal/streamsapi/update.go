package streamsapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"gopkg.in/yaml.v3"
)

// Update replaces the config of a running stream, and leaves the old one running
// if the new one is refused.
//
// Benthos' own PUT ends and removes the old stream before it makes the new one,
// so that a config which its linter likes and which cannot be built, such as one
// with the path of no route, would end it. So the config is linted and built
// first, without being started. What is then still refused makes the process put
// the old config back.
func (c *Client) Update(ctx context.Context, id string, config []byte) error {
	if err := c.Try(ctx, id, config); err != nil {
		return err
	}
	_, err := c.call(ctx, http.MethodPut, streamPath(id), "timeout="+stopTimeout, config)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: the process finishes what it has begun, and runs the new config or the old one", err)
	}
	if _, gone := c.call(ctx, http.MethodGet, streamPath(id), "", nil); gone != nil {
		return fmt.Errorf("the new config was refused: %w; and stream %q no longer runs: %w", err, id, gone)
	}
	return fmt.Errorf("the new config was refused, the old one runs on: %w", err)
}

// Try checks what Update would do, and does not do it.
func (c *Client) Try(ctx context.Context, id string, config []byte) error {
	if _, err := c.call(ctx, http.MethodGet, streamPath(id), "", nil); err != nil {
		return c.orList(ctx, id, err)
	}
	return c.check(ctx, id, config)
}

// check refuses a config for a running stream that could not replace the old.
func (c *Client) check(ctx context.Context, id string, config []byte) error {
	// Under an ID that is taken, POST does nothing but to lint, and names the lines
	// of the config as it is.
	switch err := c.Create(ctx, id, config); {
	case err == nil:
		return fmt.Errorf("stream %q had just been removed by someone else, and runs again with the new config", id)
	case !errors.Is(err, ErrExists):
		return err
	}
	return c.Check(ctx, config)
}

const (
	// checkID is the ID of streams that are never made.
	checkID = "iotcast_check"
	// checked ends each check. The text is for those who meet it in the log.
	checked = "none: a new config was checked and is sound"
)

// Check refuses a config that could not be started, and starts nothing: to
// start it under another ID would take the MQTT session, or whatever is there
// once, from the stream that has it.
//
// Benthos builds all components of a stream before it starts the first, and drops
// them if one fails. So the config is given one more output, the last, that must
// fail. If it is that which fails, all others have been built, in the process
// that is to run them, with its gateways, resources and environment.
func (c *Client) Check(ctx context.Context, config []byte) error {
	probe, err := withFailingOutput(config)
	if err != nil {
		return fmt.Errorf("reading the config: %w", err)
	}
	if probe == nil {
		return nil
	}
	err = c.Create(ctx, checkID, probe)
	switch {
	case err == nil:
		return errors.Join(errors.New("the check of a config has started it, which must not happen"), c.Delete(ctx, checkID))
	case strings.Contains(err.Error(), checked):
		return nil
	}
	var refused *RefusedError
	if errors.As(err, &refused) {
		refused.text = strings.TrimPrefix(refused.text, "output 0: ")
		refused.text = strings.ReplaceAll(refused.text, "root.output.broker.outputs.0", "root.output")
	}
	return err
}

// environment is what Benthos replaces in a config before it reads it as YAML.
var environment = regexp.MustCompile(`\${[0-9A-Za-z_.]+(:((\${[^}]+})|[^}])*)?(\|[0-9A-Za-z]+)?}`)

// withFailingOutput is nil for a config that is no YAML before its environment
// variables are replaced, which only the process can do.
func withFailingOutput(config []byte) ([]byte, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(config, &doc); err != nil {
		if environment.Match(config) {
			return nil, nil
		}
		return nil, err
	}
	if len(doc.Content) == 0 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("it is no stream: an input, a pipeline and an output are needed")
	}
	root := doc.Content[0]
	outputs := &yaml.Node{Kind: yaml.SequenceNode}
	at := -1
	for i := 0; i < len(root.Content); i += 2 {
		if root.Content[i].Value == "output" {
			at = i + 1
			outputs.Content = append(outputs.Content, root.Content[at])
		}
	}
	if at < 0 {
		root.Content = append(root.Content, scalar("output"), nil)
		at = len(root.Content) - 1
	}
	outputs.Content = append(outputs.Content, mapping("resource", scalar(checked)))
	root.Content[at] = mapping("broker", mapping("outputs", outputs))
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	if err := errors.Join(e.Encode(&doc), e.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func scalar(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
}

func mapping(key string, value *yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{scalar(key), value}}
}
