//! How far each scheduled task of each organisation got: dash's table orgs_taskstate (stack.md
//! section 3.3).

use std::time::Duration;

use crate::diagnosis::Code;
use crate::diagnosis::check::Halt;
use crate::diagnosis::scene::Scene;

/// What can be pulled, in the order in which people miss it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Messages of RapidPro.
    Messages,
    /// What was pulled gets its labels and its case.
    Handling,
    /// Contacts of RapidPro.
    Contacts,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Messages, Kind::Handling, Kind::Contacts];

    /// dash's key of it: in the table, and in the name of its lock.
    pub fn key(self) -> &'static str {
        match self {
            Kind::Messages => "message-pull",
            Kind::Handling => "message-handle",
            Kind::Contacts => "contact-pull",
        }
    }

    /// The name of its Celery task.
    pub fn task(self) -> &'static str {
        match self {
            Kind::Messages => "casepro.msgs.tasks.pull_messages",
            Kind::Handling => "casepro.msgs.tasks.handle_messages",
            Kind::Contacts => "casepro.contacts.tasks.pull_contacts",
        }
    }

    /// "Casepro has not ... for 47 min".
    pub fn done(self) -> &'static str {
        match self {
            Kind::Messages => "pulled messages",
            Kind::Handling => "sorted new messages",
            Kind::Contacts => "pulled contacts",
        }
    }

    /// "Casepro cannot ...".
    pub fn doing(self) -> &'static str {
        match self {
            Kind::Messages => "pull messages",
            Kind::Handling => "sort new messages",
            Kind::Contacts => "pull contacts",
        }
    }

    /// Who notices.
    pub fn impact(self) -> &'static str {
        match self {
            Kind::Messages => {
                "operators see no new messages; nothing is lost, they arrive after the repair"
            }
            Kind::Handling => {
                "new messages get neither labels nor their case, and operators may miss them"
            }
            Kind::Contacts => {
                "new contacts stay without name and groups, and their messages unsorted"
            }
        }
    }

    fn of(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.key() == key)
    }
}

/// One scheduled task of one organisation. Times are how long ago.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// The organisation's number.
    pub org: i64,
    /// Its name in addresses.
    pub subdomain: String,
    /// What is done.
    pub kind: Kind,
    /// The last run began.
    pub started: Option<Duration>,
    /// That run has ended, well or not; one that was killed never does.
    pub ended: bool,
    /// The last run that succeeded began.
    pub succeeded: Option<Duration>,
    /// Its last run ended in an error.
    pub failing: bool,
    /// Somebody has switched it off.
    pub disabled: bool,
    /// The organisation was made.
    pub org_made: Duration,
}

impl Task {
    /// The key of its lock in Redis.
    pub fn lock(&self) -> String {
        format!("org-task-lock:{}:{}", self.org, self.kind.key())
    }

    /// A run that has begun and not ended: under way, or killed.
    pub fn open_for(&self) -> Option<Duration> {
        self.started.filter(|_| !self.ended)
    }
}

/// What a person asks the database to see the same.
pub const QUERY: &str = "SELECT org_id, task_key, started_on, ended_on, \
    last_successfully_started_on, is_failing, is_disabled FROM orgs_taskstate";

/// All tasks of all active organisations, those that have never run among them.
pub async fn tasks(scene: &Scene) -> Result<Vec<Task>, Halt> {
    let session = scene.postgres("casepro").await?;
    let ago = |column: &str| format!("greatest(0, extract(epoch FROM now() - {column}))");
    let query = format!(
        "SELECT o.id, o.subdomain, {}, t.task_key, {}, t.ended_on IS NOT NULL, {}, t.is_failing, \
         t.is_disabled FROM orgs_org o LEFT JOIN orgs_taskstate t ON t.org_id = o.id \
         WHERE o.is_active ORDER BY o.id",
        ago("o.created_on"),
        ago("t.started_on"),
        ago("t.last_successfully_started_on"),
    );
    let rows = match session.rows(&query).await {
        Ok(rows) => rows,
        Err(error) if error.is_unknown_table() => {
            // Casepro makes its tables when it first starts.
            scene.running("casepro").await?;
            return Err(Halt::blocked(
                Code::MigrationsPending,
                "Casepro's database has no tables of tasks yet",
            ));
        }
        Err(error) => {
            return Err(Halt::unknown(format!(
                "Casepro's database: {}",
                error.message
            )));
        }
    };
    let seconds = |text: Option<&str>| -> Option<Duration> {
        Duration::try_from_secs_f64(text?.parse().ok()?).ok()
    };
    let mut tasks: Vec<Task> = Vec::new();
    for row in &rows {
        let task = |kind| Task {
            org: row.number(0),
            subdomain: row.text(1).to_owned(),
            kind,
            started: seconds(row.get(4)),
            ended: row.truth(5),
            succeeded: seconds(row.get(6)),
            failing: row.truth(7),
            disabled: row.truth(8),
            org_made: seconds(row.get(2)).unwrap_or_default(),
        };
        if let Some(kind) = Kind::of(row.text(3)) {
            tasks.push(task(kind));
        }
        // What has never run has no row.
        for kind in Kind::ALL {
            let there = |text: &str| {
                rows.iter()
                    .any(|other| other.number(0) == row.number(0) && other.text(3) == text)
            };
            if !there(kind.key())
                && !tasks
                    .iter()
                    .any(|task| task.org == row.number(0) && task.kind == kind)
            {
                tasks.push(Task {
                    started: None,
                    ended: false,
                    succeeded: None,
                    failing: false,
                    disabled: false,
                    ..task(kind)
                });
            }
        }
    }
    if tasks.is_empty() {
        return Err(Halt::unused("Casepro has no organisation"));
    }
    tasks.sort_by_key(|task| (task.kind, task.org));
    Ok(tasks)
}
