//! Whether a finished call can be kept.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::agi::spool::Folder;
use crate::diagnosis::check::{Checked, Halt, Report, blocking};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::process;

/// Whom Asterisk mostly runs as.
const ASTERISK: &str = "asterisk";

/// Who writes into the spool.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Writer {
    user: u32,
    group: u32,
    name: String,
}

/// What was seen of a folder that cannot be written to.
#[derive(Debug)]
struct Unwritable {
    folder: PathBuf,
    writer: Writer,
    error: io::Error,
    /// Owner's number and permission bits, where they can be seen.
    about: Option<(u32, u32)>,
}

/// The check `calls-spool`.
pub async fn calls_spool(scene: Rc<Scene>) -> Checked {
    let root = super::used(&scene).await?.root().to_owned();
    let place = root.clone();
    let limit = scene.time_left();
    let tried = tokio::time::timeout(limit, blocking(move || try_all(&place)))
        .await
        .map_err(|_| Halt::unknown(format!("{}: its disk does not answer", root.display())))??;
    match tried {
        Ok(None) => Ok(Report::fine()),
        Ok(Some(unwritable)) => Ok(found(&root, &unwritable).into()),
        Err(why) => Err(Halt::unknown(why)),
    }
}

/// Tries the spool and all its folders, as the user who writes there. The error says why that cannot
/// be found out.
fn try_all(root: &Path) -> Result<Option<Unwritable>, String> {
    let writer = writer(root);
    let own = rustix::process::geteuid().as_raw();
    if !process::is_root() && writer.user != own {
        return Err(format!(
            "{}: only root can try as {}, and you are {}",
            root.display(),
            writer.name,
            process::user_name()
        ));
    }
    let failed = |folder: &Path, error: io::Error| {
        Some(Unwritable {
            about: std::fs::symlink_metadata(folder)
                .ok()
                .map(|about| (about.uid(), about.mode() & 0o7777)),
            folder: folder.to_owned(),
            writer: writer.clone(),
            error,
        })
    };
    // The first call makes it, in the nearest folder that is there.
    if std::fs::symlink_metadata(root).is_err() {
        let parent = root.ancestors().skip(1).find(|parent| parent.exists());
        let parent = parent.unwrap_or(Path::new("/"));
        return Ok(attempt(parent, &writer)
            .err()
            .and_then(|error| failed(parent, error)));
    }
    if let Err(error) = attempt(root, &writer) {
        return Ok(failed(root, error));
    }
    let folders = [
        Folder::Tmp,
        Folder::New,
        Folder::Batch,
        Folder::Skipped,
        Folder::Sending,
        Folder::Sent,
        Folder::Dead,
        Folder::Damaged,
    ];
    for folder in folders {
        let folder = root.join(folder.name());
        match attempt(&folder, &writer) {
            // Made when it is needed.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Ok(failed(&folder, error)),
            Ok(()) => {}
        }
    }
    Ok(None)
}

/// Asterisk's user, or on hosts without one the spool's owner.
fn writer(root: &Path) -> Writer {
    if let Some((user, group)) = process::user_ids(ASTERISK) {
        return Writer {
            user,
            group,
            name: ASTERISK.to_owned(),
        };
    }
    let (user, group) = std::fs::metadata(root).map_or_else(
        |_| {
            (
                rustix::process::geteuid().as_raw(),
                rustix::process::getegid().as_raw(),
            )
        },
        |about| (about.uid(), about.gid()),
    );
    Writer {
        user,
        group,
        name: name_of(user),
    }
}

fn name_of(user: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == user.to_string()).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| format!("user {user}"))
}

