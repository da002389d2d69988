#!/bin/sh
# The official image's entrypoint runs what lies in /docker-entrypoint.d first; nothing does.
exec "$@"
