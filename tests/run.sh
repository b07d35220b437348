#!/usr/bin/env bash
# Installs what the checks need and is missing, and runs all of them. With --fast it installs linter and modules only, and runs
# those that take some two minutes: no race detector, no fuzzing, no processes, brokers and browsers.
# Needs Debian or a relative of it, Go and Node; ends with status 1 if anything failed.
# shellcheck disable=SC2317 # stage calls the functions by name
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:-} in
  '') fast=false ;;
  --fast) fast=true ;;
  *)
    printf 'usage: %s [--fast]\n' "$0" >&2
    exit 2
    ;;
esac

golangci_lint=v2.12.2
actionlint=v1.7.12
fuzz_time=2000x # by number: go test takes its own time limit for a failure now and then
model_time=300x # of those that take a model through many steps for one input
test_timeout=15m

# Everything that is built or fetched stays in here; remove it to start afresh.
cache=$PWD/.cache
mkdir -p "$cache"
echo '*' >"$cache/.gitignore"
linter=$cache/golangci-lint-$golangci_lint/golangci-lint
iotcast=$cache/iotcast
export GOLANGCI_LINT_CACHE=$cache/golangci-lint-cache

bold='' red='' green='' plain=''
if [[ -t 1 ]]; then
  bold=$'\e[1m' red=$'\e[31m' green=$'\e[32m' plain=$'\e[0m'
fi

passed=0
failed=()

# stage NAME COMMAND [ARGUMENT…] runs a function or program as one stage.
stage() {
  local name=$1 start=$SECONDS status
  shift
  printf '%s==> %s%s\n' "$bold" "$name" "$plain"
  set +e # not `if`: it would switch off -e within the function as well
  (set -e; "$@")
  status=$?
  set -e
  if ((status == 0)); then
    passed=$((passed + 1))
    printf '%s    ok: %s, %d s%s\n' "$green" "$name" $((SECONDS - start)) "$plain"
  else
    failed+=("$name")
    printf '%s    FAILED: %s, status %d, %d s%s\n' "$red" "$name" "$status" $((SECONDS - start)) "$plain"
  fi
}

