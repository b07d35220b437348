package registry

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// told is who was named to a listener since the last time, sorted.
func told(d *Directory) func() string {
	var ids []string
	d.OnChange(func(changed []string) {
		ids = append(ids, changed...)
		for _, id := range changed { // no lock is held
			d.Principal(id)
		}
	})
	return func() string {
		slices.Sort(ids)
		defer func() { ids = nil }()
		return strings.Join(ids, " ")
	}
}

func TestPutAndRemove(t *testing.T) {
	d := directory(t, lab())
	changed, also := told(d), told(d)
	put := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name, changed string
		do            func()
		resolves      map[string]string // in registry r
		devices       string            // of it
	}{
		{
			"a new device", "d5",
			func() { put(d.PutDevice("r", Device{ID: "d5", Aliases: map[string]string{"attic/": "$devices/d5/"}})) },
			map[string]string{"attic/state": "$devices/d5/state", "kitchen/state": "$devices/d1/state"},
			"d1 d2 d3 d5",
		},
		{
			"other aliases, one of which begins with one that it had", "d5",
			func() {
				put(d.PutDevice("r", Device{ID: "d5", Aliases: map[string]string{"attic/left/": "$devices/d5/"}}))
			},
			map[string]string{"attic/state": "", "attic/left/state": "$devices/d5/state"},
			"d1 d2 d3 d5",
		},
		{
			"an alias that is free again", "d2",
			func() {
				put(d.PutDevice("r", Device{ID: "d2", Aliases: map[string]string{"attic/right": "$devices/d2/events"}}))
			},
			map[string]string{"attic/right": "$devices/d2/events", "hall/state": ""},
			"d1 d2 d3 d5",
		},
		{
			"a registry keeps its devices", "r",
			func() { put(d.PutRegistry(Registry{ID: "r", Devices: []Device{{ID: "d9"}}})) },
			map[string]string{"attic/right": "$devices/d2/events"},
			"d1 d2 d3 d5",
		},
		{
			"without a device", "d5", func() { d.Remove("d5") },
			map[string]string{"attic/left/state": "", "kitchen/": "$devices/d1/"},
			"d1 d2 d3",
		},
		{"nobody", "", func() { d.Remove("d5") }, nil, "d1 d2 d3"},
		{
			"without the registry", "d1 d2 d3 r", func() { d.Remove("r") },
			map[string]string{"kitchen/state": "", "attic/right": ""},
			"",
		},
		{"another registry", "r", func() { put(d.PutRegistry(Registry{ID: "r"})) }, map[string]string{"kitchen/state": ""}, ""},
		{
			"with a device again", "d1",
			func() { put(d.PutDevice("r", Device{ID: "d1", Aliases: map[string]string{"hall": "$devices/d1"}})) },
			map[string]string{"kitchen/state": "", "hall/state": "$devices/d1/state"},
			"d1",
		},
		{"a broker", "b3", func() { put(d.PutBroker(Broker{ID: "b3"})) }, nil, "d1"},
		{"no broker", "b3", func() { d.Remove("b3") }, nil, "d1"},
	} {
		before := d.Changes()
		step.do()
		if got := changed(); got != step.changed || also() != got {
			t.Errorf("%s: told %q, want %q", step.name, got, step.changed)
		}
		if grew := d.Changes() > before; grew != (step.changed != "") {
			t.Errorf("%s: counted: %v", step.name, grew)
		}
		for topic, want := range step.resolves {
			if got := d.Resolve("r", topic); got != want {
				t.Errorf("%s: %q resolves to %q, want %q", step.name, topic, got, want)
			}
		}
		if got := strings.Join(d.Devices("r"), " "); got != step.devices {
			t.Errorf("%s: devices %q, want %q", step.name, got, step.devices)
		}
	}
	if got := d.Resolve("other", "kitchen/state"); got != "$devices/d4/state" {
		t.Errorf("another registry: %q", got)
	}
}

