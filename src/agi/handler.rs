//! `ooy agi`: takes one finished call over from Asterisk, which waits meanwhile. Everything here
//! is counted in milliseconds, and nothing waits for the network while the disk can be written.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::protocol::{Channel, set_variable};
use super::record::{Moment, Record};
use super::settings::CallSettings;
use super::spool::{Accepted, Spool};
use super::{arguments, delivery};
use crate::deployment::places::Places;
use crate::fault::Fault;

/// The channel variable that tells the dialplan what became of the call.
pub const STATUS_VARIABLE: &str = "OOY_STATUS";

/// Asterisk sends the environment at once; whoever does not is not waited for any longer.
const ENVIRONMENT_LIMIT: Duration = Duration::from_millis(300);
/// The same for its answers.
const ANSWER_LIMIT: Duration = Duration::from_millis(100);
/// How long a call may take that can be delivered only here and now.
const DIRECT_LIMIT: Duration = Duration::from_secs(2);

/// Delivers one call at once, within that time; for when it cannot be kept. RapidPro's id of it,
/// or in words why not.
pub type Direct = fn(&Record, &CallSettings, Duration) -> Result<String, String>;

/// What became of a call, as the dialplan is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is on disk (or has been delivered at once), and Asterisk may forget it.
    Queued,
    /// It is on disk, and RapidPro is not told.
    Skipped,
    /// It is nowhere.
    Failed,
}

impl Status {
    /// The value of [`STATUS_VARIABLE`].
    pub fn text(self) -> &'static str {
        match self {
            Status::Queued => "queued",
            Status::Skipped => "skipped",
            Status::Failed => "failed",
        }
    }
}

/// What became of a call, for whoever looks.
#[derive(Debug)]
pub struct Outcome {
    /// As the dialplan is told.
    pub status: Status,
    /// In one line, for a person.
    pub said: String,
    /// Why it failed.
    pub fault: Option<Box<Fault>>,
}

/// Takes the call over. `None` as input: nothing comes from there (it is a terminal).
pub fn take_over(
    places: &Places,
    arguments: &[OsString],
    input: Option<BorrowedFd>,
    output: BorrowedFd,
    direct: Direct,
) -> Outcome {
    let mut channel = input.map(|input| Channel::new(input, output));
    let mut call = arguments::read(arguments);
    let (mut is_agi, mut asked) = (false, false);
    if let Some(channel) = &mut channel {
        let environment = channel.environment(ENVIRONMENT_LIMIT);
        is_agi = environment.is_agi;
        call.uniqueid = environment.uniqueid;
        call.linkedid = environment.linkedid;
        call.channel = environment.channel;
        asked = is_agi && call.linkedid.is_none() && channel.ask("CHANNEL(linkedid)", ANSWER_LIMIT);
    }
    // While Asterisk answers.
    let settings = CallSettings::load(places);
    if let (true, Some(channel)) = (asked, &mut channel) {
        call.linkedid = channel.value(ANSWER_LIMIT);
    }
    let record = Record::new(call, &settings.country_code, Moment::now());
    let outcome = keep(places, &record, &settings, direct);

    let mut answer_comes = false;
    if let (true, Some(channel)) = (is_agi, &mut channel) {
        let command = set_variable(STATUS_VARIABLE, outcome.status.text());
        answer_comes = channel.say(&command, ANSWER_LIMIT);
    }
    if outcome.status == Status::Queued && !Spool::new(&places.spool).is_delivering() {
        // While Asterisk answers. If it cannot be started the call waits for the next one.
        let _ = delivery::start_detached(places);
    }
    if let (true, Some(channel)) = (answer_comes, &mut channel) {
        channel.wait_for_answer(ANSWER_LIMIT);
    }
    outcome
}

/// On disk, or else to RapidPro at once.
fn keep(places: &Places, record: &Record, settings: &CallSettings, direct: Direct) -> Outcome {
    let spool = Spool::new(&places.spool);
    let error = match spool.accept(record) {
        Ok(accepted) => {
            let status = match record.skip_reason {
                Some(_) => Status::Skipped,
                None => Status::Queued,
            };
            return Outcome {
                status,
                said: describe(record, accepted),
                fault: None,
            };
        }
        Err(error) => error,
    };
    let mut fault = spool.fault("keeping a finished call", &error, places);
    if !record.is_skipped() {
        match direct(record, settings, DIRECT_LIMIT) {
            Ok(_) => {
                return Outcome {
                    status: Status::Queued,
                    said: format!("call {} could not be kept, but RapidPro has it", record.id),
                    fault: Some(Box::new(fault)),
                };
            }
            Err(reason) => fault.evidence.push(format!("RapidPro: {reason}")),
        }
    }
    fault = fault.why(
        "the call is not kept; Asterisk sees the failure, and the dialplan's last line writes the \
         call into its log",
    );
    Outcome {
        status: Status::Failed,
        said: format!("call {} is lost here", record.id),
        fault: Some(Box::new(fault)),
    }
}

