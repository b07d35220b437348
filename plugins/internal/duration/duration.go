// Package duration is the config fields that hold a duration: lint and run refuse
// the same texts, where Benthos' own lint passes any.
package duration

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// Field is a field for a duration that is not negative.
func Field(name string) *service.ConfigField {
	return service.NewDurationField(name).LintRule(lintRule(name, grammar))
}

// OptionalField is one that may be empty, too.
func OptionalField(name string) *service.ConfigField {
	return service.NewStringField(name).LintRule(lintRule(name, "^$|"+grammar))
}

// grammar is that of time.ParseDuration, without its minus.
const grammar = `^\+?(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`

var valid = regexp.MustCompile(grammar)

func lintRule(name, pattern string) string {
	return `root = if this.type() == "string" && !this.re_match(` + strconv.Quote(pattern) + `) { [ ` + strconv.Quote(problem(name)) + ` ] }`
}

func problem(name string) string {
	return name + " must be a duration, a number with ns, us, ms, s, m or h directly behind it, such as 500ms or 1m30s, and must not be negative"
}

// Parse reads the text of a field.
func Parse(name, text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || !valid.MatchString(text) { // the latter refuses -0s as well
		return 0, fmt.Errorf("%s", problem(name))
	}
	return d, nil
}

// Of reads a field.
func Of(conf *service.ParsedConfig, name string) (time.Duration, error) {
	text, err := conf.FieldString(name)
	if err != nil {
		return 0, err
	}
	return Parse(name, text)
}
