package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Somebody installs the package on a bare Debian, sees the page, makes a device, upgrades, and gives it up.
func TestInstall(t *testing.T) {
	d := newDebian(t)
	snapshot, release := makeDebs(t, "0.2.0-dev.7.g0123456789ab", "0.2.0")
	before := d.files()

	start := time.Now()
	d.install(snapshot)
	u := d.unit()
	addresses := map[string]string{}
	env := d.read("/etc/iotcast/iotcast.env")
	for _, name := range []string{"GATEWAY_ADDRESS", "MQTT_ADDRESS", "MANAGEMENT_ADDRESS", "HTTP_ADDRESS"} {
		addresses[name] = freeAddress(t)
		set := regexp.MustCompile(`(?m)^#`+name+`=127\.0\.0\.1:\d+$`).ReplaceAllString(env, name+"="+addresses[name])
		if set == env {
			t.Fatalf("iotcast.env does not say that %s is on loopback by default:\n%s", name, env)
		}
		env = set
	}
	d.write("/etc/iotcast/iotcast.env", env)

	service := d.start(u)
	page := get(t, "http://"+addresses["GATEWAY_ADDRESS"]+"/")
	if !strings.Contains(page, "<html") {
		t.Errorf("the gateway answers %.200q instead of a page", page)
	}
	awaitReading(t, addresses["GATEWAY_ADDRESS"], `"registry_id":"simulated"`)
	t.Logf("from dpkg -i to a reading in the page: %v", time.Since(start).Round(time.Millisecond))
	if console := get(t, "http://"+addresses["MANAGEMENT_ADDRESS"]+"/"); !strings.Contains(console, "<html") {
		t.Errorf("the management API answers %.200q instead of the console", console)
	}
	d.commandsOf("/etc/iotcast/streams/simulated-devices.yaml", addresses)
	awaitReading(t, addresses["GATEWAY_ADDRESS"], `"device_id":"boiler"`)
	if info := d.stat("/var/lib/iotcast/state.db"); info.Mode().Perm() != 0o600 {
		t.Errorf("others may read the state: %v", info.Mode())
	}
	service.stop()

	// An upgrade keeps what was changed, and what was removed stays so.
	config := d.read("/etc/iotcast/iotcast.yaml") + "\n# Edited.\n"
	d.write("/etc/iotcast/iotcast.yaml", config)
	d.remove("/etc/iotcast/streams/simulated-devices.yaml")
	d.pretendSystemd()
	if out := d.install(release); strings.Contains(out, "downgrading") {
		t.Errorf("the snapshot is no version before the release: %s", out)
	}
	if got := d.systemctl(); !slices.Contains(got, "restart iotcast.service") {
		t.Errorf("an upgrade calls systemctl for %q", got)
	}
	if got := d.read("/etc/iotcast/iotcast.yaml"); got != config {
		t.Errorf("an upgrade changes the config: %s", got)
	}
	if d.has("/etc/iotcast/streams/simulated-devices.yaml") {
		t.Error("an upgrade brings the simulated devices back")
	}
	service = d.start(u)
	if devices := d.iotcast(addresses, "device", "list"); !strings.Contains(devices, "boiler") {
		t.Errorf("after the upgrade the devices are: %s", devices)
	}
	service.stop()

	d.run("dpkg", "--remove", "iotcast")
	if got := d.systemctl(); !slices.Contains(got, "stop iotcast.service") {
		t.Errorf("removing calls systemctl for %q", got)
	}
	if d.has("/usr/bin/iotcast") || !d.has("/etc/iotcast/iotcast.env") || !d.has("/var/lib/iotcast/state.db") {
		t.Error("removing must take the program, and leave configuration and state")
	}
	d.run("dpkg", "--purge", "iotcast")
	d.remove("/usr/bin/systemctl")
	d.remove("/run/systemd")
	for _, file := range d.files() {
		if _, was := slices.BinarySearch(before, file); !was {
			t.Errorf("a purge leaves %s", file)
		}
	}
	if users := d.read("/etc/passwd") + d.read("/etc/group"); strings.Contains(users, "iotcast") {
		t.Errorf("a purge leaves the user: %s", users)
	}
}

// The unit is right for systemd, and gives few rights.
func TestUnit(t *testing.T) {
	needed(t, "systemd", "systemd-analyze")
	binary, err := program()
	if err != nil {
		t.Fatal(err)
	}
	unit, err := os.ReadFile(filepath.Join(root(), "packaging", "systemd", "iotcast.service"))
	if err != nil {
		t.Fatal(err)
	}
	here := filepath.Join(t.TempDir(), "iotcast.service")
	if err := os.WriteFile(here, bytes.ReplaceAll(unit, []byte("/usr/bin/iotcast"), []byte(binary)), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"verify", "--man=no"}, {"security", "--offline=true", "--threshold=20"}} { // 2.0
		out, err := exec.Command("systemd-analyze", append(args, here)...).CombinedOutput()
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}

