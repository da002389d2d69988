//! An upgrade from wherever it is to its end, forth or back. Each step can be cut off: the state on
//! disk says what was meant, Docker and the server's databases say what was done.

mod back;
mod doors;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use self::back::returned;

use super::procedure::{self, Procedure};
use super::state::{self, Phase, State, Upgraded};
use super::{afterwards, database, images, prepare, trial, wiki_order};
use crate::backup::room::watched;
use crate::engine::Engine;
use crate::fault::{Fault, Result};
use crate::host::postgres::session::Session;
use crate::host::text::took as human;
use crate::lifecycle::{Context, primed, release, start, stop};
use crate::operation::Kind;

/// How often it is looked who keeps a migration waiting.
const LOCKS: Duration = Duration::from_secs(3);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What, from where to where.
    pub name: String,
    /// Whether it was taken back, because that was asked for.
    pub undone: bool,
    /// For how long the web was closed, and courier, all legs.
    pub down: (Duration, Duration),
    /// The copy of the database to which `ooy rollback` goes back.
    pub kept: Option<String>,
}

/// An upgrade under way.
struct Run<'a> {
    /// With the settings of this moment: they change in the middle.
    context: Context,
    state: State,
    procedure: &'static Procedure,
    /// The command that goes on with it.
    again: &'a str,
}

/// Goes on with it, from where it is. To be called with both locks, the deployment's and that of
/// backups.
pub async fn drive(context: &Context, state: State, again: &str) -> Result<Ended, Vec<Fault>> {
    let mut run = Run {
        context: context.clone(),
        procedure: procedure::of(state.app),
        state,
        again,
    };
    run.note()?;
    if run.state.phase == Phase::Undoing {
        return run.back().await;
    }
    loop {
        let Err(faults) = run.leg().await else {
            let was_last = run.state.at + 1 == run.state.legs.len();
            let ended = run.ended();
            match was_last {
                true => run.forget()?,
                false => run.next_leg()?,
            }
            // Not taken back: people are in it already, and whether what they wrote may be lost is
            // theirs to say.
            let lasts = afterwards::lasts(&run.context, &run.state).await;
            if was_last {
                return lasts.map(|()| ended);
            }
            if lasts.is_err() {
                run.forget()?;
            }
            lasts?;
            continue;
        };
        match run.state.phase {
            // Nothing was stopped, nothing was changed.
            Phase::Preparing => {
                run.discard_ahead().await;
                run.forget()?;
                return Err(faults);
            }
            Phase::Opening => return Err(faults),
            _ => {}
        }
        if run.state.no_rollback {
            return Err(faults.into_iter().map(|fault| run.left(fault)).collect());
        }
        run.tell(
            Kind::Failed,
            &format!("going back to {}", run.state.step().from),
        );
        run.state.phase = Phase::Undoing;
        run.note()?;
        let mut told = vec![];
        match run.back().await {
            Ok(ended) => told.push(returned(&run, &ended)),
            // It is tried again as often as somebody asks for it, never by itself.
            Err(more) => {
                let resume = run.context.command("resume");
                told.extend(more.into_iter().map(|fault| fault.next(resume.clone())));
            }
        }
        told.extend(faults);
        return Err(told);
    }
}

