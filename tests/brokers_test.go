package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// brokerKind is a make of broker, and what it can: a row of docs/which-broker.md. TestBrokers fails where it can less, and where it
// can more.
type brokerKind struct {
	name  string
	start func(t *testing.T) *mqttServer

	speaks5       bool
	saysTakenOver bool           // over MQTT 5, that another client has the client ID
	grantsQoS2    bool           // to a subscriber; else 1
	takesQoS2     bool           // from a publisher; else it ends the connection
	dots          string         // what a dot in a topic becomes; empty: it ends the connection of the publisher
	spaces        string         // the same of a space
	window        int            // how many messages of QoS 1 it sends before it waits for acknowledgements; 0: it does not wait
	copies        map[string]int // of a message that two overlapping filters cover, by the version of MQTT
	denial        string         // what the log says of a filter that the user may not read; empty: it is granted, and nothing comes
	shares        bool           // it delivers to a share group; else it grants it, and nothing comes
	sharesDevices bool           // the same, of $devices/…
	dollar        bool           // it takes # for a filter of topics that begin with $, too, against MQTT-4.7.2-1
	keeps         bool           // sessions outlive its restart
}

const refusedFilter = "the broker refused the topic filter"

var brokerKinds = []brokerKind{
	{
		name: "mosquitto", start: mosquittoServer,
		speaks5: true, grantsQoS2: true, takesQoS2: true, dots: ".", spaces: " ",
		window: 20, copies: map[string]int{"3.1.1": 1, "5": 2}, shares: true, keeps: true,
	},
	{
		name: "nats", start: natsMQTTServer,
		window: 1024, copies: map[string]int{"3.1.1": 2}, denial: refusedFilter, dollar: true, keeps: true,
	},
	{
		name: "rabbitmq", start: rabbitMQServer,
		takesQoS2: true, dots: "/", spaces: " ",
		window: 10, copies: map[string]int{"3.1.1": 1}, denial: "some brokers end it when the user may not subscribe to a topic filter",
		dollar: true, keeps: true,
	},
	{
		name: "aedes", start: aedesServer,
		grantsQoS2: true, takesQoS2: true, dots: ".", spaces: " ",
		copies: map[string]int{"3.1.1": 1}, denial: refusedFilter,
	},
	{
		name: "embedded", start: embeddedServer,
		speaks5: true, saysTakenOver: true, grantsQoS2: true, takesQoS2: true, dots: ".", spaces: " ",
		copies: map[string]int{"3.1.1": 1, "5": 1}, denial: refusedFilter, shares: true, sharesDevices: true, keeps: true,
	},
}

// trial is a broker, to which iotcast speaks one version of MQTT.
type trial struct {
	*brokerKind
	t        *testing.T
	server   *mqttServer
	protocol string
	id       string // of streams, sources, clients and topics
	cast     *iotcast
	arrived  *arrivals
	devices  mqtt.Client
}

// properties are tried in this order, the first while nobody else publishes.
var properties = []struct {
	name string
	try  func(*trial)
}{
	{"QoS 0", func(b *trial) { b.deliversAll(0) }},
	{"QoS 1", func(b *trial) { b.deliversAll(1) }},
	{"QoS 2", func(b *trial) { b.deliversAll(2) }},
	{"dot", func(b *trial) { b.carries(".", b.dots) }},
	{"space", func(b *trial) { b.carries(" ", b.spaces) }},
	{"large", (*trial).deliversLarge},
	{"logins", (*trial).letsIn},
	{"wrong password", (*trial).keepsOut},
	{"filter not permitted", (*trial).denied},
	{"overlapping filters", (*trial).overlapping},
	{"share group", (*trial).shared},
	{"takeover", (*trial).takenOver},
	{"away", func(b *trial) { b.away(1, 10_000) }},
	{"away QoS 2", (*trial).awayQoS2},
}

