//! One round of the watch.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use jiff::Timestamp;

use super::choose::{self, Choice};
use super::look::{Look, key};
use super::memory::Change;
use super::notices::{Event, Notice};
use super::repairs::{Came, UnderWay};
use super::{Listener, SECOND_LOOK, Told, Watch};
use crate::diagnosis::{self, Code, Diagnosis, Finding, Scene};
use crate::fault::{Fault, Kind};
use crate::host::text::age;
use crate::lifecycle::Context;
use crate::operation::{Reporter, lock};
use crate::remedy::{self, Asked, End, Wishes};

/// More repairs in one round are left to the next.
const MOST: usize = 6;

/// What was said last about each subject.
#[derive(Default)]
pub struct Said(BTreeMap<String, String>);

impl Said {
    /// Whether that is something else than was said last; from now on it is what was said.
    pub fn is_news(&mut self, about: &str, words: &str) -> bool {
        let before = self.0.insert(about.to_owned(), words.to_owned());
        before.as_deref().unwrap_or_default() != words
    }

    /// Forgets what is about none of these.
    fn keep(&mut self, kind: &str, about: &BTreeSet<String>) {
        self.0
            .retain(|known, _| !known.starts_with(kind) || about.contains(known));
    }
}

/// What two looks have to say.
struct Seen {
    diagnosis: Diagnosis,
    look: Look,
}

impl Watch {
    /// Looks, reports, repairs. The answer is the last look.
    pub(super) async fn round(&mut self, context: &Context, wrong: &[String]) -> Diagnosis {
        let mut seen = self.look(context, wrong).await;
        if self.somebody_works(context, &seen.diagnosis) {
            // What it stops and starts is no fault, and a repair would be in its way.
            self.before = None;
            return seen.diagnosis;
        }
        if let Some(again) = self.finish_what_was_cut_off(context, wrong, &seen).await {
            seen = again;
        }
        let choices = self.choices(context, &seen, self.before.as_ref());
        let before = self.before.take();
        let changed = self.memory.wants_another_look(before.as_ref(), &seen.look);
        self.report(context, before.as_ref(), &seen.look, &BTreeSet::new());
        if changed || choices.unconfirmed {
            let pause = SECOND_LOOK.min(self.options.interval / 2);
            tokio::time::sleep(pause).await;
            let again = self.look(context, wrong).await;
            if self.somebody_works(context, &again.diagnosis) {
                return again.diagnosis;
            }
            self.report(context, Some(&seen.look), &again.look, &BTreeSet::new());
            self.before = Some(std::mem::replace(&mut seen, again).look);
        } else {
            self.before = before;
        }
        let seen = self.repair_what_may_be(context, wrong, seen).await;
        self.before = Some(seen.look);
        seen.diagnosis
    }

    /// One repair after the other, causes first, each followed by a look.
    async fn repair_what_may_be(
        &mut self,
        context: &Context,
        wrong: &[String],
        mut seen: Seen,
    ) -> Seen {
        let mut tried: BTreeSet<String> = BTreeSet::new();
        for _ in 0..MOST {
            let found = self.choices(context, &seen, self.before.as_ref());
            self.tell_left(&found.left);
            let next = found
                .choices
                .into_iter()
                .find(|choice| !tried.contains(&choice.label()));
            let Some(choice) = next else { break };
            tried.insert(choice.label());
            if self.options.dry_run {
                self.plan(context, wrong, &choice).await;
                continue;
            }
            let came = self.repair(context, wrong, &choice).await;
            if came == Came::Prevented {
                break;
            }
            let again = self.look(context, wrong).await;
            let sure = match came {
                Came::Helped => choice.findings.iter().map(key).collect(),
                _ => BTreeSet::new(),
            };
            self.report(context, Some(&seen.look), &again.look, &sure);
            self.before = Some(std::mem::replace(&mut seen, again).look);
        }
        seen
    }

    async fn look(&mut self, context: &Context, wrong: &[String]) -> Seen {
        let checks = diagnosis::find(&[], "").unwrap_or_default();
        let scene = Scene::new(context.clone(), wrong.to_vec());
        let diagnosis = diagnosis::run(scene, &checks, |_| {}).await;
        self.hear();
        Seen {
            look: Look::new(&diagnosis),
            diagnosis,
        }
    }

