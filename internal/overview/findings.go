package overview

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Severity is how bad a finding is.
type Severity string

// Of the severities the first is the worst.
const (
	Error   Severity = "error"   // something does not work
	Warning Severity = "warning" // something is lost, or is about to be
	Notice  Severity = "notice"  // good to know
)

// Finding is something that is wrong, in words.
type Finding struct {
	ID       string    `json:"id"` // the same as long as it is there
	Severity Severity  `json:"severity"`
	What     string    `json:"what"` // a sentence
	Why      string    `json:"why,omitempty"`
	Mend     string    `json:"mend"`           // what to do
	View     string    `json:"view,omitempty"` // of the console, such as #/triggers/telemetry
	Since    time.Time `json:"since"`
}

// recent is what has been counted in the last five minutes, by the name of what was counted.
type recent map[string]*[window]float64

const window = int(5 * time.Minute / Period)

// add moves on by a period, and forgets what has not been counted since.
func (r recent) add(from, to *reading) {
	for name, counts := range r {
		copy(counts[1:], counts[:window-1])
		counts[0] = 0
		if *counts == [window]float64{} {
			delete(r, name)
		}
	}
	count := func(n float64, name ...string) {
		if n <= 0 {
			return
		}
		key := strings.Join(name, "\n")
		if r[key] == nil {
			r[key] = new([window]float64)
		}
		r[key][0] += n
	}
	for stream, now := range to.triggers {
		before := from.countedOf(stream)
		count(rise(before.failed, now.failed), "failed", stream)
		count(rise(before.givenUp, now.givenUp), "given up", stream)
		count(rise(before.dropped, now.dropped), "dropped", stream)
		count(rise(before.nobody, now.nobody), "nobody", stream)
		count(rise(before.sessionsLost, now.sessionsLost), "session", stream)
		count(rise(before.envelopes, now.envelopes), "sent", stream)
	}
	for at, now := range to.routes {
		before := from.servedOf(at)
		count(rise(before.dropped, now.dropped), "left out", at.gateway, at.path)
		count(rise(before.slow, now.slow), "slow", at.gateway, at.path)
		for reason, n := range now.gaps {
			count(rise(before.gaps[reason], n), "gap "+reason, at.gateway, at.path)
		}
		for reason, n := range now.refused {
			count(rise(before.refused[reason], n), "refused", at.gateway, at.path, reason)
		}
		for handler, n := range now.handlers {
			count(rise(before.handlers[handler], n), "handler", at.gateway, at.path, handler)
		}
	}
	for label, now := range to.gateways {
		before := from.gateways[label]
		if before == nil {
			before = new(listening)
		}
		count(rise(before.acceptFailed, now.acceptFailed), "accept", label)
		for reason, n := range now.refused {
			count(rise(before.refused[reason], n), "refused", label, "", reason)
		}
	}
}

// of returns the sum of the last five minutes of each name that begins so, by the rest of the name.
func (r recent) of(kind string) map[string]int {
	sums := map[string]int{}
	for name, counts := range r {
		if rest, ok := strings.CutPrefix(name, kind+"\n"); ok {
			sum := 0.0
			for _, n := range counts {
				sum += n
			}
			sums[rest] = int(sum + .5)
		}
	}
	return sums
}

// longLag is how old, in seconds, the oldest message may be that is not acknowledged. A batch may wait for a minute.
const longLag = 70

