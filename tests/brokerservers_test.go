package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/crypto/bcrypt"
)

// mqttServer is a broker of TestBrokers. Two users log in with the password right: devices, who may do everything, and iotcast,
// who may not read secret/#.
type mqttServer struct {
	addr    string
	logins  map[string]string // more ways in, as fields of iot_mqtt
	denying *mqttServer       // where this one cannot keep iotcast from secret/#: another, that lets it read no topics of devices
	restart func()
}

// again is how a process is started, ended as by an operator, and started again.
func again(start func() *process) (restart func()) {
	p := start()
	return func() {
		p.signal(syscall.SIGTERM)
		<-p.done
		p = start()
	}
}

// mosquittoServer has a listener for each way to log in. What it keeps outlives a restart, as Debian configures it, and is as many
// messages as come.
func mosquittoServer(t *testing.T) *mqttServer {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	passwords := file("passwords", "iotcast:right\ndevices:right\n")
	if out, code := runProgram(t, toolPath("mosquitto_passwd"), "-U", passwords); code != 0 {
		t.Fatal(out)
	}
	const all = "topic readwrite #\ntopic readwrite $devices/#\ntopic readwrite $registries/#\n"
	acl := file("acl", all+"user devices\n"+all+"user iotcast\n"+all+"topic deny secret/#\n")
	ca, cert, key := newAuthority(t), filepath.Join(dir, "broker.pem"), filepath.Join(dir, "broker-key.pem")
	ca.issue("broker", cert, key)
	mine, myKey := filepath.Join(dir, "iotcast.pem"), filepath.Join(dir, "iotcast-key.pem")
	ca.issue("iotcast", mine, myKey)
	secure, certified := freeAddress(t), freeAddress(t)
	overTLS := []string{"cafile " + ca.file(), "certfile " + cert, "keyfile " + key}
	lines := []string{
		"allow_anonymous true", "password_file " + passwords, "acl_file " + acl,
		"persistence true", "persistence_location " + dir + "/",
	}
	lines = append(append(lines, "listener "+portOf(secure)+" 127.0.0.1"), overTLS...)
	lines = append(append(lines, "listener "+portOf(certified)+" 127.0.0.1", "require_certificate true", "use_identity_as_username true"), overTLS...)
	b := startMosquittoIn(t, dir, lines...)
	trust := fmt.Sprintf("enabled: true, root_cas_file: %q", ca.file())
	return &mqttServer{
		addr: b.addr,
		logins: map[string]string{
			"no password":        fmt.Sprintf("urls: [ %q ]", "tcp://"+b.addr),
			"TLS":                fmt.Sprintf("urls: [ %q ]\nuser: iotcast\npassword: right\ntls: { %s }", "ssl://"+secure, trust),
			"client certificate": fmt.Sprintf("urls: [ %q ]\ntls: { %s, client_certs: [ { cert_file: %q, key_file: %q } ] }", "ssl://"+certified, trust, mine, myKey),
		},
		restart: func() {
			b.signal(syscall.SIGTERM)
			<-b.done
			b.start()
		},
	}
}

func natsMQTTServer(t *testing.T) *mqttServer {
	s := &mqttServer{addr: freeAddress(t)}
	config := writeFile(t, fmt.Sprintf(`
server_name: brokers
listen: %q
jetstream { store_dir: %q }
mqtt { listen: %q }
authorization {
  users: [
    { user: devices, password: right }
    { user: iotcast, password: right, permissions: { subscribe: { deny: [ "secret.>" ] } } }
  ]
}
`, freeAddress(t), t.TempDir(), s.addr))
	s.restart = again(func() *process {
		p := start(t, "nats-server", exec.Command(toolPath("nats-server"), "-c", config))
		p.waitListening(s.addr)
		return p
	})
	return s
}

