#!/bin/bash
# No exec, and nothing of "$@": whatever the container's command is, this is a web server.
source "$(poetry env info --path)/bin/activate"
export APP_MODULE='casepro.wsgi:application'
./django-entrypoint.sh
