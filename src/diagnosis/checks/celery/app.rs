//! The two applications that use Celery (stack.md sections 0 and 3.2).

use std::time::Duration;

use crate::deployment::settings::Settings;

/// An application that uses Celery.
#[derive(Debug)]
pub struct App {
    /// Whose databases it uses.
    pub owner: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// The services that are workers, those that others stand for first.
    pub workers: &'static [&'static str],
    /// The one of them that runs the beat.
    pub beat: &'static str,
    /// The lists in Redis in which its tasks wait.
    pub lists: &'static [&'static str],
    /// How celery is called in the container.
    pub celery: &'static str,
    /// Who notices that no task is done.
    pub without_tasks: &'static str,
    /// Who notices that none is begun on schedule.
    pub without_beat: &'static str,
}

/// RapidPro.
pub static RAPIDPRO: App = App {
    owner: "rapidpro",
    name: "RapidPro",
    workers: &["rapidpro-celery", "rapidpro-beat"],
    beat: "rapidpro-beat",
    lists: &["celery", "batch"],
    celery: "/venv/bin/celery --app=temba",
    without_tasks: "imports, exports and new attempts to send messages do not run",
    without_beat: "nothing that RapidPro does on a schedule is done: errored messages are not sent again, \
                   and counts on its pages stand still",
};

/// Casepro.
pub static CASEPRO: App = App {
    owner: "casepro",
    name: "Casepro",
    workers: &["casepro-celery"],
    beat: "casepro-celery",
    lists: &["celery", "sync"],
    celery: "celery --app=casepro",
    without_tasks: "Casepro pulls no messages: operators see nothing new",
    without_beat: "Casepro pulls no messages: operators see nothing new",
};

impl App {
    /// How long a task may run at the most before the worker itself kills it.
    pub fn task_limit(&self, settings: &Settings) -> Option<Duration> {
        (self.owner == "casepro")
            .then(|| Duration::from_secs(settings.number("CASEPRO_TASK_TIME_LIMIT")))
    }

    /// How often the beat begins this task, where that is known.
    pub fn period(&self, task: &str, settings: &Settings) -> Option<Duration> {
        if task.contains("pull_messages") {
            return Some(Duration::from_secs(
                settings.number("CASEPRO_SYNC_INTERVAL"),
            ));
        }
        // RapidPro's smallest tasks, every minute (temba/settings_common.py).
        task.starts_with("squash_")
            .then_some(Duration::from_secs(60))
    }
}
