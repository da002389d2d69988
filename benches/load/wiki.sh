#!/bin/bash
# wiki.sh ISSUE: what the wiki says to do about one of its known issues, typed without a pause.
# PROJECT, RAPIDPRO (a container) and OVERHEARD (a folder with compose's arguments and environment)
# come from benches/fix.sh.
set -u

# shellcheck source-path=SCRIPTDIR source=compose.sh
. "$(dirname "$0")/compose.sh"

case $1 in
stopped)
  docker ps
  compose start elasticsearch contentrepo casepro casepro-celery mailroom courier rapidpro
  compose start bigquery-sync indexer rapidpro-celery rapidpro-beat nginx
  ;;
casepro) compose restart casepro-celery ;;
flag)
  # As it is written (.filter(), .save()) it ends in an AttributeError; this is what it means.
  docker exec "$RAPIDPRO" /venv/bin/python /rapidpro/manage.py shell -c \
    'from temba.orgs.models import Org; org = Org.objects.get(is_flagged=True); org.unflag()'
  ;;
disk)
  sh -c 'du -ch /var/lib/docker/containers/*/*-json.log'
  # `docker system prune` comes next, and would remove images and stopped containers of everybody on
  # this machine; it frees nothing of a log. What does:
  truncate -s 0 "$(docker inspect -f '{{.LogPath}}' "$(docker ps -q --filter "label=com.docker.compose.project=$PROJECT" --filter label=com.docker.compose.service=mailroom)")"
  ;;
esac