impl Run<'_> {
    /// One leg, from the phase in which it is.
    async fn leg(&mut self) -> Result<(), Vec<Fault>> {
        let one = |fault: Box<Fault>| vec![*fault];
        if self.state.phase == Phase::Preparing {
            let leg = self.state.step().clone();
            self.tell(Kind::Started, &format!("{} → {}", leg.from, leg.to));
            // Of one that fails now nothing is left that could be resumed.
            let again = match self.state.asked.as_str() {
                "" => self.again.to_owned(),
                asked => self.context.command(asked),
            };
            self.state.backup = Some(prepare::leg(&self.context, &self.state, &again).await?);
            self.advance(Phase::Stopping)?;
        }
        // Also where the run before was cut off later: somebody may have started the old version since,
        // and it would write into a database that is being copied, or is half migrated.
        if self.state.phase < Phase::Starting {
            self.stop().await?;
        }
        if self.state.phase == Phase::Stopping {
            self.advance(Phase::Copying)?;
        }
        self.choose_images(false).map_err(one)?;
        if self.state.phase == Phase::Copying {
            // PostgreSQL has the one to do, Docker the other, and people wait.
            let (copied, made) = tokio::join!(self.copy(), self.make());
            copied.map_err(one)?;
            self.state.copied = true;
            self.advance(Phase::Migrating)?;
            made?;
        } else if self.state.phase == Phase::Migrating {
            self.make().await?;
        }
        if self.state.phase == Phase::Migrating {
            let (migrated, ()) = tokio::join!(self.migrate(), self.boot_early());
            if migrated.is_err() && self.procedure.boots_early {
                // It would serve a database that is not its own.
                let _ = self.stop_group(&[self.procedure.owner]).await;
            }
            migrated?;
            self.advance(Phase::Starting)?;
            self.start_made().await?;
            self.advance(Phase::Checking)?;
        }
        if self.state.phase == Phase::Starting {
            self.start().await?;
            self.advance(Phase::Checking)?;
        }
        if self.state.phase == Phase::Checking {
            trial::run(&self.context, &self.state).await.map_err(one)?;
            self.note_way_back()?;
        }
        self.finish().await
    }

    async fn copy(&self) -> Result<()> {
        let (began, owner) = (Instant::now(), self.procedure.owner);
        let tell = |kind, took, text: &str| {
            let reporter = &self.context.reporter;
            reporter.service("copy", owner, kind, took, text);
        };
        tell(Kind::Started, None, "");
        database::copy(&self.context, &self.state, owner).await?;
        let detail = format!("the database as it is now: {}", self.state.kept);
        tell(Kind::Done, Some(began.elapsed()), &detail);
        Ok(())
    }

    /// The next leg, that nothing was done of yet.
    fn next_leg(&mut self) -> Result<(), Vec<Fault>> {
        self.state.at += 1;
        self.state.backup = None;
        self.state.kept = prepare::name_of_copy(&self.state.database);
        self.state.copied = false;
        self.advance(Phase::Preparing)
    }

    fn advance(&mut self, phase: Phase) -> Result<(), Vec<Fault>> {
        self.state.phase = phase;
        self.note()
    }

    fn note(&self) -> Result<(), Vec<Fault>> {
        let written = self.state.write(&self.context.settings.places.state);
        written.map_err(|error| vec![*self.not_noted(&error)])
    }

    fn forget(&self) -> Result<(), Vec<Fault>> {
        let places = &self.context.settings.places;
        state::remove(&places.state).map_err(|error| vec![*self.not_noted(&error)])
    }

    fn not_noted(&self, error: &std::io::Error) -> Box<Fault> {
        let state = self.context.settings.places.state.display();
        Box::new(
            Fault::problem(
                "upgrade: how far it is cannot be noted",
                "the state of the upgrade could not be written",
            )
            .evidence(format!("{state}: {error}"))
            .why("one that is cut off could not be finished; it stopped here")
            .next(format!("df -h {state}"))
            .next(self.context.command("resume")),
        )
    }

    fn tell(&self, kind: Kind, detail: &str) {
        self.context.reporter.tell("upgrade", kind, None, detail);
    }

    /// Stops what writes: what nobody sees first, then, behind the closed door, all else.
    async fn stop(&mut self) -> Result<(), Vec<Fault>> {
        self.stop_group(self.procedure.unseen).await?;
        self.close()?;
        for group in self.procedure.stops {
            let courier = self.procedure.takes_messages;
            if courier.is_some_and(|courier| group.contains(&courier)) {
                self.close_courier()?;
            }
            self.stop_group(group).await?;
        }
        Ok(())
    }

    async fn stop_group(&self, group: &[&str]) -> Result<(), Vec<Fault>> {
        let group: BTreeSet<String> = group.iter().map(|name| (*name).to_owned()).collect();
        let stopped = stop::stop_locked(&self.context, &group, false, self.again).await?;
        match stopped.faults.is_empty() {
            true => Ok(()),
            false => Err(stopped.faults),
        }
    }

    /// Puts the images of the leg into the settings: the new ones, or `back` the old ones.
    fn choose_images(&mut self, back: bool) -> Result<()> {
        self.context = images::choose(&self.context, self.state.step(), back)?;
        Ok(())
    }

    /// Has compose make the containers of the chosen version.
    async fn make(&self) -> Result<(), Vec<Fault>> {
        let names: Vec<String> = self.procedure.services().map(str::to_owned).collect();
        images::make(&self.context, &names)
            .await
            .map_err(|fault| vec![*fault])
    }

    /// Static files that were made ahead are not needed any more.
    async fn discard_ahead(&self) {
        images::discard_ahead(&self.context, self.procedure.owner).await;
    }

    /// Migrates the database, in a container of its own; no clock ends it.
    async fn migrate(&self) -> Result<(), Vec<Fault>> {
        let context = &self.context;
        let failed = |error: crate::engine::Error| vec![error.fault(self.again)];
        let engine = Engine::connect().await.map_err(failed)?;
        let name = self.procedure.owner;
        let (Some(service), Some(task)) =
            (context.stack.service(name), self.procedure.task(context))
        else {
            return Ok(());
        };
        let project = context.settings.project();
        let container = engine.service_container(project, name).await;
        let Some(container) = container.map_err(failed)? else {
            return Err(vec![self.gone(name)]);
        };
        let workerless = match self.state.wiki_order {
            true => Some(wiki_order::begin(context, &engine).await.map_err(failed)?),
            false => None,
        };
        let released = self.watching_locks(async {
            primed::go(context, &engine, name).await?;
            release::run(context, &engine, service, &task, &container, None).await
        });
        let outcome = released.await;
        if let Some(id) = workerless {
            wiki_order::end(context, &engine, &id).await;
        }
        match outcome.map_err(failed)? {
            release::Outcome::Done => Ok(()),
            release::Outcome::Failed(fault) => Err(vec![*fault]),
        }
    }

    /// Lets the new web boot while the database is migrated. What goes wrong with it is seen when it is
    /// waited for.
    async fn boot_early(&self) {
        let (context, owner) = (&self.context, self.procedure.owner);
        if !self.procedure.boots_early || !self.state.services.iter().any(|ran| ran == owner) {
            return;
        }
        let boot = async {
            let engine = Engine::connect().await?;
            let project = context.settings.project();
            match engine.service_container(project, owner).await? {
                Some(container) => engine.start(&container.id).await,
                None => Ok(()),
            }
        };
        let reporter = &context.reporter;
        let told = "while the database is migrated";
        reporter.service("boot", owner, Kind::Started, None, told);
        let _ = boot.await;
    }

    /// The work, and meanwhile who keeps it waiting.
    async fn watching_locks<T, E>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let databases = self.context.settings.databases();
        let database = databases.iter().find(|of| of.owner == self.procedure.owner);
        let began = Instant::now();
        let mut looked = began;
        watched(work, async || {
            if looked.elapsed() < LOCKS {
                return Ok(());
            }
            let held = async {
                let session = Session::open(&database?.url, LOCKS).await.ok()?;
                database::who_holds_it_up(&session).await
            };
            if let Some(held) = held.await {
                let (reporter, owner) = (&self.context.reporter, self.procedure.owner);
                reporter.service(
                    "release",
                    owner,
                    Kind::Progress,
                    Some(began.elapsed()),
                    held,
                );
            }
            looked = Instant::now();
            Ok(())
        })
        .await
    }

    fn gone(&self, service: &str) -> Fault {
        Fault::problem(
            format!("{service}: its container is gone"),
            "the container that was made a moment ago is not there any more",
        )
        .evidence("somebody removed it, or another tool works on the same project")
        .why("the database is migrated by its image")
        .next(self.context.command("resume"))
    }

    /// Starts what ran, in its order.
    async fn start(&self) -> Result<(), Vec<Fault>> {
        let options = start::Options::default();
        let chosen = self.to_run();
        all_up(&start::start_locked(&self.context, &options, &chosen, self.again).await?)
    }

    /// The same, of containers that this very run has made, and whose database it has migrated: nothing
    /// has to be looked at again while people wait.
    async fn start_made(&self) -> Result<(), Vec<Fault>> {
        let options = start::Options {
            released: Some(self.procedure.owner),
            ..Default::default()
        };
        let chosen = self.to_run();
        all_up(&start::start_made(&self.context, &options, &chosen, self.again).await?)
    }

    fn to_run(&self) -> BTreeSet<String> {
        let ran = self.state.services.iter().map(String::as_str);
        self.context.stack.graph.with_needs(ran)
    }

    /// Notes how `ooy rollback` goes back, before anybody is let in.
    fn note_way_back(&mut self) -> Result<(), Vec<Fault>> {
        let (places, owner) = (&self.context.settings.places, self.procedure.owner);
        let (web, courier) = self.down_so_far();
        let upgraded = Upgraded {
            schema: 1,
            app: self.state.app,
            step: self.state.step().clone(),
            database: self.state.database.clone(),
            kept: self.state.kept.clone(),
            backup: self.state.backup.clone(),
            since: Timestamp::now(),
            down_ms: (web - self.state.down_ms.0, courier - self.state.down_ms.1),
        };
        let earlier = state::last(&places.state, self.state.app).ok().flatten();
        let earlier = earlier.map(|earlier| earlier.kept);
        // Of a run that was cut off here, it is the same.
        if earlier.as_ref() != Some(&upgraded.kept) {
            self.state.earlier = earlier;
            self.note()?;
        }
        database::keep(&self.context, &self.state, owner, &upgraded.kept)
            .and_then(|()| upgraded.write(&places.state))
            .map_err(|error| vec![*self.not_noted(&error)])?;
        self.advance(Phase::Opening)
    }

    /// Lets people and messages in.
    async fn finish(&mut self) -> Result<(), Vec<Fault>> {
        self.open()?;
        self.note()?;
        self.discard_ahead().await;
        let places = &self.context.settings.places;
        let last = state::last(&places.state, self.state.app).ok().flatten();
        let leg = self.state.step();
        let web = last.map_or(Duration::ZERO, |last| last.down().0);
        self.tell(
            Kind::Done,
            &format!(
                "{} → {} · the web was closed for {}",
                leg.from,
                leg.to,
                human(web)
            ),
        );
        // One way back at a time: each takes the room of a whole database.
        if let Some(earlier) = self.state.earlier.take() {
            match database::drop_copy(&self.context, self.procedure.owner, &earlier).await {
                Ok(()) => self.tell(Kind::Done, &format!("{earlier} dropped")),
                // It is listed, and can be dropped by hand.
                Err(fault) => self.tell(Kind::Failed, &fault.title),
            }
        }
        Ok(())
    }

    fn ended(&self) -> Ended {
        Ended {
            name: self.state.name(),
            undone: false,
            down: self.down(),
            kept: Some(self.state.kept.clone()),
        }
    }
}

fn all_up(outcome: &start::Outcome) -> Result<(), Vec<Fault>> {
    let faults = outcome.failures();
    match faults.is_empty() {
        true => Ok(()),
        false => Err(faults),
    }
}
