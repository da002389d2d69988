//! What takes the room of a file system: the largest folders and files, found within a limit of
//! time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// So deep below the top folders are told apart.
const DEPTH: usize = 4;

/// Files from this size on are named, in bytes.
const LARGE_FILE: u64 = 64 * 1024 * 1024;

/// A folder or file and the room that it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taker {
    /// Where.
    pub path: PathBuf,
    /// Bytes on the disk, with all that is in it.
    pub size: u64,
}

/// The largest folders and files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Largest {
    /// The largest first.
    pub takers: Vec<Taker>,
    /// All of the file system was looked at; if not, sizes are at least so.
    pub complete: bool,
}

/// Looks through the file system that holds `top`, from there downwards. Other file systems that
/// are mounted below, and what cannot be read, are left out. A file of several names counts once.
pub fn largest(top: &Path, limit: Duration, most: usize) -> Largest {
    let ends = Instant::now() + limit;
    let Ok(device) = fs::metadata(top).map(|about| about.dev()) else {
        return Largest::default();
    };
    let mut sizes: BTreeMap<PathBuf, u64> = BTreeMap::new();
    let mut seen: BTreeSet<u64> = BTreeSet::new();
    let mut waiting = vec![top.to_owned()];
    let mut complete = true;
    while let Some(folder) = waiting.pop() {
        if Instant::now() >= ends {
            complete = false;
            break;
        }
        let mut here = 0;
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            // Of the entry itself: links are not followed.
            let Ok(about) = entry.metadata() else {
                continue;
            };
            if about.dev() != device
                || (about.nlink() > 1 && !about.is_dir() && !seen.insert(about.ino()))
            {
                continue;
            }
            let size = about.blocks() * 512;
            if about.is_dir() {
                waiting.push(entry.path());
            } else if size >= LARGE_FILE {
                sizes.insert(entry.path(), size);
            }
            here += size;
        }
        let told = leaf(&folder);
        let depth = told
            .strip_prefix(top)
            .map_or(0, |rest| rest.components().count());
        let named = told.ancestors().skip(depth.saturating_sub(DEPTH));
        for ancestor in named.take_while(|ancestor| *ancestor != top) {
            *sizes.entry(ancestor.to_owned()).or_default() += here;
        }
    }
    Largest {
        takers: tell(&sizes, most),
        complete,
    }
}

/// Names of Docker's layers say nothing to a person: they count for the folder of all of them.
fn leaf(folder: &Path) -> &Path {
    let layers = |path: &&Path| path.file_name().is_some_and(|name| name == "overlay2");
    folder.ancestors().find(layers).unwrap_or(folder)
}

/// The topmost folder of the file system that holds `path`. Not the mount point: Docker mounts
/// its own folder on itself, and that is a part only.
pub fn top_of(path: &Path) -> PathBuf {
    let device = |path: &Path| fs::metadata(path).map(|about| about.dev()).ok();
    let here = device(path);
    path.ancestors()
        .take_while(|ancestor| device(ancestor) == here)
        .last()
        .unwrap_or(path)
        .to_owned()
}

/// A folder of which one part takes nearly all says less than that part.
fn tell(sizes: &BTreeMap<PathBuf, u64>, most: usize) -> Vec<Taker> {
    let mut takers: Vec<Taker> = sizes
        .iter()
        .filter(|(path, size)| {
            !sizes
                .range::<Path, _>((
                    std::ops::Bound::Excluded(path.as_path()),
                    std::ops::Bound::Unbounded,
                ))
                .take_while(|(other, _)| other.starts_with(path))
                .any(|(_, other)| u128::from(*other) * 5 >= u128::from(**size) * 4)
        })
        .map(|(path, size)| Taker {
            path: path.clone(),
            size: *size,
        })
        .collect();
    takers.sort_by(|a, b| b.size.cmp(&a.size).then(a.path.cmp(&b.path)));
    // What is a hundredth of the largest is not what filled the disk.
    let least = takers.first().map_or(0, |first| first.size / 100);
    takers.retain(|taker| taker.size >= least);
    takers.truncate(most);
    takers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_are_told_and_links_count_once() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for (path, kilobytes) in [
            ("var/lib/docker/a", 900),
            ("var/lib/other/b", 40),
            ("var/log/c", 300),
            ("home/d", 100),
            ("x/1/2/3/4/5/6/e", 200),
            ("overlay2/abc/diff/e", 10),
        ] {
            let path = at(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, vec![1; kilobytes * 1024]).unwrap();
        }
        fs::hard_link(at("var/log/c"), at("var/log/again")).unwrap();
        std::os::unix::fs::symlink(at("var"), at("home/link")).unwrap();
        let found = largest(folder.path(), Duration::from_secs(10), 9);
        assert!(found.complete);
        let names: Vec<&Path> = found
            .takers
            .iter()
            .map(|taker| taker.path.strip_prefix(folder.path()).unwrap())
            .collect();
        assert_eq!(names[0], Path::new("var"), "{found:?}");
        assert_eq!(names[1], Path::new("var/lib/docker"), "{found:?}");
        assert!(names.contains(&Path::new("x/1/2/3")), "{found:?}");
        assert!(names.contains(&Path::new("overlay2")), "{found:?}");
        let sum: u64 = found.takers.iter().map(|taker| taker.size).sum();
        assert!(sum < 4 * 1024 * 1024, "{found:?}");
    }

    #[test]
    fn without_time_it_says_that_it_is_not_all() {
        let folder = tempfile::tempdir().unwrap();
        let found = largest(folder.path(), Duration::ZERO, 4);
        assert!(!found.complete && found.takers.is_empty());
        assert_eq!(top_of(Path::new("/proc/self/fd")), Path::new("/proc"));
        assert!(!largest(Path::new("/no/such"), Duration::from_secs(1), 4).complete);
    }
}
