//! Waiting for pulls that succeed, and why they do not.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::watch::{Movement, Watch};
use super::{name, tell};
use crate::diagnosis::facts::casepro::WORKER;
use crate::diagnosis::facts::casepro::state::{Kind, Task};
use crate::diagnosis::facts::casepro::sync;
use crate::diagnosis::{Halt, Scene};
use crate::fault::Fault;
use crate::host::postgres::session::Row;
use crate::host::text::{age, count};
use crate::operation::Kind as Event;
use crate::remedy::Job;
use crate::remedy::looked::unseen;

/// A pull that is under way and does nothing at all for so long hangs.
const HANGS: Duration = Duration::from_secs(30);

/// A task may be begun so much later than its interval, on a busy machine.
const BEGINS: Duration = Duration::from_secs(45);

/// A run ends so much later than its limit at the most.
const ENDED: Duration = Duration::from_secs(60);

/// Failed runs in a row after which the next will hardly do better.
const FAILED: usize = 3;

/// What dash keeps of a task's runs; times as PostgreSQL writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// The beginning of the last that succeeded.
    pub(super) succeeded: String,
    /// The beginning of the last.
    pub(super) started: String,
    /// Its end; empty while it is under way, or was killed.
    pub(super) ended: String,
    /// It ended in an error.
    pub(super) failing: bool,
}

/// How far everything was before the worker was started.
pub struct Mark {
    wanted: Vec<(Task, Run)>,
    /// The newest message that Casepro had.
    newest: i64,
    began: Instant,
    /// What a living worker was at, and goes on with.
    living: Vec<Key>,
}

