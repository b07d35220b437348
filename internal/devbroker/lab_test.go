package devbroker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/crypto/bcrypt"

	"github.com/iotcast/iotcast/internal/registry"
)

// password is everybody's in the lab.
const password = "Correct-Horse-1"

var passwordHash = sync.OnceValue(func() string {
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		panic(err)
	}
	return string(hash)
})

// labConfig is two registries and two brokers.
func labConfig() registry.Config {
	c := registry.Credentials{PasswordHashes: []string{passwordHash()}}
	return registry.Config{
		Registries: []registry.Registry{
			{ID: "r", Credentials: c, Devices: []registry.Device{
				{ID: "d1", Credentials: c, Aliases: map[string]string{"kitchen/": "$devices/d1/"}},
				{ID: "d2", Credentials: c},
			}},
			{ID: "other", Credentials: c, Devices: []registry.Device{{ID: "d3", Credentials: c}}},
		},
		Brokers: []registry.Broker{{ID: "b", Credentials: c}, {ID: "b2", Credentials: c}},
	}
}

func newDirectory(t testing.TB, cfg registry.Config) *registry.Directory {
	t.Helper()
	d, err := registry.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func startLab(t testing.TB) *Broker {
	t.Helper()
	return startBroker(t, Config{Directory: newDirectory(t, labConfig())}, nil)
}

// as are the options of a client that logs in as somebody of the lab.
func as(b *Broker, who, clientID string) *paho.ClientOptions {
	return options(b, clientID).SetUsername(who).SetPassword(password)
}

// inbox gathers what comes to a client, as "topic payload".
type inbox struct {
	mu   sync.Mutex
	list []string
}

func (i *inbox) handle(_ paho.Client, m paho.Message) {
	i.mu.Lock()
	defer i.mu.Unlock()
	text := m.Topic() + " " + string(m.Payload())
	if m.Retained() {
		text += " (kept)"
	}
	i.list = append(i.list, text)
}

// take waits for a message that ends with last and returns what has come before it, joined by commas.
func (i *inbox) take(t testing.TB, last string) string {
	t.Helper()
	var before []string
	eventually(t, last+" has come", func() bool {
		i.mu.Lock()
		defer i.mu.Unlock()
		for n, text := range i.list {
			if strings.HasSuffix(text, last) {
				before = i.list[:n]
				i.list = i.list[n+1:]
				return true
			}
		}
		return false
	})
	return strings.Join(before, ", ")
}

// has reports whether something has come.
func (i *inbox) has(text string) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Contains(i.list, text)
}

// subscriber connects somebody who subscribes to filters.
func subscriber(t testing.TB, b *Broker, who, clientID string, filters ...string) (paho.Client, *inbox) {
	t.Helper()
	in := new(inbox)
	c := connect(t, as(b, who, clientID).SetDefaultPublishHandler(in.handle))
	for _, filter := range filters {
		subscribe(t, c, filter, nil)
	}
	return c, in
}

func publish(t testing.TB, c paho.Client, topic, payload string) {
	t.Helper()
	wait(t, c.Publish(topic, 1, false, payload))
}

// newCertificate makes a self-signed certificate, as files and as a value.
func newCertificate(t testing.TB, name string) (certFile, keyFile string, pair tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if pair, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
		t.Fatal(err)
	}
	return certFile, keyFile, pair
}

// changeable is a lab, and the directory that it follows.
func changeable(t testing.TB, cfg Config) (*Broker, *registry.Directory) {
	t.Helper()
	cfg.Directory = newDirectory(t, labConfig())
	return startBroker(t, cfg, nil), cfg.Directory
}

// known is somebody with the password of the lab.
func known() registry.Credentials {
	return registry.Credentials{PasswordHashes: []string{passwordHash()}}
}

func hashOf(t testing.TB, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	must(t, err)
	return string(hash)
}
