// Package help is what iotcast says of itself and of Benthos' commands, in the help of the command line and on man pages.
package help

import (
	"io"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"
)

const (
	// Usage says in a line what it is.
	Usage       = "readings from MQTT devices, live, in thousands of browsers"
	description = "Takes the messages of IoT topics, and sends them in batches to every WebSocket connection that is open on a path."
)

// Description of a binary with these commands, with examples that are indented like code in Markdown.
func Description(binary string, commands []*cli.Command) string {
	text := description + "\n"
	for _, example := range []struct{ command, arguments, what string }{
		{"quickstart", "", "see it work, with simulated devices"},
		{"run", " config.yaml", "run one pipeline, with its gateways"},
		{"streams", " -o root.yaml streams/", "run any number, which an HTTP API changes"},
		{"lint", " config.yaml", "check a config"},
		{"list", " inputs", "see what there is to make pipelines of"},
	} {
		if named(commands, example.command) != nil { // a binary of one's own may lack it
			call := example.command + example.arguments
			text += "\n    " + binary + " " + call + strings.Repeat(" ", len("streams -o root.yaml streams/  ")-len(call)) + example.what
		}
	}
	return text
}

// Install makes the library that prints the help print this one where it is to print that of Benthos. Benthos has no option for its
// own words, and the library no place but a global one; help of other programs stays as it is.
func Install() { install() }

var install = sync.OnceFunc(func() {
	before := cli.HelpPrinter
	cli.HelpPrinter = func(w io.Writer, templ string, data any) {
		switch of := data.(type) {
		case *cli.App:
			if !strings.HasPrefix(of.Usage, benthos) {
				break
			}
			Revise(of.Name, of.Commands)
			app := *of
			app.Usage, app.Description = Usage, Description(of.Name, of.Commands)
			templ, data = template, &app
		case *cli.Command:
			binary, _, _ := strings.Cut(of.HelpName, " ")
			Revise(binary, []*cli.Command{of})
		}
		before(w, templ, data)
	}
})

// benthos is what Benthos says it is.
const benthos = "A stream processor for mundane tasks"

const template = `NAME:
   {{.Name}} - {{.Usage}}

USAGE:
   {{.Name}} [OPTIONS] [COMMAND]

DESCRIPTION:
   {{.Description}}

COMMANDS:{{template "visibleCommandCategoryTemplate" .}}

OPTIONS:{{template "visibleFlagTemplate" .}}
`

// Revise puts our words in place of Benthos' where these say something else than is true here, or leave out what a command takes.
func Revise(binary string, commands []*cli.Command) {
	for _, c := range commands {
		words, ok := revised[c.Name]
		if !ok || !strings.HasSuffix(c.Usage, words.benthos) { // that of somebody else, or revised already
			continue
		}
		c.Usage, c.ArgsUsage = words.usage, words.arguments
		if words.description != "" {
			c.Description = strings.ReplaceAll(words.description, "BINARY", binary)
		}
	}
}

// revised are the commands by name, with what Benthos' usage of them ends with, and what is to be there instead.
var revised = map[string]struct{ benthos, usage, arguments, description string }{
	"run": {"in normal mode against a specified config file", "Run one pipeline, with its gateways", "[FILE]", `Runs the pipeline of a config, and what its top-level fields describe.

  BINARY run ./config.yaml

A config that is not named is looked for in ./iotcast.yaml, /iotcast.yaml and
/etc/iotcast/iotcast.yaml.`},
	"streams": {"in streams mode", "Run any number of pipelines, which an HTTP API changes", "[FILE | DIRECTORY]...", `Runs each of the configs as a stream. Streams come, change and go over the HTTP
API while WebSocket connections stay open.

  BINARY streams -o ./root.yaml
  BINARY streams -o ./root.yaml ./streams
  BINARY streams -o ./root.yaml ./streams/*.yaml

The config of -o is the root config. It has what all streams share, and outlives
them: websocket_gateways, mqtt_broker, iot_registries, management_api, http,
metrics, logger and so on. The configs of streams have an input, a pipeline and
an output.

What Benthos says of this mode: https://benthos.dev/docs/guides/streams_mode/about`},
	"lint":  {"configs and report any linting errors", "Check configs, and say what is wrong with them", "FILE...", ""},
	"blobl": {"mapping on documents consumed via stdin or file", "Execute a Bloblang mapping on documents from a file or standard input", "[MAPPING]", ""},
}

func named(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.Name == name {
			return c
		}
	}
	return nil
}
