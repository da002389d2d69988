# shellcheck shell=bash disable=SC2154,SC2317,SC2016 # to be sourced by scripts/bench, which sets
# work, home and root; called by name, through step; expressions of awk
# `ooy backup` and `ooy restore` against plain pg_dump and pg_restore, on the same database of a
# gigabyte: messages with indexes, contacts with hstore, large objects.

backup_rounds=${OOY_BENCH_ROUNDS:-2}
backup_bytes=1073741824 # of the database; its tables alone are a gigabyte
jobs=$(nproc)
((jobs <= 4)) || jobs=4 # as many as ooy takes
dump=$work/peer.dump

as_superuser() { PGPASSWORD=$POSTGRES_PASSWORD "$POSTGRES_BIN/psql" -X -q -h 127.0.0.1 -p "$POSTGRES_PORT" -U postgres -v ON_ERROR_STOP=1 -d "$1" -Atc "$2"; }
as_rapidpro() { PGPASSWORD=$RAPIDPRO_PASSWORD "$POSTGRES_BIN/psql" -X -q -h "$POSTGRES_HOST" -p "$POSTGRES_PORT" -U rapidpro -d rapidpro -v ON_ERROR_STOP=1 -Atc "$1"; }
tables_size() { as_rapidpro "SELECT sum(pg_table_size(c.oid)) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'r' AND nspname = 'public'"; }
ours() { "$work/ooy" --home "$home" --yes --quiet "$@"; }

fill() {
  as_rapidpro "
    CREATE TABLE contacts (id serial PRIMARY KEY, uuid uuid UNIQUE, name varchar(128), fields hstore, modified_on timestamptz);
    INSERT INTO contacts (uuid, name, fields, modified_on)
      SELECT md5(n::text)::uuid, 'Contact ' || n, hstore(ARRAY['age', 'county'], ARRAY[(n % 60)::text, 'county ' || n % 47]), now() - n * interval '1 minute'
      FROM generate_series(1, 100000) n;
    CREATE INDEX ON contacts (modified_on);
    CREATE INDEX ON contacts USING gin (fields);
    CREATE TABLE messages (id bigserial PRIMARY KEY, uuid uuid, contact_id integer REFERENCES contacts, direction char(1),
      status char(1), text text, created_on timestamptz, metadata jsonb);
    SELECT lo_from_bytea(0, convert_to(repeat('an attachment ', 20000), 'UTF8')) FROM generate_series(1, 20);" >/dev/null
  while (($(tables_size) < backup_bytes)); do
    as_rapidpro "
      INSERT INTO messages (uuid, contact_id, direction, status, text, created_on, metadata)
        SELECT md5(random()::text)::uuid, 1 + n % 100000, CASE n % 2 WHEN 0 THEN 'I' ELSE 'O' END, 'D',
          (SELECT string_agg((ARRAY['hello', 'please', 'help', 'clinic', 'where', 'is', 'the', 'nearest', 'my', 'friend',
            'thank', 'you', 'test', 'result', 'when', 'open', 'today', 'tomorrow', 'condom', 'county'])[1 + (random() * 19)::int], ' ')
            FROM generate_series(1, 12 + n % 9) WHERE n = n),
          now() - n * interval '7 seconds', jsonb_build_object('quick_replies', n % 3, 'external', md5(n::text))
        FROM generate_series(1, 500000) n"
  done
  as_rapidpro 'CREATE INDEX ON messages (contact_id, created_on); CREATE INDEX ON messages (created_on) WHERE status = $$D$$; CREATE INDEX ON messages (uuid); ANALYZE'
  note "$(as_rapidpro "SELECT pg_size_pretty(pg_database_size('rapidpro')), (SELECT count(*) FROM messages)")"
}

# Neither side pays for what the other has written.
calm() {
  as_superuser postgres CHECKPOINT
  sync
}
newest() { ours --json backup list | jq -r '.backups[0].id'; }
peer_dump() { PGPASSWORD=$RAPIDPRO_PASSWORD "$POSTGRES_BIN/pg_dump" -Fc -h "$POSTGRES_HOST" -p "$POSTGRES_PORT" -U rapidpro -f "$dump" rapidpro; }
peer_restore() { PGPASSWORD=$POSTGRES_PASSWORD "$POSTGRES_BIN/pg_restore" -j "$jobs" --no-owner -h 127.0.0.1 -p "$POSTGRES_PORT" -U postgres -d peer "$dump"; }
create() { ours backup create --database rapidpro; }
restore() { ours restore "$(newest)" --database rapidpro; }
export -f peer_dump peer_restore create restore ours newest
export home work dump jobs

