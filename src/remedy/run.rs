//! The life of a repair: look, plan, ask, lock, look again, act, and see that it is gone.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::{Job, Plan, Refusal, Remedy, Takes, Wishes};
use crate::deployment::settings::Settings;
use crate::diagnosis::{self, Check, Code, Diagnosis, Finding, Past, Scene, Severity};
use crate::fault::{Fault, Kind as FaultKind};
use crate::host::reach::hint::word;
use crate::lifecycle::Context;
use crate::operation::{Kind, Operation};

/// Between two looks after the work.
const AGAIN: Duration = Duration::from_millis(500);

/// What is asked before anything is changed.
pub struct Asked<'a> {
    /// What it is about.
    pub findings: &'a [Finding],
    /// What it will do.
    pub plan: &'a Plan,
}

/// What came of a repair.
#[derive(Debug)]
pub enum End {
    /// What it takes away is not there; in words.
    NotPresent(String),
    /// The same, but something of its kind is wrong that it cannot take away; in words.
    NotItsOwn(String),
    /// It was planned only.
    Planned,
    /// Nobody agreed.
    Declined,
    /// It is gone.
    Fixed(Fixed),
}

/// What was before and what is now.
#[derive(Debug)]
pub struct Fixed {
    /// The findings' headlines.
    pub before: Vec<String>,
    /// What was seen in the end.
    pub after: String,
    /// How long it took from the lock to the last look.
    pub took: Duration,
}

/// Makes one repair, or plans it. `agree` is shown the plan in either case. `wrong` is what is wrong with the settings, as `Settings::load_with_faults`
/// says it.
pub async fn fix(
    context: &Context,
    wrong: &[String],
    remedy: &'static Remedy,
    wishes: &Wishes,
    dry_run: bool,
    agree: &dyn Fn(&Asked<'_>) -> bool,
) -> Result<End, Vec<Fault>> {
    let repair = Repair::new(context, wrong, remedy, wishes)?;
    repair.run(dry_run, agree).await
}

struct Repair<'a> {
    context: &'a Context,
    wrong: &'a [String],
    remedy: &'static Remedy,
    wishes: &'a Wishes,
    checks: Vec<&'static Check>,
    /// `fix casepro-sync`, as the journal has it.
    asked: String,
    again: String,
}

impl<'a> Repair<'a> {
    fn new(
        context: &'a Context,
        wrong: &'a [String],
        remedy: &'static Remedy,
        wishes: &'a Wishes,
    ) -> Result<Self, Vec<Fault>> {
        let mut asked = format!("fix {}", remedy.name);
        if let Some(target) = &wishes.target {
            asked += &format!(" {}", word(target));
        }
        for (wish, word) in [(wishes.verify, "--verify"), (wishes.catch_up, "--catch-up")] {
            if wish {
                asked += &format!(" {word}");
            }
        }
        let again = context.command(&asked);
        check_target(context, remedy, wishes)?;
        let codes: Vec<String> = remedy
            .codes
            .iter()
            .map(|code| code.name().to_owned())
            .collect();
        let checks = diagnosis::find(&codes, &again).map_err(|fault| vec![*fault])?;
        Ok(Self {
            context,
            wrong,
            remedy,
            wishes,
            checks,
            asked,
            again,
        })
    }

