package devbroker

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"os"
	"strings"
	"testing"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/iotcast/iotcast/internal/registry"
)

// By certificate, by password, and by both: then the password decides.
func TestCertificates(t *testing.T) {
	serverCert, serverKey, _ := newCertificate(t, "server")
	_, _, mine := newCertificate(t, "mine")
	_, _, foreign := newCertificate(t, "foreign")
	leaf, err := x509.ParseCertificate(mine.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	cfg := labConfig()
	cfg.Registries[0].Devices[0].Fingerprints = []string{registry.Fingerprint(leaf)}
	b := startBroker(t, Config{
		TLS: TLS{Address: "127.0.0.1:0", CertFile: serverCert, KeyFile: serverKey}, Directory: newDirectory(t, cfg),
	}, nil)

	roots := x509.NewCertPool()
	pem, err := os.ReadFile(serverCert)
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		user, password string
		certs          []tls.Certificate
		is             string
	}{
		"certificate":                     {certs: []tls.Certificate{mine}, is: "d1"},
		"password":                        {user: "d2", password: password, is: "d2"},
		"right password, own certificate": {user: "d2", password: password, certs: []tls.Certificate{mine}, is: "d2"},
		"right password, foreign one":     {user: "d2", password: password, certs: []tls.Certificate{foreign}, is: "d2"},
		"wrong password, own certificate": {user: "d1", password: "wrong", certs: []tls.Certificate{mine}},
		"foreign certificate":             {certs: []tls.Certificate{foreign}},
		"nothing":                         {},
	} {
		o := paho.NewClientOptions().AddBroker("ssl://" + b.TLSAddr().String()).SetClientID("c").SetProtocolVersion(4).
			SetAutoReconnect(false).SetConnectTimeout(patience).
			SetTLSConfig(&tls.Config{RootCAs: roots, Certificates: c.certs})
		if c.user != "" {
			o.SetUsername(c.user).SetPassword(c.password)
		}
		client := paho.NewClient(o)
		token := client.Connect()
		if !token.WaitTimeout(patience) {
			t.Fatalf("%s: no answer", name)
		}
		if ok := token.Error() == nil; ok != (c.is != "") {
			t.Errorf("%s: %v", name, token.Error())
			continue
		}
		if c.is == "" {
			continue
		}
		// It is who it is supposed to be if it may read the topic of that device.
		subscribe(t, client, "$devices/"+c.is+"/commands", nil)
		client.Disconnect(250)
	}
	if b.Addr() != nil {
		t.Error("there is a listener without TLS")
	}
}

// A renewed certificate is shown to new connections, over both transports, and those that are there stay.
func TestRenewedCertificate(t *testing.T) {
	certFile, keyFile, _ := newCertificate(t, "first")
	b := startBroker(t, Config{
		TLS:       TLS{Address: "127.0.0.1:0", CertFile: certFile, KeyFile: keyFile},
		WebSocket: WebSocket{Address: "127.0.0.1:0", Path: "/", TLS: true},
	}, nil)
	shows := func(address, name string) bool {
		c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, NextProtos: map[bool][]string{true: {"mqtt"}}[address == b.TLSAddr().String()]})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].Subject.CommonName == name
	}
	addresses := []string{b.TLSAddr().String(), b.WebSocketAddr().String()}
	for _, address := range addresses {
		if !shows(address, "first") {
			t.Errorf("%s does not show the certificate", address)
		}
	}
	client := connect(t, paho.NewClientOptions().AddBroker("ssl://"+b.TLSAddr().String()).SetProtocolVersion(4).
		SetAutoReconnect(false).SetTLSConfig(&tls.Config{InsecureSkipVerify: true}))
	newCert, newKey, _ := newCertificate(t, "second")
	for from, to := range map[string]string{newCert: certFile, newKey: keyFile} {
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	for _, address := range addresses {
		eventually(t, address+" shows the new certificate", func() bool { return shows(address, "second") })
	}
	wait(t, client.Publish("a", 1, false, "x"))
}

func TestBadCertificateFiles(t *testing.T) {
	cert, _, _ := newCertificate(t, "server")
	for want, c := range map[string]TLS{
		"needs cert_file and key_file": {Address: "127.0.0.1:0"},
		"mqtt_broker.tls":              {Address: "127.0.0.1:0", CertFile: cert, KeyFile: cert},
	} {
		if _, err := Start(Config{TLS: c}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestWebSocket(t *testing.T) {
	serverCert, serverKey, _ := newCertificate(t, "server")
	for _, secure := range []bool{false, true} {
		b := startBroker(t, Config{
			TLS:       TLS{CertFile: serverCert, KeyFile: serverKey},
			WebSocket: WebSocket{Address: "127.0.0.1:0", Path: "/mqtt", TLS: secure, AllowedOrigins: []string{"*.example.com"}},
		}, nil)
		scheme := map[bool]string{false: "ws", true: "wss"}[secure]
		own := map[bool]string{false: "http://", true: "https://"}[secure] + b.WebSocketAddr().String()
		roots := x509.NewCertPool()
		pem, _ := os.ReadFile(serverCert)
		roots.AppendCertsFromPEM(pem)
		client := func(path, origin string) *paho.ClientOptions {
			return paho.NewClientOptions().AddBroker(scheme + "://" + b.WebSocketAddr().String() + path).
				SetProtocolVersion(4).SetAutoReconnect(false).SetConnectTimeout(patience).
				SetTLSConfig(&tls.Config{RootCAs: roots}).
				SetHTTPHeaders(http.Header{"Origin": []string{origin}})
		}
		const count = 2000
		got := newNumbers()
		subscribe(t, connect(t, client("/mqtt", "https://dashboard.example.com").SetClientID("sub")), "a/#", got.handle)
		publishNumbers(t, connect(t, client("/mqtt", own).SetClientID("pub")), "a/b", 0, count, 500)
		inOrder(t, got.untilCount(t, count), count)

		for path, origin := range map[string]string{"/other": "", "/mqtt": "https://example.org"} {
			token := paho.NewClient(client(path, origin)).Connect()
			if !token.WaitTimeout(patience) || token.Error() == nil {
				t.Errorf("%s from %q: connected", path, origin)
			}
		}
		nothingDropped(t, b)
		// A client that is there does not hold up Close.
		closeBroker(t, b)
	}
}
