package main

import (
	"context"
	"flag"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/proto"
)

const (
	// filesWanted stands for the names of files, which shells complete themselves.
	filesWanted = ":files"
	// completionPatience is how long somebody who has pressed a key waits for names from the management API.
	completionPatience = 2 * time.Second
)

// complete returns what the last of the words of a line may become, each perhaps with a tab and a description behind it.
func complete(c *cli.Context, words []string) []string {
	path, cmd, rest := commandOf(c.App.Commands, words[:len(words)-1])
	this := completion{Context: c, path: path, command: cmd, words: rest, last: words[len(words)-1]}
	return this.candidates()
}

// commandOf follows the words to a command, as far as they name some, and returns its path and the words behind it.
func commandOf(all []*cli.Command, words []string) (path []string, found *cli.Command, rest []string) {
	for len(words) > 0 {
		i := slices.IndexFunc(all, func(cmd *cli.Command) bool { return slices.Contains(cmd.Names(), words[0]) })
		if i < 0 {
			break
		}
		found, all = all[i], all[i].Subcommands
		path, words = append(path, found.Name), words[1:]
	}
	return path, found, words
}

// completion is a line up to the cursor.
type completion struct {
	*cli.Context
	path    []string
	command *cli.Command // nil: none is named yet
	words   []string     // behind the command
	last    string       // what is to be completed
}

func (c completion) candidates() []string {
	flags, subcommands := c.App.Flags, c.App.Commands
	if c.command != nil {
		flags, subcommands = c.command.Flags, c.command.Subcommands
	}
	if f := valueless(flags, c.words); f != nil {
		c.words = c.words[:len(c.words)-1]
		return beginning(c.last, "", c.values(f))
	}
	if name, value, ok := strings.Cut(c.last, "="); ok && strings.HasPrefix(name, "-") {
		f := named(flags, name)
		if f == nil {
			return nil
		}
		if values := c.values(f); !slices.Equal(values, []string{filesWanted}) {
			return beginning(value, name+"=", values)
		}
		return nil // the shell would take the flag for a part of the file's name
	}
	if strings.HasPrefix(c.last, "-") {
		return beginning(c.last, "", flagWords(flags))
	}
	var all []string
	if len(c.words) == 0 {
		for _, cmd := range subcommands {
			if !cmd.Hidden {
				all = append(all, described(cmd.Name, cmd.Usage))
			}
		}
	}
	if c.command != nil && len(subcommands) == 0 {
		all = append(all, c.operands()...)
	}
	return beginning(c.last, "", all)
}

// operands are the names of what the command is about.
func (c completion) operands() []string {
	switch {
	case strings.HasPrefix(c.command.ArgsUsage, operandUsage):
		return c.namesOf(c.kind(), resource.GetName)
	case c.kind() != nil || slices.Contains([]string{"mqtt", "tap", "completion"}, c.top()):
		return nil
	}
	return []string{filesWanted}
}

func kindNamed(noun string) *kind {
	for _, k := range []*kind{registryKind, deviceKind, brokerKind, triggerKind} {
		if k.noun == noun {
			return k
		}
	}
	return nil
}

// values are what a flag may have, as far as that is known. Flags of Benthos do not say that they take a file; most do.
func (c completion) values(f cli.Flag) []string {
	name := f.Names()[0]
	own := c.kind()
	switch {
	case c.top() == "tap" && !takesFile(f):
		return c.tapValues(name)
	case takesFile(f) || own == nil && c.top() != "mqtt":
		return []string{filesWanted}
	case name == flagFormat:
		return []string{string(textFormat), string(yamlFormat), string(jsonFormat), string(restFormat)}
	case name == flagName && c.command.Name != "create":
		return c.namesOf(own, resource.GetName)
	case name == flagID:
		return c.namesOf(own, resource.GetId)
	}
	name = strings.TrimPrefix(name, newPrefix)
	if noun, ok := strings.CutSuffix(name, "-"+flagName); ok {
		return c.namesOf(kindNamed(noun), resource.GetName)
	}
	if noun, ok := strings.CutSuffix(name, "-"+flagID); ok {
		return c.namesOf(kindNamed(noun), resource.GetId)
	}
	return nil
}