fn describe(record: &Record, accepted: Accepted) -> String {
    let Record { id, .. } = record;
    match (&record.skip_reason, &record.number, accepted) {
        (Some(reason), _, _) => format!("call {id} is kept, RapidPro is not told: {reason}"),
        (None, _, Accepted::Known) => format!("call {id} had been handed in before"),
        (None, number, Accepted::New) => format!(
            "call {id} of {} waits for RapidPro",
            number.as_deref().unwrap_or_default()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agi::spool::Folder;
    use std::os::fd::AsFd as _;

    fn hand_in(spool: &std::path::Path, number: &str, direct: Direct) -> Outcome {
        let folder = tempfile::tempdir().unwrap();
        let mut places = Places::new(Some(folder.path()));
        places.spool = spool.to_owned();
        let arguments = [number, "2026-11-22T11:07:32", "2026-11-22T11:07:33"];
        let record = Record::new(arguments::read(&arguments), "254", Moment::now());
        keep(&places, &record, &CallSettings::load(&places), direct)
    }

    fn refused(_: &Record, _: &CallSettings, limit: Duration) -> Result<String, String> {
        assert_eq!(limit, DIRECT_LIMIT);
        Err("connection refused".into())
    }

    #[test]
    fn while_the_disk_can_be_written_nobody_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let never: Direct = |_, _, _| panic!("the network was used");
        let outcome = hand_in(folder.path(), "0712345678", never);
        assert_eq!(outcome.status, Status::Queued);
        assert!(
            outcome
                .said
                .ends_with("of +254712345678 waits for RapidPro")
        );
        assert_eq!(
            hand_in(folder.path(), "anonymous", never).status,
            Status::Skipped
        );
        let spool = Spool::new(folder.path());
        assert_eq!(spool.count(Folder::New).unwrap(), 1);
        assert_eq!(spool.count(Folder::Skipped).unwrap(), 1);
    }

    #[test]
    fn a_call_that_cannot_be_kept_is_delivered_at_once_or_failed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        let outcome = hand_in(&file.join("spool"), "0712345678", |_, _, _| {
            Ok(String::new())
        });
        assert_eq!(outcome.status, Status::Queued);
        let outcome = hand_in(&file.join("spool"), "0712345678", refused);
        assert_eq!(outcome.status, Status::Failed);
        let evidence = outcome.fault.unwrap().evidence.join("\n");
        assert!(evidence.contains("Not a directory"), "{evidence}");
        assert!(evidence.contains("connection refused"), "{evidence}");
        // A withheld number: there is nobody RapidPro could be told about.
        let never: Direct = |_, _, _| panic!("the network was used");
        let outcome = hand_in(&file.join("spool"), "anonymous", never);
        assert_eq!(outcome.status, Status::Failed);
    }

    #[test]
    fn asterisk_is_told_what_became_of_the_call() {
        use std::io::{Read as _, Write as _};
        let folder = tempfile::tempdir().unwrap();
        let mut places = Places::new(Some(folder.path()));
        // Somebody delivers, so that none is started.
        let spool = Spool::new(&places.spool);
        let _deliverer = spool.deliver().unwrap();
        places.env_file = folder.path().join("none");
        let (input, mut asterisk_says) = std::io::pipe().unwrap();
        let (mut asterisk_hears, output) = std::io::pipe().unwrap();
        asterisk_says
            .write_all(b"agi_uniqueid: 1795345652.1\nagi_channel: SIP/trunk-1\n\n")
            .unwrap();
        let asterisk = std::thread::spawn(move || {
            let mut heard = [0; 31];
            asterisk_hears.read_exact(&mut heard).unwrap();
            assert_eq!(&heard, b"GET VARIABLE CHANNEL(linkedid)\n");
            asterisk_says
                .write_all(b"200 result=1 (1795345652.0)\n200 result=1\n")
                .unwrap();
            let mut rest = String::new();
            asterisk_hears.read_to_string(&mut rest).unwrap();
            rest
        });
        let arguments =
            ["0712345678", "2026-11-22T11:07:32", "2026-11-22T11:07:33"].map(OsString::from);
        let outcome = take_over(
            &places,
            &arguments,
            Some(input.as_fd()),
            output.as_fd(),
            refused,
        );
        drop(output);
        drop(input);
        assert_eq!(outcome.status, Status::Queued);
        assert_eq!(asterisk.join().unwrap(), "SET VARIABLE OOY_STATUS queued\n");
        let id = &spool.entries(Folder::New).unwrap()[0].id;
        let record = spool.read(Folder::New, id).unwrap().unwrap().unwrap();
        assert_eq!(record.uniqueid.as_deref(), Some("1795345652.1"));
        assert_eq!(record.linkedid.as_deref(), Some("1795345652.0"));
        assert_eq!(record.channel.as_deref(), Some("SIP/trunk-1"));
    }
}
