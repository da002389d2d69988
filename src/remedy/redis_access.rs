//! `ooy fix redis-access`: Redis of this host runs, listens where the settings look for it, and takes
//! the password that they have.
//!
//! Redis 7 takes both at run time, without a restart and without ending a session; the file gets the
//! same, with a copy beside it. A Redis without a password is never opened to more than its own
//! host, and protected mode stays as it is: whoever reaches an open one has the machine.

mod fault;
mod survey;

use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use self::survey::{Change, Place, Todo};
use super::postgres_access::mark;
use super::{Job, Plan, Planning, Refusal, Remedy, Takes, access, proof};
use crate::diagnosis::Code;
use crate::fault::Result;
use crate::host::files;
use crate::host::redis::config::{quoted, with_directive};
use crate::host::redis::{config, resp};
use crate::operation::Kind;

/// How long one look, or one command, may take.
const LOOK: Duration = Duration::from_secs(10);
/// How long a Redis may take to read its file after a start.
const COMES_UP: Duration = Duration::from_secs(60);

/// The repair.
pub const REMEDY: Remedy = Remedy {
    name: "redis-access",
    about: "Redis runs and lets the containers in",
    codes: &[Code::RedisUnreachable],
    takes: Takes::Nothing,
    // As for PostgreSQL: only what its settings have said already.
    unattended: |finding| finding.summary.contains(" listens on "),
    settles: Duration::from_secs(30),
    otherwise: &["diagnose redis-access"],
    plan: |job| -> Planning { Box::pin(plan(job)) },
};

async fn plan(job: Rc<Job>) -> std::result::Result<Plan, Refusal> {
    let places = places(&job).await;
    let todos = access::surveyed(&job, &places, survey::survey).await?;
    if job.wishes.unattended && !todos.iter().all(Todo::is_decided_already) {
        return Err(Refusal::Nothing(
            "a person decides where Redis listens, and whether it runs".to_owned(),
        ));
    }
    let mut steps: Vec<String> = todos.iter().flat_map(steps).collect();
    steps.push("see that a container is let in".to_owned());
    let owners = access::owners(places.iter().map(|place| &place.owners));
    Ok(Plan {
        steps,
        meanwhile: meanwhile(&todos),
        touches: todos.iter().flat_map(touches).collect(),
        act: Box::pin(async move {
            for todo in todos {
                make(&job, todo).await.map_err(|fault| vec![*fault])?;
            }
            proof::redis(&job, &owners, COMES_UP).await
        }),
    })
}

/// The servers that the findings are about; all of them where an earlier run is to be finished.
async fn places(job: &Job) -> Vec<Place> {
    let scene = job.look();
    let look = scene.data().await;
    let mut places: Vec<Place> = Vec::new();
    for redis in look
        .redis
        .iter()
        .filter(|redis| access::concerns(job, redis.owner))
    {
        let known = places.iter_mut().find(|place| place.is_of(&redis.url));
        match known {
            Some(place) => place.add(redis),
            None => places.push(Place::new(redis)),
        }
    }
    places
}

fn steps(todo: &Todo) -> Vec<String> {
    let change = match todo {
        Todo::Start(starter) => return vec![format!("start Redis: {}", starter.command("start"))],
        Todo::Change(change) => change,
    };
    let mut steps = Vec::new();
    if let Some(bind) = &change.bind {
        let mut step = format!("have Redis listen on {}: bind {bind}", change.address);
        if change.is_public {
            step += " (an address of the internet: its password, and the firewall, protect it)";
        }
        steps.push(step);
    }
    if change.password.is_some() {
        steps.push("give Redis the password that the settings have (requirepass)".to_owned());
    }
    match &change.file {
        Some(file) if !steps.is_empty() => steps.push(format!(
            "the same in {}, a copy of which is kept",
            file.display()
        )),
        None if !steps.is_empty() => {
            steps.push("Redis was started without a file: this holds until it ends".to_owned())
        }
        _ => {}
    }
    if let Some(starter) = &change.restart {
        steps.push(format!("restart Redis: {}", starter.command("restart")));
    }
    steps
}