/// Writes as much as a call takes into a file without a name, which is gone when this returns: what
/// permission bits, lists and mount options say together, only the kernel knows.
fn attempt(folder: &Path, writer: &Writer) -> io::Result<()> {
    let _as_writer = process::is_root().then(|| process::files_as(writer.user, writer.group));
    let opened = OpenOptions::new()
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_TMPFILE)
        .open(folder);
    match opened {
        Ok(mut file) => file.write_all(&[b' '; 4096]),
        // File systems without such files.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EOPNOTSUPP | libc::EISDIR | libc::EINVAL)
            ) =>
        {
            use rustix::fs::{Access, AtFlags, CWD, accessat};
            let access = Access::WRITE_OK | Access::EXEC_OK;
            Ok(accessat(CWD, folder, access, AtFlags::EACCESS)?)
        }
        Err(error) => Err(error),
    }
}

fn found(root: &Path, unwritable: &Unwritable) -> Finding {
    let folder = unwritable.folder.display();
    let shown = crate::host::reach::hint::word(&root.display().to_string());
    let writer = &unwritable.writer.name;
    let error = crate::host::text::shorten(&unwritable.error.to_string(), 100);
    let mut value = format!("as {writer}: {error}");
    if let Some((owner, mode)) = unwritable.about {
        value += &format!("; owner {}, mode {mode:04o}", name_of(owner));
    }
    let finding = Finding::error(
        Code::SpoolUnwritable,
        "Finished calls cannot be kept: their folder cannot be written to",
    )
    .evidence(
        Evidence::new("a file written there", value, folder.to_string())
            .command(format!("sudo ls -la {shown}; df -h {shown}; df -i {shown}")),
    )
    .impact("a call that ends now is told to RapidPro at once or not at all");
    let finding = match unwritable.error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => finding
            .manual(format!("findmnt -T {shown}"))
            .manual("sudo dmesg --level err,warn | tail -20"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            finding.manual(format!("sudo du -xhd1 {shown} | sort -h"))
        }
        io::ErrorKind::NotADirectory => finding
            .manual(format!("sudo mv {shown} {shown}.old"))
            .manual(format!("sudo install -d -m 700 -o {writer} {shown}")),
        _ => finding
            .manual(format!("sudo install -d {shown}"))
            .manual(format!("sudo chown -R {} {shown}", unwritable.writer.user))
            .manual(format!("sudo chmod -R u+rwX {shown}")),
    };
    finding.interrupts("nothing")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn tried(root: &Path) -> Option<Unwritable> {
        try_all(root).unwrap()
    }

    #[test]
    fn a_spool_that_can_be_written_to_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("spool");
        assert!(tried(&root).is_none());
        assert!(!root.exists());
        std::fs::create_dir_all(root.join("new")).unwrap();
        assert!(tried(&root).is_none());
        let left: Vec<_> = std::fs::read_dir(root.join("new")).unwrap().collect();
        assert!(left.is_empty());
    }

    #[test]
    fn a_file_in_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("spool");
        std::fs::write(&root, "").unwrap();
        let unwritable = tried(&root).unwrap();
        assert_eq!(unwritable.error.kind(), io::ErrorKind::NotADirectory);
        let finding = found(&root, &unwritable);
        assert!(finding.fix.manual[0].contains("mv "), "{finding:?}");
    }

    #[test]
    fn folders_of_other_users_are_found_as_their_owner_sees_them() {
        if !process::is_root() || process::user_ids(ASTERISK).is_some() {
            return;
        }
        // Elsewhere than below a folder of root's alone.
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let root = folder.path().join("spool");
        std::fs::create_dir_all(root.join("sent")).unwrap();
        std::os::unix::fs::chown(&root, Some(65534), Some(65534)).unwrap();
        let unwritable = tried(&root).unwrap();
        assert_eq!(unwritable.folder, root.join("sent"));
        assert_eq!(unwritable.writer.user, 65534);
        assert_eq!(unwritable.error.kind(), io::ErrorKind::PermissionDenied);
        std::os::unix::fs::chown(root.join("sent"), Some(65534), None).unwrap();
        assert!(tried(&root).is_none());
        std::fs::set_permissions(&root, PermissionsExt::from_mode(0o500)).unwrap();
        assert_eq!(tried(&root).unwrap().about, Some((65534, 0o500)));
    }
}
