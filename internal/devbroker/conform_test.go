package devbroker

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// The passages of the standards are in testdata/conform, a file a subject. A passage has a section and a name, and a talk that
// shows it. In the talk, each line is a packet of one of the clients, which are called by letters, and dial as they are named
// first:
//
//	# a comment
//	== 3.1.1 [MQTT-3.1.2-2]: unknown level
//	mosquitto: what Mosquitto does otherwise, and which section demands or permits what is here
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
//	a|< 20 00 01                such a line, or several, stand instead of the line before, if the broker is Mosquitto
type passage struct {
	file          string
	section, name string
	mosquitto     string
	beside        bool
	talk          []line
}

// line is one of a talk.
type line struct {
	number    int // of the file
	who       string
	mosquitto bool // it stands instead of another
	what      byte
	packet    string
}

var (
	header   = regexp.MustCompile(`^== (.+?): (.+)$`)
	talkLine = regexp.MustCompile(`^(\w)(\|?)([><.!]) (.+)$`)
)

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
	for n, text := range strings.Split(string(text), "\n") {
		begin := header.FindStringSubmatch(text)
		switch {
		case text == "" || text[0] == '#':
			continue
		case begin != nil:
			all = append(all, passage{file: file, section: begin[1], name: begin[2]})
			continue
		case len(all) == 0:
			t.Fatalf("%s:%d: no passage has begun", file, n+1)
		}
		p := &all[len(all)-1]
		if what, found := strings.CutPrefix(text, "mosquitto: "); found {
			p.mosquitto = what
			continue
		}
		if text == "beside others" {
			p.beside = true
			continue
		}
		part := talkLine.FindStringSubmatch(text)
		if part == nil {
			t.Fatalf("%s:%d: %q", file, n+1, text)
		}
		l := line{n + 1, part[1], part[2] != "", part[3][0], part[4]}
		if l.mosquitto && len(p.talk) == 0 {
			t.Fatalf("%s:%d: there is no line before", file, n+1)
		}
		p.talk = append(p.talk, l)
	}
	for _, p := range all {
		if differs := slices.ContainsFunc(p.talk, line.ofMosquitto); differs != (p.mosquitto != "") {
			t.Fatalf("%s: %s %s: what Mosquitto does otherwise is to be told, and to be in the talk", file, p.section, p.name)
		}
	}
	return all
}

// conform has all talks with the broker at an address. Those that wait do so at once, when all others are over: go test's own
// way would be to have as many at once as there are processors.
func conform(t *testing.T, address string, all []passage) {
	var waiting sync.WaitGroup
	defer waiting.Wait()
	for _, p := range all {
		if !p.beside {
			t.Run(p.String(), func(t *testing.T) {
				if err := p.hold(address); err != nil {
					t.Error(err)
				}
			})
		}
	}
	for _, p := range all {
		if p.beside {
			waiting.Go(func() {
				if err := p.hold(address); err != nil {
					t.Errorf("%s: %v", p, err)
				}
			})
		}
	}
}

func (p passage) String() string { return p.subject() + " " + p.section + " " + p.name }

func (p passage) subject() string { return strings.TrimSuffix(filepath.Base(p.file), ".txt") }

func (l line) ofMosquitto() bool { return l.mosquitto }

// ours are the talks as our broker has them.
func ours(all []passage) []passage {
	for i := range all {
		all[i].talk = slices.DeleteFunc(all[i].talk, line.ofMosquitto)
	}
	return all
}

// ofMosquitto are the talks as Mosquitto has them.
func ofMosquitto(all []passage) []passage {
	for i, p := range all {
		var talk []line
		for n, l := range p.talk {
			if l.mosquitto && !p.talk[n-1].mosquitto {
				talk = talk[:len(talk)-1]
			}
			talk = append(talk, l)
		}
		all[i].talk = talk
	}
	return all
}

// hold has the talk with the broker at an address, as far as it answers as it should.
func (p passage) hold(address string) error {
	clients := map[string]*talker{}
	defer func() {
		for _, c := range clients {
			_ = c.nc.Close()
		}
	}()
	for _, l := range p.talk {
		c := clients[l.who]
		if c == nil {
			nc, err := net.Dial("tcp", address)
			if err != nil {
				return err
			}
			c = &talker{nc, fmt.Sprintf("%s-%d-%s", p.subject(), p.talk[0].number, l.who)}
			clients[l.who] = c
		}
		if err := c.do(l.what, l.packet); err != nil {
			return fmt.Errorf("%s:%d: %s%c %.120s: %w", p.file, l.number, l.who, l.what, l.packet, err)
		}
	}
	return nil
}

// Our broker does what the standards say.
func TestConformance(t *testing.T) {
	t.Parallel() // with that of Mosquitto: both wait for most of their time
	all := append(passages(t, subjects), passages(t, "testdata/conform/ours/*.txt")...)
	conform(t, startBroker(t, Config{}, nil).Addr().String(), ours(all))
}

// A client cannot log in with an empty password where nobody has one.
func TestConformanceOfLogins(t *testing.T) {
	all := ours(passages(t, "testdata/conform/logins/*.txt"))
	conform(t, startLab(t).Addr().String(), all)
	conform(t, startBroker(t, Config{Users: map[string]string{"d1": password}}, nil).Addr().String(), all)
}

// What the passages say is not ours alone: Mosquitto does the same, but for what is marked, where it does what the mark says.
func TestConformanceOfMosquitto(t *testing.T) {
	t.Parallel()
	address, _ := startMosquitto(t, fmt.Sprint("max_packet_size ", maxPacketBytes))
	conform(t, address, ofMosquitto(passages(t, subjects)))
}
