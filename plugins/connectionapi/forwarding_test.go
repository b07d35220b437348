package connectionapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/redpanda-data/connect/v4/public/components/nats"

	"github.com/iotcast/iotcast/internal/readiness"
	"github.com/iotcast/iotcast/internal/reserve"
	"github.com/iotcast/iotcast/plugins/connectionapi"
)

// natsServer speaks as much of the protocol of NATS as a request takes, and answers each
// with answer.
type natsServer struct {
	t           *testing.T
	answer      string
	connections atomic.Int64
	breach      atomic.Bool // the next request is taken for a breach of the protocol
}

func (s *natsServer) listen(address string) {
	s.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	s.t.Cleanup(func() {
		cancel()
		_ = l.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(ctx, func() { _ = nc.Close() })
			s.connections.Add(1)
			go s.serve(nc)
		}
	}()
}

func (s *natsServer) serve(nc net.Conn) {
	defer nc.Close()
	fmt.Fprint(nc, `INFO {"server_id":"x","version":"2.9.10","proto":1,"max_payload":1048576,"headers":false}`+"\r\n")
	in, sid := bufio.NewReader(nc), ""
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch words := strings.Fields(line); words[0] {
		case "PING":
			fmt.Fprint(nc, "PONG\r\n")
		case "SUB":
			sid = words[len(words)-1]
		case "PUB":
			size, err := strconv.ParseInt(words[3], 10, 64)
			if err != nil {
				s.t.Errorf("%s: %v", line, err)
				return
			}
			if _, err := io.CopyN(io.Discard, in, size+2); err != nil {
				return
			}
			if s.breach.Swap(false) {
				fmt.Fprint(nc, "-ERR 'Maximum Control Line Exceeded'\r\n")
				return
			}
			fmt.Fprintf(nc, "MSG %s %s %d\r\n%s\r\n", words[2], sid, len(s.answer), s.answer)
		}
	}
}

// TestForwardComesBack: the API is there while NATS is not, says so by its readiness,
// and forwards when NATS is back; also after a connection that NATS has closed for good.
func TestForwardComesBack(t *testing.T) {
	addresses := make([]string, 2)
	for i := range addresses {
		var err error
		if addresses[i], err = reserve.Address(); err != nil {
			t.Fatal(err)
		}
	}
	ready := new(readiness.Checks)
	api, err := connectionapi.Start(parse(t, `
connection_api:
  address: `+addresses[0]+`
  forward:
    - nats_request_reply: { urls: [ "nats://`+addresses[1]+`" ], max_reconnects: -1, subject: 'nodes.${! metadata("node") }', timeout: 10s }
  nodes: [ b ]
`), ready, false)
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close(t.Context())
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	reached := func() bool {
		res, err := client.Get("http://" + addresses[0] + "/apigateways/websocket/v1/connections")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s %s %v", res.Status, body, err)
		}
		return !strings.Contains(string(body), `"unreachable":["b"]`)
	}
	if reached() {
		t.Error("the node is reached without NATS")
	}
	if err := ready.Err(); err == nil || !strings.Contains(err.Error(), "connection_api: forward") {
		t.Errorf("without NATS it is not ready for: %v", err)
	}
	server := &natsServer{t: t, answer: `{"status":200}`}
	server.listen(addresses[1])
	for began := time.Now(); ready.Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			t.Fatal(ready.Err())
		}
	}
	if !reached() {
		t.Error("the node is not reached, and NATS is there")
	}
	connections := server.connections.Load()
	server.breach.Store(true)
	_ = reached() // its answer is lost with the connection
	if !reached() {
		t.Error("the node is not reached after a connection that was closed")
	}
	if got := server.connections.Load(); got != connections+1 {
		t.Errorf("%d connections were opened anew, want 1", got-connections)
	}
	if err := ready.Err(); err != nil {
		t.Error(err)
	}
}
