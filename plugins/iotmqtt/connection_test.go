package iotmqtt_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redpanda-data/benthos/v4/public/service"
)

// TestConnectionTest tells whether a broker can be reached, and leaves a stream with the
// same client ID alone.
func TestConnectionTest(t *testing.T) {
	_, port := startBroker(t)
	fields := "registry_id: r\nclient_id: c\nclean_session: false\nconnect_timeout: 500ms"
	var got received
	logs := run(t, port, fields, got.add)
	deaf, _ := hanging(t, deaf)
	for url, want := range map[string]string{
		"tcp://127.0.0.1:" + port: "",
		"tcp://127.0.0.1:1":       "connecting to MQTT broker tcp://127.0.0.1:1: ",
		"tcp://" + deaf:           "no answer",
	} {
		spec := service.NewConfigSpec().Field(service.NewInputField("input"))
		conf, err := spec.ParseYAML("input:\n  iot_mqtt:\n    urls: [ '"+url+"' ]\n"+strings.ReplaceAll("    "+fields, "\n", "\n    "), nil)
		if err != nil {
			t.Fatal(err)
		}
		in, err := conf.FieldInput("input")
		if err != nil {
			t.Fatal(err)
		}
		results := in.ConnectionTest(t.Context())
		if len(results) != 1 {
			t.Fatalf("%s: %v", url, results)
		}
		switch err := results[0].Err; {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
	publisher(t, port)("$devices/d/events", 1, "x")
	eventually(t, func() bool { return len(got.payloads()) == 1 })
	if n := logs.count("lost"); n != 0 {
		t.Error("the stream has lost its connection")
	}
}

// certificate writes a new client certificate of its own making.
func certificate(t *testing.T, certFile, keyFile, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: pkcs}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRenewedCertificate is offered with the next connection; files that are of no use
// are told of, and tried again.
func TestRenewedCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	certificate(t, cert, key, "first")
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	offered := make(chan string, 1000)
	addr, _ := hanging(t, func(nc net.Conn) {
		s := tls.Server(nc, &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert})
		if s.Handshake() == nil {
			offered <- s.ConnectionState().PeerCertificates[0].Subject.CommonName
		}
		_ = nc.Close()
	})
	logs := build(t, fmt.Sprintf("urls: [ \"ssl://%s\" ]\nbroker_id: b\ntls: { enabled: true, skip_cert_verify: true, client_certs: [ { cert_file: %s, key_file: %s } ] }", addr, cert, key),
		func(context.Context, service.MessageBatch) error { return nil })
	waitFor := func(name string) {
		t.Helper()
		for {
			select {
			case got := <-offered:
				if got == name {
					return
				}
			case <-time.After(20 * time.Second):
				t.Fatalf("%s is never offered", name)
			}
		}
	}
	waitFor("first")
	certificate(t, cert, key, "second")
	waitFor("second")
	if err := os.WriteFile(key, []byte("half a"), 0o600); err != nil {
		t.Fatal(err)
	}
	logs.waitFor(t, "reading field tls")
	certificate(t, cert, key, "third")
	waitFor("third")
}
