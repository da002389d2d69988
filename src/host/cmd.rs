//! Runs programs of the host: no shell, a clean environment, a deadline, nothing echoed.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use xshell::{Shell, cmd};

use super::process;

/// What a program said and how it ended.
#[derive(Debug, Clone)]
pub struct Output {
    /// It ended with exit code 0.
    pub success: bool,
    /// Its exit code, if no signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    /// What it complained of: standard error, or standard output where that is empty.
    pub fn error_text(&self) -> String {
        let text = if self.stderr.trim().is_empty() {
            &self.stdout
        } else {
            &self.stderr
        };
        text.trim().to_owned()
    }

    /// The last line of its complaint, or how it ended.
    pub fn last_error_line(&self) -> String {
        let text = self.error_text();
        match text.lines().last() {
            Some(line) => line.to_owned(),
            None => match self.code {
                Some(code) => format!("exit code {code}"),
                None => "ended by a signal".to_owned(),
            },
        }
    }
}

/// What a program inherits from us. Everything else could change what it does: COMPOSE_FILE,
/// DOCKER_CONTEXT, LC_MESSAGES, …
const INHERITED: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "TMPDIR",
    "DOCKER_HOST",
    "DOCKER_CONFIG",
    "XDG_RUNTIME_DIR",
    "SSH_AUTH_SOCK",
];

/// Runs a program to its end. Values of `environment` reach it through its environment only,
/// never through its arguments, which every user of the host can read.
pub async fn run(
    program: &str,
    arguments: &[&str],
    environment: &[(String, String)],
    deadline: Duration,
) -> io::Result<Output> {
    let shell = Shell::new().map_err(io::Error::other)?;
    let mut prepared = cmd!(shell, "{program} {arguments...}").quiet().env_clear();
    for name in INHERITED {
        if let Ok(value) = std::env::var(name) {
            prepared = prepared.env(name, value);
        }
    }
    prepared = prepared.env("LC_ALL", "C");
    for (name, value) in environment {
        prepared = prepared.env(name, value);
    }
    let mut command = std::process::Command::from(prepared);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    // Killed with us: an orphan would go on changing the deployment while the next run begins.
    process::end_with_parent(&mut command);
    let mut child = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .spawn()?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
    let work = async {
        let read_out = async {
            if let Some(out) = out.as_mut() {
                out.read_to_end(&mut stdout).await?;
            }
            io::Result::Ok(())
        };
        let read_err = async {
            if let Some(err) = err.as_mut() {
                err.read_to_end(&mut stderr).await?;
            }
            io::Result::Ok(())
        };
        tokio::try_join!(read_out, read_err)?;
        child.wait().await
    };
    let status = tokio::time::timeout(deadline, work).await.map_err(|_| {
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!("{program} did not end within {} s", deadline.as_secs()),
        )
    })??;
    Ok(Output {
        success: status.success(),
        code: status.code(),
        stdout: String::from_utf8_lossy(&stdout).into_owned(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
    })
}