// What cannot be changes nothing, and its error says of what kind it is.
func TestRefusedChanges(t *testing.T) {
	print1, print2 := strings.Repeat("0a", 32), strings.Repeat("0b", 32)
	cfg := lab()
	cfg.Registries[0].Devices[0].Fingerprints = []string{print1}
	cfg.Brokers[0].Fingerprints = []string{print2}
	d := directory(t, cfg)
	changed := told(d)
	before := summary(d)
	device := func(id string, c Credentials, aliases ...string) error {
		dev := Device{ID: id, Credentials: c, Aliases: map[string]string{}}
		for _, name := range aliases {
			dev.Aliases[name] = "$devices/" + id
			if strings.HasSuffix(name, "/") {
				dev.Aliases[name] += "/"
			}
		}
		return d.PutDevice("r", dev)
	}
	none := Credentials{}
	for name, c := range map[string]struct {
		err  error
		kind error
		want []string
	}{
		"a device of another":      {d.PutDevice("r", Device{ID: "d4"}), ErrTaken, []string{`device "d4"`, "the same ID"}},
		"a broker's ID":            {device("b", none), ErrTaken, []string{`device "b" has the same ID as broker "b"`}},
		"its registry's ID":        {device("r", none), ErrTaken, []string{`registry "r"`}},
		"a registry like a device": {d.PutRegistry(Registry{ID: "d1"}), ErrTaken, []string{`registry "d1" has the same ID as device "d1"`}},
		"a broker like a registry": {d.PutBroker(Broker{ID: "r"}), ErrTaken, []string{`broker "r" has the same ID as registry "r"`}},
		"a certificate": {
			device("d2", Credentials{Fingerprints: []string{print2}}, "hall"), ErrTaken,
			[]string{`device "d2" has the same certificate as broker "b"`, print2},
		},
		"a registry's certificate": {d.PutRegistry(Registry{ID: "other", Credentials: Credentials{Fingerprints: []string{print1}}}), ErrTaken, []string{`device "d1"`}},
		"an alias":                 {device("d2", none, "kitchen/"), ErrTaken, []string{`"kitchen/" is there twice`, `"d1"`, `"d2"`}},
		"an alias around":          {device("d2", none, "hall", "kit"), ErrTaken, []string{`alias "kitchen/" of device "d1" begins with alias "kit" of device "d2"`}},
		"an alias within":          {device("d2", none, "oven/door"), ErrTaken, []string{`alias "oven/door" of device "d2" begins with alias "oven" of device "d1"`}},
		"its own alias":            {device("d2", none, "a", "ab"), ErrTaken, []string{`"ab"`, `"a"`}},
		"a bad ID":                 {device("d/2", none), ErrInvalid, []string{"the ID of a device"}},
		"a bad hash":               {device("d2", Credentials{PasswordHashes: []string{"secret"}}), ErrInvalid, []string{"not a bcrypt hash"}},
		"a bad fingerprint":        {d.PutBroker(Broker{ID: "b", Credentials: Credentials{Fingerprints: []string{"ab"}}}), ErrInvalid, []string{"SHA-256"}},
		"a fingerprint twice":      {device("d2", Credentials{Fingerprints: []string{print2, print2}}), ErrInvalid, []string{"there twice"}},
		"a bad alias":              {device("d2", none, "$a"), ErrInvalid, []string{"must not begin with $"}},
		"too many aliases":         {device("d2", none, "1", "2", "3", "4", "5", "6"), ErrInvalid, []string{"has 6 aliases"}},
		"no registry":              {d.PutDevice("nobody", Device{ID: "d5"}), ErrNotFound, []string{`no registry "nobody"`}},
		"no registry but a broker": {d.PutDevice("b", Device{ID: "d5"}), ErrNotFound, []string{`no registry "b"`}},
		"no registry but a device": {d.PutDevice("d1", Device{ID: "d5"}), ErrNotFound, []string{`no registry "d1"`}},
	} {
		if !errors.Is(c.err, c.kind) {
			t.Errorf("%s: %v", name, c.err)
			continue
		}
		for _, kind := range []error{ErrTaken, ErrInvalid, ErrNotFound, ErrForbidden} {
			if !errors.Is(kind, c.kind) && errors.Is(c.err, kind) {
				t.Errorf("%s: %v is %v as well", name, c.err, kind)
			}
		}
		for _, want := range c.want {
			if !strings.Contains(c.err.Error(), want) {
				t.Errorf("%s: %q does not say %q", name, c.err, want)
			}
		}
	}
	if got := changed(); got != "" {
		t.Errorf("told of %q", got)
	}
	if after := summary(d); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
}

