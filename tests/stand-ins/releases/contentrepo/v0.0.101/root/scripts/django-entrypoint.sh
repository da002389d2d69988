#!/bin/sh
# What the image does with its command since 0.0.101: none, options or a module:callable mean
# gunicorn, after the migrations; anything else is run as it is.
set -e

if [ $# -eq 0 ] || [ "${1#-}" != "$1" ] ||
	echo "$1" | grep -Eq '^([_A-Za-z]\w*\.)*[_A-Za-z]\w*:[_A-Za-z]\w*$'; then
	set -- gunicorn "$@"
fi
if [ "$1" = gunicorn ]; then
	# The faults that a test asks for, and the record of the start, come before all of it.
	if [ -z "$OOY_BOOTED_AT_MS" ]; then
		exec /usr/libexec/stand-in/boot contentrepo "$0" "$@"
	fi
	if [ -z "$SKIP_MIGRATIONS" ]; then
		su-exec django django-admin migrate --noinput
	fi
	set -- su-exec django "$@" --bind :8000
fi

exec "$@"
