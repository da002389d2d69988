//! `ooy fix postgres-access`: PostgreSQL of this host runs, listens where the settings look for it,
//! and its pg_hba.conf lets the containers in.
//!
//! Who is let in is as narrow as it can be: each role into its own database, from the networks that
//! Docker has given to this deployment. What is changed is what a careful administrator would
//! change, with a copy of each file beside it; the server itself says whether it can read the new
//! file before it is told to.

mod change;
mod fault;
mod survey;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

pub use self::change::mark;
use self::survey::{Change, Hba, Listen, Place, Todo};
use super::{Job, Plan, Planning, Refusal, Remedy, Takes, access, proof};
use crate::diagnosis::Code;
use crate::fault::Fault;

/// How long one statement of the superuser, or one look, may take.
const SQL: Duration = Duration::from_secs(20);
/// How long a server may take to end and to come up again: a fast shutdown writes a checkpoint.
const RESTART: Duration = Duration::from_secs(120);
/// How long the containers may be refused after a reload, and after a start.
const SETTLES: Duration = Duration::from_secs(20);
const COMES_UP: Duration = Duration::from_secs(60);

/// The repair.
pub const REMEDY: Remedy = Remedy {
    name: "postgres-access",
    about: "PostgreSQL runs and lets the containers in",
    codes: &[Code::PostgresUnreachable],
    takes: Takes::Nothing,
    // Who is let in, and whether it runs, a person decides. What is decided already, and only waits
    // for a server that was started before its address was there, is brought into force.
    unattended: |finding| finding.summary.contains(" listens on "),
    settles: Duration::from_secs(30),
    otherwise: &["diagnose postgres-access"],
    plan: |job| -> Planning { Box::pin(plan(job)) },
};

async fn plan(job: Rc<Job>) -> Result<Plan, Refusal> {
    let places = places(&job).await;
    let todos = access::surveyed(&job, &places, survey::survey).await?;
    if job.wishes.unattended && !todos.iter().all(Todo::is_decided_already) {
        return Err(Refusal::Nothing(
            "a person decides who is let in, and when PostgreSQL is started anew".to_owned(),
        ));
    }
    let mut steps: Vec<String> = todos.iter().flat_map(steps).collect();
    steps.push("see that a container logs in".to_owned());
    let restarts: Vec<String> = todos.iter().filter_map(interruption).collect();
    let meanwhile = if restarts.is_empty() {
        "nobody notices: sessions that are open stay open".to_owned()
    } else {
        restarts.join(" · ")
    };
    let owners = access::owners(places.iter().map(|place| &place.owners));
    Ok(Plan {
        steps,
        meanwhile,
        touches: todos.iter().flat_map(touches).collect(),
        act: Box::pin(async move { act(&job, &places, todos, &owners).await }),
    })
}

/// The servers that the findings are about; all of them where an earlier run is to be finished.
async fn places(job: &Job) -> Vec<Place> {
    let scene = job.look();
    let look = scene.data().await;
    let mut places: Vec<Place> = Vec::new();
    for (index, database) in look.databases.iter().enumerate() {
        if !access::concerns(job, database.owner) {
            continue;
        }
        let (host, port) = (database.url.host(), database.url.port());
        let known = places
            .iter()
            .position(|place| place.host == host && place.port == port);
        let at = known.unwrap_or_else(|| {
            places.push(Place::new(host, port));
            places.len() - 1
        });
        let there = look.there.as_ref().ok();
        let there = there.map(|there| &there.answers.databases[index]);
        places[at].add(database, &look.here.databases[index], there);
    }
    places
}

fn steps(todo: &Todo) -> Vec<String> {
    let change = match todo {
        Todo::Start(cluster) => return vec![format!("start PostgreSQL {}", cluster.label())],
        Todo::Change(change) => change,
    };
    let mut steps = Vec::new();
    if change.no_network {
        steps.push(
            "make the deployment's network, as its first start would: its addresses are not known \
             yet"
            .to_owned(),
        );
        steps.push("let each role in from there too, in pg_hba.conf".to_owned());
    }
    if let Some(hba) = &change.hba {
        steps.extend(hba_steps(hba));
        steps.push("keep a copy beside it".to_owned());
    }
    if change.reload {
        steps.push("have PostgreSQL check the file and read it anew".to_owned());
    }
    match &change.listen {
        Some(Listen::Set(value)) => steps.push(format!(
            "ALTER SYSTEM SET listen_addresses = '{value}' (a copy of postgresql.auto.conf is kept)"
        )),
        Some(Listen::IsSet) => steps.push(
            "bring listen_addresses into force: the server started before it had that address"
                .to_owned(),
        ),
        None => {}
    }
    if change.listen.is_some() {
        steps.push(format!(
            "restart {}, since only that changes where it listens",
            change.server.label()
        ));
    }
    steps
}

/// One for each place in the file.
fn hba_steps(hba: &Hba) -> Vec<String> {
    let mut steps: Vec<(Option<&str>, Vec<String>)> = Vec::new();
    for added in &hba.edit.added {
        let above = added.above.as_deref();
        let line = format!("`{}`", added.line);
        match steps.iter_mut().find(|(place, _)| *place == above) {
            Some((_, lines)) => lines.push(line),
            None => steps.push((above, vec![line])),
        }
    }
    let words = |(above, lines): (Option<&str>, Vec<String>)| {
        let place = above.map_or_else(String::new, |line| format!(", above `{line}`"));
        format!("add to {}{place}: {}", hba.file.display(), lines.join(", "))
    };
    steps.into_iter().map(words).collect()
}

fn interruption(todo: &Todo) -> Option<String> {
    let Todo::Change(change) = todo else {
        return None;
    };
    let Change { server, others, .. } = &**change;
    change.listen.as_ref()?;
    let mut text = format!(
        "everything that uses {} loses its connection for about 10 s and connects again",
        server.label()
    );
    if !others.is_empty() {
        text += &format!(
            "; changed before and waiting for a restart as well: {}",
            others.join(", ")
        );
    }
    Some(text)
}

fn touches(todo: &Todo) -> Vec<String> {
    let change = match todo {
        Todo::Start(cluster) => return vec![format!("start of PostgreSQL {}", cluster.label())],
        Todo::Change(change) => change,
    };
    let mut touches = Vec::new();
    if change.no_network {
        touches.push("the deployment's network".to_owned());
    }
    if let Some(hba) = &change.hba {
        let file = hba.file.display();
        touches.extend(
            hba.edit
                .added
                .iter()
                .map(|added| format!("{file}: {}", added.line)),
        );
    }
    if let Some(listen) = &change.listen {
        if let Listen::Set(value) = listen {
            touches.push(format!("listen_addresses = '{value}'"));
        }
        touches.push(format!("restart of {}", change.server.label()));
    }
    touches
}

async fn act(
    job: &Job,
    places: &[Place],
    mut todos: Vec<Todo>,
    owners: &BTreeSet<&'static str>,
) -> Result<String, Vec<Fault>> {
    if todos.iter().any(Todo::lacks_network) {
        proof::network(job).await?;
        // Now its addresses are known.
        todos.clear();
        for place in places {
            let todo = survey::survey(job, place).await;
            todos.push(todo.map_err(|fault| vec![*fault])?);
        }
    }
    let mut limit = SETTLES;
    for todo in todos {
        let comes_up = match &todo {
            Todo::Start(_) => true,
            Todo::Change(change) => change.listen.is_some(),
        };
        if comes_up {
            limit = COMES_UP;
        }
        change::make(job, todo)
            .await
            .map_err(|fault| vec![*fault])?;
    }
    proof::postgres(job, owners, limit).await
}
