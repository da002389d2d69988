# shellcheck shell=bash disable=SC2154 # to be sourced by scripts/bench, which sets work and root
# Measuring one command, and what many measurements say together.

results=$work/results

# service_of NAME: the id of the container of a service.
service_of() { docker ps -aq --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$1" --filter label=com.docker.compose.oneoff=False | head -n 1; }

# busy: the share of this machine's CPU time that is in use now, in percent, over half a second.
busy() {
  local a b
  read -r -a a < <(sed -n '1s/cpu *//p' /proc/stat)
  sleep 0.5
  read -r -a b < <(sed -n '1s/cpu *//p' /proc/stat)
  local total=0 idle n
  for n in 0 1 2 3 4 5 6 7; do ((total += b[n] - a[n])) || true; done
  ((idle = b[3] + b[4] - a[3] - a[4])) || true
  echo $((total > 0 ? 100 * (total - idle) / total : 0))
}

# settle: waits until the machine has nothing else to do. Where it always has, goes on after a
# while and remembers it: the section says so.
settle() {
  local _ now quiet=0
  sync
  for _ in $(seq 30); do
    now=$(busy)
    if ((now < 20)); then ((quiet += 1)); else quiet=0; fi
    ((quiet >= 2)) && return 0
  done
  echo "$now" >>"$work/restless"
}

# measure NAME COMMAND...: runs it and adds a line to the results: name, microseconds, KiB of
# the largest process among it and its children. Output goes to $work/out/NAME.
measure() {
  local name=$1 from to status=0
  shift
  mkdir -p "$work/out"
  from=$EPOCHREALTIME
  /usr/bin/time -q -o "$work/out/rss" -f %M "$@" >"$work/out/$name" 2>"$work/out/$name.err" </dev/null || status=$?
  to=$EPOCHREALTIME
  if ((status != 0)); then
    echo "$name: exit code $status: $*"
    tail -n 20 "$work/out/$name" "$work/out/$name.err"
    return 1
  fi
  printf '%s\t%s\t%s\n' "$name" "$((${to/[.,]/} - ${from/[.,]/}))" "$(tail -n 1 "$work/out/rss")" >>"$results"
}

# values NAME [COLUMN]: one a line, in the order of measuring. Column 2 is time, 3 memory.
values() { awk -F '\t' -v name="$1" -v column="${2:-2}" '$1 == name { print $column }' "$results"; }
# summary: median, smallest, largest and count of the numbers on stdin.
summary() { sort -g | awk '{ v[NR] = $1 } END { m = NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2; print m, v[1], v[NR], NR }'; }
median() { summary | cut -d ' ' -f 1; }
# times NAME: `6.21 s (6.10–6.40)`, or in ms where it is short.
times() {
  values "$1" | summary | awk '{ if ($1 < 1e6) printf "%.0f ms (%.0f–%.0f)", $1 / 1e3, $2 / 1e3, $3 / 1e3; else printf "%.2f s (%.2f–%.2f)", $1 / 1e6, $2 / 1e6, $3 / 1e6 }'
}
# ratio OURS PEER: of the medians; of the single rounds, smallest and largest.
ratio() {
  local medians rounds
  medians=$(echo "$(values "$1" | median) $(values "$2" | median)" | awk '{ printf "%.2f", $2 / $1 }')
  rounds=$(paste <(values "$1") <(values "$2") | awk 'NF == 2 { print $2 / $1 }' | summary)
  awk -v medians="$medians" '{ if ($4 > 1) printf "%s (%.2f–%.2f)", medians, $2, $3; else printf medians }' <<<"$rounds"
}
# memory NAME: largest process, the largest of all runs.
memory() { values "$1" 3 | sort -g | tail -n 1 | awk '{ printf "%.0f MiB", $1 / 1024 }'; }
# verdict TARGET OURS PEER: whether the ratio of the medians reaches it.
verdict() {
  echo "$(values "$2" | median) $(values "$3" | median)" | awk -v target="$1" '{ print ($2 / $1 >= target) ? "met" : "**missed**" }'
}

# What ooy gives to compose, for a peer that calls the same: the arguments, and the environment,
# overheard once by a `docker` in front of the real one. It holds secrets: mode 0600, never shown,
# gone at the end.
overhear() {
  install -d -m 700 "$work/tap" "$work/peer"
  cat >"$work/tap/docker" <<TAP
#!/bin/bash
PATH=$PATH
if [[ " \$* " == *' config --hash '* ]]; then
  umask 077
  arguments=()
  for argument; do
    [[ \$argument == config ]] && break
    arguments+=("\$argument")
  done
  printf '%s\0' "\${arguments[@]}" >'$work/peer/arguments'
  env -0 >'$work/peer/environment'
fi
exec docker "\$@"
TAP
  chmod 700 "$work/tap/docker"
  PATH=$work/tap:$PATH "$work/ooy" --home "$home" --yes --json start
  [[ -s $work/peer/arguments && -s $work/peer/environment ]]
}

# Starts a process as Asterisk does, many times, and measures each: $work/caller.
load_generator() { rustc --edition 2024 -O -o "$work/caller" "$root/benches/load/caller.rs"; }
# The process that delivers, by the lock that it holds.
deliverer() {
  local pid
  pid=$({ head -n 1 "$pbx/spool/deliverer.lock" | tr -cd 0-9; } 2>/dev/null)
  [[ -n $pid && $(readlink "/proc/$pid/exe") == "$work/ooy" ]] && echo "$pid"
}
no_deliverer() {
  local pid
  while pid=$(deliverer); do
    kill "$pid" 2>/dev/null || true
    for _ in $(seq 500); do
      [[ -d /proc/$pid ]] || break
      sleep 0.01
    done
  done
}
