# shellcheck shell=bash disable=SC2154,SC2317,SC2016 # to be sourced by scripts/bench, which sets
# work, home and root; called by name, through step; expressions of awk
# `ooy upgrade` against the wiki's fourteen steps, run by a script without a pause
# (benches/load/wiki-upgrade.sh), on the same images: for how long RapidPro's pages and courier give no
# answer of theirs, asked all the while through nginx. First with the stand-ins' RapidPro as it is, small
# and quick; then with as much work for the processor as the real one's code makes of loading, static
# files and migrations (tests/stand-ins/library/stand_in/work.py).

upgrade_rounds=${OOY_BENCH_ROUNDS:-3}
busy_rounds=${OOY_BENCH_BUSY_ROUNDS:-$upgrade_rounds}
kind=light
token=bbbb0000bbbb0000bbbb0000bbbb0000bbbb0000

ours() { "$work/ooy" --home "$home" --yes --json "$@"; }

bring_up() {
  ours start
  docker exec "$(service_of rapidpro)" /venv/bin/python /rapidpro/manage.py stand_in_seed --token "$token" --contacts 500 --messages 4 >"$work/seed"
  # To this state everything comes back between two measurements.
  ours backup create --database rapidpro --keep bench
}

# From here on RapidPro works as hard as the real one, on both sides.
full_work() {
  {
    echo services:
    printf '  %s: {environment: {STAND_IN_FULL_WORK: "1"}}\n' rapidpro rapidpro-celery rapidpro-beat
  } >"$home/compose.override.yaml"
  overhear
}

# asked NAME PATH WANTED [DATA]: asks until told to stop.
asked() {
  local name=$1
  shift
  "$root/benches/load/asker.py" "$https_port" rapidpro.bench.invalid "$1" "$2" "$work/asked-$name" "$work/enough" "${@:3}"
}
# away NAME: microseconds without a right answer, all times together: each from the last right one before
# to the first right one after.
away() {
  awk '{ t = $1 * 1e6 } $2 == "no" { wrong = 1 } $2 == "yes" { if (wrong && last) sum += t - last; wrong = 0; last = t }
    END { if (wrong) { print "never came back" > "/dev/stderr"; exit 1 } printf "%.0f\n", sum }' "$work/asked-$1"
}

# wiki STEP: before, upgrade.
wiki() {
  install -d -m 700 "$work/peer/overrides"
  PROJECT=$project OVERHEARD=$work/peer OVERRIDES=$work/peer/overrides "$root/benches/load/wiki-upgrade.sh" "$1" >"$work/out/wiki-$1" 2>&1
}
# one_side SIDE: the upgrade, asked all the while; then everything is as before.
one_side() {
  local side=$1 name pids channel
  channel=$(jq -r .channel "$work/seed")
  [[ $side == ours ]] || wiki before
  settle
  rm -f "$work/enough" "$work"/asked-*
  asked web /users/login/ 200 &
  pids=$!
  asked courier "/c/ex/$channel/receive" 200 'from=%2B254722000111&text=hello' &
  pids="$pids $!"
  sleep 1 # some right answers before
  if [[ $side == ours ]]; then
    ours upgrade rapidpro --to 7.0.4 >"$work/out/upgrade"
  else
    wiki upgrade
  fi
  sleep 3 # and after
  : >"$work/enough"
  # shellcheck disable=SC2086 # two words
  wait $pids
  for name in web courier; do printf '%s\t%s\t0\n' "$name-$kind-$side" "$(away "$name")" >>"$results"; done
  [[ $(docker inspect -f '{{.Config.Image}}' "$(service_of rapidpro)") == *:v7.0.4 ]]
  back "$side"
}
back() {
  local backup
  backup=$("$work/ooy" --home "$home" --json backup list | jq -r '[.backups[] | select(.keep == "bench")][0].id')
  if [[ $1 == ours ]]; then ours rollback --accept-loss-since 2000-01-01T00:00:00Z; fi
  ours stop
  ours restore "$backup" --database rapidpro
  "$work/ooy" --home "$home" --json backup list | jq -r '.kept_databases[].name' | while read -r name; do ours backup delete "$name"; done
  ours start
}
upgrade_round() {
  if (($1 % 2)); then
    one_side ours
    one_side wiki
  else
    one_side wiki
    one_side ours
  fi
  note "web $(values "web-$kind-ours" | tail -n 1) µs and $(values "web-$kind-wiki" | tail -n 1) µs, courier $(values "courier-$kind-ours" | tail -n 1) µs and $(values "courier-$kind-wiki" | tail -n 1) µs"
}

