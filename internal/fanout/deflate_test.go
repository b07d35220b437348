package fanout

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// inflated is a receiver's part of RFC 7692, section 7.2.2.
func inflated(t testing.TB, p []byte) string {
	t.Helper()
	b, err := io.ReadAll(flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff"))))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// envelope is one of n readings, much as the trigger writes it.
func envelope(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"messages":[`)
	for i := range n {
		payload := fmt.Sprintf(`{"temperature":%.1f,"humidity":%.1f,"battery":%.2f}`,
			20+rand.Float64(), 50+rand.Float64()*10, 3+rand.Float64())
		fmt.Fprintf(&b, `{"event_metadata":{"event_id":"01a208a2-%04x-7622-a8ca-%012x",`+
			`"event_type":"yandex.cloud.events.iot.IoTMessage","created_at":"2026-01-01T13:39:50.%09dZ"},`+
			`"details":{"registry_id":"home","device_id":"boiler","mqtt_topic":"$devices/boiler/events","payload":"%s"}},`,
			i, rand.Uint64N(1<<48), rand.IntN(1e9), base64.StdEncoding.EncodeToString([]byte(payload)))
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

func TestCompressedAndPlainConnectionsGetTheSame(t *testing.T) {
	h := newTestHub(t, Config{Compression: true, MaxFrame: 32 << 10})
	_, plain := link(t, h, 0)
	_, deflated := linkAs(t, h, 0, Client{Compressed: true})
	for _, payload := range [][]byte{[]byte("short"), envelope(14), envelope(500), bytes.Repeat([]byte{1, 2, 3}, 1000)} {
		if n := broadcast(h, Text, payload); n != 2 {
			t.Fatal(n)
		}
		_, p, err := readMessage(plain)
		if err != nil || !bytes.Equal(p, payload) {
			t.Fatalf("plain: %d bytes, %v", len(p), err)
		}
		first, p, err := readMessage(deflated)
		if err != nil {
			t.Fatal(err)
		}
		if compressed := first&rsv1Bit != 0; compressed != (len(payload) >= minDeflate) {
			t.Fatalf("%d bytes: compressed %v", len(payload), compressed)
		} else if compressed {
			if got := inflated(t, p); got != string(payload) {
				t.Fatalf("inflated to %d bytes, want %d", len(got), len(payload))
			}
			t.Logf("%d bytes became %d", len(payload), len(p))
		}
	}
}

func TestIncompressibleIsLeftAsItIs(t *testing.T) {
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	var d deflater
	if first, p := d.deflate(byte(Binary), noise); first != byte(Binary) || !bytes.Equal(p, noise) {
		t.Fatal(first, len(p))
	}
}

func BenchmarkDeflate5KiB(b *testing.B) {
	payload := envelope(14)
	for name, level := range map[string]int{"fastest": flate.BestSpeed, "default": flate.DefaultCompression} {
		b.Run(name, func(b *testing.B) {
			var d deflater
			d.w, _ = flate.NewWriter(&d.out, level)
			var small []byte
			b.SetBytes(int64(len(payload)))
			for b.Loop() {
				_, small = d.deflate(byte(Text), payload)
			}
			b.ReportMetric(float64(len(payload))/float64(len(small)), "times-smaller")
		})
	}
}