// find makes the findings, the worst first. Now is nil where the metrics cannot be read, which err says.
func find(now *reading, err error, connected map[string]bool, r recent, facts Facts) []Finding {
	f := findings{facts: facts, all: []Finding{}}
	if err != nil {
		f.add(Warning, "metrics", "What flows cannot be shown, since there are no metrics.", err.Error(),
			"Set metrics.prometheus in the config: it is the default, and costs little.", "")
	} else {
		f.triggers(now, connected, r)
		f.gateways(now, r)
		f.routes(r)
	}
	f.limits(now)
	for id, why := range facts.Failed {
		f.add(Error, "start "+id, fmt.Sprintf("The trigger %s cannot be started.", id), why,
			"Change the trigger, or what the reason names. It is tried again every 5 s.", "#/triggers/"+url.PathEscape(id))
	}
	for _, node := range facts.Unreachable {
		f.add(Warning, "node "+node, fmt.Sprintf("The node %s does not answer.", node), "It was asked for its connections, which are in no list until it answers.",
			"Is it running, and reached by connection_api.forward? If it is not to be there any more, take it out of connection_api.nodes.", "#/connections")
	}
	if facts.Unkept {
		f.add(Notice, "unkept", "Registries, devices and triggers are lost when this process ends.", "",
			"Set management_api.state_dir to a directory that stays.", "")
	}
	if facts.Unwritten != "" {
		f.add(Error, "unwritten", "Registries, devices and triggers cannot be changed.", fmt.Sprintf("The last change could not be written: %s.", facts.Unwritten),
			"See to the disk of management_api.state_dir, and make the change again. What runs is not touched.", "")
	}
	if facts.Open != "" {
		f.add(Warning, "open", "Tokens and passwords can be read on the way to the management API.",
			fmt.Sprintf("It listens on %s without TLS.", facts.Open),
			"Set management_api.tls, or put a proxy with TLS before it and let it listen on 127.0.0.1.", "")
	}
	order := map[Severity]int{Error: 0, Warning: 1, Notice: 2}
	slices.SortFunc(f.all, func(a, b Finding) int {
		return cmp.Or(order[a.Severity]-order[b.Severity], strings.Compare(a.ID, b.ID))
	})
	return f.all
}

// findings are made one by one.
type findings struct {
	facts Facts
	all   []Finding
}

func (f *findings) add(severity Severity, id, what, why, mend, view string) {
	f.all = append(f.all, Finding{ID: strings.ReplaceAll(id, "\n", " "), Severity: severity, What: what, Why: why, Mend: mend, View: view})
}

func (f *findings) triggers(now *reading, connected map[string]bool, r recent) {
	for stream, c := range now.triggers {
		who := f.whoIs(stream)
		if !connected[stream] && c.up+c.refused > 0 {
			f.add(Error, "broker "+stream, fmt.Sprintf("%s is not connected.", who), cmp.Or(f.facts.Disconnected[stream], "It is tried again all the time; the log says why it fails."),
				"Is the MQTT broker running, is the registry enabled, and are address, user and password right?", f.viewOf(stream))
		}
		if c.lag > longLag {
			f.add(Warning, "lag "+stream, fmt.Sprintf("%s is behind: its oldest message has waited for %.0f s.", who, c.lag), fmt.Sprintf("%.0f messages are not acknowledged.", c.unacked),
				"Something behind the input is slow or fails: look at the failures, and at the output.", f.viewOf(stream))
		}
	}
	for stream, n := range r.of("failed") {
		f.add(Warning, "failed "+stream, fmt.Sprintf("The output of %s has failed %s in the last 5 minutes.", lower(f.whoIs(stream)), times(n)), "What is not given up is tried again.",
			"The log has each error. Does the gateway with the path still exist?", f.viewOf(stream))
	}
	for stream, n := range r.of("given up") {
		mend, view := "The messages stand at the trigger, each with its reason. A dead-letter topic in the template of triggers keeps them.", f.viewOf(stream)
		if !f.facts.Triggers[stream] {
			mend, view = "The messages stand below Message, each with its reason. A dead-letter topic in the stream keeps them.", "#/message"
		}
		f.add(Error, "given up "+stream, fmt.Sprintf("%s has given up %s in the last 5 minutes.", f.whoIs(stream), several(n, "message")), "They failed in the pipeline, or can never be sent.",
			mend, view)
	}
	for stream, n := range r.of("dropped") {
		f.add(Warning, "dropped "+stream, fmt.Sprintf("%s has dropped %s in the last 5 minutes.", f.whoIs(stream), several(n, "message")), "They came faster than they could be sent.",
			"Raise max_unacked or batching.count of iot_mqtt; to lose none of QoS 1 and 2, set clean_session to false.", f.viewOf(stream))
	}
	for stream, n := range r.of("session") {
		f.add(Warning, "session "+stream, fmt.Sprintf("The MQTT broker has lost the session of %s %s.", lower(f.whoIs(stream)), times(n)), "Messages that it kept may be lost.",
			"Let the broker keep sessions on disk, such as with persistence of Mosquitto or mqtt_broker.storage_file.", f.viewOf(stream))
	}
	sent := r.of("sent")
	for stream, n := range r.of("nobody") {
		if n == sent[stream] || sent[stream] == 0 {
			f.add(Notice, "nobody "+stream, fmt.Sprintf("Nobody gets what %s sends.", lower(f.whoIs(stream))), "No connection is open on its path.",
				"Open one, such as the viewer of the gateway; or give the route a history, for those that come later.", "#/connections")
		}
	}
}