    /// Whether an operation is under way that is not the watch's own. One that stands still is a
    /// fault like any other.
    fn somebody_works(&mut self, context: &Context, diagnosis: &Diagnosis) -> bool {
        let stands = |finding: &Finding| finding.code == Code::LockStale;
        let held = lock::holder(&context.settings.places.state)
            .ok()
            .flatten()
            .filter(|(pid, _)| *pid != std::process::id());
        let words = match held {
            Some((pid, said)) if !diagnosis.findings.iter().any(stands) => match said {
                Some(holder) => format!(
                    "ooy {} by {} (process {pid})",
                    holder.operation, holder.user
                ),
                None => format!("process {pid}"),
            },
            _ => String::new(),
        };
        if self.said.is_news("lock", &words) && !words.is_empty() {
            (self.listener)(&Told::Waits(&words));
        }
        !words.is_empty()
    }

    fn choices(&self, context: &Context, seen: &Seen, before: Option<&Look>) -> choose::Choices {
        let most = context.settings.number("WATCH_REPAIRS_PER_HOUR");
        let now = Timestamp::now();
        let may = |what: &str| self.memory.repairs.may(what, most, now);
        choose::choose(&seen.diagnosis.findings, before, &context.stack, &may)
    }

    fn tell_left(&mut self, left: &[choose::Left]) {
        let mut about = BTreeSet::new();
        for left in left {
            let subject = format!("left {}", left.label);
            if self.said.is_news(&subject, &left.why) {
                (self.listener)(&Told::LeftAlone(&left.label, &left.summary, &left.why));
            }
            about.insert(subject);
        }
        self.said.keep("left ", &about);
    }

