# shellcheck shell=bash disable=SC2154,SC2317,SC2016 # to be sourced by scripts/bench; called by
# name, through step; expressions of awk
# `ooy diagnose` against the wiki's commands by hand (benches/load/by-hand.sh), on a healthy deployment,
# then beside many more containers and with large logs.

diagnose_rounds=15 by_hand_rounds=7 all_rounds=3
more_containers=188
log_bytes=536870912 # of each service; twelve make 6 GiB

name_of() { docker ps -q --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$1" | head -n 1; }
ip_of() { docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1"; }

# Of a diagnosis 1 is an answer too.
diagnosis() { "$work/ooy" --home "$home" --json diagnose || (($? == 1)); }
export -f diagnosis
export work home

addresses() {
  local owner upper variable
  umask 077
  for owner in rapidpro casepro contentrepo; do
    variable=${owner^^}_PASSWORD
    echo "$POSTGRES_HOST:$POSTGRES_PORT:*:$owner:${!variable}"
  done >"$work/pgpass"
  export PGPASSFILE=$work/pgpass PGHOST=$POSTGRES_HOST PGPORT=$POSTGRES_PORT HTTPS_PORT=$https_port PGCONNECT_TIMEOUT=5
  export RAPIDPRO_DOMAIN=rapidpro.bench.invalid CASEPRO_DOMAIN=casepro.bench.invalid CONTENTREPO_DOMAIN=content.bench.invalid
  SERVICES=''
  local service id
  for service in nginx rapidpro rapidpro-celery rapidpro-beat mailroom courier indexer elasticsearch casepro casepro-celery contentrepo bigquery-sync; do
    id=$(name_of "$service")
    upper=$(tr 'a-z-' 'A-Z_' <<<"$service")
    export "$upper=$id" "${upper}_IP=$(ip_of "$id")"
    SERVICES+=" $id"
  done
  export SERVICES
}

bring_up() {
  "$work/ooy" --home "$home" --yes --json start
  local _
  for _ in $(seq 100); do
    diagnosis >"$work/out.json"
    if jq -e '.ok' "$work/out.json" >/dev/null; then break; fi
    sleep 0.5
  done
  jq -e '.ok' "$work/out.json" >/dev/null || { jq '.findings' "$work/out.json"; return 1; }
  addresses
}

rounds_of() { # rounds_of SUFFIX: the sides take turns
  local n
  settle
  for n in $(seq "$diagnose_rounds"); do
    measure "diagnose-$1" bash -c diagnosis
    if ((n <= by_hand_rounds)); then
      measure "short-$1" "$root/benches/load/by-hand.sh" short
      measure "probes-$1" "$root/benches/load/by-hand.sh" probes
    fi
    if ((n <= all_rounds)); then measure "all-$1" "$root/benches/load/by-hand.sh" all; fi
  done
  note "ooy $(times "diagnose-$1"); by hand $(times "probes-$1")"
}

crowd() {
  local image n ids
  image=$(grep '^ooy-stand-in/courier:' "$work/stand-ins" | head -n 1)
  for n in $(seq "$more_containers"); do
    docker create --name "$project-crowd-$n" --label ooy-bench-crowd=1 --entrypoint sleep "$image" infinity >/dev/null
  done
  ids=$(docker ps -aq --filter label=ooy-bench-crowd=1)
  # shellcheck disable=SC2086 # many ids
  docker start $ids >/dev/null
  docker ps -aq --filter label=ooy-bench-crowd=1 | wc -l
}
# Lines that Docker could have written, behind those that are there: the newest stay the newest.
large_logs() {
  local service path line
  line=$(printf '{"log":"%0400d\\n","stream":"stdout","time":"2026-01-01T00:00:00.000000000Z"}\n' 0)
  { yes "$line" || true; } | head -c "$log_bytes" >"$work/filling"
  # The last line whole.
  truncate -s "$(($(wc -c <"$work/filling") / (${#line} + 1) * (${#line} + 1)))" "$work/filling"
  for service in $SERVICES; do
    path=$(docker inspect -f '{{.LogPath}}' "$service")
    cat "$work/filling" >>"$path"
  done
  rm -f "$work/filling"
  note "$(du -ch /var/lib/docker/containers/*/*-json.log | tail -n 1 | cut -f 1)"
}

row() { # row TITLE OURS PEER TARGET
  echo "| $1 | $(times "$2") | $(times "$3") | **$(ratio "$2" "$3")** | $4 | $([[ -z $4 ]] || verdict "$4" "$2" "$3") |"
}
diagnose_report() {
  local checks
  checks=$(jq '.checks | length' "$work/out.json")
  {
    echo '## diagnose'
    echo
    echo "\`scripts/bench diagnose\`, $(date +%F). $(machine)"
    echo "$diagnose_rounds rounds of ours, $by_hand_rounds by hand, $all_rounds with the slow commands.$([[ ! -e $work/restless ]] || echo " **The machine was not idle** before some.")"
    echo
    echo "Peer: the wiki's commands typed one after the other without a pause, by \`benches/load/by-hand.sh\`, addresses known"
    echo 'beforehand. *Short*: docker ps, du over the logs, docker system df, and one look at each page and database. *Probes*:'
    echo 'those, and each question that `ooy diagnose` asks an HTTP service or a database, by curl and psql. *All*: those, and'
    echo "what else the $checks checks look at: Django's shell (the wiki's way to a flagged workspace), celery inspect, nginx -t, logs."
    echo
    echo '| | ooy diagnose | by hand | ratio | target | |'
    echo '| --- | --- | --- | --- | --- | --- |'
    row 'healthy, against *probes*' diagnose-healthy probes-healthy 5
    row 'healthy, against *short*' diagnose-healthy short-healthy ''
    row 'healthy, against *all*' diagnose-healthy all-healthy ''
    row "$((more_containers + 12)) containers and 6 GB of logs, against *probes*" diagnose-crowd probes-crowd 5
    row 'the same, against *short*' diagnose-crowd short-crowd ''
    row 'the same, against *all*' diagnose-crowd all-crowd ''
    echo
    echo "Target for the whole diagnosis of a healthy deployment: 2 s, $(values diagnose-healthy | median | awk '{ print ($1 <= 2e6) ? "met" : "**missed**" }'). Largest memory (RSS): $(memory diagnose-healthy)."
    echo 'Share of the injected faults whose root cause is named first: all; `scripts/test diagnose` makes each of them and'
    echo 'fails otherwise (it prints how many).'
  } >"$work/section"
  put_section diagnose "$work/section"
}
bench_diagnose() {
  rm -f "$results" "$work/restless"
  # shellcheck disable=SC1091 # written by data-services
  . "$work/data/env"
  step 'the deployment, healthy' bring_up
  addresses
  step 'rounds, healthy' rounds_of healthy
  step "$more_containers more containers" crowd
  step '6 GB of logs' large_logs
  step 'rounds, 200 containers and 6 GB of logs' rounds_of crowd
  step 'BENCHMARKS.md' diagnose_report
}
diagnose_clean_up() {
  docker ps -aq --filter label=ooy-bench-crowd=1 | xargs -r docker rm -f
  rm -f "$work/pgpass" "$work/filling" "$work/out.json"
}
