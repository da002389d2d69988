#!/bin/bash
# wiki.sh ISSUE: what the wiki says to do about one of its known issues, typed without a pause. ISSUE-better:
# what somebody does who knows better than the wiki, and exactly what is wrong.
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
  # As it stands there, but for ash and the name of the container. It ends in an AttributeError: what
  # .filter() gives has no .save().
  docker exec -i "$RAPIDPRO" sh -c 'cd /rapidpro && . ../venv/bin/activate && ./manage.py shell' <<'PYTHON'
from temba.orgs.models import Org
org = Org.objects.filter(slug="lvcthealth")
org.is_flagged = False
org.save()
PYTHON
  ;;
flag-better)
  docker exec "$RAPIDPRO" /venv/bin/python /rapidpro/manage.py shell -c \
    'from temba.orgs.models import Org; org = Org.objects.get(is_flagged=True); org.unflag()'
  ;;
disk)
  sh -c 'du -ch /var/lib/docker/containers/*/*-json.log'
  # Without the filter it would remove stopped containers of everybody on this machine.
  docker system prune -f --filter "label=com.docker.compose.project=$PROJECT"
  ;;
disk-better)
  sh -c 'du -ch /var/lib/docker/containers/*/*-json.log'
  truncate -s 0 "$(docker inspect -f '{{.LogPath}}' "$(docker ps -q --filter "label=com.docker.compose.project=$PROJECT" --filter label=com.docker.compose.service=mailroom)")"
  ;;
esac
