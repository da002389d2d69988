//! The units of systemd that run this executable all the time: after it was replaced they run what it
//! was before, until they are started again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::systemd::Systemd;

/// Largest file that is looked at.
const LARGEST: u64 = 64 * 1024;

/// How long a unit may take to be there again after it was started.
const COMES_BACK: Duration = Duration::from_secs(20);

/// What of `ooy` runs all the time; all else runs once, and is not to be run again by us.
const DAEMONS: [&[&str]; 2] = [&["watch"], &["calls", "serve"]];

/// The units that run now and are of this executable, whoever has made them.
pub async fn running(systemd: &Systemd, executable: &Path) -> Vec<String> {
    let mut units = Vec::new();
    if !systemd.is_live() {
        return units;
    }
    for name in of(&systemd.folder(), executable) {
        if systemd
            .is_active(&name)
            .await
            .is_ok_and(|state| state == "active")
        {
            units.push(name);
        }
    }
    units
}

/// Starts a unit again and waits until its process is what `is_new` is looking for; else why not.
pub async fn restart(
    systemd: &Systemd,
    unit: &str,
    is_new: impl Fn(u32) -> bool,
) -> Result<(), String> {
    systemd.tell(&["restart", unit]).await?;
    let comes_back = async {
        loop {
            let pid = systemd.main_process(unit).await;
            if pid.is_some_and(&is_new) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    if tokio::time::timeout(COMES_BACK, comes_back).await.is_ok() {
        return Ok(());
    }
    let state = systemd.is_active(unit).await.unwrap_or_default();
    Err(format!(
        "it does not run the new one {} s later; systemd says: {state}",
        COMES_BACK.as_secs()
    ))
}

/// The units in a folder that run this executable as a daemon, sorted.
fn of(folder: &Path, executable: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut units: Vec<String> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let about = std::fs::metadata(entry.path()).ok()?;
            let fits = name.ends_with(".service") && about.is_file() && about.len() <= LARGEST;
            let text = std::fs::read_to_string(fits.then(|| entry.path())?).ok()?;
            runs(&text, executable).then_some(name)
        })
        .collect();
    units.sort();
    units
}

fn runs(unit: &str, executable: &Path) -> bool {
    unit.lines()
        .filter_map(|line| line.trim_start().strip_prefix("ExecStart="))
        .any(|command| {
            let words = words(command);
            let Some((program, arguments)) = words.split_first() else {
                return false;
            };
            // By whatever link it is called.
            let program = PathBuf::from(program.trim_start_matches(['-', '@', ':', '+', '!']));
            let is_it = std::fs::canonicalize(program).is_ok_and(|path| path == executable);
            let is_daemon = |daemon: &&[&str]| {
                arguments
                    .windows(daemon.len())
                    .any(|words| *words == **daemon)
            };
            is_it && DAEMONS.iter().any(is_daemon)
        })
}

/// The words of a command line of a unit, as `host::systemd::quoted` writes them.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = line.trim().chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            _ if Some(letter) == quote => quote = None,
            '"' | '\'' if quote.is_none() => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            '\\' => word.get_or_insert_default().extend(letters.next()),
            '%' | '$' if letters.next_if_eq(&letter).is_some() => {
                word.get_or_insert_default().push(letter);
            }
            letter if letter.is_whitespace() && quote.is_none() => words.extend(word.take()),
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::systemd::quoted;

    #[test]
    fn what_was_quoted_is_read_as_it_was() {
        for word in [
            "/srv/ooy",
            "/srv/my home",
            "/a\"b\\c",
            "/100%/$HOME",
            "/it's",
        ] {
            let line = format!(" {} --yes  watch ", quoted(word).unwrap());
            assert_eq!(words(&line), [word, "--yes", "watch"]);
        }
        assert_eq!(words("a '' \"b c\""), ["a", "", "b c"]);
        assert_eq!(words(""), [""; 0]);
    }

    #[test]
    fn only_daemons_of_this_very_executable_are_meant() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        let (ooy, other) = (folder.join("ooy"), folder.join("other/ooy"));
        std::fs::create_dir(folder.join("other")).unwrap();
        std::fs::write(&ooy, "").unwrap();
        std::fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink(&ooy, folder.join("link")).unwrap();
        let unit = |name: &str, program: &Path, arguments: &str| {
            let text = format!("[Service]\nExecStart={} {arguments}\n", program.display());
            std::fs::write(folder.join(name), text).unwrap();
        };
        unit("ooy-watch.service", &ooy, "--home \"/srv/a b\" watch");
        unit("ooy-calls.service", &folder.join("link"), "calls serve");
        unit("ooy.service", &ooy, "start --at-boot");
        unit("ooy-backup.service", &ooy, "--yes backup create --prove");
        unit("other.service", &other, "watch");
        unit("ooy-watch.service.old", &ooy, "watch");
        unit("gone.service", &folder.join("gone"), "watch");
        assert_eq!(
            of(&folder, &ooy),
            ["ooy-calls.service", "ooy-watch.service"]
        );
    }
}
