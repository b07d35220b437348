package tests

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// completed are the candidates for the last word, without their descriptions.
func (d *desk) completed(words ...string) (all []string) {
	d.t.Helper()
	for line := range strings.Lines(d.do(append([]string{"__complete", "--"}, words...)...)) {
		word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		all = append(all, word)
	}
	return all
}

// Commands, flags and what there is are completed; without a management API the names are left out, without a word.
func TestCompletion(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	for _, create := range [][]string{
		{"registry", "create", "home", "--description", "My home"},
		{"registry", "create", "office"},
		{"device", "create", "boiler", "--registry-name", "home"},
		{"device", "create", "printer", "--registry-name", "office"},
		{"registry", "update", "office", "--new-name", "bureau"},
	} {
		d.do(create...)
	}
	line := func(words ...string) []string { return words }
	for _, test := range []struct{ words, want []string }{
		{line("reg"), line("registry")},
		{line("trigger", "create", ""), line("internet-of-things", "iot-broker")},
		{line("registry", "get", ""), line("fixed", "home", "bureau")},
		{line("registry", "get", "b"), line("bureau")},
		{line("registry", "get", "--id", "o"), line("office")},
		{line("registry", "get", "home", "--form"), line("--format")},
		{line("registry", "get", "--format", "j"), line("json", "json-rest")},
		{line("registry", "get", "--format=y"), line("--format=yaml")},
		{line("registry", "create", "--name", ""), nil},
		{line("device", "create", "kettle", "--registry-name", "h"), line("home")},
		{line("device", "create", "kettle", "--registry-id=o"), line("--registry-id=office")},
		{line("device", "get", "--registry-name", "bureau", ""), line("printer")},
		{line("device", "get", "--registry-id", "home", "b"), line("boiler")},
		{line("device", "certificate", "add", "--device-name", "p"), line("pump", "printer")},
		{line("trigger", "create", "internet-of-things", "--device-id", "bo"), line("boiler")},
		{line("trigger", "update", "x", "--new-registry-id", "h"), line("home")},
		{line("device", "create", "x", "--certificate-file", ""), line(":files")},
		{line("tap", "--device", "bo"), line("boiler")},
		{line("tap", "--output", ""), line("text", "json")},
		{line("tap", "--route", ""), nil},
		{line("tap", ""), nil},
		{line("run", ""), line(":files")},
		{line("run", "--chil"), line("--chilled")},
		{line("--vers"), line("--version")},
		{line("no-such-command", ""), nil},
		{line("registry", "get", "--no-such-flag", "h"), line("home")},
	} {
		got := d.completed(test.words...)
		slices.Sort(got)
		slices.Sort(test.want)
		if !slices.Equal(got, test.want) {
			t.Errorf("%q is completed by %q, want %q", test.words, got, test.want)
		}
	}
	if printed := d.do("__complete", "--", "registry", "get", "h"); printed != "home\tMy home\n" {
		t.Errorf("printed %q", printed)
	}
	d.env = append(d.env, "IOTCAST_ENDPOINT="+freeAddress(t))
	if got := d.completed("registry", "get", ""); len(got) > 0 {
		t.Errorf("without a management API %q", got)
	}
	if _, stderr, code := d.command("", "__complete", "--", "registry", "get", ""); code != 0 || stderr != "" {
		t.Errorf("without a management API: exit code %d, %q", code, stderr)
	}
}

// The script for bash, called as readline calls it.
func TestCompletionInBash(t *testing.T) {
	t.Parallel()
	d := newHome(t)
	d.do("registry", "create", "home")
	program, err := filepath.Abs(binary)
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(program, filepath.Join(bin, "iotcast")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-euc", `
source <(iotcast completion bash)
compopt() { echo "compopt $*"; } # there is no readline here
try() {
	COMP_LINE=$1 COMP_POINT=${#1}
	read -ra COMP_WORDS <<<"${1//=/ = }" # as readline breaks words
	[[ $1 == *" " ]] && COMP_WORDS+=("")
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	_iotcast
	echo "$1: ${COMPREPLY[*]-}"
}
try "iotcast reg"
try "iotcast registry get h"
try "iotcast registry get --format=j"
try "iotcast device list --registry-name "
try "iotcast device list --registry-name=ho"
try "iotcast registry create x --certificate-file /etc/ho"
try "iotcast registry nothing "
`)
	cmd.Env = append(os.Environ(), append(d.env, "PATH="+bin+":"+os.Getenv("PATH"))...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if want := `iotcast reg: registry
iotcast registry get h: home
iotcast registry get --format=j: json json-rest
iotcast device list --registry-name : fixed home
iotcast device list --registry-name=ho: home
compopt -o default
iotcast registry create x --certificate-file /etc/ho: 
iotcast registry nothing : 
`; string(out) != want {
		t.Errorf("bash has printed:\n%s\nwant:\n%s", out, want)
	}
}

// The scripts for other shells are there; whoever has these shells finds them parsed, too.
func TestCompletionScripts(t *testing.T) {
	t.Parallel()
	for shell, check := range map[string][]string{"bash": {"-n"}, "zsh": {"-n"}, "fish": {"--no-execute"}} {
		script, code := runProgram(t, binary, "completion", shell)
		if code != 0 || !strings.Contains(script, "__complete") {
			t.Errorf("%s: exit code %d\n%s", shell, code, script)
		}
		if program, err := exec.LookPath(shell); err == nil {
			if out, code := runProgram(t, program, append(check, writeFile(t, script))...); code != 0 {
				t.Errorf("%s: exit code %d\n%s", shell, code, out)
			}
		}
	}
}
