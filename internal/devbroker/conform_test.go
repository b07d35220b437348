package devbroker

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// The passages of the standards are in testdata/conform, a file a subject. A passage has a section and a name, and a talk that
// shows it. In the talk, each line is a packet of one of the clients, which are called by letters, and dial as they are named
// first:
//
//	# a comment
//	== 3.1.1 [MQTT-3.1.2-2]: unknown level
//	mosquitto: why Mosquitto does otherwise, which it must, and which section permits or demands what is here
//	beside others               it waits for seconds, so it runs beside others that do: its topics and client IDs are its own
//	a> 10 "MQTT" 04 02 003c "c" it sends this: the first byte, then the remaining length is counted, then bytes in
//	                            hexadecimal, and texts in quotes, which have their length in two bytes before them;
//	                            (a/)*199 in either is a/ so often
//	a! c0 01 00                 it sends these bytes, in which nothing is counted
//	a< 20 00 00                 it receives this; ... are any bytes up to the end of the packet
//	a< end                      its connection is closed by the broker, with nothing more to read
//	a. end                      it closes its connection without a word
//	a. connect 5                it connects over MQTT 5 or 3.1.1 with a clean session and a client ID of its own
//	a. ping                     it sends a PINGREQ, and receives the PINGRESP and nothing before it
type passage struct {
	file          string
	section, name string
	mosquitto     string
	beside        bool
	talk          []string
	line          int // of the file, where the talk begins
}

var header = regexp.MustCompile(`^== (.+?): (.+)$`)

// subjects are the files of passages, but for those of brokers where not anyone may connect.
const subjects = "testdata/conform/*.txt"

// passages reads files.
func passages(t testing.TB, pattern string) (all []passage) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatal("no passages", err)
	}
	for _, file := range files {
		all = append(all, passagesOf(t, file)...)
	}
	return all
}

func passagesOf(t testing.TB, file string) (all []passage) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for n, line := range strings.Split(string(text), "\n") {
		begin := header.FindStringSubmatch(line)
		switch {
		case line == "" || line[0] == '#':
			continue
		case begin != nil:
			all = append(all, passage{file: file, section: begin[1], name: begin[2]})
			continue
		case len(all) == 0:
			t.Fatalf("%s:%d: no passage has begun", file, n+1)
		}
		p := &all[len(all)-1]
		if why, found := strings.CutPrefix(line, "mosquitto: "); found {
			p.mosquitto = why
			continue
		}
		if line == "beside others" {
			p.beside = true
			continue
		}
		if len(line) < 4 || !strings.Contains("><.!", line[1:2]) || line[2] != ' ' {
			t.Fatalf("%s:%d: %q", file, n+1, line)
		}
		p.line = cmp.Or(p.line, n+1)
		p.talk = append(p.talk, line)
	}
	return all
}

// each runs a test of each passage. Those that wait begin when all others are over.
func each(t *testing.T, all []passage, test func(t *testing.T, p passage)) {
	for _, p := range all {
		subject := strings.TrimSuffix(filepath.Base(p.file), ".txt")
		t.Run(subject+" "+p.section+" "+p.name, func(t *testing.T) {
			if p.beside {
				t.Parallel()
			}
			test(t, p)
		})
	}
}

// conform has all talks with the broker at an address.
func conform(t *testing.T, address string, all []passage) {
	each(t, all, func(t *testing.T, p passage) {
		if err := p.hold(address, patience); err != nil {
			t.Error(err)
		}
	})
}

// hold has the talk with the broker at an address, and says in which line it is not answered as it should be.
func (p passage) hold(address string, patience time.Duration) error {
	clients := map[string]*talker{}
	defer func() {
		for _, c := range clients {
			_ = c.nc.Close()
		}
	}()
	for n, line := range p.talk {
		who := line[:1]
		if clients[who] == nil {
			c, err := dialTalker(address, fmt.Sprintf("%s-%d", who, p.line), patience)
			if err != nil {
				return err
			}
			clients[who] = c
		}
		if err := clients[who].do(line[1], line[3:]); err != nil {
			return fmt.Errorf("%s:%d: %.120s: %w", p.file, p.line+n, line, err)
		}
	}
	return nil
}

// Our broker does what the standards say.
func TestConformance(t *testing.T) {
	conform(t, startBroker(t, Config{}, nil).Addr().String(), passages(t, subjects))
}

// A client cannot log in with an empty password where nobody has one.
func TestConformanceOfLogins(t *testing.T) {
	all := passages(t, "testdata/conform/logins/*.txt")
	conform(t, startLab(t).Addr().String(), all)
	conform(t, startBroker(t, Config{Users: map[string]string{"d1": password}}, nil).Addr().String(), all)
}

// What the passages say is not ours alone: Mosquitto does the same, but for what is marked. What is marked and the same is
// wrongly marked.
func TestConformanceOfMosquitto(t *testing.T) {
	// soon is how long an answer of Mosquitto may take that differs: one that comes later than that differs, too.
	const soon = 2 * time.Second
	address, _ := startMosquitto(t)
	each(t, passages(t, subjects), func(t *testing.T, p passage) {
		if p.mosquitto != "" {
			if p.hold(address, soon) == nil {
				t.Errorf("%s:%d: Mosquitto does the same, but is said to differ: %s", p.file, p.line, p.mosquitto)
			}
			return
		}
		if err := p.hold(address, patience); err != nil {
			t.Error(err)
		}
	})
}