// tapValues are the values of a flag of tap.
func (c completion) tapValues(flag string) []string {
	switch flag {
	case flagDevice:
		return c.namesOf(deviceKind, resource.GetId)
	case flagTrigger:
		return c.namesOf(triggerKind, resource.GetId)
	case flagOutput:
		return []string{outputText, outputJSON}
	}
	return nil
}

// top is the first word of the command.
func (c completion) top() string {
	if len(c.path) == 0 {
		return ""
	}
	return c.path[0]
}

// kind is what the command is about, nil for one that is about none.
func (c completion) kind() *kind { return kindNamed(c.top()) }

// namesOf asks the management API for the names or IDs of a kind. It says nothing of an API that is not there.
func (c completion) namesOf(k *kind, word func(resource) string) (all []string) {
	if k == nil {
		return nil
	}
	typed, err := newCall(c.typed())
	if err != nil {
		return nil
	}
	defer typed.close()
	ctx, cancel := context.WithTimeout(typed.Context.Context, completionPatience)
	defer cancel()
	typed.Context.Context = ctx
	parent, err := typed.ofParent(k)
	if err != nil {
		return nil
	}
	found, err := typed.all(k, "List", listOf(k, parent))
	if err != nil {
		return nil
	}
	for _, m := range found {
		all = append(all, described(word(m.(resource)), aboutOf(m, word)))
	}
	return all
}

// aboutOf tells resources of like words apart: an ID by the name, a name by the description.
func aboutOf(m proto.Message, word func(resource) string) string {
	if r := m.(resource); word(r) != r.GetName() {
		return r.GetName()
	}
	if of, ok := m.(interface{ GetDescription() string }); ok {
		return of.GetDescription()
	}
	return ""
}

// typed is the command with the flags that are on the line so far.
func (c completion) typed() *cli.Context {
	set := flag.NewFlagSet("", flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, f := range c.command.Flags {
		_ = f.Apply(set) // fails for a value in the environment: without it, then
	}
	_ = set.Parse(c.words) // as far as it goes
	typed := cli.NewContext(c.App, set, c.Context)
	typed.Command = c.command
	return typed
}

// valueless is the flag at the end of the words which has no value yet, nil if there is none.
func valueless(flags []cli.Flag, words []string) cli.Flag {
	if len(words) == 0 {
		return nil
	}
	last := words[len(words)-1]
	if !strings.HasPrefix(last, "-") || strings.Contains(last, "=") {
		return nil
	}
	f := named(flags, last)
	if _, isBool := f.(*cli.BoolFlag); isBool {
		return nil
	}
	return f
}

// named is the flag that a word names, nil if it does not exist.
func named(flags []cli.Flag, word string) cli.Flag {
	name := strings.TrimLeft(word, "-")
	for _, f := range flags {
		if slices.Contains(f.Names(), name) {
			return f
		}
	}
	return nil
}

func flagWords(flags []cli.Flag) (all []string) {
	for _, f := range flags {
		usage := ""
		if documented, ok := f.(cli.DocGenerationFlag); ok {
			usage = strings.ReplaceAll(documented.GetUsage(), "`", "")
		}
		if visible, ok := f.(cli.VisibleFlag); ok && !visible.IsVisible() {
			continue
		}
		for _, name := range f.Names() {
			if len(name) > 1 {
				all = append(all, described("--"+name, usage))
			}
		}
	}
	if named(flags, "help") == nil {
		all = append(all, "--help")
	}
	return all
}

// described is a candidate with a tab and a description behind it.
func described(word, about string) string {
	about, _, _ = strings.Cut(about, "\n")
	if about == "" {
		return word
	}
	return word + "\t" + about
}

// beginning keeps those candidates that begin with what is typed, and puts before them what stands before that.
func beginning(typed, before string, all []string) (kept []string) {
	for _, one := range all {
		if one == filesWanted {
			return []string{filesWanted}
		}
		if strings.HasPrefix(one, typed) {
			kept = append(kept, before+one)
		}
	}
	return kept
}

func takesFile(f cli.Flag) bool {
	switch f := f.(type) {
	case *cli.StringFlag:
		return f.TakesFile
	case *cli.StringSliceFlag:
		return f.TakesFile
	case *cli.PathFlag:
		return true
	}
	return false
}