// summary is all that a directory knows.
func summary(d *Directory) string {
	var b strings.Builder
	for _, id := range slices.Sorted(maps.Keys(d.members)) {
		m := d.members[id]
		fmt.Fprintln(&b, m.Principal, m.off(), m.fingerprints)
		for _, p := range m.passwords {
			fmt.Fprintln(&b, " ", p.hash)
		}
		for _, a := range m.aliases {
			fmt.Fprintln(&b, " ", *a)
		}
		if m.Role == RegistryRole {
			fmt.Fprintln(&b, " ", d.Devices(id))
			for _, a := range m.fleet.aliases.sorted {
				fmt.Fprintln(&b, " ", *a, m.fleet.aliases.byName[a.name] == a)
			}
			fmt.Fprintln(&b, " ", len(m.fleet.aliases.byName))
		}
	}
	byText := func(a, b fingerprint) int { return strings.Compare(a.String(), b.String()) }
	for _, f := range slices.SortedFunc(maps.Keys(d.certificates), byText) {
		fmt.Fprintln(&b, f, d.certificates[f].ID)
	}
	return b.String()
}

func TestDisabled(t *testing.T) {
	hash := quickHash(t, "secret")
	c := Credentials{PasswordHashes: []string{hash}}
	cfg := Config{
		Registries: []Registry{{ID: "r", Disabled: true, Credentials: c, Devices: []Device{{ID: "d", Credentials: c}}}},
		Brokers:    []Broker{{ID: "b", Credentials: c}},
	}
	d := directory(t, cfg)
	changed := told(d)
	check := func(id, topic string, want error) {
		t.Helper()
		for _, password := range []string{"secret", d.ProcessPassword()} {
			p, proof, err := d.Authenticate(Login{User: id, Password: []byte(password)})
			if (err == nil) != (want == nil) || err != nil && !strings.Contains(err.Error(), "disabled") {
				t.Errorf("%s logs in: %v", id, err)
			}
			if err == nil && d.Recheck(p, proof) != nil || err != nil && proof != (Proof{}) {
				t.Errorf("%s: proof %v", id, proof)
			}
		}
		if _, err := d.Publish(principal(t, d, id), topic); !errors.Is(err, want) {
			t.Errorf("%s publishes: %v", id, err)
		}
		if _, err := d.Subscribe(principal(t, d, id), "a"); !errors.Is(err, want) {
			t.Errorf("%s subscribes: %v", id, err)
		}
	}
	check("r", "$registries/r/commands", ErrForbidden)
	check("d", "$devices/d/events", ErrForbidden)
	check("b", "a", nil)
	r := cfg.Registries[0]
	r.Disabled = false
	if err := d.PutRegistry(r); err != nil || changed() != "r" {
		t.Error(err)
	}
	check("r", "$registries/r/commands", nil)
	check("d", "$devices/d/events", nil)
	_, proof, _ := d.Authenticate(Login{User: "d", Password: []byte("secret")})
	r.Disabled = true
	if err := d.PutRegistry(r); err != nil || changed() != "d r" {
		t.Error(err)
	}
	if d.Recheck(principal(t, d, "d"), proof) == nil {
		t.Error("a device of a disabled registry holds")
	}
	if err := d.PutBroker(Broker{ID: "b", Disabled: true, Credentials: c}); err != nil || changed() != "b" {
		t.Error(err)
	}
	check("b", "a", ErrForbidden)
}

