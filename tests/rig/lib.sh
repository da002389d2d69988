# shellcheck shell=bash
# What scripts/demo and scripts/test share: steps that report themselves, and everything a
# fresh Debian machine lacks. To be sourced; the caller has `set -euo pipefail`.
#
# Every function can be called again: what is there already is left alone, and what a killed
# earlier session left behind (pid files, half-made folders, a policy file) is dealt with.

rig_checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# Downloads and other things that only cost time to make again; ignored by git.
rig_work=$rig_checkout/.work/rig
# Where the commands of a step write. The caller sets it to a file of its own.
rig_log=${rig_log:-/dev/null}

# --- speaking ------------------------------------------------------------------------

if [[ $(locale charmap 2>/dev/null) == UTF-8 ]]; then
  rig_done='✓' rig_failed='✗' rig_working='→'
else
  rig_done='ok' rig_failed='x' rig_working='-'
fi

now_ms() { echo $(($(date +%s%N) / 1000000)); }

# seconds MS: as a person reads it.
seconds() {
  if (($1 < 60000)); then printf '%d.%d s' $(($1 / 1000)) $(($1 % 1000 / 100)); else printf '%d min %d s' $(($1 / 60000)) $(($1 % 60000 / 1000)); fi
}

# note TEXT: inside a step, what its line says behind the time.
note() { printf '%s' "$*" >&3; }

# step TEXT COMMAND...: runs it with its output in the log, and prints one line: what it was
# and how long it took. When it fails, the end of its output follows and the script ends.
step() {
  local text=$1 began status notes
  shift
  began=$(now_ms)
  notes=$(mktemp)
  [[ -t 1 ]] && printf '  %s %s ...' "$rig_working" "$text"
  printf '\n== %s  %s: %s\n' "$(date +%T)" "$text" "$*" >>"$rig_log"
  # A shell of its own with errexit: inside `if` or `||` bash would go on after a failure.
  set +e
  (
    set -e
    "$@"
  ) >>"$rig_log" 2>&1 3>"$notes" </dev/null
  status=$?
  set -e
  [[ -t 1 ]] && printf '\r\033[K'
  if ((status == 0)); then
    printf '%s %-44s %8s   %s\n' "$rig_done" "$text" "$(seconds $(($(now_ms) - began)))" "$(cat "$notes")"
    rm -f "$notes"
    return 0
  fi
  rm -f "$notes"
  fail_step "$text" "$status" "$rig_log"
}

# fail_step TEXT STATUS LOG: says which step failed, shows the end of its log and ends.
fail_step() {
  printf '%s %s: failed (exit code %s)\n' "$rig_failed" "$1" "$2" >&2
  if [[ -s $3 && $3 != /dev/null ]]; then
    printf '  The end of %s:\n' "$3" >&2
    tail -n 25 "$3" | sed 's/^/    /' >&2
  fi
  exit 1
}

# background NAME COMMAND...: the same, beside what follows; `step_of NAME TEXT` waits for it.
# The two longest steps of a first run (the compiler and the images) use both cores that way.
declare -A rig_background=() rig_background_began=()
background() {
  local name=$1
  shift
  rig_background_began[$name]=$(now_ms)
  # With job control it becomes a process group, so that it can be ended as a whole.
  set -m
  (
    trap - EXIT
    set -e
    "$@"
  ) >"${rig_log%.log}-$name.log" 2>&1 3>"${rig_log%.log}-$name.note" </dev/null &
  rig_background[$name]=$!
  set +m
}
step_of() {
  local name=$1 text=$2 status=0 log=${rig_log%.log}-$1.log
  [[ -t 1 ]] && printf '  %s %s ...' "$rig_working" "$text"
  wait "${rig_background[$name]}" || status=$?
  unset "rig_background[$name]"
  [[ -t 1 ]] && printf '\r\033[K'
  ((status == 0)) || fail_step "$text" "$status" "$log"
  printf '%s %-44s %8s   %s\n' "$rig_done" "$text" "$(seconds $(($(now_ms) - rig_background_began[$name])))" "$(cat "${log%.log}.note")"
}
# Ends what still runs in the background; for the caller's EXIT trap.
stop_background() {
  local name
  for name in "${!rig_background[@]}"; do
    kill -- "-${rig_background[$name]}" 2>/dev/null || true
  done
}

