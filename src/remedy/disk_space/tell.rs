//! What takes the room, for the person who has to decide.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::deployment::mask::Mask;
use crate::fault::Fault;
use crate::host::disk::human;
use crate::host::largest::{Largest, Taker, largest, top_of};
use crate::host::open_files::{self, Deleted};
use crate::host::text;

/// How long is counted.
const LIMIT: Duration = Duration::from_secs(5);

/// So many are told.
const MOST: usize = 6;

/// A deleted file from this size on is worth a line, in bytes.
const HELD: u64 = 50 * 1024 * 1024;

/// Folders of which a person knows at once what can go, and how.
const KNOWN: &[(&str, &str)] = &[
    ("/var/log/journal", "sudo journalctl --vacuum-size=200M"),
    ("/var/cache/apt", "sudo apt-get clean"),
    ("/var/lib/docker/volumes", "docker system df -v"),
    ("/var/crash", "sudo ls -lS /var/crash"),
    (
        "/var/lib/systemd/coredump",
        "sudo ls -lS /var/lib/systemd/coredump",
    ),
];

/// The fault with the largest folders of the file system that holds a place, and what can be done about them.
pub async fn with_largest(fault: Fault, place: &Path, mask: &Mask) -> Fault {
    let place = place.to_owned();
    let looked = tokio::task::spawn_blocking(move || look(&place)).await;
    let (top, largest, deleted) = looked.unwrap_or_default();
    say(fault, &top, &largest, &deleted, mask)
}

fn look(place: &Path) -> (PathBuf, Largest, Vec<Deleted>) {
    let top = top_of(place);
    let device = std::fs::metadata(&top).map(|about| about.dev());
    let deleted = device.and_then(open_files::deleted).unwrap_or_default();
    let largest = largest(&top, LIMIT, MOST);
    (top, largest, deleted)
}

fn say(mut fault: Fault, top: &Path, largest: &Largest, deleted: &[Deleted], mask: &Mask) -> Fault {
    for Taker { path, size } in &largest.takers {
        let name = text::sanitize(&path.display().to_string());
        fault = fault.evidence(format!("{:>8}  {}", human(*size), mask.apply(&name)));
    }
    if !largest.complete {
        fault = fault.evidence(format!(
            "(counted for {} s only: there may be more)",
            LIMIT.as_secs()
        ));
    }
    for file in deleted.iter().filter(|file| file.size >= HELD).take(2) {
        let name = mask.apply(&text::shorten(&file.path, 100));
        let program = text::sanitize(&file.program);
        fault = fault
            .evidence(format!(
                "{:>8}  {name}: deleted, but held open by {program} until it ends",
                human(file.size)
            ))
            .next(format!("ps -o pid,etime,args -p {}", file.pid));
    }
    for (folder, command) in KNOWN {
        let named = largest.takers.iter().any(|taker| {
            taker.path.starts_with(folder) || Path::new(folder).starts_with(&taker.path)
        });
        if named && Path::new(folder).exists() {
            fault = fault.next(*command);
        }
    }
    fault.next(format!("sudo du -xhd2 {} | sort -h | tail", top.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_the_room_is_said_with_what_can_be_done() {
        let largest = Largest {
            takers: vec![Taker {
                path: "/srv/backup".into(),
                size: 3 << 30,
            }],
            complete: false,
        };
        let deleted = [Deleted {
            pid: 12,
            program: "java".to_owned(),
            path: "/tmp/heap".to_owned(),
            size: 1 << 30,
        }];
        let fault = Fault::problem("t", "w");
        let fault = say(fault, Path::new("/"), &largest, &deleted, &Mask::default());
        assert_eq!(fault.evidence[0], "  3.0 GB  /srv/backup");
        assert!(fault.evidence[1].contains("5 s only"));
        assert!(fault.evidence[2].ends_with("held open by java until it ends"));
        assert_eq!(fault.next[0], "ps -o pid,etime,args -p 12");
        assert_eq!(fault.next[1], "sudo du -xhd2 / | sort -h | tail");
    }
}
