//! Runs checks side by side, each with a deadline, and puts together what they found.

use std::rc::Rc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::cause;
use super::check::{Check, Checked, Halt, Report};
use super::checks;
use super::code::{Code, Severity};
use super::finding::{Evidence, Finding};
use super::quiet::Quiet;
use super::scene::{NO_DEPLOYMENT, Scene};

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Result {
    /// It found nothing, or nothing worse than info.
    Ok,
    /// It found something to look after.
    Warning,
    /// It found something that does not work.
    Error,
    /// There is nothing of the kind in this deployment.
    Skipped,
    /// It could not look.
    Unknown,
}

/// A check that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Its name.
    pub check: &'static str,
    /// How it ended.
    pub result: Result,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Everything that one diagnosis has seen (design.md section 3).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// Version of this form.
    pub schema: u32,
    /// When it began.
    pub checked_at: Timestamp,
    /// How long it took, milliseconds.
    pub took_ms: u64,
    /// No error and no warning; info may stay.
    pub ok: bool,
    /// Root causes first, the worse before the others; then what they explain.
    pub findings: Vec<Finding>,
    /// In the order of `--list`.
    pub checks: Vec<Made>,
    /// What an operator watches, where all is well: "disk 61 %".
    #[serde(skip)]
    pub figures: Vec<String>,
}

impl Diagnosis {
    /// What no other finding explains, the worst first.
    pub fn roots(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(|finding| finding.caused_by.is_none())
    }

    /// What a root explains, directly or through others.
    pub fn explained_by(&self, root: Code) -> Vec<&Finding> {
        let top = |finding: &Finding| {
            let mut code = finding.caused_by?;
            // As long as there are causes of causes; the order of codes keeps it from a ring.
            while let Some(above) = self
                .findings
                .iter()
                .filter(|cause| cause.code == code)
                .filter_map(|cause| cause.caused_by)
                // A check may explain a finding by another of the same code.
                .find(|above| *above < code)
            {
                code = above;
            }
            Some(code)
        };
        self.findings
            .iter()
            .filter(|finding| top(finding) == Some(root))
            .collect()
    }
}

/// Runs these checks. `told` hears how many have ended.
pub async fn run(
    scene: Scene,
    chosen: &[&'static Check],
    mut told: impl FnMut(usize),
) -> Diagnosis {
    let _quiet = Quiet::new();
    let began = Instant::now();
    let scene = Rc::new(scene);
    let mut tasks = futures_util::stream::FuturesUnordered::new();
    for (index, check) in chosen.iter().enumerate() {
        let scene = Rc::clone(&scene);
        tasks.push(async move { (index, one(check, scene).await) });
    }
    let mut ended: Vec<Option<(Checked, Duration)>> = vec![None; chosen.len()];
    let mut count = 0;
    while let Some((index, end)) = futures_util::StreamExt::next(&mut tasks).await {
        ended[index] = Some(end);
        count += 1;
        told(count);
    }
    drop(tasks);
    let mut findings = Vec::new();
    let mut figures = Vec::new();
    let mut made = Vec::new();
    for (check, end) in chosen.iter().zip(ended) {
        let Some((outcome, took)) = end else { continue };
        let (result, why) = match outcome {
            Ok(report) => {
                let result = worst(&report);
                findings.extend(report.findings.into_iter().map(|finding| Finding {
                    check: check.name,
                    ..finding
                }));
                figures.extend(report.figures);
                (result, None)
            }
            Err(Halt::Unused(why)) => (Result::Skipped, Some(why)),
            Err(Halt::Blocked { by, why }) => {
                findings.push(unseen(&scene, check, &why, Some(by)));
                (Result::Unknown, None)
            }
            Err(Halt::Unknown(why)) => {
                findings.push(unseen(&scene, check, &why, None));
                (Result::Unknown, None)
            }
        };
        made.push(Made {
            check: check.name,
            result,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            why: why.map(|why| scene.context.mask.apply(&why)),
        });
    }
    // What blocked a check is its cause only if it was found; run alone, nobody looked for it.
    let found: Vec<Code> = findings.iter().map(|finding| finding.code).collect();
    for finding in &mut findings {
        finding.caused_by = finding.caused_by.filter(|by| found.contains(by));
        finding.map_texts(|text| scene.context.mask.apply(text));
    }
    cause::explain(&mut findings, &checks::rules(), &scene.context.stack);
    // Stable: within one rank in the order of the checks.
    findings.sort_by_key(|finding| {
        (
            finding.caused_by.is_some(),
            std::cmp::Reverse(finding.severity),
            finding.code,
        )
    });
    let checked_at = scene.now;
    if let Ok(scene) = Rc::try_unwrap(scene) {
        scene.keep_samples();
    }
    Diagnosis {
        schema: 1,
        checked_at,
        took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        ok: findings
            .iter()
            .all(|finding| finding.severity == Severity::Info),
        findings,
        checks: made,
        figures,
    }
}

/// One check: a task of its own, so that neither its end by a panic nor a step that never ends
/// reaches the others.
async fn one(check: &'static Check, scene: Rc<Scene>) -> (Checked, Duration) {
    let began = Instant::now();
    let deadline = scene.deadline;
    if scene.only_calls && !checks::is_for_any_host(check) {
        return (Err(Halt::unused(NO_DEPLOYMENT)), Duration::ZERO);
    }
    let mut task = tokio::task::spawn_local((check.run)(scene));
    let outcome = match tokio::time::timeout(deadline, &mut task).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Halt::unknown("the check met a case it was not made for")),
        Err(_) => {
            task.abort();
            // Until it is gone it holds the scene.
            let _ = task.await;
            Err(Halt::unknown(format!(
                "no result after {} s (DIAGNOSE_TIMEOUT)",
                deadline.as_secs()
            )))
        }
    };
    (outcome, began.elapsed())
}

fn worst(report: &Report) -> Result {
    let worst = report.findings.iter().map(|finding| finding.severity).max();
    match worst {
        Some(Severity::Error) => Result::Error,
        Some(Severity::Warning) => Result::Warning,
        _ => Result::Ok,
    }
}

/// A check that saw nothing is a finding of its own: never silently fine.
fn unseen(scene: &Scene, check: &Check, why: &str, by: Option<Code>) -> Finding {
    let mut finding = Finding::warning(
        Code::Unknown,
        format!("{}: could not be checked", check.name),
    )
    .evidence(
        Evidence::new("why", why, "ooy")
            .command(scene.command(&format!("diagnose -v {}", check.name))),
    )
    .impact(format!("nobody knows whether it is well: {}", check.about));
    finding.check = check.name;
    finding.caused_by = by;
    finding.blocked_by = by;
    if by.is_none() {
        finding = finding
            .manual(scene.command(&format!("diagnose -v {}", check.name)))
            .interrupts("nothing");
    }
    finding
}

#[cfg(test)]
mod tests;
