// Package tests runs the iotcast binary as its users do, against brokers,
// WebSocket clients and a browser that share no code with it.
//
// It needs what apt-get installs as mosquitto, mosquitto-clients, nats-server, haproxy, nginx, caddy, g++, rabbitmq-server,
// python3-websockets, chromium, nodejs and npm; what npm installs, it installs.
package tests

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is the iotcast under test: $IOTCAST, or else built from the tree.
var binary string

// goFeed is the program in clients/feed.
var goFeed string

// python is Debian's: the first in PATH may be another, without websockets.
const python = "/usr/bin/python3"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "iotcast-tests-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := errors.Join(checkTools(), installModules(), build(dir)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// checkTools: a missing tool is a failure, since a skipped test proves nothing.
func checkTools() error {
	var missing []error
	for tool, install := range map[string]string{
		"mosquitto":        "apt-get install mosquitto",
		"mosquitto_passwd": "apt-get install mosquitto",
		"mosquitto_ctrl":   "apt-get install mosquitto",
		"mosquitto_pub":    "apt-get install mosquitto-clients",
		"mosquitto_sub":    "apt-get install mosquitto-clients",
		"openssl":          "apt-get install openssl",
		"nats-server":      "apt-get install nats-server",
		"node":             "apt-get install nodejs",
		"npm":              "apt-get install npm",
		"haproxy":          "apt-get install haproxy",
		"rabbitmq-server":  "apt-get install rabbitmq-server",
		"g++":              "apt-get install g++",
		"nginx":            "apt-get install nginx",
		"caddy":            "apt-get install caddy",
		"chromium":         "apt-get install chromium",
		python:             "apt-get install python3",
	} {
		if _, err := exec.LookPath(toolPath(tool)); err != nil {
			missing = append(missing, fmt.Errorf("%s is needed: %s", tool, install))
		}
	}
	if out, err := exec.Command(python, "-c", "import websockets").CombinedOutput(); err != nil {
		missing = append(missing, fmt.Errorf("the Python library websockets is needed: apt-get install python3-websockets: %s", out))
	}
	return errors.Join(missing...)
}

// toolPath finds what Debian keeps in /usr/sbin, which is not in everyone's PATH.
func toolPath(name string) string {
	if found, err := exec.LookPath(name); err == nil {
		return found
	}
	return filepath.Join("/usr/sbin", name)
}

// installModules does so if they are missing or older than the lock.
func installModules() error {
	lock, err := os.Stat("package-lock.json")
	if err != nil {
		return err
	}
	if installed, err := os.Stat("node_modules/.package-lock.json"); err == nil && !installed.ModTime().Before(lock.ModTime()) {
		return nil
	}
	if out, err := exec.Command("npm", "ci").CombinedOutput(); err != nil {
		return fmt.Errorf("installing the npm packages of tests/package.json: npm ci: %w\n%s", err, out)
	}
	return nil
}

func build(dir string) error {
	goFeed = filepath.Join(dir, "feed")
	if out, err := exec.Command("go", "build", "-o", goFeed, "./clients/feed").CombinedOutput(); err != nil {
		return fmt.Errorf("building the client for Go: %w\n%s", err, out)
	}
	if binary = os.Getenv("IOTCAST"); binary != "" {
		return nil
	}
	binary = filepath.Join(dir, "iotcast")
	if out, err := exec.Command("go", "build", "-o", binary, "../cmd/iotcast").CombinedOutput(); err != nil {
		return fmt.Errorf("building iotcast: %w\n%s", err, out)
	}
	return nil
}
