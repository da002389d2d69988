//! Telling RapidPro of one call: which requests, in which order, and how a lost answer is looked
//! for afterwards. No disk, no waiting.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;

use crate::agi::record::{Moment, Record, Times};
use crate::rapidpro::{Client, FlowStart, Page, Start, Trouble};

/// What is asked of RapidPro; in tests something else answers.
pub trait Api {
    /// See [`Client::start`].
    fn start(&self, start: &FlowStart) -> Result<String, Trouble>;
    /// See [`Client::create_contact`].
    fn create_contact(&self, urns: &[String]) -> Result<String, Trouble>;
    /// See [`Client::find_contact`].
    fn find_contact(&self, urn: &str) -> Result<Option<String>, Trouble>;
    /// See [`Client::starts`].
    fn starts(&self, cursor: Option<&str>) -> Result<Page<Start>, Trouble>;
}

impl Api for Client {
    fn start(&self, start: &FlowStart) -> Result<String, Trouble> {
        Client::start(self, start)
    }
    fn create_contact(&self, urns: &[String]) -> Result<String, Trouble> {
        Client::create_contact(self, urns)
    }
    fn find_contact(&self, urn: &str) -> Result<Option<String>, Trouble> {
        Client::find_contact(self, urn)
    }
    fn starts(&self, cursor: Option<&str>) -> Result<Page<Start>, Trouble> {
        Client::starts(self, cursor)
    }
}

/// RapidPro knows of the call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its id of the flow start.
    pub start: String,
    /// Its id of the contact, where it was seen.
    pub contact: Option<String>,
}

/// RapidPro does not, or perhaps does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untold {
    /// Why.
    pub trouble: Trouble,
    /// The flow may have been started all the same.
    pub unsure: bool,
}

impl Untold {
    fn sure(trouble: Trouble) -> Self {
        Self {
            trouble,
            unsure: false,
        }
    }
}

/// Starts the flow for the call's contact, which is found by its tel URN, else by its whatsapp
/// URN, else made with both. One request where the contact is known by tel, as nearly all are.
///
/// A single URN at a time: given both, RapidPro would start, or make, two contacts.
pub fn tell(api: &impl Api, flow: &str, record: &Record, times: &Times) -> Result<Told, Untold> {
    let number = record.number.as_deref().unwrap_or_default();
    let urns = [
        format!("tel:{number}"),
        format!("whatsapp:{}", number.trim_start_matches('+')),
    ];
    let start = |contact: &str| {
        api.start(&FlowStart {
            flow,
            contacts: [contact],
            restart_participants: true,
            params: json!({
                "call_start_time": times.start,
                "call_end_time": times.end,
                "direction": record.direction,
                "call_id": record.id.as_str(),
            }),
        })
    };
    for urn in &urns {
        match start(urn) {
            Ok(start) => {
                return Ok(Told {
                    start,
                    contact: None,
                });
            }
            Err(Trouble::NoSuchContact) => {}
            Err(trouble) => {
                return Err(Untold {
                    unsure: trouble.is_ambiguous(),
                    trouble,
                });
            }
        }
    }
    // Repeating this is harmless, whatever comes of it: a URN belongs to one contact only.
    let contact = match api.create_contact(&urns) {
        Ok(contact) => contact,
        Err(Trouble::UrnTaken(words)) => find(api, &urns)
            .map_err(Untold::sure)?
            .ok_or_else(|| Untold::sure(Trouble::Refused(words)))?,
        Err(trouble) => return Err(Untold::sure(trouble)),
    };
    match start(&contact) {
        Ok(start) => Ok(Told {
            start,
            contact: Some(contact),
        }),
        Err(Trouble::NoSuchContact) => Err(Untold::sure(Trouble::Refused(format!(
            "RapidPro does not know the contact {contact}, which it named itself"
        )))),
        Err(trouble) => Err(Untold {
            unsure: trouble.is_ambiguous(),
            trouble,
        }),
    }
}

fn find(api: &impl Api, urns: &[String]) -> Result<Option<String>, Trouble> {
    for urn in urns {
        if let Some(contact) = api.find_contact(urn)? {
            return Ok(Some(contact));
        }
    }
    Ok(None)
}

/// Clocks of two machines, and the moment between noting an attempt and its arrival.
const MARGIN: Duration = Duration::from_secs(120);
/// Where only wall clocks can be compared: zones, summer time, a battery that is empty.
const COARSE: Duration = Duration::from_secs(26 * 3600);
/// Two readings of the same server's clock.
const AGAIN: Duration = Duration::from_secs(5);
/// How often the list is read again because it may have moved under us.
const READINGS: usize = 3;
/// A server that hands out the same cursor for ever must not keep us for ever; a million starts.
const PAGES: usize = 4000;

/// Looks for the start that an earlier attempt of this call may have made: its id, or nothing
/// where there surely is none.
///
/// The list is ordered by last change and a start changes while mailroom works on it: one that
/// moves to the front while we turn pages would be missed. So, as long as there was more than one
/// page, it is read again down to where the reading before began.
pub fn look_up(
    api: &impl Api,
    flow: &str,
    record: &Record,
    now: &Moment,
) -> Result<Option<String>, Trouble> {
    let attempt = record.first_attempt.clone().unwrap_or(record.accepted());
    let (age, exact) = age(&attempt, now);
    let mut since: Option<Timestamp> = None;
    for _ in 0..READINGS {
        let mut cursor: Option<String> = None;
        let mut began: Option<Timestamp> = None;
        let mut pages = 0;
        loop {
            let page = api.starts(cursor.as_deref())?;
            pages += 1;
            // The server's clock where it tells it (nginx does), else our own, coarsely.
            let (server_now, margin) = match page.server_now {
                Some(now) if exact => (now, MARGIN),
                Some(now) => (now, COARSE),
                None => (now.at, COARSE),
            };
            let began = *began.get_or_insert(server_now);
            let oldest = since.unwrap_or_else(|| earlier(began, age.saturating_add(margin)));
            let mut starts = page.items.iter();
            if let Some(found) = starts.find(|start| start.is_of(flow, record.id.as_str())) {
                return Ok(Some(found.uuid.clone()));
            }
            let last = page.items.last().and_then(|last| last.modified_on);
            let enough = last.is_some_and(|changed| changed < oldest);
            cursor = page.cursor.filter(|_| !enough && pages < PAGES);
            if cursor.is_none() {
                let behind = page.server_now.map_or(COARSE, |_| AGAIN);
                since = Some(earlier(began, behind));
                break;
            }
        }
        if pages == 1 {
            break;
        }
    }
    Ok(None)
}

/// How long ago the attempt was, and whether that is certain.
fn age(attempt: &Moment, now: &Moment) -> (Duration, bool) {
    if !now.boot.is_empty() && attempt.boot == now.boot {
        let ms = now.mono_ms.saturating_sub(attempt.mono_ms);
        return (Duration::from_millis(ms), true);
    }
    let wall = now.at.as_millisecond() - attempt.at.as_millisecond();
    match u64::try_from(wall) {
        Ok(ms) => (Duration::from_millis(ms), false),
        // The clock is before the attempt: it says nothing.
        Err(_) => (Duration::from_secs(30 * 86_400), false),
    }
}

fn earlier(time: Timestamp, by: Duration) -> Timestamp {
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}
