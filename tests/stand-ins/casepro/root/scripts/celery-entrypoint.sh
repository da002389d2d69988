#!/bin/sh
# A worker runs as django, in a folder of its own: beat leaves its schedule where it starts.
set -e

if [ "$1" = celery ]; then
	if [ "$2" = worker ]; then
		set -- "$@" --concurrency "${CELERY_CONCURRENCY:-1}"
	fi
	set -- su-exec django "$@"
	if mkdir /run/celery 2>/dev/null; then
		chown django:django /run/celery
	fi
	cd /run/celery
fi

exec "$@"
