package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// operands returns the arguments that are no flags. The library takes for such
// all that follows the first; people, and the original command line, put flags
// behind a name.
func operands(c *cli.Context) (names []string, err error) {
	args := c.Args().Slice()
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return append(names, args...), nil
		case arg == "-" || !strings.HasPrefix(arg, "-"):
			names = append(names, arg)
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		i := slices.IndexFunc(c.Command.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
		if i < 0 {
			return nil, usageError(c, fmt.Errorf("flag --%s does not exist", name), true)
		}
		if _, isBool := c.Command.Flags[i].(*cli.BoolFlag); isBool && !hasValue {
			value, hasValue = "true", true
		}
		if !hasValue {
			if len(args) == 0 {
				return nil, usageError(c, fmt.Errorf("flag --%s needs a value", name), true)
			}
			value, args = args[0], args[1:]
		}
		if err := c.Set(name, value); err != nil {
			return nil, usageError(c, fmt.Errorf("invalid value %q for flag --%s: %w", value, name, err), true)
		}
	}
	return names, nil
}

// badValue is how the library speaks of a value that is not of a flag's kind.
var badValue = regexp.MustCompile(`^invalid value (".*") for flag -+([^:]+): parse error$`)

// usageError says what a flag needs, and names the help instead of printing it
// below the error.
func usageError(c *cli.Context, err error, _ bool) error {
	if bad := badValue.FindStringSubmatch(err.Error()); bad != nil {
		form := "a whole number"
		for _, f := range c.Command.Flags {
			if _, isTime := f.(*cli.DurationFlag); isTime && slices.Contains(f.Names(), bad[2]) {
				form = "a time with its unit, such as 10s"
			}
		}
		err = fmt.Errorf("--%s %s must be %s", bad[2], bad[1], form)
	}
	return fmt.Errorf("%w: see %s --help", err, c.Command.HelpName)
}
