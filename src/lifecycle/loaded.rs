//! Which images came from a package (`ooy images load`), and with which id: what a start and an
//! upgrade compare with what is there.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Context;
use crate::host::files;

const FILE: &str = "images.json";

/// An image that came from a package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loaded {
    /// As the deployment names it.
    pub reference: String,
    /// Its id on this host.
    pub id: String,
    /// The package: its path, or `-`.
    pub package: String,
    /// When the package was made.
    pub made_at: Timestamp,
    /// When it was loaded.
    pub at: Timestamp,
}

/// The file.
#[derive(Default, Serialize, Deserialize)]
struct File {
    schema: u32,
    images: Vec<Loaded>,
}

/// All of them.
pub fn read(state: &Path) -> io::Result<Vec<Loaded>> {
    match std::fs::read(state.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => Ok(serde_json::from_slice::<File>(&other?)?.images),
    }
}

/// These were loaded; what was known of images of their names is replaced.
pub fn note(state: &Path, new: Vec<Loaded>) -> io::Result<()> {
    let mut all = read(state)?;
    all.retain(|old| !new.iter().any(|new| new.reference == old.reference));
    all.extend(new);
    write(state, all)
}

/// It has been pulled since, by us: what a package had under this name counts no more.
pub fn forget(state: &Path, reference: &str) {
    // Where it cannot be read or written a start tells a difference too many.
    let Ok(mut all) = read(state) else { return };
    let before = all.len();
    all.retain(|loaded| loaded.reference != reference);
    if all.len() < before {
        let _ = write(state, all);
    }
}

fn write(state: &Path, images: Vec<Loaded>) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(&File { schema: 1, images })?;
    files::write_atomic(&state.join(FILE), &text, 0o600)
}

/// Those of these images (ids by reference) that are others than the package had, in words. Somebody
/// may have pulled a newer one on purpose: nothing is refused, as with what `ooy diagnose` calls
/// image-drift.
pub fn changed(context: &Context, images: &BTreeMap<String, Option<String>>) -> Vec<String> {
    let state = &context.settings.places.state;
    let loaded = match read(state) {
        Ok(loaded) => loaded,
        Err(error) => return vec![format!("{}: {error}", state.join(FILE).display())],
    };
    let differs = |loaded: &Loaded| {
        let id = images.get(&loaded.reference)?.as_deref()?;
        (id != loaded.id).then(|| id.to_owned())
    };
    loaded
        .iter()
        .filter_map(|loaded| differs(loaded).map(|id| (loaded, id)))
        .map(|(loaded, id)| {
            let package = match loaded.package.as_str() {
                "-" => "FILE",
                path => path,
            };
            format!(
                "{} is {} now, and was {} in the package of {}; to have that again: {}",
                loaded.reference,
                short(&id),
                short(&loaded.id),
                loaded.made_at.strftime("%Y-%m-%d"),
                context.command(&format!("images load {package}"))
            )
        })
        .collect()
}

/// The first digits of an id, as `docker images` shows them.
pub fn short(id: &str) -> &str {
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..12).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded(reference: &str, id: &str) -> Loaded {
        Loaded {
            reference: reference.to_owned(),
            id: id.to_owned(),
            package: "/media/stick/ooy-images.tar".to_owned(),
            made_at: Timestamp::UNIX_EPOCH,
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_later_package_and_a_pull_replace_what_was_known() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read(folder.path()).unwrap(), []);
        note(folder.path(), vec![loaded("a:1", "1"), loaded("b:1", "1")]).unwrap();
        note(folder.path(), vec![loaded("a:1", "2")]).unwrap();
        let known = [loaded("b:1", "1"), loaded("a:1", "2")];
        assert_eq!(read(folder.path()).unwrap(), known);
        forget(folder.path(), "b:1");
        forget(folder.path(), "c:1");
        assert_eq!(read(folder.path()).unwrap(), [loaded("a:1", "2")]);
    }
}