// makeDebs makes packages of two versions from one binary.
func makeDebs(t *testing.T, before, after string) (first, second string) {
	t.Helper()
	work := t.TempDir()
	r := newRelease(t, before)
	common, err := r.common(work)
	if err != nil {
		t.Fatal(err)
	}
	stage, p := filepath.Join(work, "stage"), r.platforms[0]
	if err := r.stage(stage, p, common); err != nil {
		t.Fatal(err)
	}
	for _, r.version = range []string{before, after} {
		if err := r.pack(stage, p, "deb"); err != nil {
			t.Fatal(err)
		}
	}
	debs, _ := filepath.Glob(filepath.Join(r.out, "*.deb"))
	if len(debs) != 2 {
		t.Fatalf("packages %q, want two", debs)
	}
	return debs[1], debs[0] // ~ is behind _
}

func needed(t *testing.T, pkg string, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: install the package %s", err, pkg)
		}
	}
}

// debian is a bare Debian in a directory.
type debian struct {
	t   *testing.T
	dir string
}

func newDebian(t *testing.T) debian {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("root is missing: the package is installed in a chroot; run it with sudo")
	}
	d := debian{t, t.TempDir()}
	d.command("tar", "--extract", "--directory", d.dir, "--file", bareTree(t))
	// No service starts in there, as in an image.
	d.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")
	return d
}

// bareTree is an archive of the release that this machine has, from the mirror that it uses, made once.
func bareTree(t *testing.T) string {
	t.Helper()
	needed(t, "mmdebstrap", "mmdebstrap")
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^VERSION_CODENAME="?(\w+)`).FindSubmatch(release)
	if found == nil {
		t.Fatalf("/etc/os-release has no VERSION_CODENAME: a Debian is needed:\n%s", release)
	}
	suite := string(found[1])
	tree := filepath.Join(root(), ".cache", "debian-"+suite+".tar")
	if _, err := os.Stat(tree); err == nil {
		return tree
	}
	out, err := exec.Command("apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Created-By: Packages").Output()
	if err != nil {
		t.Fatalf("asking apt-get for the mirror: %v", err)
	}
	mirror := regexp.MustCompile(`(?m)^` + suite + ` main (\S+)$`).FindSubmatch(out)
	if mirror == nil {
		t.Fatalf("the sources of apt have no %s: run apt-get update\n%s", suite, out)
	}
	fresh := tree + ".new.tar" // whole, or not there
	bootstrap := exec.Command("mmdebstrap", "--quiet", "--mode=root", "--variant=essential", "--include=adduser", "--dpkgopt=force-unsafe-io",
		suite, fresh, string(mirror[1]))
	if out, err := bootstrap.CombinedOutput(); err != nil {
		t.Fatalf("mmdebstrap: %v\n%s", err, out)
	}
	if err := os.Rename(fresh, tree); err != nil {
		t.Fatal(err)
	}
	return tree
}

func (d debian) command(name string, args ...string) string {
	d.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		d.t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// run runs a command in there.
func (d debian) run(args ...string) string {
	d.t.Helper()
	return d.command("chroot", append([]string{d.dir}, args...)...)
}

func (d debian) install(deb string) string {
	d.t.Helper()
	inside := "/root/iotcast.deb"
	if err := copyFile(d.path(inside), deb); err != nil {
		d.t.Fatal(err)
	}
	defer d.remove(inside)
	return d.run("dpkg", "--install", inside)
}

func (d debian) path(name string) string { return filepath.Join(d.dir, name) }

func (d debian) read(name string) string {
	d.t.Helper()
	content, err := os.ReadFile(d.path(name))
	if err != nil {
		d.t.Fatal(err)
	}
	return string(content)
}

// write changes a file as an editor does that keeps owner and mode.
func (d debian) write(name, content string) {
	d.t.Helper()
	if err := os.WriteFile(d.path(name), []byte(content), 0o755); err != nil {
		d.t.Fatal(err)
	}
}

func (d debian) remove(name string) {
	d.t.Helper()
	if err := os.RemoveAll(d.path(name)); err != nil {
		d.t.Fatal(err)
	}
}

func (d debian) has(name string) bool {
	_, err := os.Lstat(d.path(name))
	return err == nil
}

func (d debian) stat(name string) fs.FileInfo {
	d.t.Helper()
	info, err := os.Stat(d.path(name))
	if err != nil {
		d.t.Fatal(err)
	}
	return info
}

// files are the names of all that is in there, sorted, but for what dpkg and adduser write of their own work.
func (d debian) files() (all []string) {
	d.t.Helper()
	own := regexp.MustCompile(`^(var/lib/dpkg|var/log|var/cache|run/adduser|etc/(passwd|group|shadow|gshadow|subuid|subgid)-?)(/|$)`)
	err := fs.WalkDir(os.DirFS(d.dir), ".", func(name string, _ fs.DirEntry, err error) error {
		if !own.MatchString(name) {
			all = append(all, name)
		}
		return err
	})
	if err != nil {
		d.t.Fatal(err)
	}
	slices.Sort(all)
	return all
}

// pretendSystemd lets the scripts of the package think that systemd runs, and takes note of what they want of it.
func (d debian) pretendSystemd() {
	d.t.Helper()
	if err := os.MkdirAll(d.path("/run/systemd/system"), 0o755); err != nil {
		d.t.Fatal(err)
	}
	d.remove("/usr/sbin/policy-rc.d")
	d.write("/usr/bin/systemctl", "#!/bin/sh\necho \"$@\" >>/run/systemd/calls\n")
}

// systemctl is what it was called for since it was last asked, without flags.
func (d debian) systemctl() (calls []string) {
	d.t.Helper()
	for line := range strings.Lines(d.read("/run/systemd/calls")) {
		words := slices.DeleteFunc(strings.Fields(line), func(word string) bool { return strings.HasPrefix(word, "-") })
		calls = append(calls, strings.Join(words, " "))
	}
	d.remove("/run/systemd/calls")
	return calls
}

// unit are the fields of the service, as far as the test stands for systemd.
func (d debian) unit() map[string]string {
	d.t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(d.read("/usr/lib/systemd/system/iotcast.service")) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			all[name] = value
		}
	}
	return all
}

