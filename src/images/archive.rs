//! A package on its way through: the digest of each file, and the small ones that say what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use sha2::{Digest as _, Sha256};

use crate::host::tar::{Entry, Piece, Splitter, damaged};
use crate::host::text::hex;

/// What is in the package; the first file of it.
pub const OWN: &str = "ooy.json";
/// The digests of all other files, as sha256sum writes them; the last one.
pub const SUMS: &str = "ooy.sha256";
/// Docker's own list of what is in it.
pub const DOCKER: &str = "manifest.json";
/// Without these Docker finds no image, whatever else it was given. (`index.json` and `oci-layout`
/// are those of newer Engines.)
pub const INDEXES: [&str; 4] = [DOCKER, "repositories", "index.json", "oci-layout"];

/// Most bytes of one of the files that are kept.
pub const MOST_KEPT: u64 = 4 * 1024 * 1024;
/// Most files: an image has some for each layer.
const MOST_FILES: usize = 50_000;

/// Watches an archive pass by.
#[derive(Default)]
pub struct Passage {
    splitter: Splitter,
    open: Option<Open>,
    names: BTreeSet<String>,
    /// The digest of each file so far, in their order; not that of the file of digests.
    sums: String,
    /// The content of what says what is in it.
    kept: BTreeMap<String, Vec<u8>>,
}

/// The entry that is passing.
struct Open {
    entry: Entry,
    digest: Sha256,
}

impl Passage {
    /// Takes the next bytes, and hands on those of each entry.
    pub fn feed(
        &mut self,
        bytes: &[u8],
        on: &mut dyn FnMut(&Entry, &[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let Self {
            splitter,
            open,
            names,
            sums,
            kept,
        } = self;
        splitter.feed(bytes, &mut |piece| match piece {
            Piece::Head(entry, raw) => {
                if names.len() >= MOST_FILES || !names.insert(entry.name.clone()) {
                    return Err(damaged("a file is in it twice, or there are too many"));
                }
                on(entry, raw)?;
                if is_kept(&entry.name) {
                    if entry.size > MOST_KEPT || !entry.is_file {
                        return Err(damaged(format!("{} in it is too large", entry.name)));
                    }
                    kept.insert(entry.name.clone(), Vec::new());
                }
                *open = Some(Open {
                    entry: entry.clone(),
                    digest: Sha256::new(),
                });
                Ok(())
            }
            Piece::Content(content) => {
                let Some(open) = open.as_mut() else {
                    return Ok(());
                };
                open.digest.update(content);
                if let Some(kept) = kept.get_mut(&open.entry.name) {
                    kept.extend_from_slice(content);
                }
                on(&open.entry, content)
            }
            Piece::End(zeros) => {
                let Some(Open { entry, digest }) = open.take() else {
                    return Ok(());
                };
                if entry.is_file && entry.name != SUMS {
                    let digest = hex(&digest.finalize());
                    sums.push_str(&format!("{digest}  {}\n", entry.name));
                }
                on(&entry, &[0; 512][..zeros])
            }
        })
    }

    /// The digests so far, as sha256sum writes them.
    pub fn sums(&self) -> &str {
        &self.sums
    }

    /// The content of one of the files that say what is in it.
    pub fn kept(&self, name: &str) -> Option<&[u8]> {
        self.kept.get(name).map(Vec::as_slice)
    }

    /// Whether the end of the archive was seen.
    pub fn is_closed(&self) -> bool {
        self.splitter.is_closed()
    }

    /// More follows behind what was its end.
    pub fn reopen(&mut self) {
        self.splitter.reopen();
    }
}

/// Whether the content of that file is kept.
fn is_kept(name: &str) -> bool {
    name == OWN || name == SUMS || name == DOCKER
}
