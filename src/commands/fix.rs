//! `ooy fix`.

use std::collections::BTreeSet;

use super::{Failure, Outcome, block, block_interruptible};
use crate::cli::Fix;
use crate::deployment::places::Places;
use crate::deployment::services::Stack;
use crate::deployment::settings::Settings;
use crate::diagnosis::{self, Diagnosis, Finding, Scene, Severity};
use crate::fault::{Fault, Kind};
use crate::host::reach::hint::word;
use crate::lifecycle::Context;
use crate::operation::Reporter;
use crate::remedy::{self, Asked, End, Fixed, Remedy, Takes, Wishes};
use crate::ui::table::{self, Side};
use crate::ui::{Paint, Ui, human, text};

pub fn run(ui: &Ui, places: &Places, arguments: &Fix) -> Outcome {
    if arguments.list {
        return list(ui);
    }
    let (settings, wrong) = Settings::load_with_faults(places)?;
    let stack = Stack::load(&settings)?;
    let session = Session {
        ui,
        places,
        arguments,
        wrong,
        base: Context::assemble(settings, stack, Reporter::new("fix")),
    };
    match &arguments.problem {
        Some(name) => session.one(name),
        None => session.all(),
    }
}

fn list(ui: &Ui) -> Outcome {
    if ui.json {
        let remedies: Vec<_> = remedy::ALL
            .iter()
            .map(|remedy| {
                serde_json::json!({
                    "name": remedy.name, "about": remedy.about, "codes": remedy.codes,
                })
            })
            .collect();
        ui.json(&serde_json::json!({ "schema": 1, "repairs": remedies }))?;
        return Ok(0);
    }
    let mut rows = vec![
        ["REPAIR", "SEES TO IT THAT", "TAKES AWAY"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(remedy::ALL.iter().map(|remedy| {
        let codes: Vec<&str> = remedy.codes.iter().map(|code| code.name()).collect();
        vec![
            remedy.name.to_owned(),
            remedy.about.to_owned(),
            codes.join(", "),
        ]
    }));
    for line in table::lines(&[Side::Left, Side::Left, Side::Left], &rows) {
        ui.out(&line)?;
    }
    Ok(0)
}

/// One run of `ooy fix`.
struct Session<'a> {
    ui: &'a Ui,
    places: &'a Places,
    arguments: &'a Fix,
    wrong: Vec<String>,
    base: Context,
}

impl Session<'_> {
    /// `ooy fix NAME`.
    fn one(&self, name: &str) -> Outcome {
        let remedy = remedy::find(name, &self.places.command("fix"))?;
        let wishes = self.wishes(remedy)?;
        match self.make(remedy, &wishes)? {
            End::Declined => Err(self.declined(remedy, &wishes)),
            End::NotItsOwn(why) => {
                if !self.ui.json {
                    self.ui.tell(&format!("✗ {}: {why}", remedy.name));
                }
                Ok(1)
            }
            End::NotPresent(why) => {
                if !self.ui.json {
                    self.ui.say(&format!("✓ {}: {why}", remedy.name));
                }
                Ok(0)
            }
            End::Planned | End::Fixed(_) => Ok(0),
        }
    }

    fn wishes(&self, remedy: &Remedy) -> Result<Wishes, Failure> {
        let arguments = self.arguments;
        let wrong = |option: &str, of: &str| {
            Failure::from(Box::new(
                Fault::usage(
                    format!("{option}: not for {}", remedy.name),
                    format!("{option} belongs to {of}"),
                )
                .evidence(format!("asked for was the repair {}", remedy.name))
                .why("nothing was done")
                .next(self.places.command(&format!("fix {}", remedy.name))),
            ))
        };
        if arguments.verify && remedy.takes != Takes::Workspace {
            return Err(wrong("--verify", "workspace-flag"));
        }
        if arguments.catch_up && remedy.name != "casepro-sync" {
            return Err(wrong("--catch-up", "casepro-sync"));
        }
        Ok(Wishes {
            target: arguments.target.clone(),
            verify: arguments.verify,
            catch_up: arguments.catch_up,
            unattended: false,
        })
    }

    /// `ooy fix`, `ooy fix --all`: what is wrong, and one repair after the other, causes first.
    fn all(&self) -> Outcome {
        let mut tried: BTreeSet<String> = BTreeSet::new();
        let mut fixed = 0;
        let mut failed = false;
        loop {
            let diagnosis = self.diagnose()?;
            let next = diagnosis
                .findings
                .iter()
                .filter(|finding| finding.severity > Severity::Info)
                .filter_map(|finding| Some((finding, remedy::of(finding)?)))
                .filter(|(finding, (remedy, _))| {
                    !self.arguments.all || (remedy.unattended)(finding)
                })
                .map(|(_, (remedy, wishes))| {
                    let unattended = self.arguments.all;
                    (
                        remedy,
                        Wishes {
                            unattended,
                            ..wishes
                        },
                    )
                })
                .find(|(remedy, wishes)| !tried.contains(&label(remedy, wishes)));
            let Some((remedy, wishes)) = next else {
                return self.summary(&diagnosis, fixed, failed);
            };
            tried.insert(label(remedy, &wishes));
            // One that cannot be made keeps nobody from making the others.
            match self.make(remedy, &wishes) {
                Ok(End::Fixed(_)) => fixed += 1,
                Ok(End::NotPresent(_) | End::NotItsOwn(_) | End::Planned | End::Declined) => {}
                Err(Failure::Faults(faults))
                    if faults.iter().all(|fault| fault.kind == Kind::Problem) =>
                {
                    super::show_faults(self.ui, &faults);
                    failed = true;
                }
                Err(other) => return Err(other),
            }
        }
    }

    fn diagnose(&self) -> Result<Diagnosis, Failure> {
        let checks = diagnosis::find(&[], "")?;
        block(async {
            let scene = Scene::new(self.base.clone(), self.wrong.clone());
            tokio::select! {
                diagnosis = diagnosis::run(scene, &checks, |_| {}) => Ok(diagnosis),
                _ = tokio::signal::ctrl_c() => Err(Failure::Interrupted),
            }
        })
    }

    /// What is left when nothing more can be done.
    fn summary(&self, diagnosis: &Diagnosis, fixed: usize, failed: bool) -> Outcome {
        let left: Vec<&Finding> = diagnosis
            .roots()
            .filter(|finding| finding.severity > Severity::Info)
            .collect();
        let code = u8::from(failed || !left.is_empty());
        if self.ui.json {
            let roots: Vec<&str> = left.iter().map(|finding| finding.code.name()).collect();
            self.ui.json(&serde_json::json!({
                "schema": 1, "fixed": fixed, "ok": code == 0, "left": roots,
            }))?;
            return Ok(code);
        }
        if left.is_empty() {
            let words = match fixed {
                0 => "nothing to fix".to_owned(),
                n => format!("{}; nothing is wrong any more", human::count(n, "repair")),
            };
            self.ui.say(&format!("✓ {words}"));
            return Ok(code);
        }
        self.ui
            .say(&format!("{} left:", human::count(left.len(), "cause")));
        for finding in left {
            let command = match &finding.fix.command {
                Some(command) => command.clone(),
                None => self.places.command(&format!("diagnose {}", finding.check)),
            };
            self.ui.say(&format!("  ✗ {} · {command}", finding.summary));
        }
        Ok(code)
    }

    fn declined(&self, remedy: &Remedy, wishes: &Wishes) -> Failure {
        let again = self
            .places
            .command(&format!("--yes fix {}", label(remedy, wishes)));
        let title = format!("{}: not done", remedy.name);
        super::declined(&title, "what was found is as it was", again)
    }

    fn make(&self, remedy: &'static Remedy, wishes: &Wishes) -> Result<End, Failure> {
        let ui = self.ui;
        // One operation each: a listener of its own for the journal.
        let context = Context {
            reporter: Reporter::new("fix"),
            ..self.base.clone()
        };
        super::show_events(ui, &context);
        let asked = format!("fix {}", label(remedy, wishes));
        if !ui.json {
            ui.say(&format!("ooy {asked}"));
        }
        let again = self.places.command(&asked);
        let agree = |asked: &Asked<'_>| self.ask(asked);
        let dry_run = self.arguments.dry_run;
        let end = block_interruptible(&again, async {
            remedy::fix(&context, &self.wrong, remedy, wishes, dry_run, &agree)
                .await
                .map_err(Failure::from)
        })?;
        match &end {
            End::Fixed(fixed) if !ui.json => self.show(fixed),
            End::Planned if !ui.json => ui.say("nothing was done (--dry-run)"),
            _ => {}
        }
        Ok(end)
    }

    /// Shows the plan and asks.
    fn ask(&self, asked: &Asked<'_>) -> bool {
        self.show_plan(asked);
        !self.arguments.dry_run && self.ui.ask("  proceed?")
    }

    fn show_plan(&self, asked: &Asked<'_>) {
        if self.ui.json {
            return;
        }
        let width = text::width().map(|width| width.saturating_sub(13));
        let part = |label: &str, line: &str| {
            for (index, line) in text::wrap(line, width).iter().enumerate() {
                let label = if index == 0 { label } else { "" };
                let label = self.ui.paint(Paint::Dim, &format!("{label:<10}"));
                self.ui.say(&format!("  {label} {line}"));
            }
        };
        for finding in asked.findings {
            part("found", &finding.summary);
        }
        part("will do", &asked.plan.steps.join(" · "));
        part("meanwhile", &asked.plan.meanwhile);
    }

    fn show(&self, fixed: &Fixed) {
        let took = human::took(fixed.took);
        for before in &fixed.before {
            self.ui.say(&format!("  before: {before}"));
        }
        self.ui.say(&format!(
            "{} after:  {} · {took}",
            self.ui.paint(Paint::Good, "✓"),
            fixed.after
        ));
    }
}

/// As it stands behind `ooy fix`.
fn label(remedy: &Remedy, wishes: &Wishes) -> String {
    let mut words = vec![remedy.name.to_owned()];
    words.extend(wishes.target.as_deref().map(word));
    if wishes.verify {
        words.push("--verify".to_owned());
    }
    if wishes.catch_up {
        words.push("--catch-up".to_owned());
    }
    words.join(" ")
}
