package tests

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// site is a registry with an embedded broker: mosquitto's clients on one side, a trigger and its gateway on the other.
type site struct {
	*iotcast
	mqtt, secure           string // host:port
	caFile, certFile, file string
}

const sitePassword = "Correct-Horse-1"

// startSite runs a trigger on topics of the registry, which north, who has a certificate, and south, who has a password,
// belong to.
func startSite(t *testing.T, topics string) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{
		iotcast: newIotcast(t), mqtt: freeAddress(t), secure: freeAddress(t),
		caFile: filepath.Join(dir, "broker.pem"), certFile: filepath.Join(dir, "north.pem"), file: filepath.Join(dir, "broker.db"),
	}
	for _, file := range []string{s.caFile, s.certFile} {
		printed, code := runProgram(t, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1",
			"-subj", "/CN=site", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", keyOf(file), "-out", file)
		if code != 0 {
			t.Fatal(printed)
		}
	}
	pair, err := tls.LoadX509KeyPair(s.certFile, keyOf(s.certFile))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(pair.Certificate[0])
	hash, err := bcrypt.GenerateFromPassword([]byte(sitePassword), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	config := root(s.gateway, s.http) + fmt.Sprintf(`
iot_registries:
  - id: greenhouse
    password_hashes: [ %[1]s ]
    devices:
      - id: north
        aliases: { beds/north/: $devices/north/ }
        certificate_fingerprints: [ %[2]s ]
      - id: south
        password_hashes: [ %[1]s ]
mqtt_broker:
  address: %[3]q
  tls: { address: %[4]q, cert_file: %[5]q, key_file: %[6]q }
  storage_file: %[7]q
input:
  iot_mqtt:
    urls: [ "tcp://%[3]s" ]
    registry_id: greenhouse
    user: greenhouse
    password: %[8]s
    topics: %[9]s
    client_id: trigger
    clean_session: false
pipeline:
  processors: [ { iot_trigger: {} } ]
output:
  websocket_broadcast: { gateway: main, path: /telemetry }
`, hash, hex.EncodeToString(sum[:]), s.mqtt, s.secure, s.caFile, keyOf(s.caFile), s.file, sitePassword, topics)
	s.launch("run", writeFile(t, config))
	s.waitLog("Launching")
	s.waitReady()
	return s
}

func keyOf(certFile string) string { return strings.TrimSuffix(certFile, ".pem") + "-key.pem" }

// north are the arguments of mosquitto's clients with which the device north logs in, by certificate.
func (s *site) north() []string {
	host, port, _ := net.SplitHostPort(s.secure)
	return []string{"-h", host, "-p", port, "--cafile", s.caFile, "--cert", s.certFile, "--key", keyOf(s.certFile), "-q", "1"}
}

// with are the arguments with which somebody logs in by password.
func (s *site) with(who, password string) []string {
	host, port, _ := net.SplitHostPort(s.mqtt)
	return []string{"-h", host, "-p", port, "-u", who, "-P", password, "-q", "1"}
}

func (s *site) pub(login []string, topic, payload string) (printed string, code int) {
	s.t.Helper()
	return runProgram(s.t, "mosquitto_pub", append(login, "-t", topic, "-m", payload)...)
}

func (s *site) mustPub(login []string, topic, payload string) {
	s.t.Helper()
	if printed, code := s.pub(login, topic, payload); code != 0 {
		s.t.Fatalf("mosquitto_pub to %s: exit code %d\n%s", topic, code, printed)
	}
}

// A trigger on an alias gets what the device publishes, whatever it calls the topic, with its ID.
func TestRegistryAliasTrigger(t *testing.T) {
	t.Parallel()
	s := startSite(t, "[ beds/#, $registries/greenhouse/# ]")
	browser := connectGo(t, s.url("/telemetry"))
	browser.waitOpen()

	s.mustPub(s.north(), "$devices/north/events", "1")
	s.mustPub(s.north(), "beds/north/events/deep", "2")
	s.mustPub(s.north(), "$me/device/state", "3")
	s.mustPub(s.with("south", sitePassword), "$devices/south/events", "no alias")
	s.mustPub(s.with("south", sitePassword), "$registries/greenhouse/events", "4")
	for _, refused := range []struct {
		login          []string
		topic, payload string
	}{
		{s.with("south", "Wrong-Password-1"), "$devices/south/events", "wrong password"},
		{append(s.with("north", "Wrong-Password-1"), s.north()...), "$devices/north/events", "wrong password beside a right certificate"},
	} {
		if printed, code := s.pub(refused.login, refused.topic, refused.payload); code == 0 {
			t.Errorf("%s: published\n%s", refused.payload, printed)
		}
	}

	entries, _ := browser.waitEntries(4)
	for i, want := range []string{
		"greenhouse north beds/north/events 1", "greenhouse north beds/north/events/deep 2",
		"greenhouse north beds/north/state 3", "greenhouse  $registries/greenhouse/events 4",
	} {
		e := entries[i]
		if got := fmt.Sprintf("%s %s %s %s", e.registry, e.device, e.topic, e.payload); got != want {
			t.Errorf("entry %d is %q, want %q", i, got, want)
		}
	}
}

// What a device has as its state outlives a restart, and is what the registry sees first.
func TestRegistryRestart(t *testing.T) {
	t.Parallel()
	s := startSite(t, "[ $devices/+/events ]")
	s.mustPub(s.north(), "$me/device/state", "dry")
	s.mustPub(s.with("greenhouse", sitePassword), "$devices/north/config", "water at six")
	args := s.cmd.Args
	s.terminate()
	s.launch(args[1:]...)
	s.waitReady()

	for _, c := range []struct {
		login       []string
		topic, want string
	}{
		{s.with("greenhouse", sitePassword), "beds/north/state", "beds/north/state dry"},
		{s.north(), "$me/device/config", "$me/device/config water at six"},
	} {
		out, err := exec.Command("mosquitto_sub", append(c.login, "-t", c.topic, "-C", "1", "-W", "60", "-v")...).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != c.want {
			t.Errorf("%s: %q, %v", c.topic, out, err)
		}
	}
}