// TestBrokers: what iotcast gets from each broker, over each version of MQTT that it speaks.
func TestBrokers(t *testing.T) {
	t.Parallel()
	var waited atomic.Bool // a broker has
	var routes strings.Builder
	for _, k := range brokerKinds {
		fmt.Fprintf(&routes, "      - path: /%s\n", k.name)
	}
	cast := newIotcast(t)
	cast.launch("streams", "-o", writeFile(t, fmt.Sprintf(`
http: { address: %q }
logger: { level: INFO, format: logfmt }
websocket_gateways:
  - label: main
    address: %q
    queue_bytes: 16777216
    routes:
%s`, cast.http, cast.gateway, routes.String())))
	cast.waitLog("Launching")
	t.Cleanup(func() { // each pause is only probably the end of a window
		const said = "such as max_inflight_messages of Mosquitto"
		if waited.Load() && !t.Failed() && !strings.Contains(cast.out.String(), said) {
			t.Error("the log does not say why batches are small")
		}
	})
	for i := range brokerKinds {
		kind := &brokerKinds[i]
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			b := &trial{brokerKind: kind, server: kind.start(t), cast: cast, arrived: newArrivals(t, cast.url("/"+kind.name))}
			if kind.window > 0 {
				waited.Store(true)
			}
			t.Run("window", func(t *testing.T) { b.in(t, "3.1.1", "window").waits() })
			for _, protocol := range []string{"3.1.1", "5"} {
				t.Run("MQTT "+protocol, func(t *testing.T) {
					if protocol == "5" && !kind.speaks5 {
						one := b.in(t, protocol, "version")
						one.refused("set protocol to 3.1.1", one.login(), "broker_id: "+one.id)
						return
					}
					for _, p := range properties {
						t.Run(p.name, func(t *testing.T) { p.try(b.in(t, protocol, p.name)) })
					}
				})
			}
			t.Run("restart", func(t *testing.T) { b.in(t, "", "restart").restarted() })
		})
	}
}

// in is the trial of one property.
func (b trial) in(t *testing.T, protocol, property string) *trial {
	t.Helper()
	cast := *b.cast
	cast.t = t
	b.t, b.cast, b.protocol = t, &cast, protocol
	b.id = strings.ToLower(strings.NewReplacer(" ", "-", ".", "").Replace(fmt.Sprintf("%s-%s-%s", b.name, protocol, property)))
	b.devices = b.connect("devices", "devices-"+b.id)
	return &b
}

// connect is a client that acknowledges at once.
func (b *trial) connect(user, clientID string) mqtt.Client {
	b.t.Helper()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + b.server.addr).SetClientID(clientID).SetCleanSession(false).
		SetUsername(user).SetPassword("right").SetAutoReconnect(false))
	waitToken(b.t, "connecting "+clientID, c.Connect())
	b.t.Cleanup(func() { c.Disconnect(0) })
	return c
}

// login are fields of iot_mqtt.
func (b *trial) login() string {
	return fmt.Sprintf("urls: [ %q ]\nuser: iotcast\npassword: right", "tcp://"+b.server.addr)
}

// run starts a trigger with these fields of iot_mqtt, and login's.
func (b *trial) run(name, fields string) { b.t.Helper(); b.runAs(name, b.login(), fields) }

// runAs runs a trigger with processors before iot_trigger.
func (b *trial) runAs(name, login, fields string, processors ...string) {
	b.t.Helper()
	fields = login + "\nprotocol: " + b.protocol + "\n" + fields
	b.cast.must(http.MethodPost, "/streams/"+name, fmt.Sprintf(`
input:
  iot_mqtt:
    %s
pipeline:
  processors: [ %s ]
output:
  websocket_broadcast: { gateway: main, path: /%s }
`, strings.ReplaceAll(fields, "\n", "\n    "), strings.Join(append(processors, "{ iot_trigger: {} }"), ", "), b.name))
}

// subscribed waits until a stream is so for the nth time.
func (b *trial) subscribed(name string, n int) {
	b.t.Helper()
	eventually(b.t, name+" is subscribed", func() bool {
		return b.logged(name, "Subscribed on the MQTT broker")+b.logged(name, "Resumed the session")+b.logged(name, "has lost the session") >= n
	})
}

// logged is how many lines of a stream's log contain text.
func (b *trial) logged(name, text string) (n int) {
	for line := range strings.Lines(b.cast.out.String()) {
		if strings.Contains(line, text) && slices.Contains(strings.Fields(line), "stream="+name) {
			n++
		}
	}
	return n
}

func (b *trial) end(name string) { b.t.Helper(); b.cast.must(http.MethodDelete, "/streams/"+name, "") }

// publish publishes, in order.
func (b *trial) publish(qos byte, messages ...message) {
	b.t.Helper()
	tokens := make([]mqtt.Token, len(messages))
	for i, m := range messages {
		tokens[i] = b.devices.Publish(m.topic, qos, false, m.payload)
	}
	for _, token := range tokens {
		waitToken(b.t, "publishing", token)
	}
}