need_root() {
  if ((EUID != 0)); then
    echo "$rig_failed $(basename "$0") installs packages and starts daemons: run it as root" >&2
    exit 2
  fi
}

# one_at_a_time FILE: a second run of the same script in the same checkout would pull the
# ground from under the first. A process id and not flock: the daemons that are started here
# would inherit the lock and keep it.
one_at_a_time() {
  local pid
  mkdir -p "$(dirname "$1")"
  pid=$(cat "$1" 2>/dev/null || true)
  if [[ $pid =~ ^[0-9]+$ && $pid != "$$" && $(tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline") == *"/$(basename "$0")"* ]] 2>/dev/null; then
    echo "$rig_failed another scripts/$(basename "$0") is running (process $pid)" >&2
    exit 3
  fi
  echo "$$" >"$1"
}

# --- packages -------------------------------------------------------------------------

missing_packages() {
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null) == ii* ]] || echo "$package"
  done
}

# candidate PACKAGE: the version that apt could install, without its Debian epoch.
candidate() { apt-cache policy "$1" 2>/dev/null | sed -nE 's/^ +Candidate: ([0-9]+:)?([0-9][^ ]*)$/\2/p'; }
# at_least WANTED VERSION
at_least() { [[ -n $2 ]] && printf '%s\n%s\n' "$1" "$2" | sort -C -V; }

apt_update() {
  # Once a run. Somebody else's source that does not answer must not stop everything: if
  # something is really missing, the installation says so.
  # Remembered in a file, because each step is a shell of its own.
  [[ $(cat "$rig_work/apt-updated" 2>/dev/null) == "$$" ]] && return 0
  apt-get update -q || echo 'apt-get update: not every source answered'
  echo "$$" >"$rig_work/apt-updated"
}

rig_policy=/usr/sbin/policy-rc.d
rig_policy_mark='# tests/rig: no service is started while packages are installed'
remove_policy() {
  # Only ours, also one that a killed run left; an image's or a person's own stays.
  if [[ -f $rig_policy ]] && grep -qF "$rig_policy_mark" "$rig_policy"; then rm -f "$rig_policy"; fi
}

# apt_install PACKAGE...: installs, and neither starts nor enables what comes with it: the
# data services run with their own folders and ports, beside whatever this machine has.
apt_install() {
  local redis_before=no
  export DEBIAN_FRONTEND=noninteractive
  dpkg-query -W redis-server >/dev/null 2>&1 && redis_before=yes
  remove_policy
  [[ -e $rig_policy ]] || install -m 755 <(printf '#!/bin/sh\n%s\nexit 101\n' "$rig_policy_mark") "$rig_policy"
  # No cluster "main": it would take port 5432 and 40 MB for nothing.
  local cluster=/etc/postgresql-common/createcluster.d/ooy-rig.conf
  install -D -m 644 <(echo 'create_main_cluster = false') "$cluster"
  apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=180 -o Dpkg::Use-Pty=0 "$@" || {
    rm -f "$cluster"
    remove_policy
    return 1
  }
  rm -f "$cluster"
  rmdir --ignore-fail-on-non-empty /etc/postgresql-common/createcluster.d
  remove_policy
  # Debian's redis-server would start at the next boot, with systemd or without.
  if [[ $redis_before == no ]]; then
    if command -v systemctl >/dev/null; then systemctl disable -q redis-server 2>/dev/null || true; fi
    if command -v update-rc.d >/dev/null && [[ -e /etc/init.d/redis-server ]]; then update-rc.d redis-server disable >/dev/null 2>&1 || true; fi
  fi
}

# The PostgreSQL that this machine has or that its release offers, the newest first.
postgres_version() {
  local version
  version=$(find /usr/lib/postgresql -mindepth 3 -maxdepth 3 -path '*/bin/initdb' 2>/dev/null | sed -nE 's#.*/([0-9]+)/bin/initdb#\1#p' | sort -rn | head -n 1)
  [[ -n $version ]] || version=$(apt-cache depends postgresql 2>/dev/null | sed -nE 's/.*Depends: postgresql-([0-9]+)$/\1/p' | head -n 1)
  [[ -n $version ]] && echo "$version"
}

