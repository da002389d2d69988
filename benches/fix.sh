# shellcheck shell=bash disable=SC2154,SC2317,SC2016 # to be sourced by scripts/bench, which sets
# work, home and root; called by name, through step; expressions of awk
# `ooy fix` against the wiki's own steps, run by a script without a pause (benches/load/wiki.sh), for
# each of its known issues: from the fault, with the first command, to working service again. And what
# a round of `ooy watch` costs.

fix_rounds=${OOY_BENCH_ROUNDS:-3}
# s: what has not helped by then, after its last command, is counted as that, and said. Casepro pulls by
# itself again some time later; what the other steps do is done when they end.
given_up() { case $1 in casepro | stopped) echo 60 ;; *) echo 10 ;; esac; }
watch_rounds=${OOY_BENCH_WATCH_ROUNDS:-40}
watch_interval=300 # s, its default
token=bbbb0000bbbb0000bbbb0000bbbb0000bbbb0000

sql() { PGPASSWORD=$CASEPRO_PASSWORD psql -X -h "$POSTGRES_HOST" -p "$POSTGRES_PORT" -U casepro -d casepro -Atc "$1"; }
as_rapidpro() { PGPASSWORD=$RAPIDPRO_PASSWORD psql -X -h "$POSTGRES_HOST" -p "$POSTGRES_PORT" -U rapidpro -d rapidpro -Atc "$1"; }
steer() { docker exec -i "$(service_of "$1")" sh -c 'cat >/run/stand-in/control' <<<"$2"; }

# await LIMIT COMMAND...: until it succeeds; fails after LIMIT seconds.
await() {
  local until=$((${EPOCHREALTIME/[.,]/} + $1 * 1000000))
  shift
  while ! "$@"; do
    ((${EPOCHREALTIME/[.,]/} < until)) || return 1
    sleep 0.05
  done
}

bring_up() {
  sed -i -E 's/^#?CASEPRO_SYNC_INTERVAL=.*/CASEPRO_SYNC_INTERVAL=5/; s/^#?CASEPRO_SYNC_LAG=.*/CASEPRO_SYNC_LAG=30s/' "$home/ooy.env"
  "$work/ooy" --home "$home" --yes --json start
  docker exec "$(service_of rapidpro)" /venv/bin/python /rapidpro/manage.py stand_in_seed --token "$token" --contacts 5 --messages 3 >"$work/seed"
  docker exec "$(service_of casepro)" python /app/manage.py stand_in_seed --token "$token"
  await 60 healthy
}
healthy() { "$work/ooy" --home "$home" --json diagnose >"$work/out.json"; }

# --- the known issues: each makes its fault, and says when service is back ---------------

# "Applications do not start up on docker restart": none of them runs.
stopped_fault() { docker ps -q --filter "label=com.docker.compose.project=$project" | xargs docker kill; }
stopped_works() {
  sleep 0.3 # the question takes a part of the machine
  "$work/ooy" --home "$home" --json status | jq -e '[.services[] | select(.ready)] | length == 12' >/dev/null
}
stopped_ours=(not-running)

# "Casepro stops syncing messages": a worker was killed in the middle of a pull.
casepro_fault() {
  steer rapidpro '{"hang": true}'
  await 60 pull_hangs
  docker restart -t 1 "$(service_of casepro-celery)"
  steer rapidpro '{}'
  pulled_before=$(last_pull)
  await 60 found casepro-lock-stale
}
pull_hangs() { [[ $(sql "SELECT count(*) FROM orgs_taskstate WHERE task_key = 'message-pull' AND ended_on IS NULL AND started_on < now() - interval '6 s'") == 1 ]]; }
last_pull() { sql "SELECT last_successfully_started_on FROM orgs_taskstate WHERE task_key = 'message-pull'"; }
casepro_works() { [[ $(last_pull) != "$pulled_before" ]]; }
casepro_ours=(casepro-sync)

# "RapidPro stops sending messages": the workspace is flagged.
flag_fault() {
  as_rapidpro "UPDATE orgs_org SET is_flagged = true"
  address=$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$(service_of rapidpro)")
}
flag_works() {
  # Told apart without a side effect: a workspace that may start flows is asked for the flow.
  curl -s -H 'Host: rapidpro.bench.invalid' -H "Authorization: Token $token" -H 'Content-Type: application/json' -d '{}' \
    "http://$address:8000/api/v2/flow_starts.json" | grep -q '"flow"'
}
flag_ours=(workspace-flag)

