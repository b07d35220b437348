package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

const benthosDocs = "https://docs.redpanda.com/redpanda-connect/"

var (
	heading = regexp.MustCompile(`^(={2,5}) (.*)$`)
	// xref:configuration:error_handling.adoc#anchor[text]
	xref = regexp.MustCompile(`xref:([\w-]+):([\w/.-]+)\.adoc(#[\w-]+)?\[([^\]]*)\]`)
	// https://example.com/[text], with or without link: before it
	hyperlink = regexp.MustCompile(`(?:link:)?(https?://[^\s\[\]()<>` + "`" + `]+)\[([^\]^]+)\^?\]`)
	// What would be left of AsciiDoc that is not known here.
	leftover = regexp.MustCompile(`xref:|link:http|^\[(source|NOTE|TIP|WARNING|CAUTION|IMPORTANT)|^(----|====|\*\*\*\*|\|===)|^={2,} `)
)

// markdown writes in Markdown the little of AsciiDoc that Benthos' descriptions
// use, outside of code blocks, and fails on what it does not know.
func markdown(text string) (string, error) {
	lines := strings.Split(text, "\n")
	code := false
	for i, line := range lines {
		if strings.HasPrefix(line, "```") {
			code = !code
			continue
		}
		if code {
			continue
		}
		line = heading.ReplaceAllStringFunc(line, func(s string) string {
			m := heading.FindStringSubmatch(s)
			return strings.Repeat("#", len(m[1])) + " " + m[2]
		})
		line = xref.ReplaceAllString(line, "[$4]("+benthosDocs+"$1/$2/$3)")
		line = hyperlink.ReplaceAllString(line, "[$2]($1)")
		if leftover.MatchString(line) {
			return "", fmt.Errorf("this AsciiDoc is not known: %s", line)
		}
		lines[i] = line
	}
	if code {
		return "", errors.New("a code block does not end")
	}
	return strings.Join(lines, "\n"), nil
}

// link makes the names of the other pages links to them, outside of headings
// and code blocks.
func link(text, self string, names []string) string {
	var pairs []string
	for _, name := range names {
		if name != self {
			pairs = append(pairs, "`"+name+"`", fmt.Sprintf("[`%s`](%s.md)", name, name))
		}
	}
	replacer := strings.NewReplacer(pairs...)
	lines := strings.Split(text, "\n")
	code := false
	for i, line := range lines {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		if !code && !strings.HasPrefix(line, "#") {
			lines[i] = replacer.Replace(line)
		}
	}
	return strings.Join(lines, "\n")
}
