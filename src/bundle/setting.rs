//! What all parts of a bundle work with: as much of the deployment as can be read, and the
//! redactor that knows its secrets.

use std::rc::Rc;
use std::time::Duration;

use super::redact::{self, Key, Redactor, Secret};
use super::{Context, LeftOut};
use crate::deployment::mask::Mask;
use crate::deployment::places::Places;
use crate::deployment::services::Stack;
use crate::deployment::settings::Settings;
use crate::engine::Engine;
use crate::engine::containers::Container;
use crate::operation::Reporter;

/// The scene of a bundle.
pub struct Setting {
    /// Where everything lies.
    pub places: Places,
    /// The settings file as it is, or why it cannot be read.
    pub file: Result<String, String>,
    /// What is wrong with the settings.
    pub wrong: Vec<String>,
    /// This host has no deployment.
    pub only_calls: bool,
    /// The deployment, with defaults for what cannot be read; its mask is the redactor.
    pub context: Context,
    /// Docker, or why not.
    pub engine: Result<Engine, String>,
    /// The deployment's containers, or why not.
    pub containers: Result<Vec<Container>, String>,
    /// Takes secrets out.
    pub redactor: Rc<Redactor>,
    /// What is known to be missing already.
    pub left_out: Vec<LeftOut>,
}

/// How long Docker may take to say what is there.
const PATIENCE: Duration = Duration::from_secs(8);

impl Setting {
    /// Looks. Fails in nothing.
    pub async fn find(places: &Places) -> Self {
        let mut left_out = Vec::new();
        let mut missing = |part: &str, why: String| {
            left_out.push(LeftOut {
                part: part.to_owned(),
                why,
            });
        };
        let path = places.env_file.clone();
        let shown = path.display().to_string();
        let file = super::blocking(move || std::fs::read(path)).await;
        let file = file.and_then(|read| match read {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) => Err(format!("{shown}: {}", plain(&error))),
        });
        let (settings, wrong) =
            Settings::of_what_can_be_read(places, file.as_deref().unwrap_or(""));
        let only_calls = file.is_ok() && Settings::only_calls(&wrong);
        let (settings, stack) = match Stack::load(&settings) {
            Ok(stack) => (settings, Some(stack)),
            Err(fault) => {
                missing(
                    "compose.override.yaml",
                    format!("{}: {}", fault.what, fault.evidence.join("; ")),
                );
                // Without the operator's additions.
                let mut own = settings.clone();
                own.places.compose_override = "/nowhere/ooy".into();
                let stack = Stack::load(&own).ok();
                (own, stack)
            }
        };
        let stack = stack.unwrap_or_else(|| Stack {
            services: Vec::new(),
            graph: Default::default(),
        });
        let (engine, containers) = match only_calls {
            true => {
                let why = "this host only hands its calls over".to_owned();
                (Err(why.clone()), Err(why))
            }
            false => containers(settings.project()).await,
        };
        let secrets = secrets(&file, containers.as_deref().unwrap_or_default());
        let key = match Key::of_host(&places.state) {
            Ok(key) => Some(key),
            Err(error) => {
                let why = format!(
                    "{}: {}; the tokens of this bundle are in no other",
                    places.state.join("bundle-key").display(),
                    plain(&error)
                );
                missing("stable tokens", why);
                None
            }
        };
        let key = key.or_else(|| Key::random().ok()).unwrap_or_else(Key::none);
        let redactor = Rc::new(Redactor::new(key, &secrets));
        let mut context =
            crate::lifecycle::Context::assemble(settings, stack, Reporter::new("bundle"));
        let mask = Rc::clone(&redactor);
        // What checks cut to size is hidden before it is cut.
        context.mask = Rc::new(Mask::by(move |text| mask.text(text)));
        Self {
            places: places.clone(),
            file,
            wrong,
            only_calls,
            context: Rc::new(context),
            engine,
            containers,
            redactor,
            left_out,
        }
    }

    /// Why there is no part that needs the settings, where that is so: what cannot be read is not
    /// known to be hidden.
    pub fn needs_settings(&self) -> Result<(), String> {
        match &self.file {
            Ok(_) => Ok(()),
            Err(why) => Err(format!("what is secret in it is not known: {why}")),
        }
    }

    /// Docker.
    pub fn engine(&self) -> Result<&Engine, String> {
        self.engine.as_ref().map_err(Clone::clone)
    }

    /// The deployment's containers.
    pub fn containers(&self) -> Result<&[Container], String> {
        match &self.containers {
            Ok(containers) => Ok(containers),
            Err(why) => Err(why.clone()),
        }
    }

    /// How long a diagnosis may take.
    pub fn diagnosis_deadline(&self) -> Duration {
        self.context.settings.interval("DIAGNOSE_TIMEOUT")
    }
}

async fn containers(project: &str) -> (Result<Engine, String>, Result<Vec<Container>, String>) {
    let late = || format!("Docker gave no answer within {} s", PATIENCE.as_secs());
    let engine = match tokio::time::timeout(PATIENCE, Engine::connect()).await {
        Ok(Ok(engine)) => engine,
        Ok(Err(error)) => return (Err(error.to_string()), Err(error.to_string())),
        Err(_) => return (Err(late()), Err(late())),
    };
    let listed = tokio::time::timeout(PATIENCE, engine.containers(project)).await;
    let containers = match listed {
        Ok(Ok(containers)) => Ok(containers),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(late()),
    };
    (Ok(engine), containers)
}

/// Secrets of the settings first: their names are those that an operator knows.
fn secrets(file: &Result<String, String>, containers: &[Container]) -> Vec<Secret> {
    let mut secrets = redact::in_settings(file.as_deref().unwrap_or(""));
    for container in containers {
        secrets.extend(redact::in_environment(container.environment.variables()));
    }
    secrets
}

/// A failure of the system without its number.
pub fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}