upgrade_report() {
  {
    echo '## upgrade'
    echo
    echo "\`scripts/bench upgrade\`, $(date +%F). $(machine)"
    echo "Rounds: $upgrade_rounds with a small RapidPro, $busy_rounds with one as busy as the real one; the sides in turns.$([[ ! -e $work/restless ]] || echo " **The machine was not idle** before some.")"
    echo
    echo "Peer: the wiki's fourteen steps from RapidPro 6.4.8 to 7.0.4, run by \`benches/load/wiki-upgrade.sh\` without a pause, on the"
    echo 'same images; without a backup, a check or a way back, which the wiki leaves to the reader. Its rapidpro is started as in'
    echo "the wiki's compose file, by the image's startup.sh (which is not told when it should end, and is killed after the 10 s that"
    echo 'compose gives by default), and nothing waits for health checks, which that file has none of. Asked through nginx every'
    echo '20 ms (benches/load/asker.py): the sum of the times from the last right answer before a wrong one to the first right one after it.'
    echo
    echo "The stand-in of RapidPro is small: a dozen static files, six migrations. *As busy as the real one* means that the same stand-in"
    echo 'keeps the processor as long as the code of RapidPro 7.0.4 did when it was run by itself (AMD EPYC, Python 3.9, the'
    echo 'packages of its lock file): 1.5 s to load Django, 2.5 s with its pages, 9.3 s to collect 19,181 static files, 15.4 s to'
    echo 'compress them, 22.6 s for the 53 migrations from 6.4.8 in an empty database. In numbers of rounds, not in seconds:'
    echo 'a slower machine is slower at it. That `ooy` makes the real migrations a sixth faster (deployment/known.rs) is not in it.'
    echo
    echo "| nobody answers for | ooy upgrade | the wiki's steps | ratio | target | |"
    echo '| --- | --- | --- | --- | --- | --- |'
    local name what
    for kind in full light; do
      what=$([[ $kind == full ]] && echo 'as busy as the real one' || echo 'small')
      for name in web courier; do
        echo "| $name; RapidPro $what | $(times "$name-$kind-ours") | $(times "$name-$kind-wiki") | **$(ratio "$name-$kind-ours" "$name-$kind-wiki")** | 2 | $(verdict 2 "$name-$kind-ours" "$name-$kind-wiki") |"
      done
    done
  } >"$work/section"
  put_section upgrade "$work/section"
}
bench_upgrade() {
  local number
  rm -f "$results" "$work/restless"
  mkdir -p "$work/out"
  step "compose's arguments, overheard" overhear
  step 'the deployment, healthy' bring_up
  for number in $(seq "$upgrade_rounds"); do
    step "round $number of $upgrade_rounds" upgrade_round "$number"
  done
  # In this shell: what it sets is for the rounds that follow.
  kind=full
  step 'RapidPro as busy as the real one' full_work
  for number in $(seq "$busy_rounds"); do
    step "round $number of $busy_rounds, as busy" upgrade_round "$number"
  done
  step 'BENCHMARKS.md' upgrade_report
}
upgrade_clean_up() { rm -rf "$work/enough" "$work"/asked-* "$work/seed" "$work/peer"; }
