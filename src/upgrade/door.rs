//! The doors: while an application is upgraded, nginx answers 503 for its pages; and for what providers
//! deliver from the moment on at which courier is stopped, so that nothing that it takes is in a
//! database that may yet be replaced. A port that only this host reaches, by which the new version is
//! tried, stays open.

use std::io;
use std::path::PathBuf;

use crate::deployment::places::Places;
use crate::deployment::render::CLOSED;

/// nginx looks for this file at each request: nothing has to be loaded anew.
fn flag(places: &Places, door: &str) -> PathBuf {
    places.rendered.join(format!("nginx/{CLOSED}{door}"))
}

/// Closes one: that of an application, by the name of its service, or courier's. Where nothing was started
/// yet there is no folder of nginx's either.
pub fn close(places: &Places, door: &str) -> io::Result<()> {
    let flag = flag(places, door);
    if let Some(folder) = flag.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(flag, "")
}

/// Opens it; an open one is fine.
pub fn open(places: &Places, door: &str) -> io::Result<()> {
    match std::fs::remove_file(flag(places, door)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
