#!/bin/bash
# by-hand.sh SET: the wiki's commands, one after the other, as a person would type them. Addresses,
# names and a password file come from the environment (benches/diagnose.sh); nothing is shown.
#
#   short   docker ps, du over the logs, docker system df, one look at each page and database
#   probes  the same, and every question that `ooy diagnose` asks an HTTP service or a database,
#           by curl and psql
#   all     the same, and what is left: the Django shell (the wiki's way to the flag), `celery
#           inspect`, `nginx -t`, `docker compose config`
#
# The peer's best case: no thinking, no log-in by ssh, addresses known beforehand.
exec >/dev/null 2>&1
set -u

page() { curl -sk -o /dev/null --max-time 10 -H "Host: $1" "$2"; }
ask() { psql -X -h "$PGHOST" -p "$PGPORT" -U "$1" -d "$1" -Atc "$2"; }

docker ps
sh -c 'du -ch /var/lib/docker/containers/*/*-json.log'
docker system df

short() {
  page "$RAPIDPRO_DOMAIN" "https://127.0.0.1:$HTTPS_PORT/users/login/"
  page "$CASEPRO_DOMAIN" "https://127.0.0.1:$HTTPS_PORT/ping"
  page "$CONTENTREPO_DOMAIN" "https://127.0.0.1:$HTTPS_PORT/admin/login/"
  ask rapidpro 'SELECT 1'
  ask casepro 'SELECT 1'
  ask contentrepo 'SELECT 1'
}
probes() {
  short
  df -h
  df -i
  page "$RAPIDPRO_DOMAIN" "http://$RAPIDPRO_IP:8000/users/login/"
  page localhost "http://$CASEPRO_IP:8000/ping"
  page "$CONTENTREPO_DOMAIN" "http://$CONTENTREPO_IP:8000/admin/login/"
  page "$CONTENTREPO_DOMAIN" "http://$CONTENTREPO_IP:8000/no-such-page/"
  page localhost "http://$COURIER_IP:8080/"
  page localhost "http://$MAILROOM_IP:8090/mr/"
  page "$RAPIDPRO_DOMAIN" "https://127.0.0.1:$HTTPS_PORT/c/"
  page "$RAPIDPRO_DOMAIN" "https://127.0.0.1:$HTTPS_PORT/mr/surveyor/submit"
  page localhost "http://$ELASTICSEARCH_IP:9200/_cluster/health"
  page localhost "http://$ELASTICSEARCH_IP:9200/_all/_settings/index.blocks.*"
  page localhost "http://$ELASTICSEARCH_IP:9200/contacts/_search?size=1&sort=modified_on:desc"
  local owner
  for owner in rapidpro casepro contentrepo; do
    ask "$owner" 'SELECT extname FROM pg_extension'
    ask "$owner" 'SELECT app, name FROM django_migrations'
  done
  ask rapidpro 'SELECT state, count(*) FROM pg_stat_activity GROUP BY 1'
  ask rapidpro 'SHOW listen_addresses'
  ask rapidpro 'SELECT slug, is_flagged, is_suspended FROM orgs_org'
  ask rapidpro "SELECT min(created_on) FROM msgs_msg WHERE direction = 'O' AND status IN ('P', 'Q', 'E')"
  ask rapidpro 'SELECT max(modified_on) FROM contacts_contact'
  ask casepro 'SELECT * FROM orgs_taskstate'
  ask casepro 'SELECT max(created_on) FROM msgs_message'
}
in_container() { docker exec "$@"; }
all() {
  probes
  in_container "$RAPIDPRO" /venv/bin/python /rapidpro/manage.py shell -c 'from temba.orgs.models import Org; print(Org.objects.values_list("slug", "is_flagged"))'
  in_container "$RAPIDPRO_CELERY" sh -c '/venv/bin/celery --app=temba inspect ping -d celery@$(hostname)'
  in_container "$RAPIDPRO_BEAT" sh -c '/venv/bin/celery --app=temba inspect ping -d celery@$(hostname)'
  in_container "$CASEPRO_CELERY" sh -c 'cd /app && celery --app=casepro inspect active'
  in_container "$NGINX" nginx -t
  local service
  for service in $SERVICES; do docker logs --tail 100 "$service"; done
}
"$1"
