# shellcheck shell=bash disable=SC2154,SC2317,SC2016 # to be sourced by scripts/bench, which sets
# work, root and rig_*; called by name, through step; expressions of awk
# `ooy agi` and the deliverer against a script that does what stands on PBXes today
# (benches/load/peer.py), with RapidPro's stand-in behind both.

client=2.8.5        # rapidpro-python of the time of the RapidPro that is deployed
newest=2.21.0       # and the one of this year, which imports less
callers=1000        # as benches/load/caller.rs has it
rounds=20           # of the times a channel is held, in turns
held_ours=25        # a round
held_cold=5         # a round, the deliverer not running
held_peer=3         # a round
pause=50            # ms between two calls: RapidPro shares this machine, in life it does not
as_processes=3000   # calls for the rate
through_fastagi=7000
fastagi_channels=64
waiting=10000       # both together
fastagi_port=45730
token=bbbb0000bbbb0000bbbb0000bbbb0000bbbb0000
pbx=$work/pbx
public_host=rapidpro.bench.invalid

# --- the parts --------------------------------------------------------------------------

rapidpro_container() { docker ps -aq --filter "label=com.docker.compose.project=$project" --filter label=com.docker.compose.service=rapidpro; }
rapidpro_up() {
  # Clients here come by address.
  printf 'services:\n  rapidpro:\n    environment:\n      ALLOWED_HOSTS: "*"\n' >"$home/compose.override.yaml"
  # As in life: over HTTPS, through nginx. What else nginx leads to would only take the cores.
  "$work/ooy" --home "$home" --yes start nginx
  "$work/ooy" --home "$home" --yes stop casepro contentrepo courier mailroom elasticsearch
  known_host
  docker exec "$(rapidpro_container)" /venv/bin/python /rapidpro/manage.py stand_in_seed --token "$token" --contacts "$callers" --messages 0 >"$work/seed"
  rapidpro_found
}
# The name that the certificate is for. Taken out again at the end.
known_host() {
  forget_host
  echo "127.0.0.1 $public_host # ooy-bench" >>/etc/hosts
}
forget_host() { sed '/# ooy-bench$/d' /etc/hosts >"$work/hosts" && cat "$work/hosts" >/etc/hosts && rm "$work/hosts"; }
# Its address may be another after a stop.
rapidpro_found() {
  rapidpro=$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$(rapidpro_container)"):8000
  flow=$(jq -r .flow "$work/seed")
  install -d -m 700 "$pbx"
  install -m 600 /dev/stdin "$pbx/ooy.env" <<ENV
RAPIDPRO_URL=https://$public_host:$https_port
CALLS_CA_FILE=$home/ssl/rapidpro.crt
RAPIDPRO_TOKEN=$token
RAPIDPRO_FLOW=$flow
TIME_ZONE=Africa/Nairobi
CALLS_LISTEN=127.0.0.1:$fastagi_port
ENV
  for _ in $(seq 200); do
    [[ $(curl -s -o "$work/out/ready" -w '%{http_code}' -H "Authorization: Token $token" "http://$rapidpro/api/v2/workspace.json") == 200 ]] && return 0
    sleep 0.1
  done
  echo "RapidPro does not answer at $rapidpro"
  return 1
}