# "Server disk full": the log of one container.
disk_fault() {
  log=$(docker inspect -f '{{.LogPath}}' "$(service_of mailroom)")
  head -c 400000000 /dev/zero | tr '\0' 'x' | fold -w 400 | sed 's/.*/{"log":"&\\n","stream":"stdout","time":"2026-01-01T00:00:00.000000000Z"}/' >>"$log"
}
disk_works() { (($(stat -c %s "$log") < 50000000)); }
disk_ours=(disk-space)

found() { { "$work/ooy" --home "$home" --json diagnose || true; } | jq -e --arg code "$1" '.findings[] | select(.code == $code)' >/dev/null; } # with an exit code of its own

# one_side SIDE ISSUE: time from its first command until service is back, which is asked all the
# while, in the results as ISSUE-SIDE (ours, wiki, better). What has not come back some time after its last command is
# noted in gave-up. When `ooy fix` itself has seen it work, and ends: ISSUE-ended.
one_side() {
  local side=$1 issue=$2 from to status=0 ours worked
  declare -n ours=${issue}_ours
  "${issue}_fault"
  rm -f "$work/worked"
  from=$EPOCHREALTIME
  asked_until_it_works "$issue" &
  worked=$!
  if [[ $side == ours ]]; then
    "$work/ooy" --home "$home" --yes fix "${ours[@]}" || status=$?
    to=$EPOCHREALTIME
    ((status == 0)) || { echo "$issue: ooy fix ${ours[*]} ended with $status"; return 1; }
    printf '%s\t%s\t0\n' "$issue-ended" "$((${to/[.,]/} - ${from/[.,]/}))" >>"$results"
  else
    wiki "$issue${side#wiki}" || true
  fi
  if await "$(given_up "$issue")" test -s "$work/worked"; then
    wait "$worked"
    to=$(cat "$work/worked")
  else
    kill "$worked" && wait "$worked" || true
    [[ $side != ours ]] || { echo "$issue: not working after ooy fix"; return 1; }
    echo "$issue-$side" >>"$work/gave-up"
    to=$EPOCHREALTIME
  fi
  printf '%s\t%s\t0\n' "$issue-$side" "$((${to/[.,]/} - ${from/[.,]/}))" >>"$results"
  # Whatever the wiki's steps have left: the next round begins well. By its name too, since not every
  # repair is one that --all makes by itself.
  "$work/ooy" --home "$home" --yes fix "${ours[@]}" >"$work/out/after" 2>&1 || true
  "$work/ooy" --home "$home" --yes fix --all >>"$work/out/after" 2>&1 || true
  "$work/ooy" --home "$home" --yes start >>"$work/out/after" 2>&1
  await 90 healthy
}
asked_until_it_works() {
  while ! "$1_works"; do sleep 0.02; done
  echo "$EPOCHREALTIME" >"$work/worked.new"
  mv "$work/worked.new" "$work/worked"
}
wiki() { # wiki ISSUE[better]
  set -- "${1/%better/-better}"
  PROJECT=$project RAPIDPRO=$(service_of rapidpro) OVERHEARD=$work/peer "$root/benches/load/wiki.sh" "$1" >"$work/out/wiki-$1" 2>&1
}
issue_rounds() {
  local n issue=$1 side sides
  shift
  settle
  for n in $(seq "$fix_rounds"); do
    sides=(ours "$@")
    ((n % 2)) || sides=("$@" ours)
    for side in "${sides[@]}"; do one_side "$side" "$issue"; done
  done
  set -- "$issue"
  note "ooy $(times "$1-ours") (ends after $(times "$1-ended")), the wiki's steps $(times "$1-wiki")"
}

# --- the watch --------------------------------------------------------------------------

watch_costs() {
  settle
  "$work/ooy" --home "$home" watch --interval 5s >"$work/out/watch" 2>&1 &
  local watch=$! from to began=$EPOCHREALTIME seconds=$((watch_rounds * 5))
  sleep 12 # the first rounds fetch what later ones have kept
  from=$(cpu_of "$watch")
  began=$EPOCHREALTIME
  sleep "$seconds"
  to=$(cpu_of "$watch")
  local rounds=$(((${EPOCHREALTIME/[.,]/} - ${began/[.,]/}) / 5000000))
  printf 'watch\t%s\t%s\n' "$(((to - from) * 10000 / rounds))" "$(awk '/^VmHWM/ { print $2 }' "/proc/$watch/status")" >>"$results"
  kill "$watch"
  wait "$watch" || true
  note "$(values watch | awk '{ printf "%.0f ms of CPU", $1 / 1e3 }') a round, $(memory watch)"
}
# Its own CPU time and that of the programs that it has run, in hundredths of a second.
cpu_of() { sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 + $14 + $15 }'; }