backup_round() {
  calm
  measure create bash -c create
  calm
  measure pg_dump bash -c peer_dump
  calm
  measure verify bash -c 'ours backup verify'
  as_superuser postgres 'DROP DATABASE IF EXISTS peer' 2>/dev/null
  as_superuser postgres 'CREATE DATABASE peer'
  as_superuser peer 'CREATE EXTENSION postgis; CREATE EXTENSION hstore; CREATE EXTENSION "uuid-ossp"'
  calm
  measure pg_restore bash -c peer_restore
  as_superuser postgres 'DROP DATABASE peer'
  calm
  measure restore bash -c restore
  ours --json backup list | jq -r '.kept_databases[].name' | while read -r kept; do ours backup delete "$kept"; done
  ours backup delete "$(newest)"
}
rounds() {
  local n
  # shellcheck disable=SC1091 # written by data-services
  . "$work/data/env"
  export POSTGRES_HOST POSTGRES_PORT POSTGRES_BIN POSTGRES_PASSWORD RAPIDPRO_PASSWORD
  settle
  for n in $(seq "$backup_rounds"); do backup_round "$n"; done
  note "create $(times create), pg_dump $(times pg_dump); restore $(times restore), pg_restore $(times pg_restore); verify $(times verify)"
}

# own_memory NAME DATABASE: the largest memory of ooy itself, without the programs that it runs.
own_memory() {
  local ooy peak=0 now
  "$work/ooy" --home "$home" --yes --quiet backup create --database "$2" &
  ooy=$!
  while now=$(awk '/^VmHWM/ { print $2 }' "/proc/$ooy/status" 2>/dev/null) && [[ -n $now ]]; do
    peak=$now
    sleep 0.02
  done
  wait "$ooy"
  printf '%s\t0\t%s\n' "$1" "$peak" >>"$results"
  ours backup delete "$(newest)"
}

backup_row() { # backup_row TITLE OURS PEER MOST
  local least
  least=$(awk -v most="$4" 'BEGIN { print 1 / most }')
  echo "| $1 | $(times "$2") | $(times "$3") | **$(ratio "$2" "$3")** | $(awk -v least="$least" 'BEGIN { printf "%.2f", least }') ($4 times its time) | $(verdict "$least" "$2" "$3") |"
}
backup_report() {
  local small large
  small=$(values small 3) large=$(values large 3)
  {
    echo '## backup'
    echo
    echo "\`scripts/bench backup\`, $(date +%F). $(machine)"
    echo "PostgreSQL $(as_superuser postgres 'SHOW server_version'), database of $(as_superuser postgres "SELECT pg_size_pretty(pg_database_size('rapidpro'))"), $backup_rounds rounds, the sides in turns.$([[ ! -e $work/restless ]] || echo " **The machine was not idle** before.")"
    echo
    echo "Peers: \`pg_dump -Fc\`, and \`pg_restore -j $jobs\` into an empty database with its extensions. ooy counts every table,"
    echo 'makes digests and flushes to the disk as well; a restore makes the database and its extensions, counts again and'
    echo 'changes places; a verification drops it.'
    echo
    echo '| | ooy | peer | ratio | target | |'
    echo '| --- | --- | --- | --- | --- | --- |'
    backup_row 'backup create, pg_dump' create pg_dump 1.1
    backup_row 'restore, pg_restore' restore pg_restore 1.1
    backup_row 'backup verify, pg_restore' verify pg_restore 1.3
    echo
    echo "Largest memory (RSS) of ooy itself, \`backup create\`: $(awk -v kb="$large" 'BEGIN { printf "%.1f", kb / 1024 }') MiB for this database, $(awk -v kb="$small" 'BEGIN { printf "%.1f", kb / 1024 }') MiB for an empty one (target: flat, $(awk -v l="$large" -v s="$small" 'BEGIN { print (l - s < 2048) ? "met" : "**missed**" }'))."
  } >"$work/section"
  put_section backup "$work/section"
}
bench_backup() {
  rm -f "$results" "$work/restless"
  # shellcheck disable=SC1091 # written by data-services
  . "$work/data/env"
  step 'a gigabyte of messages' fill
  step 'rounds' rounds
  step 'memory, an empty database' own_memory small contentrepo
  step 'memory, the gigabyte' own_memory large rapidpro
  step 'BENCHMARKS.md' backup_report
}
backup_clean_up() { rm -f "$dump"; }
