//! Which call comes next. In memory only: names, numbers and times of trying again; what a call
//! says is read from disk when its turn comes.
//!
//! The calls of one contact are sent in the order in which they ended, each only when the one
//! before it is settled. Contacts do not wait for each other. Times are those of a clock that
//! nobody sets.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::agi::record::Id;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Call<O> {
    /// Calls that may have been sent come first: what became of them is asked before anything
    /// new of the same contact.
    is_new: bool,
    order: O,
    id: Id,
}

#[derive(Debug)]
struct Contact<O> {
    calls: BTreeSet<Call<O>>,
    failures: u32,
    /// Not to be tried before.
    later: Option<Duration>,
}

/// A call whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// The call.
    pub id: Id,
    /// Its contact.
    pub number: String,
    /// It may have been sent already.
    pub unsure: bool,
    /// Failures of its contact in a row.
    pub failures: u32,
}

/// All calls that wait; `O` is a call's place in time.
#[derive(Debug)]
pub struct Queue<O> {
    contacts: HashMap<String, Contact<O>>,
    known: HashMap<Id, String>,
    /// Contacts that may be tried, by their first call.
    ready: BTreeSet<(Call<O>, String)>,
    /// The others, by when they may be.
    later: BTreeSet<(Duration, String)>,
}

impl<O: Ord + Clone> Queue<O> {
    /// Nothing waits.
    pub fn new() -> Self {
        Self {
            contacts: HashMap::new(),
            known: HashMap::new(),
            ready: BTreeSet::new(),
            later: BTreeSet::new(),
        }
    }

    /// How many calls wait.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether this call waits.
    pub fn knows(&self, id: &Id) -> bool {
        self.known.contains_key(id)
    }

    /// One more call; `unsure`: it may have been sent already, and RapidPro can be asked at
    /// `ask_at`. One that is known already is left alone.
    pub fn add(&mut self, id: Id, number: &str, order: O, unsure: Option<Duration>) {
        if self.knows(&id) {
            return;
        }
        self.known.insert(id.clone(), number.to_owned());
        self.change(number, |contact| {
            contact.calls.insert(Call {
                is_new: unsure.is_none(),
                order,
                id,
            });
            if let Some(ask_at) = unsure {
                contact.later = Some(contact.later.unwrap_or_default().max(ask_at));
            }
        });
    }

    /// The call whose turn it is at this time.
    pub fn next(&mut self, now: Duration) -> Option<Next> {
        while let Some((at, number)) = self.later.first().cloned() {
            if at > now {
                break;
            }
            self.change(&number, |contact| contact.later = None);
        }
        let (call, number) = self.ready.first()?;
        Some(Next {
            id: call.id.clone(),
            number: number.clone(),
            unsure: !call.is_new,
            failures: self.contacts.get(number).map_or(0, |c| c.failures),
        })
    }

    /// When a contact that waits may be tried, the earliest.
    pub fn due(&self) -> Option<Duration> {
        self.later.first().map(|(at, _)| *at)
    }

    /// The call is settled: sent, dead or gone.
    pub fn settled(&mut self, id: &Id) {
        let Some(number) = self.known.remove(id) else {
            return;
        };
        self.change(&number, |contact| {
            contact.calls.retain(|call| call.id != *id);
            contact.failures = 0;
            contact.later = None;
        });
    }

    /// The call was not sent: its contact waits until then.
    pub fn postpone(&mut self, id: &Id, unsure: bool, until: Duration) {
        let Some(number) = self.known.get(id).cloned() else {
            return;
        };
        self.change(&number, |contact| {
            contact.failures = contact.failures.saturating_add(1);
            contact.later = Some(until);
        });
        self.mark(id, unsure);
    }

    /// Failures in a row of this call's contact.
    pub fn failures(&self, id: &Id) -> u32 {
        let number = self.known.get(id);
        let contact = number.and_then(|number| self.contacts.get(number));
        contact.map_or(0, |contact| contact.failures)
    }

    /// Whether the call may have been sent.
    pub fn mark(&mut self, id: &Id, unsure: bool) {
        let Some(number) = self.known.get(id).cloned() else {
            return;
        };
        self.change(&number, |contact| {
            let found = contact.calls.iter().find(|call| call.id == *id).cloned();
            if let Some(mut call) = found {
                contact.calls.remove(&call);
                call.is_new = !unsure;
                contact.calls.insert(call);
            }
        });
    }

    /// All may be tried now, except those whose fate RapidPro cannot tell yet.
    pub fn hurry(&mut self, unsure_too: bool) {
        let waiting: Vec<String> = self
            .later
            .iter()
            .map(|(_, number)| number.clone())
            .collect();
        for number in waiting {
            self.change(&number, |contact| {
                let first_is_new = contact.calls.first().is_none_or(|call| call.is_new);
                if first_is_new || unsure_too {
                    contact.later = None;
                }
            });
        }
    }

    /// Fewest failures in a row of any contact that waits.
    pub fn fewest_failures(&self) -> Option<u32> {
        self.contacts.values().map(|contact| contact.failures).min()
    }