    async fn plan(&mut self, context: &Context, wrong: &[String], choice: &Choice) {
        let listener = Rc::clone(&self.listener);
        let label = choice.label();
        let about = about(&choice.findings);
        let steps = std::cell::RefCell::new(String::new());
        let agree = |asked: &Asked<'_>| {
            *steps.borrow_mut() = asked.plan.steps.join(" · ");
            false
        };
        let end = remedy::fix(context, wrong, choice.remedy, &choice.wishes, true, &agree).await;
        let said = match end {
            Ok(End::NotPresent(why) | End::NotItsOwn(why)) => why,
            Ok(_) => steps.take(),
            Err(faults) => titles(&faults),
        };
        if self.said.is_news(&format!("plan {label}"), &said) {
            listener(&Told::Planned(&label, &about, &said));
        }
    }

    /// Makes a repair. That it was begun is on disk before it begins: killed, it counts, and the
    /// next watch finishes it.
    async fn repair(&mut self, context: &Context, wrong: &[String], choice: &Choice) -> Came {
        let label = choice.label();
        let about = about(&choice.findings);
        self.memory
            .repairs
            .begin(&choice.counts_as, Timestamp::now());
        self.memory.under_way = Some(UnderWay {
            name: choice.remedy.name.to_owned(),
            target: choice.wishes.target.clone(),
            counts_as: choice.counts_as.clone(),
        });
        self.remember();
        (self.listener)(&Told::Repairing(&label, &about));
        let context_of_its_own = Context {
            reporter: steps_to(&self.listener),
            ..context.clone()
        };
        let agree = |_: &Asked<'_>| true;
        let end = remedy::fix(
            &context_of_its_own,
            wrong,
            choice.remedy,
            &choice.wishes,
            false,
            &agree,
        )
        .await;
        let (came, said) = match end {
            Ok(End::Fixed(fixed)) => (Came::Helped, fixed.after),
            Ok(End::NotPresent(why) | End::NotItsOwn(why)) => (Came::Nothing, why),
            Ok(End::Planned | End::Declined) => (Came::Nothing, String::new()),
            Err(faults) if faults.iter().any(|fault| fault.kind == Kind::Locked) => {
                (Came::Prevented, titles(&faults))
            }
            Err(faults) => (Came::Failed, titles(&faults)),
        };
        let said = context.mask.apply(&said);
        self.memory.under_way = None;
        let now = Timestamp::now();
        let first = self.memory.repairs.ended(&choice.counts_as, came, now);
        let event = match came {
            Came::Helped => Event::Repaired,
            Came::Failed => Event::RepairFailed,
            Came::Nothing | Came::Prevented => {
                self.remember();
                (self.listener)(&Told::LeftAlone(&label, &about, &said));
                return came;
            }
        };
        (self.listener)(&Told::Repaired(event, &label, &about, &said));
        let news = came == Came::Helped || first;
        let finding = choice
            .findings
            .first()
            .filter(|it| news && !self.memory.flaps(&key(it)));
        if let Some(finding) = finding {
            let finding = serde_json::to_value(finding).unwrap_or_default();
            let notice = Notice::new(context.settings.project(), event, &finding, &said);
            self.memory.outbox.push(notice.repair(&label, &said));
        }
        self.send();
        came
    }

    /// A repair of the watch that was cut off may have left down what it had stopped: it is made
    /// again, from the start, which every repair allows.
    async fn finish_what_was_cut_off(
        &mut self,
        context: &Context,
        wrong: &[String],
        seen: &Seen,
    ) -> Option<Seen> {
        let cut = self.memory.under_way.clone()?;
        if self.options.dry_run {
            return None;
        }
        let remedy = remedy::ALL.iter().find(|remedy| remedy.name == cut.name);
        let most = context.settings.number("WATCH_REPAIRS_PER_HOUR");
        let now = Timestamp::now();
        let may = cut
            .counts_as
            .iter()
            .all(|what| self.memory.repairs.may(what, most, now).is_ok());
        // Finishing it may start whatever does not run; what a person has stopped is to stay so.
        let stopped = !choose::stopped(&seen.diagnosis.findings).is_empty();
        let Some(remedy) = remedy.filter(|_| may && !stopped) else {
            self.memory.under_way = None;
            self.remember();
            return None;
        };
        let choice = Choice {
            remedy,
            wishes: Wishes {
                target: cut.target,
                unattended: true,
                ..Default::default()
            },
            counts_as: cut.counts_as,
            findings: Vec::new(),
        };
        let came = self.repair(context, wrong, &choice).await;
        if came == Came::Prevented {
            return None;
        }
        Some(self.look(context, wrong).await)
    }

    /// Reports what has come and gone.
    fn report(
        &mut self,
        context: &Context,
        before: Option<&Look>,
        now: &Look,
        sure: &BTreeSet<String>,
    ) {
        let changes = self.memory.observe(before, now, sure);
        if changes.is_empty() {
            return;
        }
        for change in changes {
            let (event, key, lasted) = match &change {
                Change::New(key) => (Event::New, key, None),
                Change::Flapping(key) => (Event::Flapping, key, None),
                Change::Gone(key, lasted) => (Event::Gone, key, Some(*lasted)),
            };
            let value = self.memory.cause(key).map(|cause| cause.finding.clone());
            let value = value.unwrap_or_default();
            (self.listener)(&Told::Cause(event, &value, lasted));
            let more = lasted.map_or(String::new(), |lasted| format!("after {}", age(lasted)));
            let project = context.settings.project();
            self.memory
                .outbox
                .push(Notice::new(project, event, &value, &more));
        }
        self.send();
    }

    /// Hands new reports over: written down first, so that a killed watch neither forgets them nor
    /// makes them anew.
    fn send(&mut self) {
        self.remember();
        if self.memory.outbox.is_empty() {
            return;
        }
        let notices = std::mem::take(&mut self.memory.outbox);
        if !self.options.dry_run {
            for notice in &notices {
                self.couriers.push(notice);
            }
        }
        self.remember();
    }
}

/// A reporter of a repair's own, whose steps are heard.
fn steps_to(listener: &Listener) -> Reporter {
    let reporter = Reporter::new("fix");
    let listener = Rc::clone(listener);
    reporter.listen(move |event| listener(&Told::Step(event)));
    reporter
}

fn about(findings: &[Finding]) -> String {
    match findings {
        [] => "it was cut off in the middle".to_owned(),
        [one] => one.summary.clone(),
        [first, ..] => format!("{} (and {} more)", first.summary, findings.len() - 1),
    }
}

fn titles(faults: &[Fault]) -> String {
    match faults {
        [one] => one.to_string(),
        _ => {
            let titles: Vec<&str> = faults.iter().map(|fault| fault.title.as_str()).collect();
            titles.join("; ")
        }
    }
}
