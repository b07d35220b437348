package main

import (
	_ "embed" // for the scripts
	"fmt"

	"github.com/urfave/cli/v2"
)

//go:embed completion/iotcast.bash
var bashScript string

//go:embed completion/iotcast.zsh
var zshScript string

//go:embed completion/iotcast.fish
var fishScript string

func completionCommand() *cli.Command {
	shell := func(name, script, usage string) *cli.Command {
		return &cli.Command{Name: name, Usage: usage, Action: func(c *cli.Context) error {
			_, err := fmt.Fprint(c.App.Writer, script)
			return err
		}}
	}
	return &cli.Command{
		Name:  "completion",
		Usage: "Print a script by which a shell completes commands, flags, and the names of what there is",
		Description: `
Names of registries, devices, brokers and triggers come from the management API
that IOTCAST_ENDPOINT, or --endpoint on the line, names.`[1:],
		Subcommands: []*cli.Command{
			shell("bash", bashScript, "For ~/.bashrc: source <(iotcast completion bash)"),
			shell("zsh", zshScript, "For ~/.zshrc: source <(iotcast completion zsh)"),
			shell("fish", fishScript, "For ~/.config/fish/config.fish: iotcast completion fish | source"),
		},
	}
}

// completeCommand is what the scripts call, with the words of the line, of which the last is to be completed.
func completeCommand() *cli.Command {
	return &cli.Command{
		Name:            "__complete",
		Hidden:          true,
		SkipFlagParsing: true,
		Action: func(c *cli.Context) error {
			words := c.Args().Slice()
			if len(words) > 0 && words[0] == "--" {
				words = words[1:]
			}
			if len(words) == 0 {
				words = []string{""}
			}
			for _, one := range complete(c, words) {
				fmt.Fprintln(c.App.Writer, one)
			}
			return nil
		},
	}
}
