//! `ooy diagnose`.

use std::collections::BTreeSet;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Failure, Outcome, block};
use crate::cli::Diagnose;
use crate::deployment::places::Places;
use crate::deployment::services::Stack;
use crate::deployment::settings::Settings;
use crate::diagnosis::{self, Check, Code, Diagnosis, Evidence, Finding, Scene, Severity};
use crate::lifecycle::Context;
use crate::operation::Reporter;
use crate::ui::table::{self, Side};
use crate::ui::{Paint, Ui, human, text};

pub fn run(ui: &Ui, places: &Places, arguments: &Diagnose) -> Outcome {
    let again = places.command("diagnose");
    let chosen = diagnosis::find(&arguments.checks, &again)?;
    if arguments.list {
        return list(ui, &chosen);
    }
    // Wrong settings are a finding like any other; only a file that cannot be read at all leaves
    // nothing to look at.
    let (settings, wrong) = Settings::load_with_faults(places)?;
    let stack = Stack::load(&settings)?;
    let context = Context::assemble(settings, stack, Reporter::new("diagnose"));
    let diagnosis = block(async {
        let progress = Progress::new(ui, chosen.len());
        let scene = Scene::new(context, wrong);
        let look = diagnosis::run(scene, &chosen, |ended| progress.show(ended));
        let diagnosis = tokio::select! {
            diagnosis = look => diagnosis,
            _ = tokio::signal::ctrl_c() => return Err(Failure::Interrupted),
        };
        Ok(diagnosis)
    })?;
    if ui.json {
        ui.json(&diagnosis)?;
    } else {
        show(ui, &diagnosis)?;
    }
    Ok(u8::from(!diagnosis.ok))
}

