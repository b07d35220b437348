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

// Install makes the library that prints the help print this one. Benthos has no option for its own words, and the library no
// place but its globals. What a program has set there before counts.
func Install() { install() }

var install = sync.OnceFunc(func() {
	if cli.AppHelpTemplate == libraryTemplate {
		cli.AppHelpTemplate = template
	}
	print := cli.HelpPrinter
	cli.HelpPrinter = func(w io.Writer, templ string, data any) {
		switch of := data.(type) {
		case *cli.App:
			Revise(of.Name, of.Commands)
			app := *of
			app.Usage, app.Description = Usage, Description(of.Name, of.Commands)
			data = &app
		case *cli.Command:
			if binary, name, ok := strings.Cut(of.HelpName, " "); ok && name == of.Name { // not `template lint`
				Revise(binary, []*cli.Command{of})
			}
		}
		print(w, templ, data)
	}
})

var libraryTemplate = cli.AppHelpTemplate

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
	for name, words := range revised {
		if c := named(commands, name); c != nil && c.ArgsUsage == "" { // one of somebody else's says what it takes
			c.Usage, c.ArgsUsage = words.usage, words.arguments
			if words.description != "" {
				c.Description = strings.ReplaceAll(words.description, "BINARY", binary)
			}
		}
	}
}

var revised = map[string]struct{ usage, arguments, description string }{
	"run": {"Run one pipeline, with its gateways", "[FILE]", `Runs the pipeline of a config, and what its top-level fields describe.

  BINARY run ./config.yaml

A config that is not named is looked for in ./iotcast.yaml, /iotcast.yaml and
/etc/iotcast/iotcast.yaml.`},
	"streams": {"Run any number of pipelines, which an HTTP API changes", "[FILE | DIRECTORY]...", `Runs each of the configs as a stream. Streams come, change and go over the HTTP
API while WebSocket connections stay open.

  BINARY streams -o ./root.yaml
  BINARY streams -o ./root.yaml ./streams
  BINARY streams -o ./root.yaml ./streams/*.yaml

The config of -o is the root config. It has what all streams share, and outlives
them: websocket_gateways, mqtt_broker, iot_registries, management_api, http,
metrics, logger and so on. The configs of streams have an input, a pipeline and
an output.

What Benthos says of this mode: https://benthos.dev/docs/guides/streams_mode/about`},
	"lint":  {"Check configs, and say what is wrong with them", "FILE...", ""},
	"blobl": {"Execute a Bloblang mapping on documents from a file or standard input", "[MAPPING]", ""},
}

func named(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.Name == name {
			return c
		}
	}
	return nil
}
