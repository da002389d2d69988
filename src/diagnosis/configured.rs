//! compose's digests of the present configuration, to be compared with those in the containers'
//! labels.
//!
//! compose needs a tenth of a second and most of the CPU time of a whole diagnosis for them. They
//! follow from its files, the values that it is given and its program, and from nothing else; so
//! the answer is kept under a digest of all of these, and asked for again when one has changed.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::deployment::render;
use crate::engine::compose::{self, Compose};
use crate::fault::Fault;
use crate::host::{files, text};
use crate::lifecycle::Context;
use crate::lifecycle::observe::for_compose;
use crate::lifecycle::preflight::scratch_folder;

/// The digest of each service, or what compose complains of.
pub type Hashes = Result<BTreeMap<String, String>, String>;

/// An answer, and what it was made from.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// Digest of everything that the answer follows from.
    from: String,
    hashes: BTreeMap<String, String>,
}

/// The present digests; the error says that there is no compose.
pub async fn hashes(context: &Context) -> Result<Hashes, Box<Fault>> {
    let from = inputs(context);
    let path = context.settings.places.state.join("compose-digests.json");
    let kept = std::fs::read(&path)
        .ok()
        .and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
    if let (Some(from), Some(kept)) = (&from, kept)
        && *from == kept.from
    {
        return Ok(Ok(kept.hashes));
    }
    let answer = ask(context).await?;
    if let (Some(from), Ok(hashes)) = (from, &answer)
        && path.parent().is_some_and(Path::is_dir)
    {
        let kept = Kept {
            from,
            hashes: hashes.clone(),
        };
        // Without it the next diagnosis takes a little longer.
        let text = serde_json::to_vec(&kept).unwrap_or_default();
        let _ = files::write_if_changed(&path, &text, 0o600);
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
    let mut digest = Sha256::new();
    let mut add = |text: &[u8]| {
        digest.update(text.len().to_le_bytes());
        digest.update(text);
    };
    for path in compose::programs() {
        add(facts(&path).as_bytes());
    }
    add(settings.project().as_bytes());
    add(settings.places.own_folder().as_os_str().as_encoded_bytes());
    add(render::compose().as_bytes());
    for (name, value) in settings.environment(&context.rendered.nginx_digest) {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    Some(text::hex(&digest.finalize()))
}

/// Which file it is: another one, also one that was replaced at its place, has others.
fn facts(path: &PathBuf) -> String {
    match std::fs::metadata(path) {
        Ok(file) => format!(
            "{path:?} {} {} {}.{} {:o}",
            file.ino(),
            file.size(),
            file.mtime(),
            file.mtime_nsec(),
            file.mode()
        ),
        Err(error) => format!("{path:?} {:?}", error.kind()),
    }
}

#[cfg(test)]
mod tests {
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
