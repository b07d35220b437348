package natsconfig_test

import (
	"strings"
	"testing"

	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/plugins/internal/natsconfig"
)

func TestParse(t *testing.T) {
	for yaml, want := range map[string]string{
		"urls: [ 'nats://a:4222,nats://b' ]":                         "",
		"urls: [ a ]\nauth: { user: u, password: hidden }":           "",
		"urls: [ a ]\nauth: { token: hidden }":                       "",
		"urls: []":                                                   "urls needs at least one NATS server",
		"urls: [ 'http://u:hidden@a' ]":                              "field urls: entry 1 is not the URL of a NATS server",
		"urls: [ a ]\nauth: { token: hidden, user: u, password: p }": "auth takes one way to log in",
		"urls: [ a ]\nauth: { nkey: hidden }":                        "field auth.nkey: ",
		"urls: [ a ]\nauth: { user_jwt: hidden }":                    "user_jwt and user_nkey_seed belong together",
		"urls: [ a ]\nauth: { nkey_file: /nonexistent }":             "field auth.nkey_file: ",
	} {
		conf, err := service.NewConfigSpec().Field(natsconfig.Servers()).Fields(natsconfig.Security()...).ParseYAML(yaml, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = natsconfig.Parse(conf, "test")
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", yaml, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden")):
			t.Errorf("%s: %v, want %q, and no secret", yaml, err, want)
		}
	}
}
