# shellcheck shell=bash disable=SC2154,SC2317,SC2016 # to be sourced by scripts/bench; called by
# name, through step; expressions of awk
# `ooy start` and `ooy status` against docker compose, on the same files, values and images.

rounds=5        # starts from nothing, each side
fast=1s         # health intervals, both sides: the shortest, and so the best for the peer
slow='15s 60s'  # HEALTH_INTERVAL and CELERY_HEALTH_INTERVAL as the settings have them
idle_rounds=7   # start and up, when all is up
status_rounds=21

ours() { # ours NAME ARGUMENT...
  local name=$1
  shift
  measure "$name" "$work/ooy" --home "$home" --yes "$@"
}

# --- the peer ---------------------------------------------------------------------------
# peer NAME ARGUMENT...: docker compose with the deployment's arguments and environment.
peer() {
  local name=$1 pair arguments
  shift
  (
    while IFS= read -r -d '' pair; do
      case $pair in
      PATH=* | PWD=* | OLDPWD=* | SHLVL=* | _=*) ;;
      *) export "${pair?}" ;;
      esac
    done <"$work/peer/environment"
    # shellcheck disable=SC1091 # written by intervals
    . "$work/peer/intervals"
    mapfile -d '' -t arguments <"$work/peer/arguments"
    measure "$name" docker "${arguments[@]}" "$@"
  )
}

# intervals HEALTH CELERY: for both sides.
intervals() {
  sed -i -E "s/^#?HEALTH_INTERVAL=.*/HEALTH_INTERVAL=$1/; s/^#?CELERY_HEALTH_INTERVAL=.*/CELERY_HEALTH_INTERVAL=$2/" "$home/ooy.env"
  echo "export HEALTH_INTERVAL=$1 CELERY_HEALTH_INTERVAL=$2" >"$work/peer/intervals"
}

# --- rounds -----------------------------------------------------------------------------

containers() { docker ps -q --no-trunc --filter "label=com.docker.compose.project=$project" "$@" | sort; }
no_containers() {
  docker ps -aq --filter "label=com.docker.compose.project=$project" | xargs -r docker rm -f >/dev/null
  docker network rm "${project}_default" >/dev/null 2>&1 || true
  settle
}
# Twelve, and each side's word for "ready" is true by the other's measure too.
all_up() {
  local count
  count=$(containers | wc -l)
  ((count == 12)) || { echo "$count of 12 containers run"; return 1; }
  "$work/ooy" --home "$home" --json status | jq -e '[.services[] | select(.ready)] | length == 12' >/dev/null
}

start_ours() { # start_ours NAME
  no_containers
  ours "$1" --json start
  cp "$work/out/$1" "$work/out/$1-$(values "$1" | wc -l).events"
  all_up
}
start_peer() { # start_peer NAME
  no_containers
  peer "$1" up -d --wait
  all_up
}
start_round() { # start_round NUMBER SUFFIX: the two sides take turns in being first
  if (($1 % 2)); then
    start_ours "start-$2" && start_peer "up-$2"
  else
    start_peer "up-$2" && start_ours "start-$2"
  fi
  note "ooy $(values "start-$2" | tail -n 1 | took), compose $(values "up-$2" | tail -n 1 | took)"
}
took() { awk '{ printf "%.2f s", $1 / 1e6 }'; }

idle_round() {
  local before
  before=$(containers)
  ours start-idle --json start
  peer up-idle up -d
  [[ $(containers) == "$before" ]] || { echo 'containers were made anew: the two sides do not have the same configuration'; return 1; }
}
when_all_is_up() {
  local _
  # compose waits for what is not healthy yet.
  for _ in $(seq 200); do
    (($(containers --filter health=healthy | wc -l) == 12)) && break
    sleep 0.5
  done
  settle
  for _ in $(seq "$idle_rounds"); do idle_round; done
  for _ in $(seq "$status_rounds"); do
    ours status status
    peer ps ps
    ours status-json --json status
    peer ps-json ps --format json
  done
  note "start $(ratio start-idle up-idle)x, status $(ratio status ps)x"
}

