//! Packages of images, for hosts that reach no registry: one file, made where one can be reached,
//! carried over, and loaded.
//!
//! A package is what `docker save` writes, so that `docker load` takes it too, with two files of ours:
//! `ooy.json` before all others says what is in it, `ooy.sha256` behind them has the digest of each.

mod archive;
pub mod load;
pub mod manifest;
mod read;
pub mod save;
mod write;

use std::io;
use std::path::{Path, PathBuf};

use crate::deployment::keys::{KEYS, Kind};
use crate::fault::Fault;
use crate::lifecycle::Context;

/// An image that the deployment wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// As it is named.
    pub reference: String,
    /// The setting that names it; `None`: the operator's own additions do.
    pub setting: Option<String>,
}

/// The images that the deployment is made of now, each once, in the order of its services.
pub fn of_deployment(context: &Context) -> Vec<Wanted> {
    let mut all: Vec<Wanted> = Vec::new();
    for service in &context.stack.services {
        if all.iter().any(|wanted| wanted.reference == service.image) {
            continue;
        }
        let setting = KEYS
            .iter()
            .find(|key| key.kind == Kind::Image && context.settings.get(key.name) == service.image)
            .map(|key| key.name.to_owned());
        all.push(Wanted {
            reference: service.image.clone(),
            setting,
        });
    }
    all
}

/// Where a package is, or will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file.
    File(PathBuf),
    /// A pipe: standard output, or standard input.
    Pipe,
}

impl Place {
    /// As it was given: `-` is the pipe.
    pub fn of(given: &Path) -> Self {
        match given.as_os_str() == "-" {
            true => Self::Pipe,
            false => Self::File(std::path::absolute(given).unwrap_or_else(|_| given.to_owned())),
        }
    }

    /// For people.
    pub fn shown(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Pipe => "-".to_owned(),
        }
    }
}

/// Why a package could not be written or read.
#[derive(Debug)]
enum Trouble {
    /// The file, or the pipe.
    File(io::Error),
    /// What was read is not what was written.
    Damaged(String),
    /// The other side ended first; it knows why.
    Gone,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // The words of the reader of archives, and those of gzip's.
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                Self::Damaged(error.to_string())
            }
            io::ErrorKind::UnexpectedEof => Self::Damaged("it ends in the middle".to_owned()),
            _ => Self::File(error),
        }
    }
}

/// A command line cannot mean this.
fn usage(title: String, what: &str, evidence: String, next: String) -> Fault {
    Fault::usage(title, what)
        .evidence(evidence)
        .why("nothing was done")
        .next(next)
}
