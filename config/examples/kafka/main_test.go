package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/iotcast/iotcast/internal/reserve"
)

// TestMain is the binary of the example, too.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

func command(t *testing.T, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "RUN_MAIN=1")
	return cmd
}

func free(t *testing.T) string {
	address, err := reserve.Address()
	if err != nil {
		t.Fatal(err)
	}
	return address
}

func TestLint(t *testing.T) {
	if out, err := command(t, "lint", "trigger.yml").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// Records reach a page, and after a restart those that it has not seen.
func TestExampleKafka(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "readings"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	kafka, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()
	produce := func(payload string) {
		t.Helper()
		record := &kgo.Record{Topic: "readings", Key: []byte("boiler"), Value: []byte(payload)}
		if err := kafka.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	run := func(gateway string) (stop func()) {
		t.Helper()
		cmd := command(t, "run", "trigger.yml")
		cmd.Env = append(cmd.Env, "KAFKA="+strings.Join(cluster.ListenAddrs(), ","), "GATEWAY_ADDRESS="+gateway, "HTTP_ADDRESS="+free(t))
		cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return func() {
			t.Helper()
			_ = cmd.Process.Signal(syscall.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
		}
	}
	first := free(t)
	stop := run(first)
	produce(`{"temperature": 61.5}`)
	want(t, first, "readings-0-0", `{"temperature": 61.5}`)
	stop()

	produce(`{"temperature": 62}`)
	second := free(t)
	stop = run(second)
	defer stop()
	want(t, second, "readings-0-1", `{"temperature": 62}`)
}

// want waits for the first message that a client gets.
func want(t *testing.T, gateway, eventID, payload string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var ws *websocket.Conn
	for {
		var err error
		if ws, _, err = websocket.Dial(ctx, "ws://"+gateway+"/readings", nil); err == nil {
			break
		}
		if refused := (*net.OpError)(nil); !errors.As(err, &refused) || ctx.Err() != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // until it listens
	}
	defer ws.CloseNow()
	_, text, err := ws.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Messages []struct {
			Metadata struct {
				ID string `json:"event_id"`
			} `json:"event_metadata"`
			Details struct {
				Device  string `json:"device_id"`
				Payload []byte `json:"payload"`
			} `json:"details"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(text, &got); err != nil || len(got.Messages) != 1 {
		t.Fatalf("%s: %v", text, err)
	}
	m := got.Messages[0]
	if m.Metadata.ID != eventID || m.Details.Device != "boiler" || string(m.Details.Payload) != payload {
		t.Errorf("got %s, want %s of the boiler with %s", text, payload, eventID)
	}
}
