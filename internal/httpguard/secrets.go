package httpguard

import (
	"bytes"
	"errors"
	"maps"
	"regexp"

	"github.com/redpanda-data/benthos/v4/public/service"
	"gopkg.in/yaml.v3"
)

// scrubbed stands where Benthos has taken out a secret.
const scrubbed = "!!!SECRET_SCRUBBED!!!"

// scrub replaces what Benthos knows for secrets, and what it does not: headers and
// parameters whose names tell that they are secret, and what URLs hold of them.
func scrub(env *service.Environment, config []byte) (any, error) {
	var plain map[string]any
	if err := yaml.Unmarshal(config, &plain); err != nil {
		return nil, err
	}
	given := maps.Clone(plain)
	text, err := env.CoreConfigSchema("", "").NewStreamConfigMarshaller().SetScrubSecrets(true).AnyToYAML(plain)
	if err != nil {
		return nil, err
	}
	var shown map[string]any
	if err := yaml.Unmarshal([]byte(text), &shown); err != nil {
		return nil, err
	}
	maps.DeleteFunc(shown, func(field string, _ any) bool { // what Benthos adds
		_, ok := given[field]
		return !ok
	})
	return withoutSecrets(shown, false), nil
}

// Masked is the config of a stream as it may be shown: in the order in which it is written, without comments and secrets.
func Masked(env *service.Environment, config []byte) ([]byte, error) {
	shown, err := scrub(env, config)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(config, &doc); err != nil || len(doc.Content) == 0 {
		return nil, err
	}
	doc.HeadComment, doc.LineComment, doc.FootComment = "", "", "" // those with an empty line to the config
	mask(doc.Content[0], shown)
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	err = errors.Join(e.Encode(&doc), e.Close())
	return b.Bytes(), err
}

// mask makes a node what is shown of it. What is not known to be shown is left out.
func mask(n *yaml.Node, shown any) {
	n.HeadComment, n.LineComment, n.FootComment = "", "", ""
	switch shown := shown.(type) {
	case map[string]any:
		if n.Kind != yaml.MappingNode {
			break
		}
		for i := 0; i < len(n.Content); i += 2 {
			n.Content[i].HeadComment, n.Content[i].LineComment, n.Content[i].FootComment = "", "", ""
			below, ok := shown[n.Content[i].Value]
			if !ok {
				below = scrubbed
			}
			mask(n.Content[i+1], below)
		}
		return
	case []any:
		if n.Kind != yaml.SequenceNode || len(n.Content) != len(shown) {
			break
		}
		for i, below := range n.Content {
			mask(below, shown[i])
		}
		return
	case string:
		if n.Kind == yaml.ScalarNode && n.Value == shown {
			return
		}
	default:
		if n.Kind == yaml.ScalarNode { // a number, or true, false or null
			return
		}
	}
	*n = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: scrubbed}
	if text, ok := shown.(string); ok {
		n.Value = text
	}
}

// withoutSecrets replaces the secrets in a value. That of a field with a telling
// name is one as a whole, or, in a list, each of its elements.
func withoutSecrets(value any, secret bool) any {
	switch value := value.(type) {
	case map[string]any:
		for name, below := range value {
			value[name] = withoutSecrets(below, secretName.MatchString(name))
		}
		return value
	case []any:
		for i, below := range value {
			value[i] = withoutSecrets(below, secret)
		}
		return value
	case nil, bool:
		return value
	}
	text, isText := value.(string)
	switch {
	case secret && text == "" && isText: // there is none
		return text
	case secret:
		return scrubbed
	case isText:
		text = password.ReplaceAllString(text, "${1}xxxxx@")
		return parameter.ReplaceAllString(text, "${1}xxxxx")
	}
	return value
}

var (
	// secretName is that of a header, such as Authorization, Cookie or X-Api-Key, or
	// of a field that Benthos passes on as it is, such as client_secret. That a key
	// is a secret a dash tells, which headers have in their names, and fields have not.
	secretName = regexp.MustCompile(`(?i)(authorization|cookie|token|secret|password|passwd|credentials?|signature|api_?key|access_key|private_key|-(key|auth|jwt|pass|pwd|sig|session|session-?id))$`)
	// password is what a URL has before its host: a user, who stays, and a password,
	// or a token alone.
	password = regexp.MustCompile(`(://(?:[^/?#@:\s]*:)?)[^/?#\s]+@`)
	// parameter is one of a query, or of a fragment, with a telling name.
	parameter = regexp.MustCompile(`(?i)([?&#](?:[^=&?#\s]*(?:authorization|cookie|token|secret|passw|credential|signature|key|jwt)[^=&?#\s]*|auth|code|pass|pwd|sig)=)[^&#\s"']+`)
)
