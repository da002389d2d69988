//! Files from which kernel settings are taken at boot (sysctl.d(5)).

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::files;

/// Ours.
pub const OURS: &str = "/etc/sysctl.d/90-ooy.conf";

/// Folders of such files. Of several of one name the first counts; the names decide the order.
const FOLDERS: [&str; 5] = [
    "etc/sysctl.d",
    "run/sysctl.d",
    "usr/local/lib/sysctl.d",
    "usr/lib/sysctl.d",
    "lib/sysctl.d",
];

/// Read last of all by procps' `sysctl --system`; systemd reads it where a link in the folder
/// says so, as Debian's does.
const LAST: &str = "etc/sysctl.conf";

/// A line that sets something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The file, links followed.
    pub path: PathBuf,
    /// From 1.
    pub number: usize,
    /// What it is set to.
    pub value: u64,
}

/// Lines that are read after the file `ours` and set `name` to less than `wanted`. `root` is the
/// folder that all of it lies in: `/`.
pub fn lower_later(root: &Path, ours: &Path, name: &str, wanted: u64) -> io::Result<Vec<Line>> {
    let mut by_name: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for folder in FOLDERS {
        let entries = match fs::read_dir(root.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if entry.path().extension().is_some_and(|end| end == "conf") {
                by_name.entry(entry.file_name()).or_insert(entry.path());
            }
        }
    }
    let own = ours.file_name().unwrap_or_default();
    let later = by_name
        .into_iter()
        .filter(|(name, _)| name.as_os_str() > own)
        .map(|(_, path)| path)
        .chain([root.join(LAST)]);
    let mut files: Vec<PathBuf> = Vec::new();
    for path in later {
        // A dangling link, or one to /dev/null (which masks), sets nothing.
        if let Ok(path) = fs::canonicalize(path)
            && path.is_file()
            && !files.contains(&path)
        {
            files.push(path);
        }
    }
    let mut lines = Vec::new();
    for path in files {
        let text = fs::read(&path)?;
        for (index, line) in String::from_utf8_lossy(&text).lines().enumerate() {
            if let Some(value) = value(line, name).filter(|value| *value < wanted) {
                lines.push(Line {
                    path: path.clone(),
                    number: index + 1,
                    value,
                });
            }
        }
    }
    Ok(lines)
}

/// What a line sets `name` to. A leading dash (ignore errors) and slashes for dots are allowed.
fn value(line: &str, name: &str) -> Option<u64> {
    let line = line.trim();
    let (key, value) = line.strip_prefix('-').unwrap_or(line).split_once('=')?;
    let same = key.trim().replace('/', ".") == name;
    same.then(|| value.trim().parse().ok()).flatten()
}

/// Raises these lines of one file to `wanted`, and keeps a copy of it beside it, whose name says
/// when. Answers where the copy is.
pub fn raise(path: &Path, lines: &[Line], wanted: u64, stamp: &str) -> io::Result<PathBuf> {
    let before = fs::read(path)?;
    let mode = fs::metadata(path)?.mode() & 0o7777;
    let mut copy = path.as_os_str().to_owned();
    // Not `.conf`, which would be read.
    copy.push(format!(".before-ooy-{stamp}"));
    let copy = PathBuf::from(copy);
    match files::write_new(&copy, &before, mode) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        other => other?,
    }
    let mut after = Vec::with_capacity(before.len());
    for (index, line) in before.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let raised = lines
            .iter()
            .any(|wanted| wanted.path == path && wanted.number == index + 1);
        match line.iter().position(|byte| *byte == b'=') {
            Some(at) if raised => {
                after.extend_from_slice(&line[..=at]);
                after.extend_from_slice(format!(" {wanted}\n").as_bytes());
            }
            _ => after.extend_from_slice(line),
        }
    }
    files::write_atomic(path, &after, mode)?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "vm.max_map_count";

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn found(root: &Path) -> Vec<(String, usize, u64)> {
        let lines = lower_later(root, Path::new(OURS), NAME, 262_144).unwrap();
        lines
            .into_iter()
            .map(|line| {
                let path = line.path.strip_prefix(root).unwrap().display().to_string();
                (path, line.number, line.value)
            })
            .collect()
    }

    #[test]
    fn what_would_undo_ours_at_boot_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = &folder.path().canonicalize().unwrap();
        assert!(found(root).is_empty());
        // Before ours, or high enough, or masked, or of another name: no matter.
        write(
            root,
            "etc/sysctl.d/10-early.conf",
            "vm.max_map_count=65530\n",
        );
        write(
            root,
            "etc/sysctl.d/95-high.conf",
            "vm.max_map_count = 524288\n",
        );
        write(root, "etc/sysctl.d/96-masked.conf", "\n");
        write(
            root,
            "usr/lib/sysctl.d/96-masked.conf",
            "vm.max_map_count = 1\n",
        );
        write(root, "etc/sysctl.d/97-note.txt", "vm.max_map_count = 1\n");
        write(
            root,
            "etc/sysctl.d/98-other.conf",
            "# vm.max_map_count = 1\nvm.swappiness = 1\n",
        );
        assert!(found(root).is_empty(), "{:?}", found(root));
        write(
            root,
            "etc/sysctl.conf",
            "a = b\n-vm/max_map_count = 65530\n",
        );
        std::os::unix::fs::symlink("../sysctl.conf", root.join("etc/sysctl.d/99-sysctl.conf"))
            .unwrap();
        write(
            root,
            "usr/lib/sysctl.d/99-zz.conf",
            "vm.max_map_count=100000\n",
        );
        assert_eq!(
            found(root),
            [
                ("etc/sysctl.conf".to_owned(), 2, 65530),
                ("usr/lib/sysctl.d/99-zz.conf".to_owned(), 1, 100_000),
            ]
        );
    }

    #[test]
    fn lines_are_raised_and_a_copy_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let root = &folder.path().canonicalize().unwrap();
        let text = "kernel.panic = 10\nvm.max_map_count = 65530\n# end\nvm.max_map_count=1";
        write(root, "etc/sysctl.conf", text);
        let path = root.join("etc/sysctl.conf");
        let lines = lower_later(root, Path::new(OURS), NAME, 262_144).unwrap();
        let copy = raise(&path, &lines, 262_144, "20261126").unwrap();
        assert_eq!(fs::read_to_string(copy).unwrap(), text);
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "kernel.panic = 10\nvm.max_map_count = 262144\n# end\nvm.max_map_count= 262144\n"
        );
        assert!(found(root).is_empty());
    }
}