// rabbitMQServer is a node of the test's own, with an epmd of its own.
func rabbitMQServer(t *testing.T) *mqttServer {
	s := &mqttServer{addr: freeAddress(t)}
	dir, epmd := t.TempDir(), portOf(freeAddress(t))
	type object = map[string]any
	var users, permissions []object
	for _, name := range []string{"devices", "iotcast"} {
		users = append(users, object{"name": name, "password": "right", "tags": []string{}})
		permissions = append(permissions, object{"user": name, "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"})
	}
	definitions, err := json.Marshal(object{
		"vhosts": []object{{"name": "/"}}, "users": users, "permissions": permissions,
		"topic_permissions": []object{{"user": "iotcast", "vhost": "/", "exchange": "amq.topic", "write": ".*", "read": `^(?!secret\.)`}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"definitions.json": string(definitions),
		"enabled_plugins":  "[rabbitmq_mqtt].",
		"rabbitmq.conf": fmt.Sprintf("mqtt.listeners.tcp.1 = %s\nmqtt.allow_anonymous = false\nlisteners.tcp = none\nload_definitions = %s/definitions.json\n"+
			"log.console = true\nlog.console.level = warning\n", s.addr, dir),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := append(os.Environ(), "HOME="+dir, // where Erlang keeps its cookie
		"RABBITMQ_NODENAME=brokers"+portOf(s.addr)+"@localhost", "RABBITMQ_CONFIG_FILE="+dir+"/rabbitmq.conf",
		"RABBITMQ_ENABLED_PLUGINS_FILE="+dir+"/enabled_plugins", "RABBITMQ_MNESIA_BASE="+dir, "RABBITMQ_LOG_BASE="+dir, "RABBITMQ_LOGS=-",
		"RABBITMQ_DIST_PORT="+portOf(freeAddress(t)), "ERL_EPMD_PORT="+epmd, "ERL_EPMD_ADDRESS=127.0.0.1",
		"PATH=/usr/lib/rabbitmq/bin:"+os.Getenv("PATH")) // Debian's own rabbitmq-server is for root and the user rabbitmq
	t.Cleanup(func() { // when the server has ended: it starts epmd, and leaves it
		kill := exec.CommandContext(context.Background(), "epmd", "-port", epmd, "-kill")
		if printed, err := kill.CombinedOutput(); err != nil {
			t.Errorf("ending epmd: %v\n%s", err, printed)
		}
	})
	s.restart = again(func() *process {
		cmd := exec.Command("/usr/lib/rabbitmq/bin/rabbitmq-server")
		cmd.Env = env
		p := start(t, "rabbitmq-server", cmd)
		eventuallyWithin(t, 3*patience, "rabbitmq-server is ready", func() bool { // it listens before it knows its users
			return strings.Contains(p.out.String(), "completed with")
		})
		return p
	})
	return s
}

// aedesServer is clients/aedes.mjs.
func aedesServer(t *testing.T) *mqttServer {
	s := &mqttServer{addr: freeAddress(t)}
	s.restart = again(func() *process {
		p := start(t, "aedes", exec.Command(toolPath("node"), "clients/aedes.mjs", portOf(s.addr)))
		p.waitListening(s.addr)
		return p
	})
	return s
}

// embeddedServer is mqtt_broker, in a process without triggers. Its users may do everything, so that another one has iot_brokers.
func embeddedServer(t *testing.T) *mqttServer {
	s := &mqttServer{addr: freeAddress(t), denying: &mqttServer{addr: freeAddress(t)}}
	fields := fmt.Sprintf("storage_file: %q, users: [ { user: iotcast, password: right }, { user: devices, password: right } ]",
		filepath.Join(t.TempDir(), "broker.db"))
	s.restart = again(func() *process { return serveEmbedded(t, s.addr, fields, "") })
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	serveEmbedded(t, s.denying.addr, "", fmt.Sprintf("iot_brokers: [ { id: iotcast, password_hashes: [ %q ] } ]", hash))
	return s
}

func serveEmbedded(t *testing.T, addr, fields, directory string) *process {
	c := newIotcast(t)
	c.launch("streams", "-o", writeFile(t, fmt.Sprintf("http: { address: %q }\nmqtt_broker: { address: %q, %s }\n%s\n", c.http, addr, fields, directory)))
	c.waitListening(addr)
	return c.process
}
