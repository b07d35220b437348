package tests

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

const tokenSecret = "a secret that operators would not choose"

// bearer is a token of a service account, signed with HS256 (RFC 7515).
func bearer(account string) string {
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." +
		encode(fmt.Appendf(nil, `{"sub":%q,"aud":"iotcast","exp":%d}`, account, time.Now().Add(time.Hour).Unix()))
	mac := hmac.New(sha256.New, []byte(tokenSecret))
	mac.Write([]byte(signed))
	return "Bearer " + signed + "." + encode(mac.Sum(nil))
}

// connectionAPI calls the connection API of a running iotcast.
type connectionAPI struct {
	t       *testing.T
	address string
}

func (a *connectionAPI) call(account, method, path, body string) (status int, answer map[string]any) {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, "http://"+a.address+"/apigateways/websocket/v1"+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if account != "" {
		req.Header.Set("Authorization", bearer(account))
	}
	res, err := apiClient.Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	if err := json.Unmarshal(content, &answer); err != nil {
		a.t.Errorf("%s %s: %v: %s", method, path, err, content)
	}
	return res.StatusCode, answer
}

// must fails unless the status is the one.
func (a *connectionAPI) must(want int, account, method, path, body string) map[string]any {
	a.t.Helper()
	status, answer := a.call(account, method, path, body)
	if status != want {
		a.t.Errorf("%s: %s %s: %d %v, want %d", account, method, path, status, answer, want)
	}
	return answer
}

// TestConnectionAPI: a backend with a token sees connections, sends to one, to all
// of a path, and closes one, while a trigger with an account of its own goes on.
func TestConnectionAPI(t *testing.T) {
	t.Parallel()
	cast := newIotcast(t)
	api, managed := &connectionAPI{t, freeAddress(t)}, &connectionAPI{t, freeAddress(t)}
	cast.launch("streams", "-o", writeFile(t, root(cast.gateway, cast.http,
		"access_bindings:",
		"  - { service_account_id: dashboard, roles: [ api-gateway.viewer ] }",
		"  - { service_account_id: backend, roles: [ api-gateway.websocketBroadcaster ] }",
	)+fmt.Sprintf(`
connection_api:
  address: %q
  tokens: { secret: %q, audiences: [ iotcast ] }
management_api: { address: %q }
`, api.address, tokenSecret, managed.address)))
	cast.waitLog("Launching")
	cast.waitReady()

	one, other := connectGo(t, cast.url("/telemetry")), connectWS(t, cast.url("/telemetry"))
	third := connectGo(t, cast.url("/alarms"))
	other.waitOpen()

	shown := api.must(200, "dashboard", "GET", "/connections/"+one.id, "")
	if shown["id"] != one.id || shown["gatewayId"] != "main" || shown["identity"].(map[string]any)["sourceIp"] != "127.0.0.1" {
		t.Error(shown)
	}
	list := api.must(200, "dashboard", "GET", "/connections?path=/telemetry", "")
	if got := list["connections"].([]any); len(got) != 2 {
		t.Error(list)
	}
	api.must(403, "dashboard", "POST", "/connections/"+one.id+":send", `{"data":"SGVsbG8=","type":"TEXT"}`)
	api.must(403, "stranger", "GET", "/connections/"+one.id, "")
	api.must(401, "", "GET", "/connections/"+one.id, "")
	api.must(404, "backend", "GET", "/connections/0190e7a4-0000-7000-8000-000000000000", "")
	api.must(400, "backend", "POST", "/connections/"+one.id+":send", `{"data":"?"}`)

	api.must(200, "backend", "POST", "/connections/"+one.id+":send", `{"data":"SGVsbG8=","type":"TEXT"}`)
	api.must(200, "backend", "POST", "/connections/"+one.id+":send", `{"data":"AAEC","type":"BINARY"}`)
	if got := one.waitMessages(2); got[0].text != "Hello" || got[0].binary || got[1].text != "\x00\x01\x02" || !got[1].binary {
		t.Errorf("%+v", got)
	}
	if sent := api.must(200, "backend", "POST", "/gateways/main:broadcast", `{"path":"/telemetry","data":"YWxs","type":"TEXT"}`); sent["connections"] != 2.0 {
		t.Error(sent)
	}
	one.waitMessages(3)
	if got := other.waitMessages(1); got[0].text != "all" {
		t.Errorf("%+v", got)
	}

	// The management API has the same, without tokens for whoever reaches it.
	managed.must(200, "", "GET", "/connections/"+one.id, "")
	if list := managed.must(200, "", "GET", "/connections?path=/telemetry", ""); len(list["connections"].([]any)) != 2 {
		t.Error(list)
	}
	extra := connectGo(t, cast.url("/alarms"))
	managed.must(200, "", "DELETE", "/connections/"+extra.id, "")
	extra.waitClosed(1000)

	api.must(200, "backend", "DELETE", "/connections/"+one.id, "")
	one.waitClosed(1000)
	eventually(t, "the connection is not found any more", func() bool {
		status, _ := api.call("backend", "GET", "/connections/"+one.id, "")
		return status == 404
	})
	other.mustBeOpen()
	third.mustBeOpen()
	if len(third.received()) != 0 {
		t.Error("a message for another path has arrived")
	}
	if n := cast.metric("connection_api_requests", `method="send"`); n != 4 {
		t.Errorf("%v requests to send are counted", n)
	}

	// A trigger needs the role, too, and says which.
	stream := `{"input":{"generate":{"mapping":"root = 1"}},"output":{"websocket_broadcast":{"gateway":"main","path":"/alarms","service_account_id":%q}}}`
	if status, answer := cast.request("POST", "/streams/lacks", fmt.Sprintf(stream, "dashboard")); status == 200 || !strings.Contains(answer, "api-gateway.websocketBroadcaster") || !strings.Contains(answer, "dashboard") {
		t.Error(status, answer)
	}
	cast.must("POST", "/streams/has", fmt.Sprintf(stream, "backend"))
	third.waitMessages(1)

	cast.terminate()
	other.waitClosed(1001)
}

// TestConnectionAPIRefusesToBeOpen: without tokens it listens on this machine only.
func TestConnectionAPIRefusesToBeOpen(t *testing.T) {
	t.Parallel()
	config := writeFile(t, "connection_api: { address: '0.0.0.0:0' }\ninput: { generate: { mapping: 'root = 1' } }\noutput: { drop: {} }\n")
	const want = "can be reached from other machines, and without tokens everyone could send"
	if printed, code := runProgram(t, binary, "lint", config); code == 0 || !strings.Contains(printed, want) {
		t.Errorf("lint: %d %s", code, printed)
	}
	c := newIotcast(t)
	c.launch("run", "--chilled", config)
	if code := c.exitCode(patience); code == 0 || !strings.Contains(c.out.String(), want) {
		t.Errorf("run: %d", code)
	}
}
