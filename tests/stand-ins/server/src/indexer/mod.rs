//! rp-indexer 6.4.0 to 8.0.0, which say nowhere which they are: the loop that copies contacts
//! to Elasticsearch.
//!
//! Two of the real one's faults are kept, because an operator meets them: every failure to
//! find the alias makes one more physical index, and an Elasticsearch that cannot be reached
//! at all is a nil pointer that ends the program.

mod contacts;
mod elastic;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::go::conf::{Program, int, switch, text};
use crate::go::log::{self, Level};
use crate::pg::Database;
use crate::signals::unhandled_in_go;
use crate::steer::Steering;
use crate::{boot, clock};
use elastic::Elastic;

const PROGRAM: Program = Program {
    name: "indexer",
    description: "Indexes RapidPro contacts to ElasticSearch",
    settings: &[
        text("elastic_url", "http://localhost:9200"),
        text("db", "postgres://localhost/temba?sslmode=disable"),
        text("index", "contacts"),
        // Read and never used, as in the real one: it sleeps five seconds.
        int("poll", "5"),
        switch("rebuild", "false"),
        switch("cleanup", "false"),
        text("log_level", "info"),
        text("sentry_dsn", ""),
    ],
};

const PAUSE: Duration = Duration::from_secs(5);
/// How Go prints the time that nothing was ever modified at.
const NEVER: &str = "0001-01-01 00:00:00 +0000 UTC";

pub fn run(arguments: &[String]) -> ! {
    let booted = boot::begin("rp-indexer", unhandled_in_go);
    let values = PROGRAM.load(arguments);
    let level = Level::parse(values.text("log_level")).filter(|level| *level != Level::Trace);
    // The real one prints the zero value of the level, not what was set.
    log::set_level(level.unwrap_or_else(|| log::fatal("Invalid log level 'panic'")));
    booted.hold_back(|| {
        log::with("error", "dial tcp: i/o timeout").error("error indexing contacts");
    });
    let indexer = Indexer {
        database: Database::new(values.text("db")),
        elastic: Elastic::new(values.text("elastic_url")),
        alias: values.text("index").to_owned(),
        rebuild: values.is_set("rebuild"),
        cleanup: values.is_set("cleanup"),
        steering: booted.steering.clone(),
    };
    booted.steering.mark_ready();
    loop {
        indexer.pause_for_faults();
        if let Err((problem, message)) = indexer.turn() {
            if indexer.rebuild {
                log::with("error", problem).write_fatal(message);
            }
            log::with("error", problem).error(message);
        } else if indexer.rebuild {
            boot::exit(0);
        }
        std::thread::sleep(PAUSE);
    }
}

struct Indexer {
    database: Database,
    elastic: Elastic,
    alias: String,
    rebuild: bool,
    cleanup: bool,
    steering: Arc<Steering>,
}

/// What went wrong, and the line that is logged about it.
type Failure = (String, &'static str);

impl Indexer {
    /// A hang is a loop that does not turn; ill health is a loop that fails.
    fn pause_for_faults(&self) {
        loop {
            let steer = self.steering.checkpoint();
            if self.steering.is_unhealthy(&steer) {
                log::with("error", "EOF").error("error finding last modified");
            } else if !steer.hang {
                return;
            }
            std::thread::sleep(if steer.hang { Duration::from_millis(200) } else { PAUSE });
        }
    }

    fn turn(&self) -> Result<(), Failure> {
        let physical = self.elastic.physical_indexes(&self.alias);
        log::with("physicalIndexes", format!("[{}]", physical.join(" ")))
            .with("index", &self.alias)
            .debug("found physical indexes");

        let mut remap = false;
        let index = match physical.into_iter().next().filter(|_| !self.rebuild) {
            Some(index) => index,
            None => {
                let made = self.elastic.create_index(&self.alias);
                let index = made.map_err(|problem| (problem, "error creating new index"))?;
                log::with("index", &self.alias)
                    .with("physicalIndex", &index)
                    .info("created new physical index");
                remap = true;
                index
            }
        };

        let last_modified = self.elastic.last_modified(&index);
        let last_modified =
            last_modified.map_err(|problem| (problem, "error finding last modified"))?;
        log::with("last_modified", last_modified.map_or_else(|| NEVER.into(), go_time))
            .with("index", &index)
            .info("indexing contacts newer than last modified");

        let started = Instant::now();
        let since = last_modified.map(|micros| micros - 5_000_000);
        let done = contacts::index(&self.database, &self.elastic, &index, since);
        let (added, deleted) = done.map_err(|problem| (problem, "error indexing contacts"))?;
        log::with("added", added)
            .with("deleted", deleted)
            .with("index", &index)
            .with("elapsed", clock::go_duration(started.elapsed()))
            .info("completed indexing");

        if remap {
            let mapped = self.elastic.map_alias(&self.alias, &index);
            mapped.map_err(|problem| (problem, "error remapping alias"))?;
        }
        if self.cleanup {
            let cleaned = self.elastic.remove_old_indexes(&self.alias);
            cleaned.map_err(|problem| (problem, "error cleaning up aliases"))?;
        }
        Ok(())
    }
}

/// `2021-07-21 08:00:00.123456 +0000 UTC`
fn go_time(micros: i64) -> String {
    let text = clock::utc_text(micros, 6);
    let text = text.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.');
    format!("{} +0000 UTC", text.replace('T', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_as_in_go() {
        assert_eq!(go_time(1_626_854_400_120_000), "2021-07-21 08:00:00.12 +0000 UTC");
        assert_eq!(go_time(1_626_854_401_000_000), "2021-07-21 08:00:01 +0000 UTC");
    }
}