/// How far it is, on a terminal.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn new(ui: &Ui, count: usize) -> Self {
        let bar = (ui.live && !ui.quiet).then(|| {
            let target = ProgressDrawTarget::stderr_with_hz(12);
            let bar = ProgressBar::with_draw_target(Some(count as u64), target);
            if let Ok(style) = ProgressStyle::with_template("{pos} of {len} checks  {elapsed}") {
                bar.set_style(style);
            }
            bar
        });
        Self(bar)
    }

    fn show(&self, ended: usize) {
        if let Some(bar) = &self.0 {
            bar.set_position(ended as u64);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn list(ui: &Ui, checks: &[&'static Check]) -> Outcome {
    if ui.json {
        let checks: Vec<_> = checks
            .iter()
            .map(|check| {
                serde_json::json!({
                    "check": check.name, "about": check.about, "codes": check.codes,
                })
            })
            .collect();
        ui.json(&serde_json::json!({ "schema": 1, "checks": checks }))?;
        return Ok(0);
    }
    let mut rows = vec![["CHECK", "LOOKS AT", "FINDS"].map(str::to_owned).to_vec()];
    rows.extend(checks.iter().map(|check| {
        let codes: Vec<&str> = check.codes.iter().map(|code| code.name()).collect();
        vec![
            check.name.to_owned(),
            check.about.to_owned(),
            codes.join(", "),
        ]
    }));
    for line in table::lines(&[Side::Left, Side::Left, Side::Left], &rows) {
        ui.out(&line)?;
    }
    Ok(0)
}

/// What an operator reads, as text.
pub(super) fn in_words(ui: &Ui, diagnosis: &Diagnosis) -> String {
    ui.text_of(|ui| {
        // Kept in memory: nothing that could fail.
        let _ = show(ui, diagnosis);
    })
}

fn show(ui: &Ui, diagnosis: &Diagnosis) -> Result<(), Failure> {
    let width = text::width();
    let took = human::took(Duration::from_millis(diagnosis.took_ms));
    let checks = human::count(diagnosis.checks.len(), "check");
    let (serious, info): (Vec<&Finding>, Vec<&Finding>) = diagnosis
        .roots()
        .partition(|finding| finding.severity > Severity::Info);
    if serious.is_empty() {
        ui.out(&format!(
            "{} {checks} in {took}, nothing found",
            ui.paint_out(Paint::Good, "✓")
        ))?;
    } else {
        let consequences = diagnosis
            .findings
            .iter()
            .filter(|finding| finding.caused_by.is_some())
            .count();
        let mut line = format!(
            "ooy diagnose · {checks} in {took} · {}",
            human::count(serious.len(), "cause")
        );
        if consequences > 0 {
            line += &format!(", {}", human::count(consequences, "consequence"));
        }
        ui.out(&line)?;
        let mut shown = BTreeSet::new();
        for finding in &serious {
            ui.out("")?;
            finding_lines(ui, finding, width)?;
            // What two findings of one code explain together is told once.
            if shown.insert(finding.code) {
                explained(ui, diagnosis, finding, width)?;
            }
        }
    }
    figures(ui, diagnosis, serious.is_empty(), width)?;
    notes(ui, &info, width)?;
    if ui.verbose {
        ui.out("")?;
        checks_table(ui, diagnosis)?;
    }
    Ok(())
}

/// The figures that an operator watches, and where nothing was found, all of them.
fn figures(
    ui: &Ui,
    diagnosis: &Diagnosis,
    healthy: bool,
    width: Option<usize>,
) -> Result<(), Failure> {
    if diagnosis.figures.is_empty() {
        return Ok(());
    }
    ui.out("")?;
    let text = if healthy {
        diagnosis.figures.join(", ")
    } else {
        format!("Everything else is fine: {}", diagnosis.figures.join(", "))
    };
    for line in text::wrap(&text, width) {
        ui.out(&line)?;
    }
    Ok(())
}

fn notes(ui: &Ui, info: &[&Finding], width: Option<usize>) -> Result<(), Failure> {
    if info.is_empty() {
        return Ok(());
    }
    ui.out("")?;
    let more = if ui.verbose { "" } else { " (more with -v)" };
    ui.out(&format!("To know, nothing to do tonight{more}:"))?;
    for finding in info {
        if ui.verbose {
            finding_lines(ui, finding, width)?;
        } else {
            ui.out(&headline(ui, "·", Paint::Dim, finding, width))?;
        }
    }
    Ok(())
}

/// `✗ subject and what is wrong                       its-code`
fn headline(ui: &Ui, sign: &str, paint: Paint, finding: &Finding, width: Option<usize>) -> String {
    let code = finding.code.name();
    let length = 2 + finding.summary.chars().count();
    let blanks = width.map_or(3, |width| {
        width.saturating_sub(length + code.chars().count()).max(3)
    });
    format!(
        "{} {}{}{}",
        ui.paint_out(paint, sign),
        ui.paint_out(Paint::Bold, &finding.summary),
        " ".repeat(blanks),
        ui.paint_out(Paint::Dim, code)
    )
}

fn finding_lines(ui: &Ui, finding: &Finding, width: Option<usize>) -> Result<(), Failure> {
    let (sign, paint) = match finding.severity {
        Severity::Error => ("✗", Paint::Bad),
        Severity::Warning => ("!", Paint::Warn),
        Severity::Info => ("·", Paint::Dim),
    };
    ui.out(&headline(ui, sign, paint, finding, width))?;
    let part = |label: &str, lines: &[String]| -> Result<(), Failure> {
        for (index, line) in lines.iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            let label = ui.paint_out(Paint::Dim, &format!("{label:<9}"));
            ui.out(&format!("  {label} {line}"))?;
        }
        Ok(())
    };
    let room = width.map(|width| width.saturating_sub(12));
    let mut evidence = Vec::new();
    for fact in &finding.evidence {
        evidence.extend(text::wrap(&fact_line(fact), room));
        if let Some(command) = &fact.command {
            // Commands are copied: never broken into lines.
            evidence.push(format!("  see it yourself: {command}"));
        }
    }
    part("evidence", &evidence)?;
    part("why", &text::wrap(&finding.impact, room))?;
    part("cause", &text::wrap(&finding.cause, room))?;
    let mut fix = Vec::new();
    if let Some(command) = &finding.fix.command {
        fix.push(format!(
            "{command}      interrupts: {}",
            finding.fix.interrupts
        ));
        for (index, command) in finding.fix.manual.iter().enumerate() {
            let label = if index == 0 { "by hand:" } else { "" };
            fix.push(format!("{label:<8} {command}"));
        }
    } else {
        fix.extend(finding.fix.manual.iter().cloned());
        if !finding.fix.manual.is_empty() && !finding.fix.interrupts.is_empty() {
            fix.push(format!("interrupts: {}", finding.fix.interrupts));
        }
    }
    part("fix", &fix)
}

/// `oldest task in celery: 12 min (too much from 5 min) · Redis, database 1`
fn fact_line(fact: &Evidence) -> String {
    let mut line = if fact.what.is_empty() {
        fact.value.clone()
    } else {
        format!("{}: {}", fact.what, fact.value)
    };
    if let Some(threshold) = &fact.threshold {
        line += &format!(" (limit {threshold})");
    }
    if !fact.source.is_empty() {
        line += &format!(" · {}", fact.source);
    }
    line
}

/// What comes of a root cause: its consequences in a line, with -v in full.
fn explained(
    ui: &Ui,
    diagnosis: &Diagnosis,
    root: &Finding,
    width: Option<usize>,
) -> Result<(), Failure> {
    let explained = diagnosis.explained_by(root.code);
    let (unseen, seen): (Vec<&Finding>, Vec<&Finding>) = explained
        .into_iter()
        .partition(|finding| finding.code == Code::Unknown);
    let names = |findings: &[&Finding]| {
        findings
            .iter()
            .map(|finding| match (&finding.code, &finding.service) {
                (Code::Unknown, _) => finding.check.to_owned(),
                (code, Some(service)) => format!("{code} ({service})"),
                (code, None) => code.to_string(),
            })
            .collect::<Vec<_>>()
            .join(", ")
    };
    for (label, findings) in [
        ("explained by it", &seen),
        ("not to be checked because of it", &unseen),
    ] {
        if findings.is_empty() {
            continue;
        }
        ui.out("")?;
        let text = format!("{label}: {}", names(findings));
        for line in text::wrap(&text, width.map(|width| width.saturating_sub(2))) {
            ui.out(&format!("  {line}"))?;
        }
    }
    if ui.verbose {
        for finding in seen {
            ui.out("")?;
            finding_lines(ui, finding, width)?;
        }
    }
    Ok(())
}

fn checks_table(ui: &Ui, diagnosis: &Diagnosis) -> Result<(), Failure> {
    let mut rows = vec![["CHECK", "RESULT", "TOOK", ""].map(str::to_owned).to_vec()];
    rows.extend(diagnosis.checks.iter().map(|made| {
        let word = serde_json::to_value(made.result).unwrap_or_default();
        vec![
            made.check.to_owned(),
            word.as_str().unwrap_or_default().to_owned(),
            format!("{} ms", made.took_ms),
            made.why.clone().unwrap_or_default(),
        ]
    }));
    let sides = [Side::Left, Side::Left, Side::Right, Side::Left];
    for line in table::lines(&sides, &rows) {
        ui.out(&line)?;
    }
    Ok(())
}
