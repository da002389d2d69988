#!/bin/sh
# What the image does with its command: none, options or a module:callable mean gunicorn
# behind nginx, after the migrations; `celery` means a worker; anything else is run as it is.
set -e

if [ $# -eq 0 ] || [ "${1#-}" != "$1" ] ||
	echo "$1" | grep -Eq '^([_A-Za-z]\w*\.)*[_A-Za-z]\w*:[_A-Za-z]\w*$'; then
	set -- gunicorn "$@"
fi

# The faults that a test asks for, and the record of the start, come before all of it.
if [ -z "$OOY_BOOTED_AT_MS" ]; then
	case $1 in
	gunicorn) exec /usr/libexec/stand-in/boot casepro "$0" "$@" ;;
	celery) exec /usr/libexec/stand-in/boot casepro-celery "$0" "$@" ;;
	esac
fi

case $1 in
celery)
	set -- celery-entrypoint.sh "$@"
	;;
gunicorn)
	if [ -d /app/media ] && [ "$(stat -c %U /app/media)" != django ]; then
		chown -R django:django /app/media
	fi
	if [ -z "$SKIP_MIGRATIONS" ]; then
		su-exec django django-admin migrate --noinput
	fi
	if [ -n "$RUN_COLLECTSTATIC" ]; then
		su-exec django django-admin collectstatic --noinput
	fi
	if [ -n "$SUPERUSER_PASSWORD" ]; then
		su-exec django django-admin stand_in_superuser "$SUPERUSER_PASSWORD"
		echo "Created superuser with username 'admin' and password '$SUPERUSER_PASSWORD'"
	fi
	nginx -g 'daemon off;' &
	mkdir -p /run/gunicorn
	chown django:django /run/gunicorn
	if [ -n "$APP_MODULE" ]; then
		echo 'DEPRECATED: Providing APP_MODULE via an environment variable is deprecated.' >&2
		set -- "$@" "$APP_MODULE"
	fi
	set -- su-exec django "$@" --config /etc/gunicorn/config.py
	;;
esac

exec "$@"
