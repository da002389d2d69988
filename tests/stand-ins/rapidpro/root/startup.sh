#!/bin/sh
# What the image does when it is given no command. A shell as the first process neither
# passes SIGTERM on nor has a handler for it, exactly like the real one; nothing here may
# use exec for its last step.
set -ex
wanted() { [ "x$1" = xon ]; }
if wanted "$MANAGEPY_COLLECTSTATIC"; then
	/venv/bin/python manage.py collectstatic --noinput --no-post-process
fi
if wanted "$CLEAR_COMPRESSOR_CACHE"; then
	/venv/bin/python clear-compressor-cache.py
fi
if wanted "$MANAGEPY_COMPRESS"; then
	/venv/bin/python manage.py compress --extension=".haml" --force -v0
fi
if wanted "$MANAGEPY_INIT_DB"; then
	set +x
	echo "*:*:*:*:$(echo "\"$DATABASE_URL\"" | cut -d@ -f1 | cut -d: -f3)" >"$HOME/.pgpass"
	set -x
	chmod 0600 "$HOME/.pgpass"
	/venv/bin/python manage.py dbshell <init_db.sql
	rm "$HOME/.pgpass"
fi
if wanted "$MANAGEPY_MIGRATE"; then
	/venv/bin/python manage.py migrate
fi
$STARTUP_CMD
