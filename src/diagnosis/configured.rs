//! compose's digests of the present configuration, to be compared with those in the containers'
//! labels.
//!
//! compose needs a tenth of a second and most of the CPU time of a whole diagnosis for them. They
//! follow from its files, the values that it is given and its program, and from nothing else; so
//! the answer is kept under a digest of all of these, and asked for again when one has changed.

use std::collections::BTreeMap;

use super::kept::{self, Inputs};
use crate::deployment::render;
use crate::engine::compose::{self, Compose};
use crate::fault::Fault;
use crate::lifecycle::Context;
use crate::lifecycle::observe::for_compose;
use crate::lifecycle::preflight::scratch_folder;

/// The digest of each service, or what compose complains of.
pub type Hashes = Result<BTreeMap<String, String>, String>;

/// The present digests; the error says that there is no compose.
pub async fn hashes(context: &Context) -> Result<Hashes, Box<Fault>> {
    let path = context.settings.places.state.join("compose-digests.json");
    let from = inputs(context);
    if let Some(hashes) = from.as_deref().and_then(|from| kept::find(&path, from)) {
        return Ok(Ok(hashes));
    }
    let answer = ask(context).await?;
    if let (Some(from), Ok(hashes)) = (from, &answer) {
        kept::keep(&path, &from, hashes);
    }
    Ok(answer)
}

async fn ask(context: &Context) -> Result<Hashes, Box<Fault>> {
    let unmade = |fault: &Fault| format!("{}: {}", fault.title, fault.evidence.join("; "));
    let folder = match scratch_folder() {
        Ok(folder) => folder,
        Err(fault) => return Ok(Err(unmade(&fault))),
    };
    let answer = match context.rendered.write(&folder) {
        Ok(()) => Compose::find_and_hash(for_compose(context, &folder)).await,
        Err(fault) => {
            let _ = std::fs::remove_dir_all(&folder);
            return Ok(Err(unmade(&fault)));
        }
    };
    // Left behind only where the whole check is given up, in the system's temporary folder.
    let _ = std::fs::remove_dir_all(&folder);
    let (_, hashes) = answer?;
    Ok(match hashes {
        Ok(Ok(hashes)) => Ok(hashes),
        Ok(Err(complaint)) => Err(context.mask.apply(&complaint)),
        Err(error) => Err(error.to_string()),
    })
}

/// A digest of all that compose's answer follows from; none where there is more than can be told:
/// the operator's own file may name others (`env_file`, `extends`).
fn inputs(context: &Context) -> Option<String> {
    let settings = &context.settings;
    if settings.places.compose_override.exists() {
        return None;
    }
    let mut inputs = Inputs::default();
    for path in compose::programs() {
        inputs.add_file(&path);
    }
    inputs.add(settings.project().as_bytes());
    inputs.add(settings.places.own_folder().as_os_str().as_encoded_bytes());
    inputs.add(render::compose(settings).as_bytes());
    for (name, value) in settings.environment(&context.rendered.nginx_digest) {
        inputs.add(name.as_bytes());
        inputs.add(value.as_bytes());
    }
    Some(inputs.digest())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::deployment::places::Places;
    use crate::deployment::services::Stack;
    use crate::deployment::settings::Settings;
    use crate::operation::Reporter;

    fn digest(folder: &Path, text: &str) -> Option<String> {
        let places = Places::new(Some(folder));
        std::fs::write(&places.env_file, text).unwrap();
        let (settings, _) = Settings::load_with_faults(&places).unwrap();
        let stack = Stack::load(&settings).unwrap();
        inputs(&Context::assemble(
            settings,
            stack,
            Reporter::new("diagnose"),
        ))
    }

    #[test]
    fn another_value_asks_compose_again_and_so_does_a_file_of_the_operators() {
        let folder = tempfile::tempdir().unwrap();
        let first = digest(folder.path(), "LOG_LEVEL=info\n");
        assert!(first.is_some());
        assert_eq!(first, digest(folder.path(), "# the same\nLOG_LEVEL=info\n"));
        assert_ne!(first, digest(folder.path(), "LOG_LEVEL=debug\n"));
        std::fs::write(folder.path().join("compose.override.yaml"), "services: {}").unwrap();
        assert_eq!(digest(folder.path(), "LOG_LEVEL=info\n"), None);
    }
}
