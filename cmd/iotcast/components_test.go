package main

import (
	"fmt"
	"regexp"
	"slices"
	"testing"

	"github.com/Jeffail/gabs/v2"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/iotcast/iotcast/internal/httpguard"
)

// outward are names of fields that may mean a file or a program.
var outward = regexp.MustCompile(`[_.](paths?|files?|filename|directory|command|script|address)$`)

// judged are fields of such names that streams may have although they come over
// HTTP: paths in URLs and archives, commands of Redis, addresses of hosts, and
// files with certificates, keys and credentials, whose content nobody gets to see.
var judged = regexp.MustCompile(`^(http_server\.((ws_|stream_)?path|address|cert_file|key_file)|sequence\.sharded_join\.id_path|workflow\.meta_path|websocket_broadcast\.path|archive\.path|` +
	`redis(_list)?\.command|redis_script\.script|` +
	`.*\.(root_cas_file|cert_file|key_file|client_certs\.(cert_file|key_file)|user_credentials_file|nkey_file|private_key_file))$`)

// Each component of the binary that may reach files or run programs is refused in
// streams that come over HTTP: a new one must be judged.
func TestComponentsAreJudged(t *testing.T) {
	env := service.GlobalEnvironment()
	refused := httpguard.ReachingComponents()
	seen := 0
	judge := func(name string, config *service.ConfigView) {
		seen++
		if slices.Contains(refused, name) {
			return
		}
		text, err := config.FormatJSON()
		if err != nil {
			t.Fatal(err)
		}
		spec, err := gabs.ParseJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range fields(spec.Path("config"), name) {
			if outward.MatchString(field) && !judged.MatchString(field) {
				t.Errorf("%s may reach files or programs: name %s in internal/httpguard, or judge it here", field, name)
			}
		}
	}
	env.WalkInputs(judge)
	env.WalkOutputs(judge)
	env.WalkProcessors(judge)
	env.WalkCaches(judge)
	env.WalkBuffers(judge)
	env.WalkRateLimits(judge)
	env.WalkScanners(judge)
	if seen < 100 {
		t.Errorf("%d components", seen)
	}
}

// fields are the names of all fields of a component, below its name.
func fields(spec *gabs.Container, path string) (all []string) {
	for _, child := range spec.Path("children").Children() {
		name := fmt.Sprintf("%s.%v", path, child.Path("name").Data())
		all = append(all, name)
		all = append(all, fields(child, name)...)
	}
	return all
}
