package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/urfave/cli/v2"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/iotcast/iotcast/internal/version"
)

// stateTimeout is for a state with many devices.
const stateTimeout = 10 * time.Minute

func stateCommand() *cli.Command {
	return &cli.Command{
		Name:  "state",
		Usage: "Export and import all that was made over the management API",
		Description: `
The document holds registries, devices, brokers, their credentials (of passwords
the hashes) and triggers. It is for administrators: keep it as you keep secrets.

   iotcast state export > state.yaml
   iotcast state import state.yaml`[1:],
		Subcommands: []*cli.Command{
			{
				Name:         "export",
				Usage:        "Print the state as YAML",
				Flags:        connectionFlags(),
				OnUsageError: usageError,
				Action:       exportState,
			},
			{
				Name:      "import",
				Usage:     "Make the state what a document says",
				ArgsUsage: "FILE",
				Description: `
What the document does not have is removed; what is the same stays as it is, its
connections with it. A document that cannot be as a whole changes nothing.
IDs may be chosen: so devices keep those that their firmware has.`[1:],
				Flags:        connectionFlags(),
				OnUsageError: usageError,
				Action:       importState,
			},
		},
	}
}

func exportState(c *cli.Context) error {
	names, err := operands(c)
	if err != nil {
		return err
	}
	if len(names) > 0 {
		return usageError(c, fmt.Errorf("unexpected argument %q", names[0]), true)
	}
	document, err := callState(c, http.MethodGet, nil)
	if err != nil {
		return err
	}
	_, err = c.App.Writer.Write(document)
	return err
}

func importState(c *cli.Context) error {
	names, err := operands(c)
	if err != nil {
		return err
	}
	if len(names) != 1 {
		return usageError(c, errors.New("name the file with the document (- for standard input)"), true)
	}
	text, err := os.ReadFile(names[0])
	if names[0] == "-" {
		text, err = io.ReadAll(c.App.Reader)
	}
	if err != nil {
		return fmt.Errorf("reading the document: %w", err)
	}
	answer, err := callState(c, http.MethodPut, text)
	if err != nil {
		return err
	}
	var changed struct {
		Resources int `json:"resources"`
	}
	if err := json.Unmarshal(answer, &changed); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	fmt.Fprintf(c.App.ErrWriter, "Imported %s: %d resources are new or changed.\n", names[0], changed.Resources)
	return nil
}

// callState calls the one method of the API that is not gRPC.
func callState(c *cli.Context, method string, document []byte) ([]byte, error) {
	to, err := readTarget(c)
	if err != nil {
		return nil, err
	}
	scheme := "http"
	if to.secure {
		scheme = "https"
	}
	req, err := http.NewRequestWithContext(c.Context, method, scheme+"://"+to.address+"/state", bytes.NewReader(document))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", version.UserAgent())
	if document != nil {
		req.Header.Set("Content-Type", "application/yaml") // RFC 9512
	}
	if to.token != "" {
		req.Header.Set("Authorization", "Bearer "+to.token)
	}
	client := http.Client{Timeout: stateTimeout, Transport: &http.Transport{TLSClientConfig: to.tls}}
	res, err := client.Do(req)
	if err != nil {
		return nil, errors.New(unreachable(to.address, err.Error()))
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", to.address, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, explain(c, to.address, refusal(res.Status, text))
	}
	return text, nil
}

// refusal is the error that an answer tells.
func refusal(httpStatus string, text []byte) error {
	s := new(statuspb.Status)
	if err := protojson.Unmarshal(text, s); err != nil || s.Code == 0 {
		return fmt.Errorf("what answers is not the management API: %s", httpStatus)
	}
	return status.ErrorProto(s)
}