# install_compiler: what cargo needs. First and alone, so that the longest step of a first run,
# the compiler, works beside all the others.
install_compiler() {
  local missing
  mapfile -t missing < <(missing_packages ca-certificates git gcc libc6-dev)
  ((${#missing[@]} > 0)) || return 0
  apt_update
  apt_install "${missing[@]}"
  note "${missing[*]}"
}

# install_packages [PACKAGE...]: everything the demo and the tests need that comes from apt, and
# these.
install_packages() {
  local missing postgres wanted=(ca-certificates curl git openssl iproute2 gcc libc6-dev make "$@")
  remove_policy
  # Docker's own packages conflict with Debian's: whichever dockerd is there is used.
  command -v dockerd >/dev/null || wanted+=(docker.io iptables)
  postgres=$(postgres_version || true)
  if [[ -z $postgres ]]; then
    apt_update
    postgres=$(postgres_version)
  fi
  wanted+=("postgresql-$postgres" "postgresql-$postgres-postgis-3")
  command -v redis-server >/dev/null || wanted+=(redis-server)
  mapfile -t missing < <(missing_packages "${wanted[@]}")
  if ((${#missing[@]} > 0)); then
    apt_update
    apt_install "${missing[@]}"
    note "${missing[*]}"
  fi
  # From trixie on the client is a package of its own.
  if ! command -v docker >/dev/null; then
    apt_update
    apt_install docker-cli
  fi
}

# --- Docker ---------------------------------------------------------------------------

engine_answers() { timeout 10 docker version -f '{{.Server.Version}}' 2>/dev/null; }

# The line in the record that says who started the Engine: a script that ends stops only
# what was started for it.
engine_up() { # engine_up RECORD_FILE
  local version record=$1
  if version=$(engine_answers); then
    note "Engine $version, was running"
    return
  fi
  mkdir -p "$(dirname "$record")"
  if [[ -d /run/systemd/system ]]; then
    systemctl start docker
    wait_for_engine ''
    echo systemd >"$record"
  else
    forget_stale /var/run/docker.pid dockerd
    forget_stale /run/docker/containerd/containerd.pid containerd
    local log=/var/log/ooy-rig-dockerd.log
    echo "dockerd writes to $log"
    setsid -f dockerd >>"$log" 2>&1 </dev/null 3>&-
    wait_for_engine "$log"
    echo dockerd >"$record"
  fi
  note "Engine $(engine_answers), started"
}

# forget_stale PID_FILE NAME: dockerd refuses to start beside a pid file whose number belongs
# to any living process, whatever that process is.
forget_stale() {
  local pid
  [[ -e $1 ]] || return 0
  pid=$(cat "$1")
  if [[ $pid =~ ^[0-9]+$ && $(cat "/proc/$pid/comm" 2>/dev/null) == "$2" ]]; then
    echo "$2 runs already (process $pid)"
  else
    echo "$1 was left by a $2 that is gone"
    rm -f "$1"
  fi
}

wait_for_engine() {
  local _
  for _ in $(seq 300); do
    engine_answers >/dev/null && return 0
    sleep 0.2
  done
  echo 'the Docker Engine does not answer after 60 s'
  if [[ -n $1 ]]; then tail -n 20 "$1"; fi
  return 1
}

# engine_down RECORD_FILE: stops the Engine if engine_up started it and nobody else uses it.
engine_down() {
  local how others pid _
  [[ -e $1 ]] || return 0
  how=$(cat "$1")
  others=$(docker ps -q 2>/dev/null | wc -l)
  if ((others > 0)); then
    note "left running: $others containers of somebody else"
    return 0
  fi
  case $how in
  systemd) systemctl stop docker docker.socket ;;
  dockerd)
    pid=$(cat /var/run/docker.pid 2>/dev/null || true)
    if [[ -n $pid && $(cat "/proc/$pid/comm" 2>/dev/null) == dockerd ]]; then
      kill "$pid"
      for _ in $(seq 150); do
        [[ -d /proc/$pid ]] || break
        sleep 0.1
      done
    fi
    ;;
  esac
  rm -f "$1"
}

# The address under which containers reach this host.
bridge_address() {
  local address name
  address=$(docker network inspect bridge -f '{{range .IPAM.Config}}{{.Gateway}} {{end}}' 2>/dev/null | tr ' ' '\n' | grep -m 1 -E '^[0-9]+\.' || true)
  if [[ -z $address ]]; then
    # Engine 20.10 does not tell the gateway of its default network.
    name=$(docker network inspect bridge -f '{{index .Options "com.docker.network.bridge.name"}}' 2>/dev/null || true)
    address=$(ip -4 -o address show dev "${name:-docker0}" 2>/dev/null | sed -nE 's/.* inet ([0-9.]+).*/\1/p' | head -n 1)
  fi
  [[ -n $address ]] && echo "$address"
}

compose_version() {
  local version
  version=$(docker compose version --short 2>/dev/null) || return 1
  # v5 follows v2; 1.x is another program.
  [[ ${version#v} =~ ^([0-9]+)\. ]] && ((BASH_REMATCH[1] >= 2)) && echo "${version#v}"
}

# compose_up: the compose plugin, v2 or newer. Debian bookworm has only 1.29, so it is taken
# from a newer release of Debian, through an apt of its own: the same mirror, the same
# signatures, and nothing else of that release gets onto this machine.
compose_up() {
  local version suite conf folder=$rig_work/compose plugin=/usr/local/lib/docker/cli-plugins/docker-compose
  if version=$(compose_version); then
    note "compose $version"
    return
  fi
  apt_update
  if at_least 2 "$(candidate docker-compose)"; then
    apt_install docker-compose
  else
    for suite in forky trixie; do
      echo "docker-compose from $suite"
      rm -rf "$folder"
      mkdir -p "$folder"
      if conf=$("$rig_checkout/tests/rig/apt-root" "$rig_work/apt" "$suite") &&
        (cd "$folder" && APT_CONFIG=$conf apt-get download docker-compose) &&
        dpkg-deb -x "$folder"/docker-compose_*.deb "$folder/root" &&
        "$folder/root/usr/libexec/docker/cli-plugins/docker-compose" version; then
        install -D -m 755 "$folder/root/usr/libexec/docker/cli-plugins/docker-compose" "$plugin"
        break
      fi
    done
    rm -rf "$folder"
  fi
  version=$(compose_version)
  note "compose $version, installed"
}

# --- Rust -------------------------------------------------------------------------------

# cargo_ready: a cargo that can build the project, on PATH. Not in a step: it changes PATH.
cargo_ready() {
  local needed have
  [[ -d ${CARGO_HOME:-$HOME/.cargo}/bin ]] && PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
  needed=$(sed -nE 's/^rust-version = "([0-9.]+)"/\1/p' "$rig_checkout/Cargo.toml")
  have=$(cargo --version 2>/dev/null | sed -nE 's/^cargo ([0-9.]+).*/\1/p' || true)
  if at_least "$needed" "$have"; then return 0; fi
  step "Rust $needed or newer (found: ${have:-none})" install_rust "$needed"
  hash -r
}
install_rust() {
  apt_update
  if [[ -n $(candidate rustup) ]]; then
    apt_install rustup
    rustup toolchain install stable --profile minimal --component clippy --component rustfmt
    rustup default stable
  elif at_least "$1" "$(candidate cargo)"; then
    apt_install cargo rustfmt rust-clippy
  else
    echo "This release of Debian has neither rustup nor a cargo of $1 or newer."
    echo "Install rustup as its own site describes, then run this again."
    return 1
  fi
  note "$(cargo --version)"
}

rig_target=x86_64-unknown-linux-gnu
# build_ooy: the release executable, at $rig_ooy, as scripts/release makes it.
rig_ooy=${CARGO_TARGET_DIR:-$rig_checkout/target}/$rig_target/release/ooy
build_ooy() { (build_at "$rig_checkout" "${CARGO_TARGET_DIR:-$rig_checkout/target}"); }

# build_at CHECKOUT TARGET_FOLDER: from the same sources and tools the same bytes, wherever the
# folders are: what rustc would write of their paths into the executable has fixed names. Without a
# network from the moment the crates are here: no build script can fetch anything unseen.
build_at() {
  local checkout=$1 target=$2 crates path flags=''
  crates=${CARGO_HOME:-$HOME/.cargo}/registry/src
  cd "$checkout"
  # Each of them would take the place of the flags in .cargo/config.toml, or add to what C is given.
  unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS CFLAGS TARGET_CFLAGS
  cargo fetch --locked --target "$rig_target"
  # Of the checkout itself nothing is written, and without it here checkouts that share a target folder
  # share their crates.
  for path in "$target=/target" "$(rustc --print sysroot)=/rust"; do flags+="'--remap-path-prefix=$path',"; done
  # A folder each registry or mirror of it, with a name of its own.
  for path in "$crates"/*/; do flags+="'--remap-path-prefix=${path%/}=/crates',"; done
  # With those of .cargo/config.toml: cargo joins lists.
  CARGO_TARGET_DIR=$target cargo --config "target.$rig_target.rustflags=[$flags]" build --release --locked --offline
}

# rebuild_ooy: builds it once more, with other folders for sources, results and crates, and says
# whether that made the same bytes as at $rig_ooy. Not below the checkout, whose .cargo/config.toml
# would be found a second time.
rebuild_ooy() {
  local there entry crates=${CARGO_HOME:-$HOME/.cargo} rebuilt
  there=${TMPDIR:-/var/tmp}/ooy-rebuilt-$(cksum <<<"$rig_checkout" | cut -d ' ' -f 1)
  rm -rf "$there"
  # shellcheck disable=SC2064 # now: it is local
  trap "rm -rf '$there'" EXIT
  mkdir -p "$there/sources" "$there/crates"
  (cd "$rig_checkout" && git ls-files -z --cached --others --exclude-standard | tar -c --null --ignore-failed-read -T -) | tar -x -C "$there/sources"
  # The crates that are here, by another path; and what says where they come from.
  for entry in "$crates"/*; do ln -s "$entry" "$there/crates/"; done
  # What build.rs asks git for, which is not there.
  OOY_COMMIT=$(git -C "$rig_checkout" rev-parse --short=12 HEAD || echo unknown)
  OOY_DATE=$(git -C "$rig_checkout" log -1 --format=%cs || true)
  export OOY_COMMIT OOY_DATE CARGO_HOME=$there/crates
  (build_at "$there/sources" "$there/target")
  rebuilt=$there/target/$rig_target/release/ooy
  if ! cmp "$rig_ooy" "$rebuilt"; then
    echo "$rig_ooy and the same sources, built in $there, differ:"
    diff <(strings -a "$rig_ooy") <(strings -a "$rebuilt") | head -n 40
    return 1
  fi
  note "the same $(stat -c %s "$rebuilt") bytes"
}
# At a time when others use the cores: with what they leave over.
rebuild_ooy_meanwhile() {
  chrt --idle --pid 0 "$BASHPID"
  rebuild_ooy
}

# cargo_tool NAME VERSION: a program from crates.io, built once; says where it is.
cargo_tool() {
  local folder=$rig_work/tools/$1-$2
  mkdir -p "$rig_work/tools"
  (
    flock 9
    # Without optimising: it is used for seconds, and built in half the time.
    [[ -x $folder/bin/$1 ]] || cargo install --quiet --locked --debug --version "=$2" --root "$folder" "$1"
  ) 9>"$rig_work/tools/lock" >&2
  echo "$folder/bin/$1"
}

# zipsign: where the program is that signs and verifies archives as the crate self_update does: this
# machine's own, or one that is built once.
zipsign() {
  local version=0.2.1
  if [[ $(command zipsign --version 2>/dev/null) == "zipsign $version" ]]; then
    type -P zipsign
  else
    cargo_tool zipsign "$version"
  fi
}

# --- containers by label ------------------------------------------------------------------

# remove_projects PATTERN: containers, networks and volumes of every compose project whose
# name matches the shell pattern. By label, so that nothing else can be hit.
remove_projects() {
  local project='{{.Label "com.docker.compose.project"}}'
  docker ps -a --format "{{.ID}} $project" | of_project "$1" | xargs -r docker rm -f -v >/dev/null
  docker network ls --format "{{.ID}} $project" | of_project "$1" | xargs -r docker network rm >/dev/null
  docker volume ls --format "{{.Name}} $project" | of_project "$1" | xargs -r docker volume rm -f >/dev/null
}
of_project() {
  local id project
  while read -r id project; do
    # shellcheck disable=SC2053 # a pattern on purpose
    if [[ -n $project && $project == $1 ]]; then echo "$id"; fi
  done
}
mkdir -p "$rig_work"
