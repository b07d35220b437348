package registry

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// lab is a registry with three devices, another registry, and two brokers.
func lab() Config {
	return Config{
		Registries: []Registry{
			{ID: "r", Devices: []Device{
				{ID: "d1", Aliases: map[string]string{"kitchen/": "$devices/d1/", "oven": "$devices/d1/commands/oven"}},
				{ID: "d2", Aliases: map[string]string{"hall": "$devices/d2"}},
				{ID: "d3"},
			}},
			{ID: "other", Devices: []Device{{ID: "d4", Aliases: map[string]string{"kitchen/": "$devices/d4/"}}}},
		},
		Brokers: []Broker{{ID: "b"}, {ID: "b2"}},
	}
}

func directory(t *testing.T, cfg Config) *Directory {
	t.Helper()
	d, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func principal(t *testing.T, d *Directory, id string) Principal {
	t.Helper()
	p, ok := d.Principal(id)
	if !ok {
		t.Fatalf("no principal %q", id)
	}
	return p
}

func TestDirectory(t *testing.T) {
	d := directory(t, lab())
	if p := principal(t, d, "d1"); p != (Principal{DeviceRole, "d1", "r"}) {
		t.Errorf("got %+v", p)
	}
	if !d.HasRegistry("r") || d.HasRegistry("d1") || d.HasRegistry("x") {
		t.Error("which registries there are")
	}
	if ids := d.Devices("r"); !slices.Equal(ids, []string{"d1", "d2", "d3"}) {
		t.Errorf("devices %q", ids)
	}
	for _, tt := range [][3]string{
		{"r", "kitchen/events", "$devices/d1/events"},
		{"r", "kitchen/events/a/b", "$devices/d1/events/a/b"},
		{"r", "kitchen/", "$devices/d1/"},
		{"r", "kitchen", ""},
		{"r", "oven", "$devices/d1/commands/oven"},
		{"r", "oven/door", "$devices/d1/commands/oven/door"},
		{"r", "ovens", ""},
		{"r", "hall/state", "$devices/d2/state"},
		{"other", "kitchen/events", "$devices/d4/events"},
		{"other", "hall/state", ""},
		{"nobody", "hall/state", ""},
		{"r", "", ""},
	} {
		if got := d.Resolve(tt[0], tt[1]); got != tt[2] {
			t.Errorf("Resolve(%q, %q) = %q, want %q", tt[0], tt[1], got, tt[2])
		}
	}
}

func TestRefusedConfigs(t *testing.T) {
	hash := "$2a$04$EuxNHLzXxTw1SSIjSOspcuLNEoDiJ3HedcSLP9H3Sk/5J.NfQOjeC"
	fingerprint := strings.Repeat("ab", 32)
	device := func(id string, aliases map[string]string) Registry {
		return Registry{ID: "r", Devices: []Device{{ID: id, Aliases: aliases}}}
	}
	for name, c := range map[string]struct {
		cfg  Config
		want []string
	}{
		"no ID":        {Config{Registries: []Registry{{}}}, []string{"the ID of a registry is empty"}},
		"bad ID":       {Config{Brokers: []Broker{{ID: "a/b"}}}, []string{"the ID of a broker", "holds '/'"}},
		"two the same": {Config{Registries: []Registry{device("b", nil)}, Brokers: []Broker{{ID: "b"}}}, []string{`broker "b" has the same ID as device "b"`}},
		"one registry": {Config{Registries: []Registry{{ID: "r"}, {ID: "r"}}}, []string{`registry "r" is there twice`}},
		"plain password": {
			Config{Brokers: []Broker{{ID: "b", Credentials: Credentials{PasswordHashes: []string{hash, "secret"}}}}},
			[]string{`broker "b"`, "password_hashes[1] is not a bcrypt hash", "iotcast password"},
		},
		"short fingerprint": {
			Config{Brokers: []Broker{{ID: "b", Credentials: Credentials{Fingerprints: []string{"AB:CD"}}}}},
			[]string{`broker "b"`, "certificate_fingerprints[0] is not a SHA-256 fingerprint", "AB:CD"},
		},
		"shared certificate": {
			Config{Brokers: []Broker{
				{ID: "b", Credentials: Credentials{Fingerprints: []string{fingerprint}}},
				{ID: "c", Credentials: Credentials{Fingerprints: []string{strings.ToUpper(fingerprint)}}},
			}},
			[]string{`broker "c" has the same certificate as broker "b"`},
		},
		"six aliases": {
			Config{Registries: []Registry{device("d", map[string]string{"1": "", "2": "", "3": "", "4": "", "5": "", "6": ""})}},
			[]string{`device "d"`, "has 6 aliases"},
		},
		"alias of another":   {Config{Registries: []Registry{device("d", map[string]string{"a/": "$devices/d2/"})}}, []string{`alias "a/"`, "the topics of this device, $devices/d/"}},
		"alias of all":       {Config{Registries: []Registry{device("d", map[string]string{"a/": "$devices/"})}}, []string{`alias "a/"`}},
		"alias of a name":    {Config{Registries: []Registry{device("d", map[string]string{"a": "$devices/d/telemetry"})}}, []string{"events, state, commands or config"}},
		"alias of registry":  {Config{Registries: []Registry{device("d", map[string]string{"a": "$registries/r/events"})}}, []string{`"$registries/r/events"`}},
		"alias of monitors":  {Config{Registries: []Registry{device("d", map[string]string{"a": "$monitoring/d/json"})}}, []string{`"$monitoring/d/json"`}},
		"alias with $":       {Config{Registries: []Registry{device("d", map[string]string{"$a": "$devices/d/events"})}}, []string{"must not begin with $"}},
		"alias with wild":    {Config{Registries: []Registry{device("d", map[string]string{"a/+": "$devices/d/events"})}}, []string{"holds a wildcard"}},
		"empty alias":        {Config{Registries: []Registry{device("d", map[string]string{"": "$devices/d"})}}, []string{"is empty"}},
		"half a slash":       {Config{Registries: []Registry{device("d", map[string]string{"a/": "$devices/d"})}}, []string{"end both with a slash, or neither"}},
		"the same alias":     {Config{Registries: []Registry{{ID: "r", Devices: []Device{{ID: "d", Aliases: map[string]string{"a": "$devices/d"}}, {ID: "e", Aliases: map[string]string{"a": "$devices/e"}}}}}}, []string{`registry "r"`, `alias "a" is there twice`, `"d"`, `"e"`}},
		"the alias around":   {Config{Registries: []Registry{taken("my/")}}, []string{`alias "my/alias/" of device "d"`, `alias "my/" of device "e"`}},
		"the alias within":   {Config{Registries: []Registry{taken("my/alias/2/")}}, []string{`alias "my/alias/2/" of device "e"`, `alias "my/alias/" of device "d"`}},
		"the alias half way": {Config{Registries: []Registry{taken("my/ali")}}, []string{`alias "my/ali" of device "e"`, `alias "my/alias/" of device "d"`}},
	} {
		_, err := New(c.cfg)
		if err == nil {
			t.Errorf("%s: accepted", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %q does not say %q", name, err, want)
			}
		}
	}
	for _, alias := range []string{"my/alias1/", "my/alias2/", "my/ali/"} {
		if _, err := New(Config{Registries: []Registry{taken(alias)}}); err != nil {
			t.Errorf("%s: %v", alias, err)
		}
	}
}

// taken is a registry where one device has my/alias/ and another wants alias.
func taken(alias string) Registry {
	target := "$devices/e"
	if strings.HasSuffix(alias, "/") {
		target += "/"
	}
	return Registry{ID: "r", Devices: []Device{
		{ID: "d", Aliases: map[string]string{"my/alias/": "$devices/d/"}},
		{ID: "e", Aliases: map[string]string{alias: target}},
	}}
}

// An alias stands for one thing: the pairs of one-alias devices that New accepts are those where no topic resolves by both.
func FuzzAliases(f *testing.F) {
	f.Add("my/alias/", "my/ali", "my/alias/events")
	f.Add("a", "b", "a/events")
	f.Add("a/", "a/b", "a/b")
	f.Fuzz(func(t *testing.T, one, two, topic string) {
		aliases := map[string]string{one: "d1", two: "d2"}
		cfg := Config{Registries: []Registry{{ID: "r"}}}
		for _, alias := range slices.Sorted(maps.Keys(aliases)) {
			id := aliases[alias]
			target := "$devices/" + id
			if strings.HasSuffix(alias, "/") {
				target += "/"
			}
			cfg.Registries[0].Devices = append(cfg.Registries[0].Devices, Device{ID: id, Aliases: map[string]string{alias: target}})
		}
		d, err := New(cfg)
		if err != nil {
			return
		}
		matches := 0
		for alias, id := range aliases {
			rest, ok := strings.CutPrefix(topic, alias)
			if !ok || rest != "" && rest[0] != '/' && !strings.HasSuffix(alias, "/") {
				continue
			}
			matches++
			want := "$devices/" + id + rest
			if strings.HasSuffix(alias, "/") {
				want = "$devices/" + id + "/" + rest
			}
			if got := d.Resolve("r", topic); got != want {
				t.Errorf("aliases %q: %q resolves to %q, want %q", aliases, topic, got, want)
			}
			if !slices.Contains(d.aliasNames(id, want), topic) {
				t.Errorf("aliases %q: %q is not among the names of %q", aliases, topic, want)
			}
		}
		if matches == 0 && d.Resolve("r", topic) != "" || matches > 1 {
			t.Errorf("aliases %q: %q is meant by %d", aliases, topic, matches)
		}
	})
}