// The process logs in as anyone who is there, with a password that is another at each start.
func TestProcessPassword(t *testing.T) {
	d, other := directory(t, lab()), directory(t, lab())
	if d.ProcessPassword() == other.ProcessPassword() || len(d.ProcessPassword()) < 43 {
		t.Errorf("%q", d.ProcessPassword())
	}
	for _, id := range []string{"r", "d1", "b"} {
		p, proof, err := d.Authenticate(Login{User: id, Password: []byte(d.ProcessPassword())})
		if err != nil || p.ID != id || d.Recheck(p, proof) != nil {
			t.Errorf("%s: %v, %v", id, p, err)
		}
		if _, _, err := d.Authenticate(Login{User: id, Password: []byte(other.ProcessPassword())}); err == nil {
			t.Errorf("%s: with another's", id)
		}
	}
	if _, _, err := d.Authenticate(Login{User: "nobody", Password: []byte(d.ProcessPassword())}); err == nil {
		t.Error("as nobody")
	}
}

// A proof holds as long as what it was made with is there.
func TestRecheck(t *testing.T) {
	cert := certificate(t, -time.Hour, time.Hour)
	before := Device{ID: "d", Credentials: Credentials{PasswordHashes: []string{quickHash(t, "one"), quickHash(t, "two")}, Fingerprints: []string{Fingerprint(cert)}}}
	logins := map[string]Login{
		"one":     {User: "d", Password: []byte("one")},
		"two":     {User: "d", Password: []byte("two")},
		"cert":    {Certificate: cert},
		"process": {User: "d"},
	}
	change := func(f func(*Device)) Device {
		after := before
		after.PasswordHashes = slices.Clone(after.PasswordHashes)
		f(&after)
		return after
	}
	for name, c := range map[string]struct {
		after Device
		gone  []string
	}{
		"the same":       {before, nil},
		"an alias":       {change(func(d *Device) { d.Aliases = map[string]string{"a": "$devices/d"} }), nil},
		"a password":     {change(func(d *Device) { d.PasswordHashes[0] = quickHash(t, "three") }), []string{"one"}},
		"the same again": {change(func(d *Device) { d.PasswordHashes[1] = quickHash(t, "two") }), []string{"two"}}, // another hash
		"no certificate": {change(func(d *Device) { d.Fingerprints = nil }), []string{"cert"}},
		"one more":       {change(func(d *Device) { d.PasswordHashes = append(d.PasswordHashes, quickHash(t, "three")) }), nil},
	} {
		d := directory(t, Config{Registries: []Registry{{ID: "r", Devices: []Device{before}}, {ID: "r2"}}})
		proofs := map[string]Proof{}
		for by, login := range logins {
			if by == "process" {
				login.Password = []byte(d.ProcessPassword())
			}
			_, proof, err := d.Authenticate(login)
			if err != nil {
				t.Fatal(err)
			}
			proofs[by] = proof
		}
		p := principal(t, d, "d")
		if err := d.PutDevice("r", c.after); err != nil {
			t.Fatal(err)
		}
		for by, proof := range proofs {
			if got, want := d.Recheck(p, proof) == nil, !slices.Contains(c.gone, by); got != want {
				t.Errorf("%s: by %s: holds: %v", name, by, got)
			}
		}
		d.Remove("d")
		if err := d.PutDevice("r2", c.after); err != nil {
			t.Fatal(err)
		}
		for by, proof := range proofs {
			if !errors.Is(d.Recheck(p, proof), ErrNotFound) {
				t.Errorf("%s: by %s: holds for a device of another registry", name, by)
			}
		}
		if d.Recheck(principal(t, d, "d"), Proof{}) == nil {
			t.Error("no proof holds")
		}
	}
}

