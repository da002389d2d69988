//! The real world of a deliverer: clocks, settings that may change, RapidPro, the operator.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use super::decide::{self, Stop};
use super::driver::{Event, Link, Woken, World};
use super::fault;
use super::wake::Bell;
use crate::agi::record::Moment;
use crate::agi::settings::{CallSettings, OLD_FILE};
use crate::agi::spool::Incoming;
use crate::agi::time;
use crate::deployment::places::Places;
use crate::fault::{Fault, Result};
use crate::host::sentry::{self, Dsn, Level, Report};
use crate::host::{clock, process};
use crate::rapidpro::Client;

/// So long a deliverer that a new call has woken leaves disk and processor to `ooy agi`, which is
/// still flushing the folder and whose channel waits: it needs a millisecond or two, and twice that
/// when both flush at once. Only after a sleep: a backlog is not slowed down.
const COURTESY: Duration = Duration::from_millis(10);

/// What tells one version of a file from another.
type Stamp = Vec<Option<(u64, i64, i64, u64)>>;

/// See the module.
pub struct Real<'a> {
    places: &'a Places,
    bell: &'a Bell,
    listener: &'a mut dyn FnMut(Event),
    /// The settings and the client made of them, while they stay as they are.
    link: Option<Rc<Link<Client>>>,
    stamp: Stamp,
    ca_file: Option<PathBuf>,
    dice: u64,
}

impl<'a> Real<'a> {
    pub fn new(places: &'a Places, bell: &'a Bell, listener: &'a mut dyn FnMut(Event)) -> Self {
        Self {
            places,
            bell,
            listener,
            link: None,
            stamp: Stamp::new(),
            ca_file: None,
            dice: clock::since_boot_ms() ^ u64::from(std::process::id()) << 32 | 1,
        }
    }

    fn look(&self) -> Stamp {
        let files = [
            Some(self.places.env_file.as_path()),
            Some(Path::new(OLD_FILE)),
            self.ca_file.as_deref(),
        ];
        let stamp = |file: Option<&Path>| {
            let about = std::fs::metadata(file?).ok()?;
            Some((about.ino(), about.mtime(), about.mtime_nsec(), about.len()))
        };
        files.map(stamp).to_vec()
    }

    fn make_link(&mut self) -> Result<Link<Client>> {
        let settings = CallSettings::load(self.places);
        self.ca_file.clone_from(&settings.ca_file);
        link(&settings)
    }
}

/// What these settings say.
pub fn link(settings: &CallSettings) -> Result<Link<Client>> {
    let rapidpro = settings.rapidpro()?;
    let api = Client::new(
        &rapidpro.url,
        &rapidpro.token,
        settings.ca_file.as_deref(),
        settings.timeout,
    )?;
    Ok(Link {
        api,
        flow: rapidpro.flow,
        // Settings have been checked against the zones of this host; one without any has the
        // clock of its own zone at least.
        zone: time::zone(&settings.time_zone).unwrap_or_else(jiff::tz::TimeZone::system),
        timeout: settings.timeout,
        settle: settings.settle,
        retry_max: settings.retry_max,
        keep: settings.keep,
    })
}

impl World for Real<'_> {
    type Api = Client;

    fn now(&self) -> Duration {
        Duration::from_millis(clock::since_boot_ms())
    }

    fn moment(&self) -> Moment {
        Moment::now()
    }

    fn dice(&mut self) -> f64 {
        // xorshift: nothing depends on it but that machines differ.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        (self.dice >> 11) as f64 / (1u64 << 53) as f64
    }

    fn link(&mut self) -> Result<Rc<Link<Client>>> {
        if let Some(link) = &self.link
            && self.look() == self.stamp
        {
            return Ok(Rc::clone(link));
        }
        self.link = None;
        // Before they are read: a change meanwhile is seen the next time.
        let stamp = self.look();
        let made = self.make_link();
        self.stamp = stamp;
        let link = Rc::new(made?);
        // The file with certificates is known only now.
        self.stamp = self.look();
        self.link = Some(Rc::clone(&link));
        Ok(link)
    }

    fn settings_changed(&mut self) -> bool {
        self.look() != self.stamp
    }

    fn wait(&mut self, incoming: &Incoming, limit: Duration) -> Woken {
        let came = incoming.wait(limit, Some(self.bell.descriptor()));
        if came && !limit.is_zero() {
            std::thread::sleep(COURTESY);
        }
        Woken {
            kicked: self.bell.was_kicked(),
            stopping: self.bell.is_stopped(),
        }
    }

    fn tell(&mut self, event: Event) {
        (self.listener)(event);
    }

    fn stop_fault(&self, stop: Stop, words: &str, waiting: usize) -> Fault {
        fault::of(stop, words, waiting, self.places)
    }

    fn report(&mut self, stop: Stop, fault: &Fault, waiting: usize) -> bool {
        let settings = CallSettings::load(self.places);
        if settings.sentry_dsn.is_empty() {
            return true;
        }
        // Titles hold no telephone numbers; RapidPro's own words might.
        let report = Report {
            message: settings.mask().apply(&fault.title),
            logger: "ooy.calls",
            level: Level::Error,
            id: None,
            fingerprint: format!("ooy-calls-{}", decide::code(stop)),
            tags: vec![
                ("reason", decide::code(stop).to_owned()),
                ("waiting", waiting.to_string()),
                ("host", process::host_name()),
            ],
        };
        let sent = Dsn::parse(&settings.sentry_dsn)
            .map_err(|why| format!("OOY_SENTRY_DSN {why}"))
            .and_then(|dsn| sentry::send(&dsn, &report));
        match sent {
            Ok(()) => true,
            Err(why) => {
                self.tell(Event::Trouble(format!("Sentry could not be told: {why}")));
                false
            }
        }
    }
}
