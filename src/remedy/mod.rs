//! Repairs: each takes away what findings of one kind are about, and ends only when the service was
//! seen to do its work again. One file a repair.

mod access;
mod boot;
mod casepro_sync;
mod celery;
mod disk_space;
mod elasticsearch;
mod elasticsearch_read_only;
mod looked;
mod max_map_count;
mod network;
mod nginx_upstreams;
mod not_running;
mod postgres_access;
mod postgres_extensions;
mod proof;
mod redis_access;
mod run;
mod service;
mod services;
mod worker;
mod workspace_flag;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use crate::deployment::similar::nearest;
use crate::diagnosis::{Code, Finding, Scene};
use crate::fault::{Fault, Result};
use crate::lifecycle::Context;

pub use run::{Asked, End, Fixed, fix};

/// One repair.
pub struct Remedy {
    /// Its name: `ooy fix NAME`.
    pub name: &'static str,
    /// What it does, for the list.
    pub about: &'static str,
    /// What it takes away. The checks that can find these are made before and after.
    pub codes: &'static [Code],
    /// What may stand behind its name.
    pub takes: Takes,
    /// Whether it may be made for this finding while nobody looks: it loses nothing, and whom it
    /// interrupts is served badly already.
    pub unattended: fn(&Finding) -> bool,
    /// How long it may take, after its work is done, until the checks find nothing any more.
    pub settles: Duration,
    /// What to try when it did not help: commands of `ooy` without `ooy`, `{service}` for the
    /// service that it is about.
    pub otherwise: &'static [&'static str],
    /// Looks, changes nothing, and says what it would do.
    pub plan: fn(Rc<Job>) -> Planning,
}

/// What may stand behind the name of a repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing.
    Nothing,
    /// A service; none: all those that need it.
    Service,
    /// A workspace, by slug or uuid.
    Workspace,
}

/// What was asked for behind the name of a repair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// A service, or a workspace.
    pub target: Option<String>,
    /// `--verify`: a workspace is not to be flagged again.
    pub verify: bool,
    /// `--catch-up`: a backlog that does not fit into a worker's time limit.
    pub catch_up: bool,
    /// Nobody looks: only what [`Remedy::unattended`] allows.
    pub unattended: bool,
}

/// A repair that is being planned or made.
pub struct Job {
    /// The deployment.
    pub context: Context,
    /// What was asked for.
    pub wishes: Wishes,
    /// What the checks have found that this repair takes away. Empty only where an earlier run of
    /// it was cut off, where a workspace was named, and with `--catch-up`.
    pub findings: Vec<Finding>,
    /// An earlier run of this repair was cut off: its work has to be finished.
    pub resumes: bool,
    /// The command line to repeat.
    pub again: String,
    wrong_settings: Vec<String>,
}

impl Job {
    /// A fresh look at the deployment: each thing is fetched once, when it is first asked for.
    pub fn look(&self) -> Rc<Scene> {
        Rc::new(self.scene())
    }

    /// The same, for a run of checks, which keeps its figures.
    pub fn scene(&self) -> Scene {
        Scene::new(self.context.clone(), self.wrong_settings.clone())
    }

    /// A command line of `ooy` for this deployment.
    pub fn command(&self, rest: &str) -> String {
        self.context.command(rest)
    }
}

/// A plan that is being made.
pub type Planning = Pin<Box<dyn Future<Output = std::result::Result<Plan, Refusal>>>>;

/// The work of a plan. The answer is what was seen in the end: "pull succeeded at 02:19:44".
pub type Act = Pin<Box<dyn Future<Output = std::result::Result<String, Vec<Fault>>>>>;

/// What a repair is going to do.
pub struct Plan {
    /// Its steps in words, in order.
    pub steps: Vec<String>,
    /// Who notices what meanwhile, and for how long: "Casepro stays readable; ...".
    pub meanwhile: String,
    /// What is changed, by names that do not depend on the moment (services, files, keys). A plan
    /// that was agreed to is carried out only if it still changes nothing else.
    pub touches: Vec<String>,
    /// The work. Safe to be dropped at any await, and to be begun again from the start.
    pub act: Act,
}

/// Why there is no plan.
pub enum Refusal {
    /// There is nothing to do; why, in words.
    Nothing(String),
    /// It cannot be done.
    Fault(Box<Fault>),
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Refusal::Fault(Box::new(fault))
    }
}

impl From<Box<Fault>> for Refusal {
    fn from(fault: Box<Fault>) -> Self {
        Refusal::Fault(fault)
    }
}

/// All repairs, from ground to roof.
pub const ALL: &[&Remedy] = &[
    &disk_space::REMEDY,
    &max_map_count::REMEDY,
    &boot::REMEDY,
    &postgres_access::REMEDY,
    &postgres_extensions::REMEDY,
    &redis_access::REMEDY,
    &not_running::REMEDY,
    &elasticsearch_read_only::REMEDY,
    &service::REMEDY,
    &nginx_upstreams::REMEDY,
    &celery::REMEDY,
    &workspace_flag::REMEDY,
    &casepro_sync::REMEDY,
];

/// The repair of that name. `again` is the command that is to be repeated with a name that exists.
pub fn find(name: &str, again: &str) -> Result<&'static Remedy> {
    if let Some(remedy) = ALL.iter().find(|remedy| remedy.name == name) {
        return Ok(remedy);
    }
    // A finding's own name is as good: it says what is to be taken away.
    let mut of_code = ALL
        .iter()
        .filter(|remedy| remedy.codes.iter().any(|code| code.name() == name));
    if let (Some(only), None) = (of_code.next(), of_code.next()) {
        return Ok(only);
    }
    let known: Vec<&str> = ALL.iter().map(|remedy| remedy.name).collect();
    let next = match nearest(name, known.iter().copied()) {
        Some(near) => format!("{again} {near}"),
        None => again.to_owned(),
    };
    Err(Box::new(
        Fault::usage(
            format!("{name}: no such repair"),
            "there is no repair of that name",
        )
        .evidence(format!("known are {}", known.join(", ")))
        .why("nothing was done")
        .next(next),
    ))
}

/// The repair that a finding names, and for what.
pub fn of(finding: &Finding) -> Option<(&'static Remedy, Wishes)> {
    let (name, target) = finding.fix.remedy()?;
    let remedy = ALL.iter().find(|remedy| remedy.name == name)?;
    Some((
        remedy,
        Wishes {
            target: target.map(str::to_owned),
            ..Default::default()
        },
    ))
}

#[cfg(test)]
mod tests;
