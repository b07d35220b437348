package main

import "github.com/urfave/cli/v2"

// What iotcast says of itself, in its help and on its man page. The examples have the indentation of code in Markdown.
const (
	usage       = "readings from MQTT devices, live, in thousands of browsers"
	description = "Takes the messages of IoT topics, and sends them in batches to every WebSocket connection that is open on a path."
	examples    = `    iotcast quickstart                     see it work, with simulated devices
    iotcast run config.yaml                run one pipeline, with its gateways
    iotcast streams -o root.yaml streams/  run any number, which an HTTP API changes
    iotcast lint config.yaml               check a config
    iotcast list inputs                    see what there is to make pipelines of`
)

// useOwnHelp replaces what Benthos says of itself, for which it has no option.
func useOwnHelp() {
	cli.AppHelpTemplate = `NAME:
   {{.Name}} - ` + usage + `

USAGE:
   {{.Name}} [OPTIONS] [COMMAND]

DESCRIPTION:
   ` + description + `

` + examples + `

COMMANDS:{{template "visibleCommandCategoryTemplate" .}}

OPTIONS:{{template "visibleFlagTemplate" .}}
`
}
