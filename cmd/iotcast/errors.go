package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// explain puts an answer of the management API, or what is wrong with the way there, in one line that says what to do.
func explain(c *cli.Context, address string, err error) error {
	var answered interface{ GRPCStatus() *status.Status }
	if !errors.As(err, &answered) {
		return err
	}
	s := answered.GRPCStatus()
	before, _, _ := strings.Cut(err.Error(), "rpc error: ") // what the command says of itself
	return errors.New(before + plainly(c, address, s))
}

func plainly(c *cli.Context, address string, s *status.Status) string {
	switch s.Code() {
	case codes.Unavailable:
		if cause := connectionError(s.Message()); cause != "" {
			return unreachable(address, cause)
		}
	case codes.Unauthenticated:
		return fmt.Sprintf("%s: give a token in the environment variable IOTCAST_TOKEN, or a file with it by --%s", s.Message(), flagTokenFile)
	case codes.Aborted:
		return "changed by somebody else meanwhile: try again"
	case codes.InvalidArgument:
		if text := violations(c, s); text != "" {
			return text
		}
	case codes.DeadlineExceeded:
		return fmt.Sprintf("no answer from the management API at %s within %v", address, patience)
	case codes.Canceled:
		return context.Canceled.Error()
	case codes.Unimplemented, codes.Unknown, codes.Internal:
		if strings.Contains(s.Message(), "HTTP status code") || strings.Contains(s.Message(), "content-type") {
			return fmt.Sprintf("what answers at %s is not the management API, or an older one without this call: name another address by --%s or IOTCAST_ENDPOINT", address, flagEndpoint)
		}
		if s.Code() == codes.Unimplemented {
			return fmt.Sprintf("the management API at %s does not have this call: is it of an older version? (%s)", address, s.Message())
		}
	}
	return s.Message()
}

// dialing is how gRPC speaks of a connection that it cannot open.
var dialing = regexp.MustCompile(`^connection error: desc = "(?:transport: )?(.*)"$|^(error reading from server: .*)$`)

// connectionError is empty where the answer comes from the other side.
func connectionError(text string) string {
	found := dialing.FindStringSubmatch(text)
	if found == nil {
		if strings.HasPrefix(text, "name resolver error: ") || strings.HasPrefix(text, "dns: ") {
			return text
		}
		return ""
	}
	cause := found[1] + found[2]
	for _, noise := range []string{"Error while dialing: ", "authentication handshake failed: "} {
		cause = strings.TrimPrefix(cause, noise)
	}
	return strings.ReplaceAll(cause, `\"`, `"`)
}

func unreachable(address, cause string) string {
	switch {
	case strings.Contains(cause, "connection refused"):
		return fmt.Sprintf("no management API listens at %s: put `management_api: {}` into the root config of iotcast streams, or name another address by --%s or IOTCAST_ENDPOINT",
			address, flagEndpoint)
	case strings.Contains(cause, "first record does not look like a TLS handshake"):
		return fmt.Sprintf("the management API at %s has no TLS: write --%s http://%s", address, flagEndpoint, address)
	case strings.Contains(cause, "certificate signed by unknown authority"):
		return fmt.Sprintf("the certificate of %s is by no known authority: name that by --%s (%s)", address, flagCAFile, cause)
	case strings.Contains(cause, "server preface"), strings.Contains(cause, "error reading from server: EOF"):
		return fmt.Sprintf("what answers at %s is not the management API, or wants TLS: write --%s https://%s (%s)", address, flagEndpoint, address, cause)
	}
	return fmt.Sprintf("connecting to the management API at %s: %s", address, cause)
}

// violations names the fields that were refused as the user knows them.
func violations(c *cli.Context, s *status.Status) string {
	var texts []string
	for _, detail := range s.Details() {
		bad, ok := detail.(*errdetails.BadRequest)
		if !ok {
			continue
		}
		for _, v := range bad.FieldViolations {
			texts = append(texts, called(c, v.Field)+" "+v.Description)
		}
	}
	return strings.Join(texts, "; ")
}

// lastPart is the name of a field in a path such as rule.iot_message.mqtt_topic or labels["a"].
var lastPart = regexp.MustCompile(`([a-z_]+)(\[.*\](?: \(the key\))?)?$`)

// flagsOf are fields that have another name as a flag.
var flagsOf = map[string]string{
	"size": flagBatchSize, "cutoff": flagBatchCutoff, "path": flagPath, "service_account_id": flagServiceAccount,
	"certificate_data": flagCertificateFile,
}

// called is the flag for a field, if there is one and the field does not come from a file.
func called(c *cli.Context, path string) string {
	found := lastPart.FindStringSubmatch(path)
	if found == nil || c.IsSet(flagFile) {
		return path
	}
	name := flagsOf[found[1]]
	if name == "" {
		name = strings.ReplaceAll(found[1], "_", "-")
	}
	for _, name := range []string{newPrefix + name, name} {
		if slices.ContainsFunc(c.Command.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) }) {
			return "--" + name + found[2]
		}
	}
	return path
}
