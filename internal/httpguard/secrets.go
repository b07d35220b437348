package httpguard

import (
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
