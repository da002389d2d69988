//! A program run inside a running container, to its end.

use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use futures_util::StreamExt as _;

use super::{Engine, Error};

/// What a program in a container has said and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its exit code.
    pub code: i64,
    /// Standard output and standard error, as they came.
    pub text: String,
}

impl Engine {
    /// Runs a program in a container and waits for its end; the caller sets the limit. On a program
    /// that is not in the image the Engine answers with exit code 126 or 127.
    pub async fn exec(&self, id: &str, command: &[&str]) -> Result<Executed, Error> {
        self.exec_with(id, command, &[]).await
    }

    /// The same with more environment, `NAME=value`.
    pub async fn exec_with(
        &self,
        id: &str,
        command: &[&str],
        environment: &[String],
    ) -> Result<Executed, Error> {
        let config = ExecConfig {
            env: Some(environment.to_vec()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.iter().map(|word| (*word).to_owned()).collect()),
            ..Default::default()
        };
        let exec = self.docker.create_exec(id, config).await?.id;
        let mut text = Vec::new();
        if let StartExecResults::Attached { mut output, .. } =
            self.docker.start_exec(&exec, None).await?
        {
            while let Some(item) = output.next().await {
                let (LogOutput::StdErr { message }
                | LogOutput::StdOut { message }
                | LogOutput::StdIn { message }
                | LogOutput::Console { message }) = item?;
                text.extend_from_slice(&message);
            }
        }
        let end = self.docker.inspect_exec(&exec).await?;
        Ok(Executed {
            code: end.exit_code.unwrap_or(-1),
            text: String::from_utf8_lossy(&text).into_owned(),
        })
    }
}