// What is remembered of a right password goes with its hash, and stays when something else changes.
func TestRemembered(t *testing.T) {
	hash := quickHash(t, "secret")
	d := directory(t, Config{Registries: []Registry{{ID: "r", Devices: []Device{{ID: "d", Credentials: Credentials{PasswordHashes: []string{hash}}}}}}})
	remembered := func() (n int) {
		for _, p := range d.members["d"].passwords {
			if p.right.Load() != nil {
				n++
			}
		}
		return n
	}
	if _, _, err := d.Authenticate(Login{User: "d", Password: []byte("secret")}); err != nil || remembered() != 1 {
		t.Fatal(err)
	}
	for _, c := range []struct {
		hashes []string
		want   int
	}{{[]string{hash}, 1}, {[]string{quickHash(t, "other"), hash}, 1}, {[]string{quickHash(t, "secret")}, 0}} {
		err := d.PutDevice("r", Device{ID: "d", Credentials: Credentials{PasswordHashes: c.hashes}})
		if err != nil || remembered() != c.want {
			t.Errorf("%d remembered, want %d (%v)", remembered(), c.want, err)
		}
	}
}

func TestKindsOfPublishErrors(t *testing.T) {
	d := directory(t, lab())
	gone := principal(t, d, "d2")
	d.Remove("d2")
	for _, c := range []struct {
		p     Principal
		topic string
		kind  error
	}{
		{gone, "$devices/d2/events", ErrNotFound},
		{Principal{DeviceRole, "d1", "other"}, "$devices/d1/events", ErrNotFound},
		{principal(t, d, "d1"), "$devices/d1/commands", ErrForbidden},
		{principal(t, d, "r"), "$devices/d4/commands", ErrForbidden},
		{principal(t, d, "r"), "$me/device/commands", ErrForbidden},
		{principal(t, d, "d1"), "$devices/d1/telemetry", ErrInvalid},
		{principal(t, d, "d1"), "no/alias", ErrInvalid},
		{principal(t, d, "d1"), "", ErrInvalid},
		{principal(t, d, "b"), "a/#", ErrInvalid},
		{principal(t, d, "b"), "$devices/d1/events", ErrInvalid},
	} {
		if _, err := d.Publish(c.p, c.topic); !errors.Is(err, c.kind) {
			t.Errorf("%v publishes to %q: %v, want %v", c.p, c.topic, err, c.kind)
		}
	}
}

func TestNames(t *testing.T) {
	d := directory(t, lab())
	for topic, want := range map[string]string{
		"$devices/d1/state":       "r:$devices/d1/state r:kitchen/state",
		"$devices/d3/config/a":    "d3:$devices/d3/config/a d3:$me/device/config/a",
		"$registries/r/config":    "r/devices:$registries/r/config r/devices:$me/registry/config",
		"$devices/r/state":        "",
		"$devices/nobody/state":   "",
		"$registries/d1/config":   "",
		"$registries/b/config":    "",
		"$devices/d1/telemetry":   "",
		"$monitoring/d1/json":     "",
		"$me/device/config":       "",
		"kitchen/state":           "",
		"$devices/d1":             "",
		"$registries/other/state": "other:$registries/other/state",
	} {
		if got := text(Message{Names: d.Names(topic)}); got != want {
			t.Errorf("%s: %q, want %q", topic, got, want)
		}
	}
}