# needed STAGE… is for stages without which no other makes sense.
needed() {
  stage "$@"
  ((${#failed[@]} == 0)) || {
    join
    summary
  }
}

# beside STAGE… is for a stage that mostly waits: those that follow run beside it, until join,
# which prints what it has printed.
beside_name=''
beside() {
  beside_name=$1
  printf '%s==> %s: begins, the next stages run beside it%s\n' "$bold" "$beside_name" "$plain"
  (
    failed=()
    stage "$@" # not in a list with &&, which would switch off -e within the function
    ((${#failed[@]} == 0))
  ) >"$cache/beside.log" 2>&1 &
  beside_pid=$!
}

join() {
  [[ -n $beside_name ]] || return 0
  if wait "$beside_pid"; then
    passed=$((passed + 1))
  else
    failed+=("$beside_name")
  fi
  beside_name=''
  cat "$cache/beside.log"
}

summary() {
  if ((${#failed[@]} == 0)); then
    printf '%s%sAll %d stages passed in %d s.%s\n' "$bold" "$green" "$passed" "$SECONDS" "$plain"
    exit 0
  fi
  local list
  printf -v list '%s, ' "${failed[@]}"
  printf '%s%sFAILED: %s (%d passed) in %d s.%s\n' "$bold" "$red" "${list%, }" "$passed" "$SECONDS" "$plain"
  exit 1
}

# has TOOL… looks where Debian keeps daemons, too: not everyone has that in PATH.
has() {
  local tool
  for tool; do
    PATH=$PATH:/usr/sbin:/sbin command -v "$tool" >/dev/null || return 1
  done
}

debian_packages() {
  local packages=()
  has gcc || packages+=(gcc libc6-dev) # the race detector needs them
  has g++ || packages+=(g++)
  has mosquitto mosquitto_passwd mosquitto_ctrl || packages+=(mosquitto)
  has mosquitto_pub mosquitto_sub || packages+=(mosquitto-clients)
  has openssl || packages+=(openssl)
  has nats-server || packages+=(nats-server)
  has haproxy || packages+=(haproxy)
  has nginx || packages+=(nginx)
  has rabbitmq-server || packages+=(rabbitmq-server)
  has caddy || packages+=(caddy)
  has mmdebstrap || packages+=(mmdebstrap) # packages are installed in a bare Debian
  has systemd-analyze || packages+=(systemd) # and their unit is judged
  has chromium || packages+=(chromium)
  has shellcheck || packages+=(shellcheck)
  # Debian's own Python: another in PATH does not see python3-websockets.
  /usr/bin/python3 -c 'import websockets' 2>/dev/null || packages+=(python3-websockets)
  ((${#packages[@]})) || return 0
  if ((EUID != 0)) || ! has apt-get; then
    printf 'Missing: %s. Install them with: sudo apt-get install %s\n' "${packages[*]}" "${packages[*]}" >&2
    return 1
  fi
  # The tests start servers of their own: do not let the packages start any on the usual ports.
  local policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT # of this stage's subshell
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -qq --yes --no-install-recommends "${packages[@]}"
}

languages() {
  local tool missing=()
  for tool in go node npm; do
    has "$tool" || missing+=("$tool")
  done
  if ((${#missing[@]})); then
    printf 'Missing: %s. Install Go as https://go.dev/doc/install says, Node (with npm) as https://nodejs.org says.\n' "${missing[*]}" >&2
    return 1
  fi
  printf '%s, node %s\n' "$(go version)" "$(node --version)"
}

npm_packages() {
  cd tests
  [[ -e package.json ]] || return 0
  if [[ ! -e package-lock.json ]]; then
    npm install --no-audit --no-fund
  elif [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
    npm ci --no-audit --no-fund
  fi
}

go_tools() {
  if [[ ! -x $linter ]]; then # without a C compiler, which may be on its way
    CGO_ENABLED=0 GOFLAGS='' GOBIN=$(dirname "$linter") go install "github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$golangci_lint"
  fi
  go mod download
}

# The modules beside the main one are not all built here, and need what it needs: their files must follow it.
tidy() {
  local file
  find . \( -name node_modules -o -name '.?*' \) -prune -o -name go.mod -print | while read -r file; do
    printf '%s\n' "$file"
    (cd "$(dirname "$file")" && go mod tidy -diff)
  done
}

build() { go build -buildvcs=false -o "$iotcast" ./cmd/iotcast; }

# Whole configs in Markdown are fenced as yaml, parts of configs as yml, which lint skips.
lint_configs() {
  local files
  mapfile -t files < <(
    find config resources -name '*.yaml'
    find . \( -name node_modules -o -name '.?*' \) -prune -o -name '*.md' -print
  )
  printf '%d files\n' "${#files[@]}"
  "$iotcast" lint --skip-env-var-check "${files[@]}"
}

# Fails unless all code of the binary is under permissive licences; the Dockerfile puts the texts into the image.
licences() { go run ./internal/licences "$cache/licences"; }

test_configs() {
  local resources=()
  if compgen -G 'resources/*.yaml' >/dev/null; then
    resources=(-r 'resources/*.yaml')
  fi
  "$iotcast" test "${resources[@]}" ./config/...
}

# Results are never taken from the cache: it does not see the binaries that the tests run.
# golangci-lint has vetted all.
test_flags=(-count=1 -vet=off -timeout "$test_timeout")

# Without the race detector: the processes are not built with it. They mostly wait: four at a time keep two cores busy.
process_tests() { IOTCAST=$iotcast go test -parallel 4 "${test_flags[@]}" ./tests/... ./config/...; }

# Few are parallel: those that wait.
race_tests() { go test -race -parallel 8 "${test_flags[@]}" ./internal/... ./plugins/...; }

# Short: without processes, which tests/ starts, and a few others.
fast_tests() { IOTCAST=$iotcast go test -short -vet=off -timeout 5m ./internal/... ./plugins/... ./cmd/... ./docs/...; }

# Nothing is concurrent here, and for the race detector all of Connect would be compiled again.
other_tests() { go test "${test_flags[@]}" ./cmd/... ./docs/...; }

# The benchmarks are a module of their own: their peers are nothing that iotcast needs.
benchmarks() {
  cd tests/bench
  go vet ./...
  go run . -quick >/dev/null
}

# A minute of faults at random. go run ./tests/soak makes them for longer.
soak() { IOTCAST=$iotcast go run ./tests/soak -duration 1m; }

# The chart is checked by a module of its own, since it needs Helm and Kubernetes' types.
chart() {
  cd packaging/helm
  go vet ./...
  IOTCAST=$iotcast go test -count=1 -vet=off ./...
}

# What programs of others import may change incompatibly with the version only. Without the history of git there is nothing to
# compare with.
go_api() {
  cd docs/api
  go vet ./...
  go test -count=1 ./...
  go run .
}

# Makes the packages from the binary that is there, and installs, upgrades and removes one in a bare Debian; takes root.
packages() {
  cd packaging/release
  go vet ./...
  IOTCAST=$iotcast go test "${test_flags[@]}" ./...
}

# Asking go test for the targets would build the tests of all packages.
fuzz() {
  local targets file target time
  targets=$(grep -rEo --include='*_test.go' --exclude-dir=node_modules '^func Fuzz\w+' .)
  while IFS=: read -r file target; do
    target=${target#func }
    case $target in FuzzChoices | FuzzOrder | FuzzPage | FuzzOpen | FuzzChanges) time=$model_time ;; *) time=$fuzz_time ;; esac
    printf '%s %s\n' "$file" "$target"
    go test -vet=off -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1x "$(dirname "$file")"
  done <<<"$targets"
}

# actionlint hands the scripts of the workflows to shellcheck. The module is named by its version, so it is no dependency.
workflows() {
  CGO_ENABLED=0 go run "github.com/rhysd/actionlint/cmd/actionlint@$actionlint"
  shellcheck --severity=warning .ci/run tests/run.sh
}

# The site of docs/, below a path as a project's pages have it: that is the harder case. Fails for links that lead nowhere.
docs_site() {
  cd docs/site
  export BASE=/iotcast/
  [[ node_modules/.package-lock.json -nt package-lock.json ]] || npm ci --no-audit --no-fund
  npm --silent test
  npm --silent run build
  node check.js "$(command -v chromium)"
}

needed 'Go and Node' languages
if $fast; then
  needed 'Go modules and tools' go_tools
  needed 'build' build
  stage 'formatting (gofumpt, goimports)' "$linter" fmt --diff
  stage 'modules are tidy' tidy
  stage 'reference is up to date' go run ./docs/generate -check
  stage 'pages are up to date' go run ./internal/page/bundle -check
  stage 'iotcast lint' lint_configs
  stage 'iotcast test' test_configs
  stage 'go test, without processes' fast_tests
  summary
fi
beside 'Go modules and tools' go_tools
needed 'Debian packages' debian_packages
needed 'npm packages' npm_packages
join
needed 'build' build
beside 'soak' soak
stage 'formatting (gofumpt, goimports)' "$linter" fmt --diff
stage 'golangci-lint, with go vet' "$linter" run ./...
stage 'modules are tidy' tidy
stage 'reference is up to date' go run ./docs/generate -check
stage 'pages are up to date' go run ./internal/page/bundle -check
stage 'capacity page is up to date' go run ./docs/capacity -check
stage 'licences' licences
stage 'iotcast lint' lint_configs
stage 'iotcast test' test_configs
stage 'fuzzing' fuzz
join
beside 'go test, with processes' process_tests
stage 'go test -race' race_tests
stage 'go test of command and docs' other_tests
stage 'docs site' docs_site
stage 'workflows and scripts' workflows
stage 'Go API since the last version' go_api
stage 'Helm chart' chart
stage 'packages' packages
stage 'benchmarks run' benchmarks
join
summary