/// A task by its organisation and dash's name.
pub(super) type Key = (i64, &'static str);

/// How far each task got, and how many messages came since then.
struct Now {
    runs: BTreeMap<(i64, String), Run>,
    messages: i64,
}

impl Mark {
    /// Remembers how far everything is. `living` are runs that go on, of a worker that was left
    /// alone.
    pub async fn set(job: &Job, wanted: &[Task], living: &[Task]) -> Result<Self, Fault> {
        let scene = job.look();
        let seen = async {
            let newest = newest(&scene).await?;
            Ok::<_, Halt>((look(&scene, newest).await?, newest))
        };
        let (now, newest) = seen.await.map_err(|halt| not_seen(job, halt))?;
        Ok(Self {
            wanted: wanted
                .iter()
                .map(|task| (task.clone(), now.of(key(task))))
                .collect(),
            newest,
            began: Instant::now(),
            living: living.iter().map(key).collect(),
        })
    }

    /// Waits until all that is wanted has succeeded after the mark; when, and how many messages
    /// came.
    pub async fn wait(&self, job: &Job) -> Result<String, Fault> {
        let limit = Duration::from_secs(job.context.settings.number("CASEPRO_TASK_TIME_LIMIT"));
        let watch = self.wanted.iter();
        let mut watch: Vec<Watch> = watch
            .map(|(task, run)| Watch::new(run, self.living.contains(&key(task))))
            .collect();
        let mut moved = Movement::new();
        let mut unseen_since: Option<Instant> = None;
        tell(
            job,
            "pull",
            Event::Started,
            None,
            "waits for a pull that succeeds".to_owned(),
        );
        loop {
            let scene = job.look();
            match look(&scene, self.newest).await {
                Ok(now) => {
                    unseen_since = None;
                    let open = self.open(&now, &watch);
                    moved.look(&scene, now.messages, &open).await;
                    if let Some(end) = self
                        .judge(job, &scene, &now, &mut watch, &moved, limit)
                        .await
                    {
                        return end;
                    }
                }
                // PostgreSQL may be away for a moment.
                Err(halt) if unseen_since.get_or_insert_with(Instant::now).elapsed() > BEGINS => {
                    return Err(not_seen(job, halt));
                }
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Those whose run is under way, as the database has it.
    fn open(&self, now: &Now, watch: &[Watch]) -> Vec<&Task> {
        let both = self.wanted.iter().zip(watch);
        both.filter(|((task, before), watch)| {
            let run = now.of(key(task));
            watch.runs_for().is_some() && run.ended.is_empty() && run.succeeded == before.succeeded
        })
        .map(|((task, _), _)| task)
        .collect()
    }

    /// The end of the waiting, if it is one.
    async fn judge(
        &self,
        job: &Job,
        scene: &Scene,
        now: &Now,
        watch: &mut [Watch],
        moved: &Movement,
        limit: Duration,
    ) -> Option<Result<String, Fault>> {
        let mut open = 0;
        for ((task, before), watch) in self.wanted.iter().zip(watch) {
            let run = now.of(key(task));
            watch.look(&run);
            if run.succeeded != before.succeeded {
                continue;
            }
            open += 1;
            let waited = self.began.elapsed();
            let begins = sync::interval(scene, task.kind) + BEGINS;
            let trouble = if watch.failed >= FAILED {
                Some(Trouble::Fails)
            } else if watch.killed
                || watch.runs_for().is_some_and(|time| time > limit + ENDED)
                || (watch.runs_for().is_some() && moved.nobody_runs(task))
            {
                Some(Trouble::Killed)
            } else if watch.runs_for().is_some() && moved.still_for() > HANGS {
                Some(Trouble::Hangs)
            } else if watch.runs_for().is_none() && watch.failed == 0 && waited > begins {
                Some(Trouble::NeverBegins)
            } else {
                None
            };
            if let Some(trouble) = trouble {
                let fault = self.fault(job, scene, task, now, trouble, limit);
                return Some(Err(fault.await));
            }
        }
        let took = self.began.elapsed();
        let came = count(now.messages, "message");
        if open > 0 {
            let detail = match (self.wanted.len(), now.messages) {
                (1, 0) => "waits for a pull that succeeds".to_owned(),
                (1, _) => format!("pulls, {came} so far"),
                (all, _) => format!("{} of {all} succeeded, {came} so far", all - open),
            };
            tell(job, "pull", Event::Progress, Some(took), detail);
            return None;
        }
        let at = jiff::Timestamp::now().strftime("%H:%M:%S UTC");
        let all: Vec<String> = self.wanted.iter().map(|(task, _)| name(task)).collect();
        tell(
            job,
            "pull",
            Event::Done,
            Some(took),
            format!("{came}; {}", all.join(", ")),
        );
        Some(Ok(format!("pull succeeded at {at}, {came}")))
    }

    async fn fault(
        &self,
        job: &Job,
        scene: &Scene,
        task: &Task,
        now: &Now,
        trouble: Trouble,
        limit: Duration,
    ) -> Fault {
        let what = name(task);
        let waited = age(self.began.elapsed());
        let came = count(now.messages, "message");
        tell(
            job,
            "pull",
            Event::Failed,
            None,
            format!("{what}: {}", trouble.words()),
        );
        let gets_on = now.messages > 0;
        let fault = match trouble {
            Trouble::Killed if gets_on => Fault::problem(
                "casepro-sync: the backlog does not fit into a worker's time limit",
                "the pull came on and was ended by its limit; the next begins from the start again",
            )
            .evidence(format!(
                "{what} was ended after {} (CASEPRO_TASK_TIME_LIMIT) with {came} pulled",
                age(limit)
            )),
            Trouble::Killed => Fault::problem(
                "casepro-sync: the pull was ended before it succeeded",
                "the run began and its worker was killed, or ended by the time limit",
            )
            .evidence(format!(
                "{what} was under way and never came to its end, {came} pulled"
            )),
            Trouble::Hangs => Fault::problem(
                "casepro-sync: RapidPro does not answer Casepro's pull",
                "the worker is anew and without old locks; its pull waits for RapidPro's API",
            )
            .evidence(format!(
                "{what} has been under way for {waited} and has done nothing for {}",
                age(HANGS)
            ))
            .evidence(format!(
                "CASEPRO_RAPIDPRO_URL is {}",
                job.context.settings.get("CASEPRO_RAPIDPRO_URL")
            )),
            Trouble::Fails => Fault::problem(
                "casepro-sync: pulls begin and fail",
                "the worker is anew and without old locks; its runs end in an error",
            )
            .evidence(format!("{what} failed {FAILED} times in {waited}")),
            Trouble::NeverBegins => Fault::problem(
                "casepro-sync: no pull begins",
                "the worker runs, and begins no pull",
            )
            .evidence(format!("{what} has not begun for {waited}")),
        };
        let mut fault = fault;
        if let Some(line) = last_error(scene).await {
            let known = sync::known_cause(&line);
            fault = fault.evidence(format!("its log: {}", job.context.mask.apply(&line)));
            if let Some(known) = known {
                fault = fault.evidence(known);
            }
        }
        let fault = fault.why(task.kind.impact());
        match trouble {
            Trouble::Killed if gets_on => fault.next(job.command("fix casepro-sync --catch-up")),
            Trouble::Hangs | Trouble::Killed | Trouble::Fails => fault
                .next(job.command("diagnose rapidpro workspaces"))
                .next(job.command(&format!("logs {WORKER} -n 50")))
                .next(job.again.clone()),
            Trouble::NeverBegins => fault
                .next(job.command("diagnose celery-casepro beat-casepro"))
                .next(job.command("fix celery")),
        }
    }
}

/// Why a pull does not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Fails,
    Killed,
    Hangs,
    NeverBegins,
}

impl Trouble {
    fn words(self) -> &'static str {
        match self {
            Trouble::Fails => "its runs fail",
            Trouble::Killed => "its run was ended before it succeeded",
            Trouble::Hangs => "its run waits for RapidPro",
            Trouble::NeverBegins => "no run has begun",
        }
    }
}

impl Now {
    fn of(&self, (org, kind): Key) -> Run {
        let key = (org, kind.to_owned());
        self.runs.get(&key).cloned().unwrap_or_default()
    }
}

pub(super) fn key(task: &Task) -> Key {
    (task.org, task.kind.key())
}

async fn look(scene: &Scene, newest: i64) -> Result<Now, Halt> {
    let runs = rows(
        scene,
        "SELECT org_id, task_key, last_successfully_started_on, started_on, ended_on, is_failing \
         FROM orgs_taskstate",
    )
    .await?;
    let counted = format!("SELECT count(*) FROM msgs_message WHERE id > {newest}");
    let counted = rows(scene, &counted).await?;
    Ok(Now {
        runs: runs
            .iter()
            .map(|row| {
                let run = Run {
                    succeeded: row.text(2).to_owned(),
                    started: row.text(3).to_owned(),
                    ended: row.text(4).to_owned(),
                    failing: row.truth(5),
                };
                ((row.number(0), row.text(1).to_owned()), run)
            })
            .collect(),
        messages: counted.first().map_or(0, |row| row.number(0)),
    })
}

/// The number of the newest message.
pub async fn newest(scene: &Scene) -> Result<i64, Halt> {
    let newest = rows(scene, "SELECT coalesce(max(id), 0) FROM msgs_message").await?;
    Ok(newest.first().map_or(0, |row| row.number(0)))
}

/// How many messages came after that one.
pub async fn since(scene: &Scene, newest: i64) -> Result<i64, Halt> {
    look(scene, newest).await.map(|now| now.messages)
}

async fn rows(scene: &Scene, query: &str) -> Result<Vec<Row>, Halt> {
    let session = scene.postgres("casepro").await?;
    let rows = session.rows(query).await;
    rows.map_err(|error| Halt::unanswered(error, "Casepro's database has no tables yet"))
}

/// The last line of the worker's log that tells why a run failed.
async fn last_error(scene: &Scene) -> Option<String> {
    let container = scene.container(WORKER).await.ok()??;
    let engine = scene.engine().await.ok()?;
    let lines = engine.last_lines(&container.id, 200, container.started_at);
    let lines = lines.await;
    let line = lines.iter().rev().find(|line| sync::is_error(&line.text))?;
    Some(line.text.trim().chars().take(200).collect())
}

pub(super) fn not_seen(job: &Job, halt: Halt) -> Fault {
    unseen(job, "casepro-sync: the pull cannot be watched", halt)
}

/// Whether this is a pull, which a time limit can cut off.
pub(super) fn is_pull(task: &Task) -> bool {
    task.kind != Kind::Handling
}