// deliversAll: the topics of devices, of a registry and of a broker, by the filters that stand for all of them.
func (b *trial) deliversAll(qos byte) {
	published, granted := qos, qos
	if qos == 2 && !b.takesQoS2 {
		published = 1
		defer b.disconnects(message{b.id, nil}, 2)
	}
	if qos == 2 && !b.grantsQoS2 {
		granted = 1
	}
	device := "device-" + b.id
	const log = "{ log: { message: 'QoS ${! @mqtt_qos } of ${! @mqtt_topic }' } }"
	b.runAs(b.id, b.login(), fmt.Sprintf("registry_id: %s\nqos: %d", b.id, qos), log)
	b.runAs(b.id+"-broker", b.login(), fmt.Sprintf("broker_id: %s-broker\nqos: %d", b.id, qos), log)
	b.subscribed(b.id, 1)
	b.subscribed(b.id+"-broker", 1)
	sent := []entry{
		{topic: "$devices/" + device + "/events", device: device, registry: b.id},
		{topic: "$devices/" + device + "/state/größte", device: device, registry: b.id},
		{topic: "$registries/" + b.id + "/events", registry: b.id},
		{topic: b.id + "/größte/1", broker: b.id + "-broker"},
	}
	for i, e := range sent {
		sent[i].payload = []byte("of " + e.topic)
		b.publish(published, message{e.topic, sent[i].payload})
	}
	b.arrived.must(b.t, b.id, sent[:3]...)
	b.arrived.must(b.t, b.id+"-broker", sent[3:]...)
	for _, e := range sent {
		stream := e.registry + e.broker
		eventually(b.t, "the QoS is logged", func() bool { return b.logged(stream, "of "+e.topic) > 0 })
		if b.logged(stream, fmt.Sprintf("QoS %d of %s", granted, e.topic)) == 0 {
			b.t.Errorf("%s did not come at QoS %d", e.topic, granted)
		}
	}
	if lower := b.logged(b.id, "granted a lower QoS") > 0; lower != (granted < qos) {
		b.t.Errorf("the log says that a lower QoS was granted: %t", lower)
	}
	leftOut := func() bool { return b.logged(b.id+"-broker", "a filter that begins with a wildcard") > 0 }
	if b.dollar {
		eventually(b.t, "the log says that # has brought topics that begin with $", leftOut)
	} else if leftOut() {
		b.t.Error("# has brought topics that begin with $")
	}
	b.end(b.id)
	b.end(b.id + "-broker")
}

// disconnects: the broker ends the connection of a device that publishes this.
func (b *trial) disconnects(m message, qos byte) {
	b.t.Helper()
	b.devices.Publish(m.topic, qos, false, m.payload)
	eventually(b.t, "the device is disconnected", func() bool { return !b.devices.IsConnected() })
}

// carries: a topic with an odd character in its name.
func (b *trial) carries(odd, becomes string) {
	m := message{b.id + "/a" + odd + "b", []byte("1")}
	if becomes == "" {
		b.disconnects(m, 1)
		return
	}
	b.run(b.id, "broker_id: "+b.id+"\ntopics: [ "+b.id+"/# ]")
	b.subscribed(b.id, 1)
	b.publish(1, m)
	b.arrived.must(b.t, b.id, entry{topic: b.id + "/a" + becomes + "b", broker: b.id, payload: m.payload})
	b.end(b.id)
}

func (b *trial) deliversLarge() {
	b.run(b.id, "broker_id: "+b.id+"\ntopics: [ "+b.id+"/# ]")
	b.subscribed(b.id, 1)
	b.publish(1, message{b.id + "/1", largest})
	b.arrived.must(b.t, b.id, entry{topic: b.id + "/1", broker: b.id, payload: largest})
	b.end(b.id)
}

// letsIn: each way to log in that the broker has beside the usual one.
func (b *trial) letsIn() {
	for name, login := range b.server.logins {
		id := b.id + "-" + strings.ReplaceAll(strings.ToLower(name), " ", "-")
		b.runAs(id, login, "broker_id: "+id+"\ntopics: [ "+id+" ]")
		b.subscribed(id, 1)
		b.publish(1, message{id, []byte(name)})
		b.arrived.must(b.t, id, entry{topic: id, broker: id, payload: []byte(name)})
		b.end(id)
	}
}

