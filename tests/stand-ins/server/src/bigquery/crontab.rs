//! `crontab FILE`, `crontab -`, `crontab -l` and `crontab -r` for root, as in Debian.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::table;
use crate::process;

pub const SPOOL: &str = "/var/spool/cron/crontabs";

pub fn run(arguments: &[String]) -> ! {
    std::process::exit(match act(arguments) {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("{message}");
            1
        }
    })
}

fn act(arguments: &[String]) -> Result<(), String> {
    let mut words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["-u", user, ..] = words[..] {
        if user != "root" {
            return Err(format!("crontab:  user `{user}' unknown"));
        }
        words.drain(..2);
    }
    let file = Path::new(SPOOL).join("root");
    match words[..] {
        ["-l"] => {
            let text = std::fs::read_to_string(&file).map_err(|_| "no crontab for root")?;
            print!("{text}");
            Ok(())
        }
        ["-r"] => std::fs::remove_file(&file).map_err(|_| "no crontab for root".into()),
        [] | ["-"] => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map_err(|e| e.to_string())?;
            install(&file, "-", &text)
        }
        [path] if !path.starts_with('-') => {
            let text = std::fs::read_to_string(path)
                .map_err(|_| format!("{path}: No such file or directory"))?;
            install(&file, path, &text)
        }
        _ => Err("crontab: usage error: unrecognized option\n\
                  usage:\tcrontab [-u user] file\n\tcrontab [ -u user ] [ -i ] { -e | -l | -r }"
            .into()),
    }
}

fn install(file: &Path, name: &str, text: &str) -> Result<(), String> {
    check(name, text)?;
    if process::user_id() != 0 {
        return Err(format!(
            "{}/: mkstemp: Permission denied",
            file.parent().unwrap_or(file).display()
        ));
    }
    let fresh = file.with_extension("new");
    let problem = |e: std::io::Error| format!("{}: {e}", file.display());
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).map_err(problem)?;
    }
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh);
    opened
        .and_then(|mut open| std::io::Write::write_all(&mut open, text.as_bytes()))
        .and_then(|()| std::fs::rename(&fresh, file))
        .map_err(problem)
}

fn check(name: &str, text: &str) -> Result<(), String> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err("new crontab file is missing newline before EOF, can't install.".into());
    }
    table::parse(text).map(|_| ()).map_err(|(line, problem)| {
        format!("\"{name}\":{}: {problem}\nerrors in crontab file, can't install.", line - 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_checked_before_it_is_installed() {
        assert!(check("-", "0 * * * * true\n").is_ok());
        assert!(check("-", "").is_ok());
        assert!(check("-", "0 * * * * true").unwrap_err().contains("missing newline"));
        // Debian counts the lines from zero.
        assert_eq!(
            check("-", "A=1\n99 * * * * true\n").unwrap_err(),
            "\"-\":1: bad minute\nerrors in crontab file, can't install."
        );
        assert!(act(&["-u".into(), "nobody".into(), "-l".into()]).is_err());
        assert!(act(&["-x".into()]).unwrap_err().contains("usage"));
    }
}
