//! FastAGI: Asterisk connects instead of starting a process, for every call that ends. Many may
//! end at the same time; all that do are flushed to disk together.

mod listener;
mod writer;

use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use listener::Listener;

use self::writer::Writer;
use super::arguments;
use super::handler::{STATUS_VARIABLE, Status};
use super::protocol::{Environment, EnvironmentReader, set_variable};
use super::record::{Moment, Record};
use super::settings::CallSettings;
use super::spool::Spool;

/// Asterisk sends all it has at once.
const ENVIRONMENT_LIMIT: Duration = Duration::from_secs(2);
/// How long is waited for the answer that Asterisk gives before it hangs up.
const ANSWER_LIMIT: Duration = Duration::from_millis(500);
/// Calls that end at the same moment; more of them wait for their turn.
const CONNECTIONS: usize = 2048;
/// When no descriptor is left: the pause until some are.
const EXHAUSTED: Duration = Duration::from_millis(20);

/// Answers until `shutdown`, then ends what was begun. `tell` hears in a line when calls can no
/// longer be kept, and when they can again.
pub async fn serve(
    listener: Listener,
    spool: Spool,
    settings: &CallSettings,
    shutdown: impl Future<Output = ()>,
    tell: impl FnMut(String) + Send + 'static,
) -> std::io::Result<()> {
    let writer = Rc::new(Writer::start(spool, tell)?);
    let country_code: Rc<str> = settings.country_code.as_str().into();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let local = tokio::task::LocalSet::new();
    let work = async {
        let mut connections = JoinSet::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            // Never closed.
            let Ok(place) = places.clone().acquire_owned().await else {
                break;
            };
            // Those that have ended need no room.
            while connections.try_join_next().is_some() {}
            let accepted = tokio::select! {
                biased;
                () = &mut shutdown => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok(stream) => {
                    let writer = writer.clone();
                    let country_code = country_code.clone();
                    connections.spawn_local(async move {
                        converse(stream, &writer, &country_code).await;
                        drop(place);
                    });
                }
                // The other side has gone already, or there are no descriptors left.
                Err(_) => tokio::time::sleep(EXHAUSTED).await,
            }
        }
        drop(listener);
        // Each has a limit of its own, so this ends soon.
        while connections.join_next().await.is_some() {}
    };
    local.run_until(work).await;
    Ok(())
}

/// One call: its environment is read, kept, and the channel told so.
async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    writer: &Writer,
    country_code: &str,
) {
    let environment = match timeout(ENVIRONMENT_LIMIT, read_environment(&mut stream)).await {
        Ok(Some(environment)) => environment,
        // Mute, garbage, or gone before it had said all.
        _ => return,
    };
    let status = match environment.arguments.is_empty() {
        true => Status::Failed,
        false => keep(environment, writer, country_code).await,
    };
    let command = set_variable(STATUS_VARIABLE, status.text());
    let _ = timeout(ANSWER_LIMIT, async {
        stream.write_all(command.as_bytes()).await?;
        // No more commands come, so Asterisk goes on with the dialplan; its answer to this one
        // still has to find somebody, else it takes the script for failed.
        stream.shutdown().await?;
        let mut answer = [0; 256];
        while stream.read(&mut answer).await? > 0 {}
        std::io::Result::Ok(())
    })
    .await;
}

async fn keep(environment: Environment, writer: &Writer, country_code: &str) -> Status {
    let mut call = arguments::read(&environment.arguments);
    call.uniqueid = environment.uniqueid;
    call.linkedid = environment.linkedid;
    call.channel = environment.channel;
    let record = Record::new(call, country_code, Moment::now());
    let skipped = record.is_skipped();
    match (writer.keep(record).await, skipped) {
        (false, _) => Status::Failed,
        (true, true) => Status::Skipped,
        (true, false) => Status::Queued,
    }
}

/// All of it, or nothing: half an environment is a call that is handed in anew.
async fn read_environment(stream: &mut (impl AsyncRead + Unpin)) -> Option<Environment> {
    let mut reader = EnvironmentReader::default();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => {
                if reader.push(&buffer[..count]) {
                    break;
                }
            }
        }
    }
    if reader.is_too_long() {
        return None;
    }
    Some(reader.finish()).filter(|environment| environment.is_agi)
}

#[cfg(test)]
mod tests;