// refused: iotcast says so in the log, and is not ready.
func (b *trial) refused(want, login, fields string) {
	b.t.Helper()
	b.runAs(b.id, login, fields)
	eventually(b.t, "the log says "+strconv.Quote(want), func() bool { return b.logged(b.id, want) > 0 })
	eventually(b.t, "iotcast is not ready", func() bool { return !b.cast.ready() })
	b.end(b.id)
}

func (b *trial) keepsOut() {
	b.refused("check user, password and tls", strings.Replace(b.login(), "right", "wr0ng", 1), "broker_id: "+b.id)
	if strings.Contains(b.cast.out.String(), "wr0ng") {
		b.t.Error("the password is in the log")
	}
}

// denied: a filter that the user may not read.
func (b *trial) denied() {
	if b.denial == "" {
		secret, end := message{"secret/" + b.id, []byte("no")}, message{b.id + "/end", []byte("yes")}
		b.run(b.id, fmt.Sprintf("broker_id: %s\ntopics: [ %s, %s ]", b.id, secret.topic, end.topic))
		b.subscribed(b.id, 1)
		b.publish(1, secret, end)
		b.arrived.must(b.t, b.id, entry{topic: end.topic, broker: b.id, payload: end.payload})
		b.end(b.id)
		return
	}
	source := "broker_id: " + b.id + "\ntopics: [ secret/" + b.id + " ]"
	if b.server.denying != nil {
		denying := *b
		denying.server, source = b.server.denying, "registry_id: "+b.id
		b = &denying
	}
	b.refused(b.denial, b.login(), source)
}

// overlapping: two filters that both cover a topic, and neither all of the other.
func (b *trial) overlapping() {
	b.run(b.id, fmt.Sprintf("broker_id: %[1]s\ntopics: [ %[1]s/a/+, %[1]s/+/b ]", b.id))
	b.subscribed(b.id, 1)
	both := message{b.id + "/a/b", []byte("both")}
	b.publish(1, both, message{b.id + "/a/end", nil}, message{b.id + "/end/b", nil})
	copies := func() (n int) {
		for _, e := range b.arrived.of(b.id) {
			if e.topic == both.topic {
				n++
			}
		}
		return n
	}
	eventually(b.t, "all has come", func() bool { return len(b.arrived.of(b.id))-copies() == 2 })
	eventually(b.t, "the message has come as often as it does", func() bool { return copies() >= b.copies[b.protocol] })
	if n := copies(); n != b.copies[b.protocol] {
		b.t.Errorf("the message has come %d times, want %d", n, b.copies[b.protocol])
	}
	b.end(b.id)
}

// shared: two triggers divide what is published, or neither gets it.
func (b *trial) shared() {
	b.share("", b.id+"/share", b.id+"/end", "broker_id", b.shares)
	b.share("-devices", "$devices/"+b.id+"/events", "$devices/"+b.id+"/state", "registry_id", b.sharesDevices)
}

func (b *trial) share(suffix, topic, marker, source string, works bool) {
	const messages = 40
	members := []string{b.id + suffix + "-a", b.id + suffix + "-b"}
	for _, id := range members {
		b.run(id, fmt.Sprintf("%s: %s\ntopics: [ $share/g%s/%s, %s ]", source, id, suffix, topic, marker))
		b.subscribed(id, 1)
	}
	for i := range messages {
		b.publish(1, message{topic, []byte(strconv.Itoa(i))})
	}
	b.publish(1, message{marker, nil})
	got := func(topic string) (each []int, payloads []string) {
		for _, id := range members {
			n := 0
			for _, e := range b.arrived.of(id) {
				if e.topic == topic {
					n++
					payloads = append(payloads, string(e.payload))
				}
			}
			each = append(each, n)
		}
		slices.Sort(payloads)
		return each, slices.Compact(payloads)
	}
	eventually(b.t, "both have the end", func() bool { each, _ := got(marker); return !slices.Contains(each, 0) })
	if works {
		eventually(b.t, "all has come", func() bool { _, all := got(topic); return len(all) == messages })
	}
	each, all := got(topic)
	if total := each[0] + each[1]; works && total != messages || !works && total > 0 { // how evenly is the broker's affair
		b.t.Errorf("the members of a group for %s have got %v, together %d of %d", topic, each, len(all), messages)
	}
	for _, id := range members {
		b.end(id)
	}
}

