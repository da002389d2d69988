#!/bin/bash
# wiki-upgrade.sh: the wiki's fourteen steps from RapidPro 6.4.8 to 7.0.4, each command typed without a
# pause. PROJECT, OVERHEARD (a folder with compose's arguments and environment), OVERRIDES (a folder
# for the edited compose files) come from benches/upgrade.sh.
set -eu

# "Edit the compose file": later files win. Its rapidpro is started by the image's own startup.sh,
# which collects static files and migrates, as in the wiki's compose file. --no-deps, because that
# file knows no conditions: compose would wait for health checks that it does not have.
cat >"$OVERRIDES/startup.yaml" <<'YAML'
services:
  rapidpro:
    command: ["/startup.sh"]
    environment: {MANAGEPY_COLLECTSTATIC: "on", MANAGEPY_COMPRESS: "on", MANAGEPY_INIT_DB: "on", MANAGEPY_MIGRATE: "on"}
YAML
cat >"$OVERRIDES/workerless.yaml" <<'YAML'
services:
  mailroom:
    command: ["mailroom", "--address", "0.0.0.0", "-batch-workers", "0", "-handler-workers", "0"]
YAML
# shellcheck source-path=SCRIPTDIR source=compose.sh
. "$(dirname "$0")/compose.sh"
more=(-f "$OVERRIDES/startup.yaml")
up() { compose up -d --no-deps "$@"; }

compose stop rapidpro rapidpro-celery rapidpro-beat mailroom courier indexer
edited+=(MAILROOM_IMAGE=ooy-stand-in/mailroom:v7.0.1)
more+=(-f "$OVERRIDES/workerless.yaml")
up mailroom
edited+=(RAPIDPRO_IMAGE=ooy-stand-in/rapidpro:v7.0.4)
up rapidpro
# "Tail the logs to confirm that the migrations have completed": seen the moment it is there.
until docker logs "$(docker ps -aq --filter "label=com.docker.compose.project=$PROJECT" --filter label=com.docker.compose.service=rapidpro --filter label=com.docker.compose.oneoff=False)" 2>&1 | grep -q 'spawned uWSGI'; do sleep 0.1; done
compose stop mailroom
more=(-f "$OVERRIDES/startup.yaml")
up mailroom
edited+=(COURIER_IMAGE=ooy-stand-in/courier:v7.0.0 INDEXER_IMAGE=ooy-stand-in/indexer:v7.0.0)
up courier indexer rapidpro-celery rapidpro-beat
compose restart nginx
