# shellcheck shell=bash disable=SC2154,SC2317,SC2016,SC2034 # to be sourced by scripts/bench, which
# sets work, root and deployed; called by name, through step; expressions of awk
# What `ooy` costs before it does anything: its size, and the time until `ooy --version` has answered and
# `ooy agi` has taken over the first call of an empty spool, against the programs that stand there for the
# same work today.

deployed=no
rounds=${RELEASE_BENCH_ROUNDS:-20}
starts=25 # a round, of each
calls=10  # a round: the spool is emptied and the delivery ended between two of them
pbx=$work/pbx
python=/usr/bin/python3

compose_plugin() {
  find /usr/local/lib/docker/cli-plugins /usr/local/libexec/docker/cli-plugins /usr/lib/docker/cli-plugins /usr/libexec/docker/cli-plugins \
    -name docker-compose 2>/dev/null | head -n 1 | xargs -r readlink -f
}
size_of() { # size_of NAME: bytes
  local interpreter library
  case $1 in
  ooy | agi) stat -c %s "$work/ooy" ;;
  docker) stat -L -c %s "$(type -P docker)" ;;
  compose) echo $(($(size_of docker) + $(stat -c %s "$(compose_plugin)"))) ;;
  # With its standard library, as Debian has it.
  python)
    interpreter=$(readlink -f "$python")
    library=$("$python" -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')
    echo $(($(stat -c %s "$interpreter") + $(du -sb --exclude=dist-packages --exclude=__pycache__ "$library" | cut -f 1)))
    ;;
  esac
}

# a_round NAME COMMAND...: starts it many times; the median of them is one value.
a_round() {
  local name=$1
  shift
  "$work/caller" processes "$name" "$starts" 1 2 "$@" >"$work/one"
  awk -F '\t' -v name="$name" '$1 == name' "$work/one" >"$work/these"
  printf '%s\t%s\t%s\n' "$name" "$(cut -f 2 "$work/these" | median)" "$(cut -f 3 "$work/these" | sort -g | tail -n 1)" >>"$results"
}
calls_round() {
  local _
  : >"$work/calls"
  for _ in $(seq "$calls"); do
    rm -rf "$pbx/spool"
    "$work/caller" processes agi 1 1 0 "$work/ooy" --home "$pbx" agi '{number}' 2026-11-22T10:00:00 2026-11-22T10:04:30 inbound >>"$work/calls"
    delivery_ended
  done
  awk -F '\t' '$1 == "agi"' "$work/calls" >"$work/these"
  printf 'agi\t%s\t%s\n' "$(cut -f 2 "$work/these" | median)" "$(cut -f 3 "$work/these" | sort -g | tail -n 1)" >>"$results"
}
release_rounds() {
  local _
  for _ in $(seq "$rounds"); do
    settle
    a_round ooy "$work/ooy" --version
    calls_round
    a_round docker docker --version
    a_round compose docker compose version
    a_round python "$python" -c pass
  done
  note "ooy $(milliseconds_of ooy), docker $(milliseconds_of docker), python3 $(milliseconds_of python)"
}
exchange() {
  install -d -m 700 "$pbx"
  # Nobody answers there: what is measured is over before.
  install -m 600 /dev/stdin "$pbx/ooy.env" <<'ENV'
RAPIDPRO_URL=http://127.0.0.1:9
RAPIDPRO_TOKEN=bench000000000000000000000000000000000000
RAPIDPRO_FLOW=00000000-0000-4000-8000-000000000000
ENV
  "$work/ooy" --home "$pbx" agi 0712345678 2026-11-22T10:00:00 2026-11-22T10:04:30 inbound </dev/null
  delivery_ended
}
# It starts after the call: it has to be there before it can be ended.
delivery_ended() {
  local _
  for _ in $(seq 200); do
    deliverer >/dev/null && break
    sleep 0.01
  done
  no_deliverer
}
peers() {
  local missing
  mapfile -t missing < <(missing_packages python3)
  ((${#missing[@]} == 0)) || { apt_update && apt_install "${missing[@]}"; }
  [[ -n $(compose_plugin) ]]
  note "$(docker --version), compose $(compose_version), $("$python" --version)"
}

milliseconds_of() { values "$1" | summary | awk '{ printf "%.2f ms (%.2f–%.2f)", $1 / 1e3, $2 / 1e3, $3 / 1e3 }'; }
megabytes_of() { size_of "$1" | awk '{ printf "%.1f MB", $1 / 1e6 }'; }
smaller() { echo "$(size_of ooy) $(size_of "$1")" | awk '{ printf "%.2f", $2 / $1 }'; }
peer_row() { # peer_row TITLE NAME
  echo "| $1 | $(megabytes_of "$2") | **$(smaller "$2")** | $(milliseconds_of "$2") | **$(ratio ooy "$2")** | **$(ratio agi "$2")** |"
}
release_report() {
  {
    echo '## release'
    echo
    echo "\`scripts/bench release\`, $(date +%F). $(hardware)"
    echo "$(docker --version), compose $(compose_version), $("$python" --version); $(this_ooy)"
    echo "$rounds rounds, in each $starts starts of each program and $calls calls.$([[ ! -e $work/restless ]] || echo " **The machine was not idle** before $(wc -l <"$work/restless") of the rounds.")"
    echo
    echo 'What a program costs before it does anything: its size, and the time from before the fork until it is gone, the'
    echo 'files in memory. A round counts as the median of its starts. `ooy agi` has kept a call on disk and started its'
    echo 'delivery by then. docker and docker compose only say their version, and compose is a plugin that docker starts;'
    echo "python3 has its standard library beside it. ooy's catalogue, templates, TLS and PostgreSQL client are in its size."
    echo
    echo '| | size | to ooy'"'"'s | start | to `ooy --version` | to `ooy agi` |'
    echo '| --- | --- | --- | --- | --- | --- |'
    echo "| \`ooy --version\` | $(megabytes_of ooy) | | $(milliseconds_of ooy) | | |"
    echo "| \`ooy agi\`, empty spool | | | $(milliseconds_of agi) | | |"
    peer_row '`docker --version`' docker
    peer_row '`docker compose version`' compose
    peer_row '`python3 -c pass`' python
  } >"$work/section"
  put_section release "$work/section"
}
bench_release() {
  rm -rf "$results" "$work/restless" "$pbx"
  step 'the peers' peers
  step 'load generator' load_generator
  step 'a telephone exchange' exchange
  step 'rounds' release_rounds
  step 'BENCHMARKS.md' release_report
}
release_clean_up() {
  no_deliverer
  rm -rf "$pbx" "$work/caller" "$work/one" "$work/these" "$work/calls"
}