// takenOver: another client has connected under the client ID. iotcast says so, comes back, and gets what comes.
func (b *trial) takenOver() {
	b.run(b.id, fmt.Sprintf("broker_id: %[1]s\ntopics: [ %[1]s/# ]\nclient_id: %[1]s\nclean_session: false", b.id))
	b.subscribed(b.id, 1)
	b.connect("iotcast", b.id)
	b.subscribed(b.id, 2)
	if b.logged(b.id, "Connection to the MQTT broker lost") != 1 {
		b.t.Error("the log does not say once that the connection is lost")
	}
	if said := b.logged(b.id, "Session taken over (0x8E)") > 0; said != (b.protocol == "5" && b.saysTakenOver) {
		b.t.Errorf("the log says why: %t", said)
	}
	b.publish(1, message{b.id + "/1", []byte("back")})
	b.arrived.must(b.t, b.id, entry{topic: b.id + "/1", broker: b.id, payload: []byte("back")})
	b.end(b.id)
}

// away: the session keeps what comes while iotcast is disconnected. Batches, though they would be larger than the window, do not
// wait for more than the broker sends: at one of them a period, the messages would take minutes.
func (b *trial) away(qos byte, messages int) {
	fields := fmt.Sprintf("broker_id: %[1]s\ntopics: [ %[1]s/# ]\nqos: %[2]d\nclient_id: %[1]s\nclean_session: false\nbatching: { count: 2000, period: 5s }", b.id, qos)
	b.run(b.id, fields)
	b.subscribed(b.id, 1)
	b.end(b.id)
	sent, atOnce := b.numbers(0, messages), 500
	if qos == 2 {
		atOnce = 20 // Mosquitto answers no more from one publisher
	}
	for part := range slices.Chunk(sent, atOnce) {
		b.publish(qos, asMessages(part)...)
	}
	b.run(b.id, fields)
	b.arrived.must(b.t, b.id, sent...)
	if b.logged(b.id, "Resumed the session") != 1 {
		b.t.Error("the session was not resumed")
	}
	if n := b.logged(b.id, "waited for acknowledgements"); n > 1 {
		b.t.Errorf("the log says %d times why batches are small", n)
	}
	b.end(b.id)
}

// awayQoS2: where the broker grants it.
func (b *trial) awayQoS2() {
	if b.grantsQoS2 {
		b.away(2, 1000)
	}
}

func (b *trial) numbers(first, after int) (all []entry) {
	for i := first; i < after; i++ {
		all = append(all, entry{topic: b.id + "/" + strconv.Itoa(i%10), broker: b.id, payload: strconv.AppendInt(nil, int64(i), 10)})
	}
	return all
}

func asMessages(entries []entry) (all []message) {
	for _, e := range entries {
		all = append(all, message{e.topic, e.payload})
	}
	return all
}

// waits: the broker sends a window of messages to who acknowledges nothing, and what has QoS 0 beside it.
func (b *trial) waits() {
	const messages = 1500
	want := b.window
	if want == 0 {
		want = messages
	}
	var mu sync.Mutex
	got := map[string]int{}
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + b.server.addr).SetClientID(b.id).
		SetUsername("iotcast").SetPassword("right").SetAutoReconnect(false).SetAutoAckDisabled(true).
		SetDefaultPublishHandler(func(_ mqtt.Client, m mqtt.Message) {
			mu.Lock()
			defer mu.Unlock()
			got[m.Topic()]++
		}))
	waitToken(b.t, "connecting", c.Connect())
	defer c.Disconnect(0)
	waitToken(b.t, "subscribing", c.Subscribe(b.id, 1, nil))
	waitToken(b.t, "subscribing", c.Subscribe(b.id+"/end", 0, nil))
	count := func(topic string) int {
		mu.Lock()
		defer mu.Unlock()
		return got[topic]
	}
	for range messages / 500 {
		b.publish(1, slices.Repeat([]message{{b.id, []byte("x")}}, 500)...)
	}
	eventually(b.t, fmt.Sprintf("%d messages have come", want), func() bool { return count(b.id) >= want })
	b.publish(0, message{b.id + "/end", nil})
	eventually(b.t, "what does not wait has come", func() bool { return count(b.id+"/end") == 1 })
	if n := count(b.id); n != want {
		b.t.Errorf("%d messages have come without an acknowledgement, want %d", n, want)
	}
}

