//! Writes files so that a crash or a full disk leaves the old one or the new one, never half.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

/// Replaces or makes a file: written beside its place, flushed, renamed, the folder flushed.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}", std::process::id()));
    let written = (|| {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// The same, unless the file holds that content already. Answers whether it was written.
pub fn write_if_changed(path: &Path, content: &[u8], mode: u32) -> io::Result<bool> {
    if std::fs::read(path).is_ok_and(|present| present == content) {
        return Ok(false);
    }
    write_atomic(path, content, mode)?;
    Ok(true)
}

/// Makes a new file and fails if there is one already.
pub fn write_new(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written
}

/// Replaces a file of the host's: its owner, group and mode stay, and what it was is kept beside it
/// under its name and `mark`. Answers where. Links are followed to the file itself.
pub fn replace_with_copy(path: &Path, content: &[u8], mark: &str) -> io::Result<PathBuf> {
    let path = std::fs::canonicalize(path)?;
    let like = std::fs::metadata(&path)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let copy = keep_copy(&path, mark)?;
    let temporary = path.with_file_name(format!(".{name}.ooy-new"));
    // One that a killed run has left.
    let _ = std::fs::remove_file(&temporary);
    let written = write_new_like(&temporary, content, &like)
        .and_then(|()| std::fs::rename(&temporary, &path))
        .and_then(|()| File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all());
    if let Err(error) = written {
        let _ = std::fs::remove_file(&temporary);
        let _ = std::fs::remove_file(&copy);
        return Err(error);
    }
    Ok(copy)
}

/// Keeps a copy of a file that a program is about to rewrite, as `replace_with_copy` does.
pub fn keep_copy(path: &Path, mark: &str) -> io::Result<PathBuf> {
    let path = std::fs::canonicalize(path)?;
    let (before, like) = (std::fs::read(&path)?, std::fs::metadata(&path)?);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // One of the same second is kept: a run that was killed has left it.
    for number in 1..100 {
        let mark = match number {
            1 => mark.to_owned(),
            _ => format!("{mark}-{number}"),
        };
        let copy = path.with_file_name(format!("{name}.{mark}"));
        match write_new_like(&copy, &before, &like) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|()| copy),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Makes a file like another one. Never follows a link: the folder may be another user's.
fn write_new_like(path: &Path, content: &[u8], like: &Metadata) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let written = file
        .write_all(content)
        // The mode last: a change of the owner may take bits away.
        .and_then(|()| fchown(&file, Some(like.uid()), Some(like.gid())))
        .and_then(|()| file.set_permissions(like.permissions()))
        .and_then(|()| file.sync_all());
    if written.is_err() {
        let _ = std::fs::remove_file(path);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn what_is_replaced_is_kept_and_mode_and_links_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.conf");
        std::fs::write(&path, "1").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let link = folder.path().join("link.conf");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        // One that a killed run has left.
        std::fs::write(folder.path().join(".a.conf.ooy-new"), "half").unwrap();
        let copy = replace_with_copy(&link, b"2", "ooy-1").unwrap();
        assert_eq!(
            copy,
            folder.path().canonicalize().unwrap().join("a.conf.ooy-1")
        );
        for (file, content) in [(&path, "2"), (&copy, "1")] {
            assert_eq!(std::fs::read_to_string(file).unwrap(), content);
            let mode = std::fs::metadata(file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o640);
        }
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        // The copy of another run, of the same second, is not written over.
        let other = replace_with_copy(&path, b"3", "ooy-1").unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!([&path, &copy, &other].map(|it| read(it)), ["3", "1", "2"]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn an_unchanged_file_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert!(write_if_changed(&path, b"1", 0o600).unwrap());
        assert!(!write_if_changed(&path, b"1", 0o600).unwrap());
        assert!(write_if_changed(&path, b"2", 0o600).unwrap());
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_existing_file_is_never_overwritten_by_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_new(&path, b"1", 0o600).unwrap();
        assert_eq!(
            write_new(&path, b"2", 0o600).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(std::fs::read(&path).unwrap(), b"1");
    }
}