the_peer() {
  local missing version venv
  mapfile -t missing < <(missing_packages python3 python3-venv)
  ((${#missing[@]} == 0)) || { apt_update && apt_install "${missing[@]}"; }
  for version in "$client" "$newest"; do
    venv=$root/.work/rig/peer-$version
    if [[ ! -e $venv/complete ]]; then
      rm -rf "$venv"
      /usr/bin/python3 -m venv "$venv"
      "$venv/bin/pip" install -q --disable-pip-version-check "rapidpro-python==$version"
      # Compiled once, as on a PBX where it has run before.
      "$venv/bin/python" -m compileall -q "$venv/lib" || true
      touch "$venv/complete"
    fi
    # The certificates that it trusts anyway, and the one of this deployment.
    cat "$("$venv/bin/python" -m certifi)" "$home/ssl/rapidpro.crt" >"$work/ca-$version.pem"
  done
  note "$(python_version), rapidpro-python $client and $newest"
}
python_version() { "$root/.work/rig/peer-$client/bin/python" --version; }

# --- calls ------------------------------------------------------------------------------

start=2026-11-22T10:00:00 end=2026-11-22T10:04:30
ours() { # ours NAME COUNT AT_ONCE PAUSE
  "$work/caller" processes "$@" "$work/ooy" --home "$pbx" agi '{number}' "$start" "$end" inbound >>"$results"
}
peer() { # peer VERSION NAME COUNT AT_ONCE PAUSE
  local version=$1
  shift
  REQUESTS_CA_BUNDLE=$work/ca-$version.pem PEER_SETTINGS=$pbx/ooy.env PYTHONDONTWRITEBYTECODE='' "$work/caller" processes "$@" \
    "$root/.work/rig/peer-$version/bin/python" "$root/benches/load/peer.py" '{number}' "$start" "$end" inbound >>"$results"
}

nothing_waits() {
  local _
  for _ in $(seq 1200); do
    [[ -z $(find "$pbx/spool/new" "$pbx/spool/sending" "$pbx/spool/batch" -type f -print -quit 2>/dev/null) ]] && return 0
    sleep 0.05
  done
  echo 'calls still wait'
  return 1
}

held_round() {
  local _
  settle
  peer "$client" held-peer "$held_peer" 1 "$pause"
  peer "$newest" held-newest "$held_peer" 1 "$pause"
  ours warm-up 1 1 0
  ours held "$held_ours" 1 "$pause"
  memory_of_deliverer
  for _ in $(seq "$held_cold"); do
    nothing_waits
    no_deliverer
    ours cold 1 1 0
  done
  nothing_waits
  note "ooy $(values held | median_ms), to start the deliverer as well $(values cold | median_ms), the script $(values held-peer | median_ms) and $(values held-newest | median_ms)"
}
memory_of_deliverer() {
  local pid
  pid=$(deliverer) || return 0
  printf 'deliverer\t0\t%s\n' "$(awk '/^VmHWM/ { print $2 }' "/proc/$pid/status")" >>"$results"
}

rates() {
  no_deliverer
  rm -rf "$pbx/spool"
  # Nobody is there to tell, so that only taking calls is measured; they wait for what follows.
  docker stop -t 5 "$(rapidpro_container)" >/dev/null
  settle
  ours processes "$as_processes" 4 0
  no_deliverer
  local serve
  "$work/ooy" --home "$pbx" calls serve >"$work/out/serve" 2>&1 &
  serve=$!
  for _ in $(seq 100); do
    { exec 4<>"/dev/tcp/127.0.0.1/$fastagi_port"; } 2>/dev/null && break
    sleep 0.05
  done
  exec 4>&-
  "$work/caller" fastagi fastagi "$through_fastagi" "$fastagi_channels" "127.0.0.1:$fastagi_port" >>"$results"
  printf 'serve\t0\t%s\n' "$(awk '/^VmHWM/ { print $2 }' "/proc/$serve/status")" >>"$results"
  kill "$serve"
  wait "$serve"
  note "$(rate processes) a second as processes, $(rate fastagi) through FastAGI"
}
peer_rate() {
  settle
  peer "$client" processes-peer 60 4 0
  note "$(rate processes-peer) a second"
}
delivery() {
  docker start "$(rapidpro_container)" >/dev/null
  rapidpro_found
  settle
  # Its limit: the same requests, on one connection as the deliverer has, and on four.
  "$work/caller" requests limit 1000 1 "$rapidpro" "$token" "$flow" >>"$results"
  "$work/caller" requests limit-four 2000 4 "$rapidpro" "$token" "$flow" >>"$results"
  local sent
  measure deliver "$work/ooy" --home "$pbx" calls deliver
  nothing_waits
  sent=$(find "$pbx/spool/sent" -type f | wc -l)
  ((sent == waiting)) || { echo "$sent of $waiting calls were sent"; return 1; }
  note "$(deliver_rate) a second; the stand-in takes $(rate limit)"
}

# --- numbers ----------------------------------------------------------------------------

median_ms() { median | awk '{ printf "%.1f ms", $1 / 1e3 }'; }
percentile() { # percentile NAME PERCENT: of all, in microseconds
  values "$1" | sort -g | awk -v p="$2" '{ v[NR] = $1 } END { n = int(NR * p / 100 + 0.9999); print v[n < 1 ? 1 : n] }'
}
milliseconds() { awk '{ printf "%.2f ms", $1 / 1e3 }'; }
times_less() { # times_less OURS PEER PERCENT
  echo "$(percentile "$1" "$3") $(percentile "$2" "$3")" | awk '{ printf "%.0f", $2 / $1 }'
}
held_row() { # held_row TEXT NAME PERCENT MOST_MS: the ratio is a target of the medians
  local ratio wanted='' reached
  ratio=$(times_less "$2" held-peer "$3")
  reached="$(percentile "$2" "$3") <= $4 * 1000"
  if (($3 == 50)); then
    wanted='100; '
    reached+=" && $ratio >= 100"
  fi
  echo "| $1 | $(percentile "$2" "$3" | milliseconds) | $(percentile held-peer "$3" | milliseconds) | $(percentile held-newest "$3" | milliseconds) | **$ratio** · $(times_less "$2" held-newest "$3") | $wanted$4 ms | $(target "$reached") |"
}
memory_ratio() { echo "$(largest held) $(largest "$1")" | awk '{ printf "%.1f", $2 / $1 }'; }
rate() { values "$1-all" | awk -v n="$(values "$1" | wc -l)" '{ t += $1 } END { printf "%.0f", n * 1e6 / t }'; }
deliver_rate() { values deliver | awk -v n="$waiting" '{ printf "%.0f", n * 1e6 / $1 }'; }
largest() { values "$1" 3 | sort -g | tail -n 1; }
mebibytes() { awk '{ printf "%.1f MiB", $1 / 1024 }'; }
target() { # target EXPRESSION: met, or not
  awk "BEGIN { print ($1) ? \"met\" : \"**missed**\" }"
}

# --- all of it --------------------------------------------------------------------------

bench_agi() {
  local number
  rm -rf "$results" "$work/out" "$work/restless" "$pbx"
  mkdir -p "$work/out"
  step 'RapidPro, with a workspace' rapidpro_up
  step 'the peer' the_peer
  step 'load generator' load_generator
  rapidpro_found
  for number in $(seq "$rounds"); do
    step "a channel held, round $number of $rounds" held_round
  done
  step 'calls a second, the script' peer_rate
  step 'calls a second' rates
  step "$waiting waiting calls" delivery
  # In a step each function has a shell of its own.
  write_agi >"$work/section"
  put_section agi "$work/section"
}
# For scripts/bench, at the end.
agi_clean_up() {
  no_deliverer
  forget_host
  rm -rf "$pbx" "$work/caller" "$work/seed" "$work"/ca-*.pem
}

write_agi() {
  local restless=0
  [[ -e $work/restless ]] && restless=$(wc -l <"$work/restless")
  cat <<MARKDOWN
## agi

\`scripts/bench agi\`, $(date -u +%F). $(machine)
$rounds rounds; $(values held | wc -l), $(values cold | wc -l) and $(values held-peer | wc -l) calls, $pause ms apart.$( ((restless == 0)) || echo " **The machine was not idle** before $restless of the rounds.")

Peer: benches/load/peer.py, which does what stands on PBXes today, on $(python_version) with rapidpro-python
$client (of the time of the RapidPro that is deployed) and, for what it is worth, with $newest. It looks the
caller up by telephone number and starts the flow while the channel waits. All callers are known,
its best case: two requests. Behind both is the RapidPro of tests/stand-ins (Django, PostgreSQL with
fsync, Redis) on this machine, over HTTPS and through the deployment's nginx, as in life; it answers
faster than the real one (lab.md: 21 to 25 ms for a contact, 20 to 30 ms for a start). \`ooy\` has stored a call with fsync when it returns, on
$(findmnt -n -o FSTYPE -T "$work"). Each call is a process that is started as Asterisk does it; its time is from before the
fork until it is gone. Ratios against $client · $newest.

| | ooy | the script | the script, $newest | ratio | target | |
| --- | --- | --- | --- | --- | --- | --- |
$(held_row 'the channel is held, median' held 50 3)
$(held_row 'the same, 99th percentile' held 99 12)
$(held_row 'the deliverer has to be started as well, median' cold 50 3)
$(held_row 'the same, 99th percentile' cold 99 12)
| largest memory (RSS) | $(largest held | mebibytes) | $(largest held-peer | mebibytes) | $(largest held-newest | mebibytes) | **$(memory_ratio held-peer)** · $(memory_ratio held-newest) | 5 | $(target "$(largest held-peer) >= 5 * $(largest held)") |
| calls a second as processes, four at a time | $(rate processes) | $(rate processes-peer) | | **$(awk "BEGIN { printf \"%.0f\", $(rate processes) / $(rate processes-peer) }")** | 200 a second | $(target "$(rate processes) >= 200") |
| calls a second through FastAGI, $fastagi_channels channels | $(rate fastagi) | | | | 2000 a second | $(target "$(rate fastagi) >= 2000") |

The deliverer, which holds no channel, had $(largest deliverer | mebibytes) at most, \`ooy calls serve\` $(largest serve | mebibytes).

$waiting waiting calls, delivered by \`ooy calls deliver\`: $(values deliver | awk '{ printf "%.1f s", $1 / 1e6 }'), $(deliver_rate) a second, with $(largest deliver | mebibytes).
The stand-in itself takes $(rate limit) flow starts a second on one connection and $(rate limit-four) on four, from a
client that only sends: the deliverer reaches $(awk "BEGIN { printf \"%.0f %%\", 100 * $(deliver_rate) / $(rate limit) }") of the former.
MARKDOWN
}