# --- events -----------------------------------------------------------------------------

needs() { # of each service: itself, then what it needs; no values are kept
  peer config config --format json
  jq -r '.services | to_entries[] | [.key] + (.value.depends_on // {} | keys) | join(" ")' "$work/out/config" >"$work/out/needs"
  rm -f "$work/out/config"
  sed -i '/^config\t/d' "$results"
}
# paths NAME: a line for each run: milliseconds of the run, of the longest path of boots (the
# start of a container until ready), of the longest path with the release tasks in front of
# them, of preflight and create; then the path of boots and the path with release tasks.
paths() {
  local file number=0 wall
  for wall in $(values "$1"); do
    ((number += 1))
    file=$work/out/$1-$number.events
    jq -r '
      def ms: (.[0:19] + "Z" | fromdateiso8601) * 1000 + ((.[19:] | capture("\\.(?<f>[0-9]{1,3})")? // {f: "0"}).f + "00" | .[0:3] | tonumber);
      select(.step == "start" and (.event == "started" or .event == "ready") or .event == "done")
      | [.step, .event, .service // "-", (.at | ms), .took_ms // 0] | @tsv' "$file" |
      awk -v wall="$wall" '
        FNR == NR { needs[$1] = ""; for (i = 2; i <= NF; i++) needs[$1] = needs[$1] " " $i; next }
        $2 == "done" && $3 == "-" { part[$1] = $5 }
        $2 == "started" { started[$3] = $4 }
        $2 == "ready" {
          # What it needs was ready before: its lengths are known.
          count = split(needs[$3], need, " ")
          before = whole = 0; names = tasks = ""
          for (i = 1; i <= count; i++) {
            if (boot[need[i]] > before) { before = boot[need[i]]; names = path[need[i]] }
            if (with[need[i]] > whole) { whole = with[need[i]]; tasks = line[need[i]] }
          }
          boot[$3] = before + $4 - started[$3]; path[$3] = (names == "" ? "" : names " → ") $3
          with[$3] = whole + $5; line[$3] = (tasks == "" ? "" : tasks " → ") $3
        }
        END {
          for (s in boot) if (boot[s] > boot[a]) a = s
          for (s in with) if (with[s] > with[b]) b = s
          printf "%d\t%d\t%d\t%d\t%d\t%s\t%s\n", wall / 1000, boot[a], with[b], part["preflight"], part["create"], path[a], line[b]
        }' "$work/out/needs" -
  done
}
# each COLUMN(S as an awk expression): median and spread over the runs, in seconds.
each() { awk -F '\t' "{ print ($1) / 1000 }" "$work/paths" | summary | awk '{ printf "%.2f s (%.2f–%.2f)", $1, $2, $3 }'; }
most() { awk -F '\t' "{ print ($1) / 1000 }" "$work/paths" | median; }
often() { cut -f "$1" "$work/paths" | sort | uniq -c | sort -rn | sed -nE '1s/^ *[0-9]+ //p'; }

# --- memory -----------------------------------------------------------------------------

# own_memory: the largest memory of ooy itself in a start from nothing, without the compose that
# it calls. Not timed: looking on costs something.
own_memory() {
  local pid high=0 now
  no_containers
  "$work/ooy" --home "$home" --yes --json start >"$work/out/memory" 2>&1 &
  pid=$!
  while now=$(awk '/^VmHWM/ { print $2 }' "/proc/$pid/status" 2>/dev/null) && [[ -n $now ]]; do
    high=$now
    sleep 0.05
  done
  wait "$pid"
  echo "$high" | awk '{ printf "%.0f MiB", $1 / 1024 }' >"$work/own-memory"
  note "$(cat "$work/own-memory")"
}

# --- all of it --------------------------------------------------------------------------

bench_start() {
  local number
  rm -rf "$results" "$work/out" "$work/restless" "$work/paths"
  mkdir -p "$work/out"
  step 'a first start: databases, static files' overhear
  intervals "$fast" "$fast"
  step 'the graph' needs
  step 'memory of ooy start' own_memory
  for number in $(seq "$rounds"); do
    step "from nothing, intervals $fast, round $number of $rounds" start_round "$number" fast
  done
  step 'all is up, started a moment ago' when_all_is_up
  # shellcheck disable=SC2086 # two words
  intervals $slow
  step "from nothing, intervals ${slow/ / and }" start_round 1 slow
  paths start-fast >"$work/paths"
  write_start >"$work/section"
  put_section start "$work/section"
}

write_start() {
  local restless=0 within
  [[ -e $work/restless ]] && restless=$(wc -l <"$work/restless")
  within=$(most '$1 - $3')
  cat <<MARKDOWN
## start

\`scripts/bench start\`, $(date -u +%F). $(machine)
$rounds rounds from nothing, $idle_rounds and $status_rounds rounds when all is up.$( ((restless == 0)) || echo " **The machine was not idle** before $restless of the starts.")

Peer: \`docker compose\` with the files, values and images that \`ooy\` deploys, in the same project
on the same PostgreSQL and Redis. Images are here and are the stand-ins of tests/stand-ins,
databases are migrated, volumes stay; containers and the network are removed before each start.
The two sides take turns in being first. \`ooy\` also runs its preflight (it asks PostgreSQL and
Redis from a container) and the release tasks (static files, migrations: nothing to do) and ends
when each service answers; \`up\` does neither and ends when the Engine's health checks have passed.

| | ooy | compose | ratio | target | |
| --- | --- | --- | --- | --- | --- |
| from nothing to all ready: \`ooy start\`, \`up -d --wait\`; health intervals $fast, Celery's too | $(times start-fast) | $(times up-fast) | **$(ratio start-fast up-fast)** | 2.5 | $(verdict 2.5 start-fast up-fast) |
| the same with the deployment's own intervals, ${slow% *} and Celery's ${slow#* } (one round) | $(times start-slow) | $(times up-slow) | **$(ratio start-slow up-slow)** | | |
| all is up: \`ooy start\`, \`up -d\` | $(times start-idle) | $(times up-idle) | **$(ratio start-idle up-idle)** | 5 | $(verdict 5 start-idle up-idle) |
| all is up: \`ooy status\`, \`ps\` | $(times status) | $(times ps) | **$(ratio status ps)** | 5 | $(verdict 5 status ps) |
| all is up: \`ooy status --json\`, \`ps --format json\` | $(times status-json) | $(times ps-json) | **$(ratio status-json ps-json)** | 5 | $(verdict 5 status-json ps-json) |

The peer's time depends on the health intervals, since the Engine looks for the first time when one
has passed; \`ooy\` asks by itself. $fast is the shortest that makes sense, and the peer's best case.

How near \`ooy start\` comes to the services' own boots (intervals $fast; each run against its own events):

| | |
| --- | --- |
| the whole run | $(each '$1') |
| longest path of boots, container started to ready: $(often 6) | $(each '$2') |
| the run without it | $(each '$1 - $2') |
| longest path with release tasks before the boots: $(often 7) | $(each '$3') |
| the run without it; target: at most 1 s, $(awk -v s="$within" 'BEGIN { print s <= 1 ? "met" : "**missed**" }') | $(each '$1 - $3') |
| of which preflight | $(each '$4') |
| of which making the containers (compose) | $(each '$5') |

Largest memory (RSS) of one process, over all runs:

| | ooy | compose |
| --- | --- | --- |
| from nothing | $(cat "$work/own-memory"), and $(memory start-fast) in the compose that it calls | $(memory up-fast) |
| \`start\`, \`up -d\` when all is up | $(memory start-idle), that of compose | $(memory up-idle) |
| \`status\`, \`ps\` | $(memory status) | $(memory ps) |
MARKDOWN
}