// However it was reached, a directory is that of the config that it amounts to, and refuses what New would.
func FuzzChanges(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1, 1, 2, 0, 3, 2, 1, 1, 0})
	f.Add([]byte("a device here, a device there, and then another one\x00\x01\x02\x03"))
	names := []string{"a", "b", "ab", "a/", "b/", "a/b", "b/a/", "abc"}
	prints := []string{strings.Repeat("0a", 32), strings.Repeat("0b", 32), strings.Repeat("0c", 32)}
	f.Fuzz(func(t *testing.T, script []byte) {
		d := directory(t, Config{})
		cfg := Config{}
		next := func() int {
			if len(script) == 0 {
				return 0
			}
			b := script[0]
			script = script[1:]
			return int(b)
		}
		for range min(len(script), 60) {
			what, id := next()%5, fmt.Sprint("x", next()%6)
			c := Credentials{}
			if n := next() % 5; n < len(prints) {
				c.Fingerprints = []string{prints[n]}
			}
			want := clone(cfg)
			var err error
			switch what {
			case 0:
				err = d.PutRegistry(Registry{ID: id, Credentials: c})
				if at := slices.IndexFunc(want.Registries, func(r Registry) bool { return r.ID == id }); at >= 0 {
					want.Registries[at].Credentials = c
				} else {
					want.Registries = append(want.Registries, Registry{ID: id, Credentials: c})
				}
			case 1, 2:
				dev := Device{ID: id, Credentials: c, Aliases: map[string]string{}}
				for range next() % 3 {
					name := names[next()%len(names)]
					dev.Aliases[name] = "$devices/" + id
					if strings.HasSuffix(name, "/") {
						dev.Aliases[name] += "/"
					}
				}
				home := fmt.Sprint("x", next()%6)
				err = d.PutDevice(home, dev)
				at := slices.IndexFunc(want.Registries, func(r Registry) bool { return r.ID == home })
				if at < 0 {
					if err == nil {
						t.Fatalf("a device of no registry")
					}
					continue
				}
				r := &want.Registries[at]
				r.Devices = append(slices.DeleteFunc(r.Devices, func(d Device) bool { return d.ID == id }), dev)
			case 3:
				err = d.PutBroker(Broker{ID: id, Credentials: c})
				want.Brokers = slices.DeleteFunc(want.Brokers, func(b Broker) bool { return b.ID == id })
				want.Brokers = append(want.Brokers, Broker{ID: id, Credentials: c})
			case 4:
				d.Remove(id)
				want.Brokers = slices.DeleteFunc(want.Brokers, func(b Broker) bool { return b.ID == id })
				want.Registries = slices.DeleteFunc(want.Registries, func(r Registry) bool { return r.ID == id })
				for i := range want.Registries {
					want.Registries[i].Devices = slices.DeleteFunc(want.Registries[i].Devices, func(d Device) bool { return d.ID == id })
				}
			}
			made, refused := New(want)
			if (err == nil) != (refused == nil) {
				t.Fatalf("%v; but New: %v", err, refused)
			}
			if err == nil {
				cfg = want
				if got, want := summary(d), summary(made); got != want {
					t.Fatalf("got:\n%s\nwant:\n%s", got, want)
				}
			}
		}
	})
}

func clone(cfg Config) Config {
	cfg.Brokers = slices.Clone(cfg.Brokers)
	cfg.Registries = slices.Clone(cfg.Registries)
	for i := range cfg.Registries {
		cfg.Registries[i].Devices = slices.Clone(cfg.Registries[i].Devices)
	}
	return cfg
}

// Who stays does not notice who comes and goes.
func TestReadingWhileItChanges(t *testing.T) {
	d := directory(t, lab())
	want, _ := d.Publish(principal(t, d, "d1"), "kitchen/events")
	stop := make(chan struct{})
	var readers, writers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				p, _, err := d.Authenticate(Login{User: "d1", Password: []byte(d.ProcessPassword())})
				if m, err2 := d.Publish(p, "kitchen/events"); err != nil || err2 != nil || !reflect.DeepEqual(m, want) {
					t.Error(m, err, err2)
					return
				}
				d.Resolve("r", "kitchen/events")
				_, _ = d.Subscribe(p, "$monitoring/x0/json")
				d.Devices("r")
				d.Names("$devices/d1/state")
			}
		})
	}
	for w := range 2 {
		writers.Go(func() {
			id := fmt.Sprint("x", w)
			for i := range 1000 {
				dev := Device{ID: id, Aliases: map[string]string{fmt.Sprint(id, "/", i, "/"): "$devices/" + id + "/"}}
				if err := d.PutDevice("r", dev); err != nil {
					t.Error(err)
				}
				if i%3 == 0 {
					d.Remove(id)
				}
				if err := d.PutRegistry(Registry{ID: "r"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
}
