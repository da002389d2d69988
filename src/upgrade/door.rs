//! The door for people: while an application is upgraded, nginx answers 503 for its pages. Courier's
//! paths stay open, and a port that only this host reaches, by which the new version is tried.

use std::io;
use std::path::PathBuf;

use crate::deployment::places::Places;
use crate::deployment::render::CLOSED;

/// nginx looks for this file at each request: nothing has to be loaded anew.
fn flag(places: &Places, owner: &str) -> PathBuf {
    places.rendered.join(format!("nginx/{CLOSED}{owner}"))
}

/// Closes it.
pub fn close(places: &Places, owner: &str) -> io::Result<()> {
    std::fs::write(flag(places, owner), "")
}

/// Opens it; an open one is fine.
pub fn open(places: &Places, owner: &str) -> io::Result<()> {
    match std::fs::remove_file(flag(places, owner)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