// restarted: one trigger is connected when the broker is restarted, another is away while its messages wait.
func (b *trial) restarted() {
	const messages = 100
	protocols := []string{"3.1.1"}
	if b.speaks5 {
		protocols = append(protocols, "5")
	}
	var connected, away []*trial
	for _, protocol := range protocols {
		for property, list := range map[string]*[]*trial{"restart": &connected, "restart away": &away} {
			one := b.in(b.t, protocol, property)
			one.session()
			one.subscribed(one.id, 1)
			*list = append(*list, one)
		}
	}
	for _, one := range away {
		one.end(one.id)
		one.publish(1, asMessages(one.numbers(0, messages))...)
	}
	b.server.restart()
	for _, one := range append(connected, away...) {
		if slices.Contains(away, one) {
			one.session()
		}
		one.subscribed(one.id, 2)
		one.devices = one.connect("devices", "again-"+one.id)
		one.publish(1, asMessages(one.numbers(messages, 2*messages))...)
		want := one.numbers(messages, 2*messages)
		if slices.Contains(away, one) && b.keeps {
			want = one.numbers(0, 2*messages)
		}
		one.arrived.must(b.t, one.id, want...)
		text := "Resumed the session"
		if !b.keeps && slices.Contains(connected, one) {
			text = "has lost the session"
		}
		if kept := one.logged(one.id, text); (kept == 0) == (b.keeps || slices.Contains(connected, one)) {
			b.t.Errorf("the log says %d times %q", kept, text)
		}
		one.end(one.id)
	}
}

// session starts the trigger of a persistent session.
func (b *trial) session() {
	b.run(b.id, fmt.Sprintf("broker_id: %[1]s\ntopics: [ %[1]s/# ]\nclient_id: %[1]s\nclean_session: false\nbatching: { count: 100, period: 50ms }", b.id))
}

// arrivals is what has come over a route, in order, by registry or broker.
type arrivals struct {
	mu  sync.Mutex
	all map[string][]entry
}

func newArrivals(t *testing.T, url string) *arrivals {
	a := &arrivals{all: map[string][]entry{}}
	ws, _, err := websocket.Dial(t.Context(), url, nil)
	if err != nil {
		t.Fatal(err)
	}
	ws.SetReadLimit(-1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			_, envelope, err := ws.Read(context.Background())
			if err != nil {
				return
			}
			a.take(t, envelope)
		}
	}()
	t.Cleanup(func() {
		_ = ws.CloseNow()
		<-done
	})
	return a
}

func (a *arrivals) take(t *testing.T, envelope []byte) {
	var e struct {
		Messages []struct {
			Details struct {
				Registry string `json:"registry_id"`
				Device   string `json:"device_id"`
				Broker   string `json:"broker_id"`
				Topic    string `json:"mqtt_topic"`
				Payload  []byte `json:"payload"`
			} `json:"details"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(envelope, &e); err != nil {
		t.Errorf("envelope %.300q: %v", envelope, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range e.Messages {
		d := m.Details
		source := d.Registry + d.Broker
		e := entry{registry: d.Registry, device: d.Device, broker: d.Broker, topic: d.Topic, payload: d.Payload}
		a.all[source] = append(a.all[source], e)
	}
}

func (a *arrivals) of(source string) []entry {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.all[source])
}

// must waits until the messages of a source are these, those of each topic in this order, and no others. Between topics MQTT
// promises no order (MQTT 5.0, 4.6), and NATS has a queue for each filter.
func (a *arrivals) must(t *testing.T, source string, want ...entry) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d messages of %s", len(want), source), func() bool {
		a.mu.Lock()
		defer a.mu.Unlock()
		return len(a.all[source]) >= len(want)
	})
	byTopic := func(a, b entry) int { return strings.Compare(a.topic, b.topic) }
	got, want := a.of(source), slices.Clone(want)
	slices.SortStableFunc(got, byTopic)
	slices.SortStableFunc(want, byTopic)
	if len(got) != len(want) {
		t.Errorf("%s: %d messages, want %d", source, len(got), len(want))
	}
	for i := range min(len(got), len(want)) {
		if g, w := got[i].String(), want[i].String(); g != w {
			t.Errorf("%s: message %d is %.300s, want %.300s", source, i, g, w)
			return
		}
	}
}

func (e entry) String() string {
	return fmt.Sprintf("of %q (registry %q, device %q, broker %q): %s", e.topic, e.registry, e.device, e.broker, e.payload)
}