fix_row() { # fix_row TITLE ISSUE PEER [TARGET]
  local gave_up='' by_peer verdict=''
  gave_up=$({ grep -cx "$2-$3" "$work/gave-up" || true; } 2>/dev/null)
  by_peer=$(times "$2-$3")
  if ((gave_up > 0)); then by_peer="not cured $(given_up "$2") s after its end ($gave_up of $fix_rounds)"; fi
  if [[ -n ${4:-} ]]; then verdict=$(verdict "$4" "$2-ours" "$2-$3"); fi
  echo "| $1 | $(times "$2-ours") | $(times "$2-ended") | $by_peer | **$(ratio "$2-ours" "$2-$3")** | ${4:-} | $verdict |"
}
fix_report() {
  local cpu share
  cpu=$(values watch)
  share=$(awk -v cpu="$cpu" -v interval="$watch_interval" 'BEGIN { printf "%.3f", cpu / 1e4 / interval }')
  {
    echo '## fix'
    echo
    echo "\`scripts/bench fix\`, $(date +%F). $(machine)"
    echo "$fix_rounds rounds, the sides in turns.$([[ ! -e $work/restless ]] || echo " **The machine was not idle** before some.")"
    echo
    echo "Peer: the wiki's own steps for each of its known issues, run by \`benches/load/wiki.sh\` without a pause or a thought,"
    echo 'names known beforehand. From the first command to working service, asked all the while by the same question on both'
    echo 'sides. `ooy` looks first, and ends only when it has seen the service work itself. Two of the recipes never cure: that for a'
    echo 'flagged workspace ends in an AttributeError, and `docker system prune` frees nothing of a log; their ratio says no more than'
    echo 'that. So there are two more rows, in which the peer is somebody who knows better than the wiki and knows exactly what is wrong:'
    echo "one command (\`unflag()\`, \`truncate\`) that looks at nothing and proves nothing."
    echo
    echo "| fault | ooy fix | and has proved it | the wiki's steps | ratio | target | |"
    echo '| --- | --- | --- | --- | --- | --- | --- |'
    fix_row 'all containers are stopped' stopped wiki 1
    fix_row "Casepro's worker was killed in a pull" casepro wiki 1
    fix_row 'the workspace is flagged' flag wiki 1
    fix_row '– by somebody who knows better than the wiki' flag better
    fix_row 'a log has 0.5 GB' disk wiki 1
    fix_row '– by somebody who knows better than the wiki' disk better
    echo
    echo "\`ooy watch\`, healthy deployment, $watch_rounds rounds: $(awk -v cpu="$cpu" 'BEGIN { printf "%.0f ms", cpu / 1e3 }') of CPU time a round, programs that it runs included; at its interval of"
    echo "$((watch_interval / 60)) min that is $share % of one core (target: below 0.5 %, $(awk -v s="$share" 'BEGIN { print (s < 0.5) ? "met" : "**missed**" }')). Largest memory (RSS): $(memory watch) (target: below 20 MB, $(values watch 3 | awk '{ print ($1 * 1024 < 20e6) ? "met" : "**missed**" }'))."
  } >"$work/section"
  put_section fix "$work/section"
}
bench_fix() {
  rm -f "$results" "$work/restless" "$work/gave-up"
  mkdir -p "$work/out"
  # shellcheck disable=SC1091 # written by data-services
  . "$work/data/env"
  step 'the deployment, healthy' bring_up
  step "compose's arguments, overheard" overhear
  step 'all containers are stopped' issue_rounds stopped wiki
  step "Casepro's worker was killed in a pull" issue_rounds casepro wiki
  step 'the workspace is flagged' issue_rounds flag wiki better
  step 'a log that is too large' issue_rounds disk wiki better
  step 'what the watch costs' watch_costs
  step 'BENCHMARKS.md' fix_report
}
fix_clean_up() { rm -rf "$work/out.json" "$work/worked" "$work/seed" "$work/gave-up" "$work/peer" "$work/tap"; }