fn meanwhile(todos: &[Todo]) -> String {
    let mut words = Vec::new();
    for todo in todos {
        let Todo::Change(change) = todo else { continue };
        if change.restart.is_some() {
            words.push(
                "everything that uses Redis loses its connection for about 10 s and connects again",
            );
        }
        if change.password.is_some() {
            words.push("other programs of this host that use Redis without a password are refused");
        }
    }
    if words.is_empty() {
        words.push("nobody notices: connections that are open stay open");
    }
    words.join(" · ")
}

fn touches(todo: &Todo) -> Vec<String> {
    let change = match todo {
        Todo::Start(_) => return vec!["start of Redis".to_owned()],
        Todo::Change(change) => change,
    };
    let mut touches = Vec::new();
    touches.extend(change.bind.as_ref().map(|bind| format!("bind {bind}")));
    touches.extend(change.password.as_ref().map(|_| "requirepass".to_owned()));
    touches.extend(
        change
            .restart
            .as_ref()
            .map(|_| "restart of Redis".to_owned()),
    );
    touches
}

async fn make(job: &Job, todo: Todo) -> Result<()> {
    let reporter = &job.context.reporter;
    let began = Instant::now();
    let change = match todo {
        Todo::Start(starter) => {
            reporter.tell("redis", Kind::Started, None, "starting Redis");
            if let Err(why) = starter.run("start", COMES_UP).await {
                return Err(fault::does_not_start(job, &starter, &why));
            }
            reporter.tell("redis", Kind::Done, Some(began.elapsed()), "Redis started");
            return Ok(());
        }
        Todo::Change(change) => change,
    };
    if change.bind.is_none() && change.password.is_none() {
        return Ok(());
    }
    reporter.tell("redis", Kind::Started, None, "changing Redis");
    let mut copy = None;
    if let Some(file) = &change.file {
        copy = write(job, &change, file)?;
    }
    let done = match &change.restart {
        Some(starter) => starter.run("restart", COMES_UP).await,
        None => at_run_time(&change).await.map_err(|why| why.to_string()),
    };
    if let Err(why) = done {
        if let (Some(file), Some(copy)) = (&change.file, &copy) {
            fs::rename(copy, file).map_err(|error| fault::not_put_back(job, file, copy, &error))?;
        }
        // An error may repeat what it refuses.
        return Err(fault::refused(job, &job.context.mask.apply(&why)));
    }
    let kept = match copy.as_deref().and_then(Path::file_name) {
        Some(name) => format!(", copy {}", name.to_string_lossy()),
        None => String::new(),
    };
    let what = match &change.bind {
        Some(_) => format!("Redis listens on {}{kept}", change.address),
        None => format!("Redis has the settings' password{kept}"),
    };
    reporter.tell("redis", Kind::Done, Some(began.elapsed()), what);
    Ok(())
}

/// Writes the file, unless it says so already; answers where the copy is.
fn write(job: &Job, change: &Change, file: &Path) -> Result<Option<std::path::PathBuf>> {
    let text = fs::read_to_string(file).map_err(|error| fault::unwritable(job, file, &error))?;
    let remark = "# ooy fix redis-access";
    let mut new = text.clone();
    if change.bind.is_some() {
        let written = config::directive(&text, "bind");
        let written: Vec<String> = match written {
            Some(list) => list.split_whitespace().map(str::to_owned).collect(),
            None => change.binds_now.clone(),
        };
        let list = survey::with_address(&written, change.address, change.may_be_absent);
        new = with_directive(&new, "bind", &list, remark);
    }
    if let Some(password) = &change.password {
        new = with_directive(&new, "requirepass", &quoted(password), remark);
    }
    if new == text {
        return Ok(None);
    }
    files::replace_with_copy(file, new.as_bytes(), &mark())
        .map(Some)
        .map_err(|error| fault::unwritable(job, file, &error))
}

async fn at_run_time(change: &Change) -> std::result::Result<(), resp::RedisError> {
    let until = tokio::time::Instant::now() + LOOK;
    let work = async {
        let mut connection = resp::Connection::open(&change.login, until).await?;
        // The password first: nobody gets in without one in between.
        if let Some(password) = &change.password {
            config::set(&mut connection, "requirepass", password).await?;
        }
        if let Some(bind) = &change.bind {
            config::set(&mut connection, "bind", bind).await?;
        }
        Ok(())
    };
    tokio::time::timeout_at(until, work)
        .await
        .unwrap_or(Err(resp::RedisError::Silent))
}
