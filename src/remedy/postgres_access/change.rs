//! Changes one server. Each step can be made again; a copy goes back where the server refuses what
//! was written.

use std::path::Path;
use std::time::Instant;

use jiff::Timestamp;

use super::survey::{Change, Hba, Listen, Todo, hba_errors};
use super::{RESTART, SQL, fault};
use crate::fault::Result;
use crate::host::files;
use crate::host::postgres::server::{self, Server};
use crate::operation::Kind;
use crate::remedy::Job;

/// What the copy of a file that is changed now is called behind the file's name.
pub fn mark() -> String {
    Timestamp::now().strftime("ooy-%Y%m%dT%H%M%SZ").to_string()
}

/// Makes it so.
pub async fn make(job: &Job, todo: Todo) -> Result<()> {
    match todo {
        Todo::Start(cluster) => {
            let name = format!("PostgreSQL {}", cluster.label());
            let began = begun(job, &format!("starting {name}"));
            if let Err(why) = cluster.ctl("start", RESTART).await {
                return Err(fault::does_not_start(job, &cluster, &why));
            }
            done(job, began, &format!("{name} started"));
            Ok(())
        }
        Todo::Change(change) => {
            if let Some(hba) = &change.hba {
                let began = begun(job, "pg_hba.conf");
                let copy = write_hba(job, &change, hba).await?;
                let count = crate::host::text::count(hba.edit.added.len(), "line");
                done(
                    job,
                    began,
                    &format!("{}: {count} added, copy {copy}", hba.file.display()),
                );
            }
            if change.reload {
                reload(job, &change.server).await?;
            }
            if let Some(listen) = &change.listen {
                restart(job, &change, listen).await?;
            }
            Ok(())
        }
    }
}

fn begun(job: &Job, detail: &str) -> Instant {
    let reporter = &job.context.reporter;
    reporter.tell("postgres", Kind::Started, None, detail);
    Instant::now()
}

fn done(job: &Job, began: Instant, detail: &str) {
    let took = Some(began.elapsed());
    job.context
        .reporter
        .tell("postgres", Kind::Done, took, detail);
}

/// Writes the file and has the server try to read it, without yet telling it to use it.
async fn write_hba(job: &Job, change: &Change, hba: &Hba) -> Result<String> {
    let file = &hba.file;
    let copy = files::replace_with_copy(file, hba.edit.text.as_bytes(), &mark())
        .map_err(|error| fault::unwritable(job, file, &error))?;
    if let Some(errors) = hba_errors(&change.server, change.can_check).await {
        put_back(job, file, &copy)?;
        return Err(fault::hba_refused(job, file, &errors));
    }
    Ok(name_of(&copy))
}

fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The copy becomes the file again.
fn put_back(job: &Job, file: &Path, copy: &Path) -> Result<()> {
    let file = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    std::fs::rename(copy, &file).map_err(|error| fault::not_put_back(job, &file, copy, &error))
}

async fn reload(job: &Job, server: &Server) -> Result<()> {
    let done = server.sql("postgres", "SELECT pg_reload_conf()", SQL).await;
    done.map_err(|why| fault::no_superuser(job, server, &why))?;
    Ok(())
}

async fn restart(job: &Job, change: &Change, listen: &Listen) -> Result<()> {
    let server = &change.server;
    let settings = server.data.join("postgresql.auto.conf");
    let mut copy = None;
    if let Listen::Set(value) = listen {
        let began = begun(job, "listen_addresses");
        let kept = files::keep_copy(&settings, &mark())
            .map_err(|error| fault::unwritable(job, &settings, &error))?;
        let statement = format!(
            "ALTER SYSTEM SET listen_addresses = {}",
            server::text(value)
        );
        if let Err(why) = server.sql("postgres", &statement, SQL).await {
            let _ = std::fs::remove_file(&kept);
            return Err(fault::no_superuser(job, server, &why));
        }
        done(
            job,
            began,
            &format!("listen_addresses = '{value}', copy {}", name_of(&kept)),
        );
        copy = Some(kept);
    }
    // A server that is told to end must be able to begin again.
    if let Some(errors) = file_errors(change).await {
        if let Some(copy) = &copy {
            put_back(job, &settings, copy)?;
        }
        return Err(fault::would_not_start(job, server, &errors));
    }
    let began = begun(job, &format!("restarting {}", server.label()));
    if let Err(why) = server.restart(RESTART).await {
        let mut up_again = false;
        if let Some(copy) = &copy {
            put_back(job, &settings, copy)?;
            up_again = server.restart(RESTART).await.is_ok();
        }
        return Err(fault::restart_failed(job, server, &why, up_again));
    }
    done(job, began, &format!("{} restarted", server.label()));
    Ok(())
}

/// What would keep the server from starting: errors in its files as they lie on the disk.
async fn file_errors(change: &Change) -> Option<Vec<String>> {
    let server = &change.server;
    if let Some(errors) = hba_errors(server, change.can_check).await {
        return Some(errors);
    }
    // What only a restart brings into force "could not be applied", which is in order.
    let query = "SET lc_messages = 'C'; \
         SELECT sourcefile, sourceline, name, error FROM pg_file_settings \
         WHERE error IS NOT NULL AND error <> 'setting could not be applied'";
    let errors: Vec<String> = match server.sql("postgres", query, SQL).await {
        Ok(rows) => rows.iter().map(|row| row.join(": ")).collect(),
        Err(why) => vec![why],
    };
    (!errors.is_empty()).then_some(errors)
}
