//! What `ooy` knows of its twelve services beyond the compose file (stack.md sections 1.1 to 1.3):
//! facts about the real images, not choices.

use std::time::Duration;

use super::services::{Http, Ready, ReleaseTask, StaticFiles};

/// What `ooy` knows of its own services.
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) ready: Ready,
    /// Seconds.
    pub(super) ready_within: u64,
    pub(super) tolerant: bool,
    pub(super) task: Option<ReleaseTask>,
    /// Whose PostgreSQL and Redis databases it uses.
    pub(super) data: Option<&'static str>,
    pub(super) without_it: &'static str,
}

const fn http(port: u16, path: &'static str, status: u16) -> Http {
    Http {
        port,
        path,
        host: None,
        status,
        without: &[],
        broken_by: None,
    }
}

/// Celery's words when its consumer listens (celery/apps/worker.py, 4.4 and 5).
const CELERY_READY: Ready = Ready::Log(r"celery@\S+ ready\.");

/// A release task in one Python process, since loading RapidPro takes seconds: makes the static files with
/// the shell script $files, does what has to be done before migrations, says how many there are, applies
/// them, then which are applied (host/postgres/migrations.rs reads the same from the database).
///
/// With `OOY_WAIT` it waits when it is loaded, and has looked at nothing yet, until USR1 tells it to go
/// on (lifecycle/primed.rs); after an hour nobody will.
///
/// Python's garbage collector is made to look more seldom: Django makes thousands of classes for each of
/// RapidPro's migrations, and it goes through all of them again and again. Measured with RapidPro's own
/// code (7.0.4, Python 3.9, the 53 migrations from 6.4.8): 18.1 s and 167 MB by its default, 15.1 s and
/// 265 MB so, 13.1 s and 569 MB without it, which a small server may not have. How Python ends is
/// left out as well: everything is in the database then.
///
/// A macro, because the scripts are put together at build time.
macro_rules! release {
    ($python:literal, $files:expr, $before:expr) => {
        concat!(
            "OOY_FILES=$(cat <<'end of files'\n",
            $files,
            "end of files\n)\nexport OOY_FILES\nexec ",
            $python,
            r#" manage.py shell -c "
import gc, hashlib, os, signal, subprocess, sys
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
if os.environ.get('OOY_WAIT'):
    awaited = {signal.SIGUSR1, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    print('ooy-waits', flush=True)
    told = signal.sigtimedwait(awaited, 3600)
    if told is None or told.si_signo != signal.SIGUSR1:
        sys.exit(75)
    print('ooy-goes', flush=True)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
if os.environ['OOY_FILES']:
    code = subprocess.call(['sh', '-ec', os.environ['OOY_FILES']])
    if code:
        sys.exit(code if code > 0 else 128 - code)
print('ooy-step: migrations', flush=True)
if hasattr(gc, 'freeze'):
    gc.freeze()
gc.set_threshold(50000, 20, 20)
"#,
            $before,
            r#"executor = MigrationExecutor(connection)
plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
print('ooy-migrations: %d' % len(plan), flush=True)
call_command('migrate', interactive=False)
applied = sorted('%s.%s' % key for key in MigrationRecorder(connection).applied_migrations())
print('ooy-applied: %s' % hashlib.sha256('\n'.join(applied).encode()).hexdigest(), flush=True)
connection.close()
sys.stdout.flush()
os._exit(0)
"
"#
        )
    };
}

/// Static files of an image into the folder of a volume. Those that were made ahead (lifecycle/ahead.rs)
/// are only put there: `.ooy-ahead` names their image, and is written when all are made. The last lines,
/// $finish, are for the folder that is served; `.ooy-release` there says that the image has no more to do.
macro_rules! static_files {
    ($folder:literal, $make:expr, $finish:expr) => {
        concat!(
            "if [ \"$(cat ",
            $folder,
            "/.ooy-release 2>/dev/null)\" != \"$OOY_RELEASE\" ]; then\n",
            "  if [ \"$(cat /ooy/static/.ooy-ahead 2>/dev/null)\" = \"$OOY_RELEASE\" ]; then\n",
            "    echo 'ooy-step: static files, made ahead'\n    rm -rf ",
            $folder,
            "/* ",
            $folder,
            "/.[!.]*\n    cp -a /ooy/static/. ",
            $folder,
            "/\n  else\n",
            $make,
            "  fi\n",
            $finish,
            "  printf '%s' \"$OOY_RELEASE\" > ",
            $folder,
            "/.ooy-release\nfi\n"
        )
    };
}
/// The same, ahead.
macro_rules! ahead {
    ($start:expr, $folder:literal, $make:expr) => {
        concat!(
            $start,
            $make,
            "printf '%s' \"$OOY_RELEASE\" > ",
            $folder,
            "/.ooy-ahead\n"
        )
    };
}

macro_rules! in_rapidpro {
    () => {
        "set -e\ncd /rapidpro\n"
    };
}
macro_rules! rapidpro_files {
    () => {
        r"    echo 'ooy-step: static files'
    /venv/bin/python manage.py collectstatic --noinput --no-post-process --clear
    echo 'ooy-step: compressing scripts and styles'
    /venv/bin/python manage.py compress --extension=.haml --force -v0
"
    };
}
/// The image itself does so at every boot: from the second time on it changes nothing.
macro_rules! rapidpro_set_up {
    () => {
        r"if os.path.exists('init_db.sql'):
    print('ooy-step: database set-up', flush=True)
    os.dup2(os.open('init_db.sql', os.O_RDONLY), 0)
    call_command('dbshell')
"
    };
}
macro_rules! in_contentrepo {
    () => {
        "set -e\ncd /app\n"
    };
}
macro_rules! contentrepo_files {
    () => {
        r"    echo 'ooy-step: static files'
    python manage.py collectstatic --noinput
"
    };
}

/// A failing line ends the script.
const RAPIDPRO_RELEASE: ReleaseTask = ReleaseTask {
    user: None,
    script: concat!(
        in_rapidpro!(),
        release!(
            "/venv/bin/python",
            static_files!("sitestatic", rapidpro_files!(), ""),
            rapidpro_set_up!()
        )
    ),
    files: Some(StaticFiles {
        folder: "/rapidpro/sitestatic",
        script: ahead!(in_rapidpro!(), "sitestatic", rapidpro_files!()),
    }),
};

/// Casepro migrates by itself whenever it starts; before an upgrade it is done where its progress is
/// seen.
pub const CASEPRO_MIGRATIONS: ReleaseTask = ReleaseTask {
    user: None,
    script: concat!(
        r#"set -e
cd /app
# From casepro-docker 1.10 on Django is found only in poetry's environment.
if command -v poetry >/dev/null; then . "$(poetry env info --path)/bin/activate"; fi
"#,
        release!("python", "", "")
    ),
    files: None,
};

/// As root: the volumes of a new deployment belong to root, and the image's user could write
/// neither static files nor media.
const CONTENTREPO_RELEASE: ReleaseTask = ReleaseTask {
    user: Some("0"),
    script: concat!(
        in_contentrepo!(),
        release!(
            "python",
            static_files!(
                "static",
                contentrepo_files!(),
                r#"  # Whom the image runs as: wagtail, and from v0.0.101 on django.
  for user in wagtail django; do
    if grep -q "^$user:" /etc/passwd; then chown -R "$user:" static media; break; fi
  done
"#
            ),
            ""
        )
    ),
    files: Some(StaticFiles {
        folder: "/app/static",
        script: ahead!(in_contentrepo!(), "static", contentrepo_files!()),
    }),
};

/// Whose first process is uWSGI's master: told to end, it tells its workers, and looks whether they have
/// ended only once a second, or when a signal comes (core/master.c of 2.0; that it is told once more
/// changes nothing: `kill_them_all` returns at once when it is dying).
pub const OF_UWSGI: &[&str] = &["rapidpro"];

/// The twelve, in the order in which they are shown: what people see first, what it stands on
/// after it.
pub(super) const KNOWN: &[Known] = &[
    Known {
        name: "nginx",
        ready: Ready::Http(Http {
            host: Some("RAPIDPRO_DOMAIN"),
            ..http(80, "/", 301)
        }),
        ready_within: 60,
        // It resolves names while it runs: one missing application must not take the others'
        // front door away.
        tolerant: true,
        task: None,
        data: None,
        without_it: "no page opens and no provider can deliver a message",
    },
    Known {
        name: "rapidpro",
        ready: Ready::Http(Http {
            host: Some("RAPIDPRO_DOMAIN"),
            ..http(8000, "/users/login/", 200)
        }),
        ready_within: 300,
        tolerant: false,
        task: Some(RAPIDPRO_RELEASE),
        data: Some("rapidpro"),
        without_it: "RapidPro's pages and API do not answer; Casepro cannot pull messages",
    },
    Known {
        name: "rapidpro-celery",
        ready: CELERY_READY,
        ready_within: 180,
        tolerant: false,
        task: None,
        data: Some("rapidpro"),
        without_it: "imports, exports and retries of messages do not run",
    },
    Known {
        name: "rapidpro-beat",
        ready: CELERY_READY,
        ready_within: 180,
        tolerant: false,
        task: None,
        data: Some("rapidpro"),
        without_it: "nothing that RapidPro does on a schedule is done",
    },
    Known {
        name: "mailroom",
        // It answers although it reached nothing, and builds its Elasticsearch client only once.
        ready: Ready::Http(Http {
            broken_by: Some("unable to connect to elastic"),
            ..http(8090, "/mr/", 200)
        }),
        ready_within: 60,
        tolerant: false,
        task: None,
        data: Some("rapidpro"),
        without_it: "flows do not run: contacts get no answers",
    },
    Known {
        name: "courier",
        // Always 200; the body names what fails.
        ready: Ready::Http(Http {
            without: &["redis err", "db err"],
            ..http(8080, "/", 200)
        }),
        ready_within: 60,
        tolerant: false,
        task: None,
        data: Some("rapidpro"),
        without_it: "no message comes in or goes out",
    },
    Known {
        name: "indexer",
        ready: Ready::Log("completed indexing"),
        // A first index of all contacts takes its time.
        ready_within: 600,
        tolerant: false,
        task: None,
        data: Some("rapidpro"),
        without_it: "new contacts are not found by search, and groups miss them",
    },
    Known {
        name: "elasticsearch",
        // Yellow is its normal state here; red, or none yet, is a 408.
        ready: Ready::Http(http(
            9200,
            "/_cluster/health?wait_for_status=yellow&timeout=500ms",
            200,
        )),
        ready_within: 180,
        tolerant: false,
        task: None,
        data: None,
        without_it: "contact search fails, and mailroom cannot start",
    },
    Known {
        name: "casepro",
        ready: Ready::Http(http(8000, "/ping", 200)),
        // Its own entrypoint migrates before it listens.
        ready_within: 600,
        tolerant: false,
        task: None,
        data: Some("casepro"),
        without_it: "operators cannot open Casepro",
    },
    Known {
        name: "casepro-celery",
        ready: CELERY_READY,
        ready_within: 180,
        tolerant: false,
        task: None,
        data: Some("casepro"),
        without_it: "Casepro pulls no messages; operators see nothing new",
    },
    Known {
        name: "contentrepo",
        ready: Ready::Http(Http {
            host: Some("CONTENTREPO_DOMAIN"),
            ..http(8000, "/admin/login/", 200)
        }),
        ready_within: 180,
        tolerant: false,
        task: Some(CONTENTREPO_RELEASE),
        data: Some("contentrepo"),
        without_it: "flows that fetch content get none",
    },
    Known {
        name: "bigquery-sync",
        ready: Ready::Alive(Duration::from_millis(300)),
        ready_within: 60,
        tolerant: false,
        task: None,
        data: None,
        without_it: "BigQuery gets no new data",
    },
];
