//! Brings the deployment up and down and says how it is: what `start`, `stop`, `restart` and
//! `status` do, and what repairs and upgrades will call. Prints nothing: it tells a reporter.

pub mod ahead;
pub mod at_boot;
pub mod bring_up;
pub mod check;
pub mod failed;
pub mod loaded;
pub mod logs;
pub mod observe;
pub mod preflight;
pub mod primed;
pub mod readiness;
pub mod release;
pub mod released;
pub mod restart;
pub mod start;
pub mod status;
pub mod stop;
pub mod surroundings;
mod turns;

use std::rc::Rc;

use crate::deployment::mask::Mask;
use crate::deployment::places::Places;
use crate::deployment::render::Rendered;
use crate::deployment::services::Stack;
use crate::deployment::settings::Settings;
use crate::fault::Result;
use crate::operation::Reporter;

/// Everything an operation on one deployment works with. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// Its settings.
    pub settings: Rc<Settings>,
    /// Its services.
    pub stack: Rc<Stack>,
    /// Its rendered files.
    pub rendered: Rc<Rendered>,
    /// Takes its secrets out of texts.
    pub mask: Rc<Mask>,
    /// Whom to tell what is being done.
    pub reporter: Reporter,
}

/// A command with the services that it was given: `start mailroom`.
pub fn asked(command: &str, services: &[String]) -> String {
    let mut asked = command.to_owned();
    for service in services {
        asked += " ";
        asked += service;
    }
    asked
}

impl Context {
    /// Reads settings and compose files and renders the rest.
    pub fn load(places: &Places, reporter: Reporter) -> Result<Self> {
        let settings = Settings::load(places)?;
        let stack = Stack::load(&settings)?;
        Ok(Self::assemble(settings, stack, reporter))
    }

    /// From parts that were read already.
    pub fn assemble(settings: Settings, stack: Stack, reporter: Reporter) -> Self {
        Self {
            rendered: Rc::new(Rendered::new(&settings)),
            mask: Rc::new(settings.mask()),
            settings: Rc::new(settings),
            stack: Rc::new(stack),
            reporter,
        }
    }

    /// A command line for this deployment, as the operator has to type it.
    pub fn command(&self, rest: &str) -> String {
        self.settings.places.command(rest)
    }
}
