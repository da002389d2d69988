#!/bin/bash
# wiki-upgrade.sh before: RapidPro as the wiki's compose file has it, 6.4.8.
# wiki-upgrade.sh upgrade: the wiki's fourteen steps from there to 7.0.4, each command typed without a
# pause.
# PROJECT, OVERHEARD (a folder with compose's arguments and environment), OVERRIDES (a folder
# for the edited compose files) come from benches/upgrade.sh.
set -eu

# "Edit the compose file": later files win. Its rapidpro is started by the image's own startup.sh,
# which collects static files and migrates; no service waits for another's health, nor has a time of
# its own to end; its nginx looks names up when it starts (wiki-nginx.conf).
cat >"$OVERRIDES/wiki.yaml" <<YAML
services:
  rapidpro:
    command: ["/startup.sh"]
    environment: {MANAGEPY_COLLECTSTATIC: "on", MANAGEPY_COMPRESS: "on", MANAGEPY_INIT_DB: "on", MANAGEPY_MIGRATE: "on"}
    stop_grace_period: 10s
    depends_on: !reset []
  rapidpro-celery:
    stop_grace_period: 10s
    depends_on: !override {rapidpro: {condition: service_started}, mailroom: {condition: service_started}}
  rapidpro-beat:
    stop_grace_period: 10s
    depends_on: !override {rapidpro: {condition: service_started}, rapidpro-celery: {condition: service_started}}
  mailroom: {stop_grace_period: 10s, depends_on: !reset []}
  courier: {stop_grace_period: 10s}
  indexer: {stop_grace_period: 10s, depends_on: !override {elasticsearch: {condition: service_started}}}
  nginx:
    command: ["nginx", "-c", "/wiki/nginx.conf", "-g", "daemon off;"]
    volumes: ["$(dirname "$(readlink -f "$0")")/wiki-nginx.conf:/wiki/nginx.conf:ro"]
    stop_grace_period: 10s
    depends_on: !reset []
YAML
cat >"$OVERRIDES/workerless.yaml" <<'YAML'
services:
  mailroom:
    command: ["mailroom", "--address", "0.0.0.0", "-batch-workers", "0", "-handler-workers", "0"]
YAML
# shellcheck source-path=SCRIPTDIR source=compose.sh
. "$(dirname "$0")/compose.sh"
more=(-f "$OVERRIDES/wiki.yaml")
log() { docker logs "$(docker ps -aq --filter "label=com.docker.compose.project=$PROJECT" --filter label=com.docker.compose.service=rapidpro --filter label=com.docker.compose.oneoff=False)" 2>&1; }
# "Tail the logs to confirm that the migrations have completed": seen the moment it is there.
serves() { until log | grep -q 'spawned uWSGI'; do sleep 0.1; done; }

if [[ $1 == before ]]; then
  compose up -d rapidpro rapidpro-celery rapidpro-beat mailroom courier indexer
  serves
  compose up -d --force-recreate nginx
  exit
fi
compose stop rapidpro rapidpro-celery rapidpro-beat mailroom courier indexer
edited+=(MAILROOM_IMAGE=ooy-stand-in/mailroom:v7.0.1)
more+=(-f "$OVERRIDES/workerless.yaml")
compose up -d mailroom
edited+=(RAPIDPRO_IMAGE=ooy-stand-in/rapidpro:v7.0.4)
compose up -d rapidpro
serves
compose stop mailroom
more=(-f "$OVERRIDES/wiki.yaml")
compose up -d mailroom
edited+=(COURIER_IMAGE=ooy-stand-in/courier:v7.0.0 INDEXER_IMAGE=ooy-stand-in/indexer:v7.0.0)
compose up -d courier indexer rapidpro-celery rapidpro-beat
compose restart nginx
