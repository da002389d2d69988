//! What real shells offer for half a line, once they have read what `ooy completions` prints.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{Ran, executable};

/// Half a line, and what is offered for it.
const LINES: &[(&str, &[&str])] = &[
    ("ooy sta", &["start", "status"]),
    ("ooy boot e", &["enable"]),
    ("ooy --json backup cr", &["create"]),
    ("ooy backup create --pro", &["--prove"]),
    ("ooy status --color al", &["always"]),
    // Names that only ooy knows.
    (
        "ooy start rapid",
        &["rapidpro", "rapidpro-beat", "rapidpro-celery"],
    ),
    ("ooy logs -f mailroom cour", &["courier"]),
    ("ooy fix disk", &["disk-space"]),
    ("ooy diagnose casepro-lock-", &["casepro-lock-stale"]),
    ("ooy upgrade c", &["casepro", "contentrepo"]),
    ("ooy config co", &["compose"]),
    ("ooy completions z", &["zsh"]),
    ("ooy man backup-c", &["backup-create"]),
    ("ooy init --set-from-env NGINX_I", &["NGINX_IMAGE"]),
    // Hidden ones.
    ("ooy probe", &[]),
    ("ooy start --at", &[]),
    ("ooy calls deliver --det", &[]),
    // Data, all of it.
    ("ooy agi -", &[]),
    ("ooy agi 254712345678 --h", &[]),
    ("ooy agi sta", &[]),
];

fn ooy(arguments: &[&str]) -> Ran {
    let output = Command::new(executable())
        .env_clear()
        .args(arguments)
        .output()
        .unwrap();
    Ran::of(&output)
}

/// A folder with the shell's script in a file, the half lines in `lines`, and nothing else.
fn prepared(shell: &str, script: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(script);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let printed = ooy(&["completions", shell]).expect(0);
    assert_eq!(printed.stderr, "");
    std::fs::write(path, printed.stdout).unwrap();
    let lines: Vec<&str> = LINES.iter().map(|it| it.0).collect();
    std::fs::write(folder.path().join("lines"), lines.join("\n") + "\n").unwrap();
    folder
}

/// Runs a shell in the folder; what it has written into the file `answers`: each half line behind
/// "> ", and below it what was offered.
#[track_caller]
fn asked(folder: &Path, program: &str, arguments: &[&str]) -> Vec<(String, BTreeSet<String>)> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", folder)
        .env("ZDOTDIR", folder)
        .env("TERM", "dumb")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}: scripts/test installs it"));
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let answers = std::fs::read_to_string(folder.join("answers"))
        .unwrap_or_else(|error| panic!("{program}: {error}\n{said}"));
    let mut all: Vec<(String, BTreeSet<String>)> = Vec::new();
    for line in answers.lines() {
        match line.strip_prefix("> ") {
            Some(half) => all.push((half.to_owned(), BTreeSet::new())),
            None if line.is_empty() => {}
            None => {
                all.last_mut().unwrap().1.insert(line.to_owned());
            }
        }
    }
    all
}

#[track_caller]
fn expect(answers: &[(String, BTreeSet<String>)]) {
    let wanted: Vec<(String, BTreeSet<String>)> = LINES
        .iter()
        .map(|(half, offered)| {
            let offered = offered.iter().map(|&it| it.to_owned()).collect();
            ((*half).to_owned(), offered)
        })
        .collect();
    assert_eq!(answers, wanted);
}

#[test]
fn bash_completes() {
    let folder = prepared("bash", "ooy");
    // As readline calls it: the command, the word, and the one before it.
    let ask = r#"
        set -u
        source ./ooy
        complete -p ooy >/dev/null || exit 1
        while IFS= read -r line; do
            read -ra COMP_WORDS <<<"$line"
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            COMP_LINE=$line COMP_POINT=${#line}
            _ooy ooy "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
            printf '> %s\n' "$line"
            printf '%s\n' "${COMPREPLY[@]}"
        done <lines >answers
    "#;
    expect(&asked(folder.path(), "bash", &["--norc", "-c", ask]));
}

#[test]
fn zsh_completes() {
    // Where compinit looks for it, and loads it from when `ooy` is first completed.
    let folder = prepared("zsh", "functions/_ooy");
    // What is offered goes through compadd; calls that only fill arrays offer nothing.
    let rc = r#"
        fpath=($ZDOTDIR/functions $fpath)
        autoload -Uz compinit
        compinit -u -D
        zle -C ask list-choices _main_complete
        compadd() {
            local word; local -a __offered
            for word in "$@"; do
                [[ $word == (-|--) ]] && break
                if [[ $word == -*[OAD] ]]; then builtin compadd "$@"; return; fi
            done
            builtin compadd -O __offered "$@"
            print -rl -- $__offered >>$ZDOTDIR/answers
            builtin compadd "$@"
        }
        zle-line-init() {
            local line
            for line in "${(@f)$(<$ZDOTDIR/lines)}"; do
                BUFFER=$line CURSOR=$#line
                print -r -- "> $line" >>$ZDOTDIR/answers
                zle ask
            done
            exit
        }
        zle -N zle-line-init
    "#;
    std::fs::write(folder.path().join(".zshrc"), rc).unwrap();
    // It completes on a terminal only.
    let on_a_terminal = "zmodload zsh/zpty; zpty z zsh -i; while zpty -r z; do :; done";
    expect(&asked(folder.path(), "zsh", &["-f", "-c", on_a_terminal]));
}

#[test]
fn fish_completes() {
    let folder = prepared("fish", "ooy.fish");
    let ask = r#"
        source ./ooy.fish
        cat lines | while read -l line
            echo "> $line"
            complete -C $line | string replace -r '\t.*' ''
        end >answers
    "#;
    expect(&asked(folder.path(), "fish", &["--no-config", "-c", ask]));
}

#[test]
fn a_shell_that_is_not_known_is_wrong_usage() {
    let ran = ooy(&["completions", "tcsh"]).expect(2);
    assert!(ran.stderr.contains("bash, zsh, fish"), "{}", ran.stderr);
}

#[test]
fn the_script_needs_no_settings_and_survives_a_reader_that_goes_away() {
    let mut child = Command::new(executable())
        .env_clear()
        .args(["--home", "/nonexistent/ooy", "completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}