    async fn run(
        &self,
        dry_run: bool,
        agree: &dyn Fn(&Asked<'_>) -> bool,
    ) -> Result<End, Vec<Fault>> {
        let resumes = self.resumes().await;
        let (job, plan) = match self.plan(resumes).await? {
            Ok(planned) => planned,
            Err(nothing) => return Ok(nothing),
        };
        let asked = Asked {
            findings: &job.findings,
            plan: &plan,
        };
        self.tell_plan(&plan);
        let agreed = agree(&asked);
        if dry_run {
            return Ok(End::Planned);
        }
        if !agreed {
            return Ok(End::Declined);
        }
        let touches = plan.touches;
        let began = Instant::now();
        let _operation = Operation::begin(
            &self.context.settings.places.state,
            "fix",
            &self.asked,
            &self.again,
            &self.context.reporter,
        )
        .map_err(|fault| vec![*fault])?;
        // What was looked at is some seconds old, and somebody may have been at work meanwhile.
        let planned = match self.plan(resumes).await {
            Ok(Ok(planned)) => planned,
            Ok(Err(nothing)) => {
                self.tell_end(Kind::Done, began, "nothing was left to do");
                return Ok(nothing);
            }
            Err(faults) => {
                self.tell_end(Kind::Failed, began, "nothing was done");
                return Err(faults);
            }
        };
        let (job, plan) = planned;
        if let Some(more) = plan.touches.iter().find(|it| !touches.contains(it)) {
            self.tell_end(Kind::Failed, began, "nothing was done");
            return Err(vec![changed_meanwhile(self.remedy, more, &self.again)]);
        }
        let done = plan.act.await;
        let after = match done {
            Ok(after) => after,
            Err(faults) => {
                let what = faults.first().map_or("", |fault| fault.title.as_str());
                self.tell_end(Kind::Failed, began, what);
                return Err(faults);
            }
        };
        if let Err(fault) = self.is_gone(&job).await {
            self.tell_end(Kind::Failed, began, &fault.title);
            return Err(vec![*fault]);
        }
        self.tell_end(Kind::Done, began, &after);
        Ok(End::Fixed(Fixed {
            before: job
                .findings
                .iter()
                .map(|finding| finding.summary.clone())
                .collect(),
            after,
            took: began.elapsed(),
        }))
    }

    fn tell_plan(&self, plan: &Plan) {
        for step in &plan.steps {
            self.context
                .reporter
                .tell("plan", Kind::Planned, None, step.clone());
        }
    }

    fn tell_end(&self, kind: Kind, began: Instant, what: &str) {
        let took = Some(began.elapsed());
        let what = self.context.mask.apply(what);
        self.context.reporter.tell("operation", kind, took, what);
    }

    /// Whether the last operation was this very repair, and was cut off.
    async fn resumes(&self) -> bool {
        let scene = Scene::new(self.context.clone(), self.wrong.to_vec());
        let past = Past::look(&scene).await.ok();
        past.and_then(|past| past.unfinished())
            .is_some_and(|last| last.operation == self.asked)
    }

    /// Looks and plans; the inner error says that there is nothing to do.
    async fn plan(&self, resumes: bool) -> Result<Result<(Rc<Job>, Plan), End>, Vec<Fault>> {
        let scene = Scene::new(self.context.clone(), self.wrong.to_vec());
        let diagnosis = diagnosis::run(scene, &self.checks, |_| {}).await;
        let findings: Vec<Finding> = diagnosis
            .findings
            .iter()
            .filter(|finding| self.concerns(finding))
            .cloned()
            .collect();
        if findings.is_empty() && !resumes {
            self.could_look(&diagnosis, &[])
                .map_err(|fault| vec![*fault])?;
            if !self.is_its_own_reason() {
                return Ok(Err(self.nothing(&diagnosis)));
            }
        }
        if let Some(fault) = self.unusable_settings() {
            return Err(vec![fault]);
        }
        let job = Rc::new(Job {
            context: self.context.clone(),
            wishes: self.wishes.clone(),
            findings,
            resumes,
            again: self.again.clone(),
            wrong_settings: self.wrong.to_vec(),
        });
        match (self.remedy.plan)(Rc::clone(&job)).await {
            Ok(plan) => Ok(Ok((job, plan))),
            Err(Refusal::Nothing(why)) => Ok(Err(End::NotPresent(self.context.mask.apply(&why)))),
            Err(Refusal::Fault(fault)) => Err(vec![*fault]),
        }
    }

    /// Whether the repair itself looks if there is something to do, where the checks find nothing:
    /// at a workspace that was named (and may not exist), at a backlog that is still being pulled.
    fn is_its_own_reason(&self) -> bool {
        let names_workspace = self.remedy.takes == Takes::Workspace && self.wishes.target.is_some();
        names_workspace || self.wishes.catch_up
    }

    /// Whether a finding is one that this repair takes away, and is about what was asked for.
    fn concerns(&self, finding: &Finding) -> bool {
        let Some((name, target)) = finding.fix.remedy() else {
            return false;
        };
        name == self.remedy.name
            && (!self.wishes.unattended || (self.remedy.unattended)(finding))
            && match (&self.wishes.target, target) {
                (Some(wanted), Some(target)) => wanted == target || finding.is_about(wanted),
                (Some(wanted), None) => {
                    finding.is_about(wanted) || self.remedy.takes == Takes::Workspace
                }
                (None, _) => true,
            }
    }

    /// Wrong settings stop what starts services; what only this host needs is repaired all the
    /// same.
    fn unusable_settings(&self) -> Option<Fault> {
        let needs_none = self
            .remedy
            .codes
            .iter()
            .all(|code| *code < Code::SettingMissing);
        if needs_none {
            return None;
        }
        Settings::fault(&self.context.settings.places, self.wrong.to_vec())
    }

    fn nothing(&self, diagnosis: &Diagnosis) -> End {
        // What it cannot take away is told as well: a person would look for it.
        let other = diagnosis.findings.iter().find(|finding| {
            finding.severity > Severity::Info && self.remedy.codes.contains(&finding.code)
        });
        let down = diagnosis.findings.iter().find_map(|finding| {
            let why = &finding.evidence.first()?.value;
            let about = match &self.wishes.target {
                Some(target) => why.split(' ').next() == Some(target),
                None => false,
            };
            (waits_for_a_start(finding) && about).then_some(why)
        });
        match other {
            _ if down.is_some() => End::NotItsOwn(format!(
                "nothing that this repair takes away; but {}: {}",
                down.map_or("", String::as_str),
                self.context.command("fix not-running")
            )),
            Some(finding) => End::NotItsOwn(format!(
                "nothing that this repair takes away; but {}: {}",
                finding.code,
                self.context.command("diagnose")
            )),
            None => End::NotPresent("nothing to fix".to_owned()),
        }
    }

    /// A check that could not look has not found nothing. `found` is what was there before: then
    /// only the checks count that had found it. Else one that waits for a service that does not
    /// run, which another repair starts, keeps nobody from what the others have seen.
    fn could_look(&self, diagnosis: &Diagnosis, found: &[Finding]) -> Result<(), Box<Fault>> {
        let looked = diagnosis
            .checks
            .iter()
            .any(|made| made.result != diagnosis::Ended::Unknown);
        let unseen = diagnosis
            .findings
            .iter()
            .filter(|finding| finding.code == Code::Unknown)
            .filter(|unseen| found.is_empty() || found.iter().any(|it| it.check == unseen.check))
            .find(|unseen| !found.is_empty() || !looked || !waits_for_a_start(unseen));
        let Some(unseen) = unseen else { return Ok(()) };
        let mut fault = Fault::problem(
            format!("{}: cannot be looked at", self.remedy.name),
            "whether there is something to repair could not be found out",
        )
        .why("nothing was done: a repair without a look may do harm")
        .next(self.context.command("diagnose"));
        for fact in &unseen.evidence {
            fault = fault.evidence(fact.value.clone());
        }
        Err(Box::new(fault))
    }

    /// Looks until what was found is not found any more.
    async fn is_gone(&self, job: &Job) -> Result<(), Box<Fault>> {
        let began = Instant::now();
        loop {
            let scene = Scene::new(self.context.clone(), self.wrong.to_vec());
            let diagnosis = diagnosis::run(scene, &self.checks, |_| {}).await;
            let left: Vec<&Finding> = diagnosis
                .findings
                .iter()
                .filter(|finding| {
                    self.concerns(finding)
                        && job.findings.iter().any(|before| same(before, finding))
                })
                .collect();
            let seen = left
                .is_empty()
                .then(|| self.could_look(&diagnosis, &job.findings));
            if let Some(Ok(())) = seen {
                return Ok(());
            }
            if began.elapsed() >= self.remedy.settles {
                return Err(match seen {
                    Some(Err(fault)) => fault,
                    _ => Box::new(self.did_not_help(&left)),
                });
            }
            let took = Some(began.elapsed());
            let detail = "until the same checks find nothing any more";
            self.context
                .reporter
                .tell("check", Kind::Progress, took, detail);
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn did_not_help(&self, left: &[&Finding]) -> Fault {
        let mut fault = Fault::problem(
            format!("{}: it did not help", self.remedy.name),
            "all was done, and the same check still finds the same",
        );
        for finding in left {
            fault = fault.evidence(format!("{}: {}", finding.code, finding.summary));
            for fact in &finding.evidence {
                fault = fault.evidence(format!("{}: {}", fact.what, fact.value));
            }
        }
        fault = fault.why(
            left.first()
                .map_or_else(String::new, |it| it.impact.clone()),
        );
        let service = left.first().and_then(|finding| finding.service.as_deref());
        for command in self.remedy.otherwise {
            let command = command.replace("{service}", service.unwrap_or_default());
            fault = fault.next(self.context.command(&command));
        }
        fault
    }
}

/// Whether a check saw nothing because a service does not run.
fn waits_for_a_start(finding: &Finding) -> bool {
    matches!(
        finding.blocked_by,
        Some(Code::ServiceMissing | Code::ServiceExited | Code::ServicePaused)
    )
}

fn same(before: &Finding, now: &Finding) -> bool {
    before.code == now.code && before.service == now.service && before.owner == now.owner
}

fn check_target(context: &Context, remedy: &Remedy, wishes: &Wishes) -> Result<(), Vec<Fault>> {
    let Some(target) = &wishes.target else {
        return Ok(());
    };
    let again = context.command(&format!("fix {}", remedy.name));
    match remedy.takes {
        Takes::Workspace => Ok(()),
        Takes::Service => context
            .stack
            .select(std::slice::from_ref(target), &again)
            .map(drop)
            .map_err(|fault| vec![*fault]),
        Takes::Nothing => Err(vec![
            Fault::usage(
                format!("{target}: {} takes nothing more", remedy.name),
                format!("nothing may stand behind {}", remedy.name),
            )
            .evidence(format!("given was {target}"))
            .why("nothing was done")
            .next(again),
        ]),
    }
}

fn changed_meanwhile(remedy: &Remedy, what: &str, again: &str) -> Fault {
    Fault::new(
        FaultKind::Problem,
        format!("{}: something changed meanwhile", remedy.name),
        "between the plan and its beginning more came to be repaired than was agreed to",
    )
    .evidence(format!("new is {what}"))
    .why("nothing was done")
    .next(again)
}