func (f *findings) gateways(now *reading, r recent) {
	for label, l := range now.gateways {
		if f.facts.Gateways == nil && l.up == 0 {
			f.add(Error, "gateway "+label, fmt.Sprintf("The gateway %s does not listen.", label), "The log says why.", "Is its address taken by another process, or not one of this machine?", "")
		}
	}
	for label, n := range r.of("accept") {
		f.add(Error, "accept "+label, fmt.Sprintf("The gateway %s could not accept connections, %s in the last 5 minutes.", label, times(n)), "As a rule the process may not open more files.",
			"Raise its limit of open files: ulimit -n, or LimitNOFILE of systemd.", "")
	}
}

func (f *findings) routes(r recent) {
	for at, n := range r.of("slow") {
		f.add(Warning, "slow "+at, fmt.Sprintf("%s closed for being slow on %s in the last 5 minutes.", were(n, "connection"), nameOf(at)), "More than queue_bytes waited for each.",
			"Raise queue_bytes, or send less, by watch or min_interval; with slow_consumer: drop_oldest they stay and are told of the gap.", connectionsOf(at))
	}
	told := r.of("gap slow_consumer") // each before the next message that its client reads
	for at, n := range r.of("left out") {
		f.add(Warning, "left out "+at, fmt.Sprintf("%s not sent to slow connections on %s in the last 5 minutes.", were(n, "message"), nameOf(at)), "slow_consumer drops what they do not read in time. They were told of "+several(told[at], "gap")+".",
			"They get all with a larger queue_bytes, or with less to read, by watch or min_interval.", connectionsOf(at))
	}
	for at, n := range r.of("gap history") {
		f.missed(at, n)
	}
	for name, n := range r.of("handler") {
		at, handler := cutLast(name)
		f.add(Error, "handler "+name, fmt.Sprintf("%s on %s failed %s in the last 5 minutes.", handler, nameOf(at), times(n)), "",
			"The log has each error: look at the processors of the handler.", "")
	}
	for name, n := range r.of("refused") {
		at, reason := cutLast(name)
		why, mend := refusal(reason)
		severity := Notice
		if strings.Contains(reason, "max_connections") || reason == "on_connect_failed" || reason == "token_keys_unavailable" {
			severity = Warning
		}
		f.add(severity, "refused "+name, fmt.Sprintf("%s refused on %s in the last 5 minutes.", were(n, "connection"), nameOf(at)), why, mend, "")
	}
}

// missed is for clients that came back to a route and could not get all that they had missed.
func (f *findings) missed(at string, n int) {
	gateway, path, _ := strings.Cut(at, "\n")
	severity, why := Notice, "The path has no history."
	mend := "Give the route a history, if they are to get what they have missed."
	if f.facts.Gateways == nil || f.facts.Gateways[gateway].Routes[path].Keeps {
		severity, why = Warning, "The history of the path does not reach back so far. That of a process that has just started is empty."
		mend = "Raise max_messages, max_bytes or max_age of the history. The input envelope_log fills it again after a start."
	}
	f.add(severity, "gap "+at, fmt.Sprintf("Clients that came back to %s were told of %s in the last 5 minutes.", nameOf(at), several(n, "gap")), why, mend, connectionsOf(at))
}

// limits are those that are nearly reached.
func (f *findings) limits(now *reading) {
	for label, g := range f.facts.Gateways {
		if g.Failed != "" {
			f.add(Error, "gateway "+label, fmt.Sprintf("The gateway %s does not accept connections.", label), g.Failed,
				"Is its address taken by another process, or not one of this machine? Has the process any file left to open (ulimit -n)?", "")
		}
		f.near("connections "+label, "The gateway "+label, g.Connections, g.MaxConnections, connectionsOf(label+"\n"))
		for path, r := range g.Routes {
			at := label + "\n" + path
			f.near("connections "+at, "The path "+nameOf(at), r.Connections, r.MaxConnections, connectionsOf(at))
			if now == nil || now.routes[route{label, path}] == nil {
				continue
			}
			if queued := now.routes[route{label, path}].queued; queued > nearly*float64(r.QueueBytes) {
				f.add(Warning, "queue "+at, fmt.Sprintf("A connection on %s does not keep up: %.0f of %d bytes wait for it.", nameOf(at), queued, r.QueueBytes),
					"With more, slow_consumer closes it or leaves messages out.", "Raise queue_bytes, or send less, by watch or min_interval.", connectionsOf(at))
			}
		}
	}
}