type service struct {
	t   *testing.T
	cmd *exec.Cmd
	out bytes.Buffer
}

// start runs the service as systemd would: with its directories, as its user, without capabilities, with its variables only.
func (d debian) start(unit map[string]string) *service {
	d.t.Helper()
	state := "/var/lib/" + unit["StateDirectory"]
	d.run("install", "--directory", "--owner="+unit["User"], "--group="+unit["Group"], "--mode="+unit["StateDirectoryMode"], state)
	s := &service{t: d.t}
	s.cmd = exec.Command("chroot", slices.Concat(
		[]string{d.dir, "setpriv", "--reuid=" + unit["User"], "--regid=" + unit["Group"], "--clear-groups"},
		[]string{"--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"},
		[]string{"sh", "-c", "umask " + unit["UMask"] + "; exec \"$@\"", "sh"}, strings.Fields(unit["ExecStart"]))...)
	s.cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "STATE_DIRECTORY=" + state}
	for line := range strings.Lines(d.read(strings.TrimPrefix(unit["EnvironmentFile"], "-"))) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			s.cmd.Env = append(s.cmd.Env, line)
		}
	}
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
		if d.t.Failed() {
			d.t.Logf("the service says:\n%s", s.out.String())
		}
	})
	return s
}

func (s *service) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the service ends with: %v", err)
	}
}

// iotcast runs a command of the package, against the service.
func (d debian) iotcast(addresses map[string]string, args ...string) string {
	d.t.Helper()
	get(d.t, "http://"+addresses["MANAGEMENT_ADDRESS"]+"/") // it listens
	return d.run(slices.Concat([]string{"env", "IOTCAST_ENDPOINT=" + addresses["MANAGEMENT_ADDRESS"], "iotcast"}, args)...)
}

// commandsOf runs the commands that a comment of a file shows.
func (d debian) commandsOf(file string, addresses map[string]string) {
	d.t.Helper()
	text := strings.ReplaceAll(d.read(file), "\\\n#", "")
	commands := regexp.MustCompile(`(?m)^#   (iotcast .*)$`).FindAllStringSubmatch(text, -1)
	if len(commands) == 0 {
		d.t.Fatalf("%s shows no commands", file)
	}
	for _, c := range commands {
		command := strings.ReplaceAll(c[1], "127.0.0.1:11883", addresses["MQTT_ADDRESS"])
		d.run("env", "IOTCAST_ENDPOINT="+addresses["MANAGEMENT_ADDRESS"], "sh", "-c", command)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// patience is for what must happen at once.
const patience = time.Minute

// get returns what is at a URL, as soon as something is.
func get(t *testing.T, url string) string {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		response, err := http.Get(url)
		if err == nil {
			text, err := io.ReadAll(response.Body)
			response.Body.Close()
			if err != nil || response.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s, %v: %.200q", url, response.Status, err, text)
			}
			return string(text)
		}
		if time.Now().After(end) {
			t.Fatalf("nothing answers: %v", err)
		}
	}
}

// awaitReading waits until a page on /telemetry would show what is wanted. The history has what came before.
func awaitReading(t *testing.T, address, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/telemetry?rewind=5m", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(request.Header, http.Header{
		"Connection": {"Upgrade"}, "Upgrade": {"websocket"}, "Sec-Websocket-Version": {"13"}, "Sec-Websocket-Key": {"dGhlIHNhbXBsZSBub25jZQ=="},
	})
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("/telemetry answers %s", response.Status)
	}
	// Frames of the server are not masked, and without an extension what is in them is plain text.
	for r := bufio.NewReader(response.Body); ; {
		text, err := r.ReadString('}')
		if strings.Contains(text, want) {
			return
		}
		if err != nil {
			t.Fatal(errors.Join(fmt.Errorf("no message with %s comes", want), err))
		}
	}
}
