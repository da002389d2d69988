//! An archive of a release: whether it is signed, and the executable in it. Signatures and unpacking
//! are those of the crate self_update.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use self_update::{ArchiveKind, Compression, Extract};

use super::index::LARGEST_FILE;
use crate::host::text::shorten;

/// The executable in it.
const NAME: &str = "ooy";

/// The name of the key that has signed the archive, under the name that its file has; or why it is
/// taken for not signed.
pub fn signed_by(path: &Path, keys: &[(&'static str, [u8; 32])]) -> Result<&'static str, String> {
    // One after the other, to know which; and never with none, which self_update takes for "need not
    // be signed".
    let mut why = "this build knows no key".to_owned();
    for (name, key) in keys {
        match self_update::verify_signature(path, &[*key]) {
            Ok(()) => return Ok(name),
            Err(error) => why = told(&words(&error)),
        }
    }
    Err(why)
}

/// The commonest of these words, as an operator says it.
fn told(words: &str) -> String {
    match words {
        _ if words.contains("last GZIP block") => {
            "there is no signature in it, or it was cut short"
        }
        _ if words.contains("no matching key") => "none of the keys has made its signature",
        _ if words.contains("Could not find the required path") => "there is none",
        _ => words.trim_start_matches("InternalError: "),
    }
    .to_owned()
}

/// What is said at the very bottom: the rest only repeats it.
fn words(error: &(dyn Error + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    shorten(&deepest.to_string(), 200)
}

/// Why there is no executable.
#[derive(Debug)]
pub enum Broken {
    /// It could not be written.
    Write(io::Error),
    /// There is something wrong with the archive; in words.
    Archive(String),
}

/// Takes the executable out of it, into a folder; where it is then. To be called with an archive whose
/// signature is good, and with no other.
pub fn unpack(path: &Path, into: &Path) -> Result<PathBuf, Broken> {
    let broken = |why: &str| Broken::Archive(why.to_owned());
    // Before anything is written: some kilobytes can become any number of gigabytes.
    let file = File::open(path).map_err(Broken::Write)?;
    let mut all = flate2::read::GzDecoder::new(file).take(LARGEST_FILE + 1);
    match io::copy(&mut all, &mut io::sink()) {
        Ok(bytes) if bytes > LARGEST_FILE => return Err(broken("what is in it is too large")),
        Ok(_) => {}
        Err(error) => return Err(Broken::Archive(format!("it is damaged ({error})"))),
    }
    let archive = ArchiveKind::Tar(Some(Compression::Gz));
    Extract::from_source(path)
        .archive(archive)
        .extract_file(into, NAME)
        .map_err(|error| match io_error(&error) {
            Some(kind) => Broken::Write(io::Error::new(kind, words(&error))),
            None => Broken::Archive(format!(
                "no ooy can be taken out of it: {}",
                told(&words(&error))
            )),
        })?;
    let executable = into.join(NAME);
    match executable.symlink_metadata() {
        Ok(about) if about.is_file() => Ok(executable),
        _ => Err(broken("what is called ooy in it is no file")),
    }
}

/// The kind of an error of the disk's, wherever in the chain it is.
fn io_error(error: &(dyn Error + 'static)) -> Option<io::ErrorKind> {
    let mut next = Some(error);
    let chain = std::iter::from_fn(|| {
        let error = next?;
        next = error.source();
        Some(error)
    });
    let mut kinds = chain.filter_map(|error| Some(error.downcast_ref::<io::Error>()?.kind()));
    kinds.find(|kind| {
        use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        matches!(
            kind,
            StorageFull | QuotaExceeded | ReadOnlyFilesystem | PermissionDenied
        )
    })
}
