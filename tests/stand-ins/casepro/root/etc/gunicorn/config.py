import os

pidfile = "/run/gunicorn/gunicorn.pid"
bind = "unix:/run/gunicorn/gunicorn.sock"
# The socket is for django and for nginx, which is in its group.
umask = 0o117
worker_tmp_dir = "/run/gunicorn"

if os.environ.get("GUNICORN_ACCESS_LOGS"):
    accesslog = "-"
