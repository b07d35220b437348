package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/iotcast/iotcast/internal/help"
)

// manTemplate is the page of a command, as the library renders it: that of its own has the flags of all commands in one line.
const manTemplate = `% {{ .App.Name }} {{ .SectionNum }}

# NAME

{{ .App.Name }} - {{ .App.Usage }}

# SYNOPSIS

**{{ .App.HelpName }}** [OPTIONS] {{ .App.UsageText }}
{{ with .App.Description }}
# DESCRIPTION

{{ . }}
{{ end }}{{ if .GlobalArgs }}
# OPTIONS
{{ range .GlobalArgs }}
{{ . }}{{ end }}{{ end }}{{ if .Commands }}
# COMMANDS
{{ range .Commands }}
{{ . }}{{ end }}{{ end }}
# SEE ALSO

{{ .App.Copyright }}
`

// manCommand is what packaging/release calls to make the man pages.
func manCommand() *cli.Command {
	return &cli.Command{
		Name:      "__man",
		Hidden:    true,
		ArgsUsage: "DIRECTORY",
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return fmt.Errorf("usage: iotcast __man DIRECTORY: the directory to write man pages to")
			}
			return writeManPages(c.App, c.Args().First())
		},
	}
}

// writeManPages makes iotcast.1, and iotcast-COMMAND.1 of each command.
func writeManPages(app *cli.App, dir string) error {
	cli.MarkdownDocTemplate = manTemplate
	help.Revise(app.Name, app.Commands)
	main := &cli.App{
		Name: app.Name, HelpName: app.Name, UsageText: "[COMMAND]", Flags: app.VisibleFlags(), Usage: help.Usage,
		Description: help.Description(app.Name, app.Commands) + `

A config that is not named is looked for in ./iotcast.yaml, /iotcast.yaml and /etc/iotcast/iotcast.yaml.`,
	}
	var pages []string
	for _, cmd := range app.VisibleCommands() {
		if cmd.Name == "help" {
			continue
		}
		page := &cli.App{
			Name: app.Name + "-" + cmd.Name, HelpName: app.Name + " " + cmd.Name, Usage: cmd.Usage, UsageText: cmd.ArgsUsage,
			Description: asMarkdown(cmd.Description), Flags: withVariables(cmd.VisibleFlags()), Commands: manual(cmd.Subcommands),
			Copyright: "**" + app.Name + "**(1)",
		}
		if len(cmd.Subcommands) > 0 {
			page.UsageText = "COMMAND"
		}
		if err := writeManPage(page, dir); err != nil {
			return err
		}
		main.Commands = append(main.Commands, &cli.Command{Name: cmd.Name, Usage: cmd.Usage})
		pages = append(pages, "**"+page.Name+"**(1)")
	}
	main.Copyright = strings.Join(pages, ", ")
	return writeManPage(main, dir)
}

func writeManPage(app *cli.App, dir string) error {
	page, err := app.ToManWithSection(1)
	if err != nil {
		return fmt.Errorf("the man page of %s: %w", app.Name, err)
	}
	return os.WriteFile(filepath.Join(dir, app.Name+".1"), []byte(page), 0o644)
}

// asMarkdown has the examples of a description as code, which keeps its lines: help indents them by two or three.
func asMarkdown(description string) string { return strings.ReplaceAll(description, "\n  ", "\n    ") }

// manual are commands as man pages have them.
func manual(commands []*cli.Command) (all []*cli.Command) {
	for _, c := range commands {
		of := *c
		of.Flags, of.Subcommands = withVariables(c.VisibleFlags()), manual(c.Subcommands)
		all = append(all, &of)
	}
	return all
}

// withVariables are flags that name their environment variables, which the library does in help only.
func withVariables(flags []cli.Flag) (all []cli.Flag) {
	for _, f := range flags {
		if d, ok := f.(cli.DocGenerationFlag); ok && len(d.GetEnvVars()) > 0 {
			f = variableFlag{d}
		}
		all = append(all, f)
	}
	return all
}

type variableFlag struct{ cli.DocGenerationFlag }

// IsVisible implements cli.VisibleFlag.
func (variableFlag) IsVisible() bool { return true }

// GetUsage implements cli.DocGenerationFlag.
func (f variableFlag) GetUsage() string {
	return f.DocGenerationFlag.GetUsage() + " (environment: " + strings.Join(f.GetEnvVars(), ", ") + ")"
}