    /// Changes a contact and puts it in its place again.
    fn change(&mut self, number: &str, change: impl FnOnce(&mut Contact<O>)) {
        let mut contact = self.contacts.remove(number).unwrap_or_else(|| Contact {
            calls: BTreeSet::new(),
            failures: 0,
            later: None,
        });
        if let Some(first) = contact.calls.first() {
            match contact.later {
                Some(at) => self.later.remove(&(at, number.to_owned())),
                None => self.ready.remove(&(first.clone(), number.to_owned())),
            };
        }
        change(&mut contact);
        let Some(first) = contact.calls.first() else {
            return;
        };
        match contact.later {
            Some(at) => self.later.insert((at, number.to_owned())),
            None => self.ready.insert((first.clone(), number.to_owned())),
        };
        self.contacts.insert(number.to_owned(), contact);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(text: &str) -> Id {
        Id::new(text).unwrap()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn next(queue: &mut Queue<(i64, u64)>, now: u64) -> Option<String> {
        queue.next(at(now)).map(|next| next.id.to_string())
    }

    #[test]
    fn a_contact_that_waits_holds_up_its_own_calls_only() {
        let mut queue = Queue::new();
        queue.add(id("a1"), "+a", (0, 1), None);
        queue.add(id("b1"), "+b", (0, 2), None);
        queue.add(id("a2"), "+a", (0, 3), None);
        assert_eq!(next(&mut queue, 0).as_deref(), Some("a1"));
        queue.postpone(&id("a1"), false, at(10));
        assert_eq!(next(&mut queue, 1).as_deref(), Some("b1"));
        queue.settled(&id("b1"));
        assert_eq!(next(&mut queue, 9), None);
        assert_eq!(queue.due(), Some(at(10)));
        assert_eq!(next(&mut queue, 10).as_deref(), Some("a1"));
        assert_eq!(queue.next(at(10)).unwrap().failures, 1);
        queue.settled(&id("a1"));
        assert_eq!(next(&mut queue, 10).as_deref(), Some("a2"));
        assert_eq!(queue.next(at(10)).unwrap().failures, 0);
        queue.settled(&id("a2"));
        assert!(queue.is_empty() && queue.due().is_none());
    }

    #[test]
    fn a_call_that_may_have_been_sent_is_asked_for_before_its_contacts_others() {
        let mut queue = Queue::new();
        queue.add(id("a1"), "+a", (0, 1), None);
        queue.add(id("a2"), "+a", (0, 2), Some(at(5)));
        assert_eq!(next(&mut queue, 4), None);
        let first = queue.next(at(5)).unwrap();
        assert_eq!((first.id.as_str(), first.unsure), ("a2", true));
        queue.mark(&id("a2"), false);
        assert_eq!(next(&mut queue, 5).as_deref(), Some("a1"));
    }

    #[test]
    fn hurrying_leaves_alone_what_rapidpro_cannot_tell_yet() {
        let mut queue = Queue::new();
        queue.add(id("a1"), "+a", (0, 1), Some(at(50)));
        queue.add(id("b1"), "+b", (0, 2), None);
        queue.postpone(&id("b1"), false, at(60));
        queue.hurry(false);
        assert_eq!(next(&mut queue, 0).as_deref(), Some("b1"));
        queue.hurry(true);
        assert_eq!(next(&mut queue, 0).as_deref(), Some("a1"));
    }

    proptest! {
        /// Whatever happens, each contact's calls come out in their order, each once, and
        /// nothing is forgotten.
        #[test]
        fn calls_come_out_in_order_each_once(
            calls in proptest::collection::vec((0u8..4, 0u64..20), 1..40),
            fates in proptest::collection::vec((0u8..4, 0u64..30), 200),
        ) {
            let mut queue = Queue::new();
            for (index, (contact, order)) in calls.iter().enumerate() {
                queue.add(id(&format!("c{index}")), &format!("+{contact}"), (0, *order), None);
            }
            let mut now = 0;
            let mut out: Vec<(u8, u64)> = Vec::new();
            let mut fates = fates.into_iter();
            while !queue.is_empty() {
                let Some(found) = queue.next(at(now)) else {
                    now = queue.due().unwrap().as_secs();
                    continue;
                };
                let index: usize = found.id.as_str()[1..].parse().unwrap();
                let (fate, wait) = fates.next().unwrap_or((0, 0));
                match fate {
                    1 => queue.postpone(&found.id, true, at(now + wait)),
                    2 => queue.postpone(&found.id, false, at(now + wait)),
                    _ => {
                        queue.settled(&found.id);
                        out.push(calls[index]);
                    }
                }
            }
            prop_assert_eq!(out.len(), calls.len());
            for contact in 0..4 {
                let of: Vec<u64> = out.iter().filter(|c| c.0 == contact).map(|c| c.1).collect();
                prop_assert!(of.is_sorted(), "{:?}", of);
            }
        }
    }
}