// nearly is the part of a limit from which it is told of.
const nearly = .9

func (f *findings) near(id, what string, n, most int, view string) {
	if most > 0 && float64(n) >= nearly*float64(most) {
		f.add(Warning, id, fmt.Sprintf("%s has %d of the %d connections that it may have.", what, n, most), "", "Raise max_connections, or add a node.", view)
	}
}

// refusal says what the reason of a refused handshake means, and what to do.
func refusal(reason string) (why, mend string) {
	words := map[string][2]string{
		"handshake":              {"The requests were no WebSocket handshake.", "A probe or a browser's address bar does that. For server-sent events set sse on the route."},
		"query":                  {"A parameter of their URL was wrong, or asked for what the route cannot do.", "The answer to the client says which: see docs/live.md for watch, latest and history."},
		"token_missing":          {"They had no token.", "Give the client one, by the header, query_parameter or subprotocol_prefix that the gateway takes."},
		"token_expired":          {"Their tokens had expired.", "Let the client fetch a new one before each connection: token may be a function in iotcast.js."},
		"token_keys_unavailable": {"The keys for tokens could not be fetched.", "Is jwks_url right, and can this process reach it?"},
		"token_route":            {"Their tokens do not open the path.", "See routes_claim of the gateway's tokens."},
		"token_watch":            {"Their tokens do not say what may be watched.", "See watch.claim of the route."},
		"origin":                 {"They came from pages of an origin that may not connect.", "Add it to allowed_origins, if it is yours."},
		"on_connect":             {"The handler on_connect refused them.", "That is as you have configured it."},
		"on_connect_failed":      {"The handler on_connect failed.", "The log has the error."},
		"path":                   {"There is no such route.", "Is the path in the client's URL one of websocket_gateways[].routes?"},
		"handshake_rate":         {"They came faster than handshake_rate allows.", "Raise it, or let clients wait before they come back."},
		"max_connections_per_ip": {"Their address has as many connections as one may have.", "Behind a proxy set trusted_proxies; else raise max_connections_per_ip."},
		"max_connections":        {"The gateway has as many connections as it may have.", "Raise max_connections, or add a node."},
		"route_max_connections":  {"The path has as many connections as it may have.", "Raise max_connections of the route, or add a node."},
	}
	if text, ok := words[reason]; ok {
		return text[0], text[1]
	}
	if strings.HasPrefix(reason, "token_") {
		return "Their tokens were no good: " + strings.ReplaceAll(strings.TrimPrefix(reason, "token_"), "_", " ") + ".", "Compare the token with the gateway's tokens: keys, issuer, audiences and required claims."
	}
	return "The reason is " + reason + ".", "The table of websocket_handshakes in docs/reference/websocket_gateways.md says what it means."
}

// whoIs begins a sentence. Without a name it is the stream of a process that has one.
func (f *findings) whoIs(stream string) string {
	switch {
	case stream == "":
		return "The pipeline"
	case f.facts.Triggers[stream]:
		return "The trigger " + stream
	}
	return "The stream " + stream
}

func lower(text string) string { return strings.ToLower(text[:1]) + text[1:] }

// viewOf is the view of a trigger. Other streams have none.
func (f *findings) viewOf(stream string) string {
	if !f.facts.Triggers[stream] {
		return ""
	}
	return "#/triggers/" + url.PathEscape(stream)
}

// nameOf is a route for people, of its gateway and path with a line break between.
func nameOf(at string) string {
	gateway, path, _ := strings.Cut(at, "\n")
	if path == "" {
		return "the gateway " + gateway
	}
	return gateway + " " + path
}

func connectionsOf(at string) string {
	gateway, path, _ := strings.Cut(at, "\n")
	query := url.Values{"gateway": {gateway}}
	if path != "" {
		query.Set("path", path)
	}
	return "#/connections?" + query.Encode()
}

func cutLast(text string) (before, last string) {
	i := strings.LastIndexByte(text, '\n')
	if i < 0 {
		return text, ""
	}
	return text[:i], text[i+1:]
}

func several(n int, what string) string {
	if n == 1 {
		return "one " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func were(n int, what string) string {
	if n == 1 {
		return "One " + what + " was"
	}
	return fmt.Sprintf("%d %ss were", n, what)
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
