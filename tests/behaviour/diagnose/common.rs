//! What a diagnosis has said, and what tests ask of it.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Home, Ran};

/// The answer of `ooy diagnose --json`.
pub struct Diagnosed {
    pub ran: Ran,
    pub json: Value,
}

impl Home {
    /// Diagnoses, with these arguments after `diagnose`.
    pub fn diagnose(&self, arguments: &[&str]) -> Diagnosed {
        let ran = self.ooy(&[&["diagnose", "--json"], arguments].concat());
        let json = ran.json();
        let diagnosed = Diagnosed { ran, json };
        diagnosed.has_its_form();
        diagnosed
    }

    /// Diagnoses until that is the one root cause: for faults that take a moment to show.
    #[track_caller]
    pub fn diagnose_until(&self, code: &str, limit: Duration) -> Diagnosed {
        let began = Instant::now();
        loop {
            let diagnosed = self.diagnose(&[]);
            if diagnosed.roots() == [code] || began.elapsed() > limit {
                diagnosed.only_root(code);
                return diagnosed;
            }
        }
    }

    /// Diagnoses until nothing is wrong any more.
    #[track_caller]
    pub fn healthy_again(&self, limit: Duration) {
        let began = Instant::now();
        loop {
            let diagnosed = self.diagnose(&[]);
            if diagnosed.json["ok"] == true {
                return;
            }
            assert!(began.elapsed() < limit, "{}", diagnosed.text());
        }
    }
}

impl Diagnosed {
    fn findings(&self) -> &[Value] {
        self.json["findings"].as_array().unwrap()
    }

    /// Codes of root causes among errors and warnings, in the order in which they are told.
    pub fn roots(&self) -> Vec<&str> {
        self.findings()
            .iter()
            .filter(|finding| finding["caused_by"].is_null() && finding["severity"] != "info")
            .map(|finding| finding["code"].as_str().unwrap())
            .collect()
    }

    /// The first finding of that code.
    #[track_caller]
    pub fn finding(&self, code: &str) -> &Value {
        self.findings()
            .iter()
            .find(|finding| finding["code"] == code)
            .unwrap_or_else(|| panic!("no {code}:\n{}", self.text()))
    }

    /// That code, and no other, is the root cause; its finding is complete. Answers the finding.
    #[track_caller]
    pub fn only_root(&self, code: &str) -> &Value {
        assert_eq!(self.roots(), [code], "\n{}", self.text());
        assert_eq!(self.json["ok"], false);
        assert_eq!(self.ran.code, 1);
        let finding = self.finding(code);
        complete(finding);
        tally(code);
        finding
    }

    /// Codes that this one explains, directly or not, without duplicates, sorted.
    pub fn explained(&self) -> Vec<&str> {
        let mut codes: Vec<&str> = self
            .findings()
            .iter()
            .filter(|finding| !finding["caused_by"].is_null())
            .map(|finding| finding["code"].as_str().unwrap())
            .collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    /// How a check ended.
    #[track_caller]
    pub fn result(&self, check: &str) -> &str {
        self.json["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|made| made["check"] == check)
            .unwrap_or_else(|| panic!("no check {check}"))["result"]
            .as_str()
            .unwrap()
    }

    /// For a failing test.
    pub fn text(&self) -> String {
        serde_json::to_string_pretty(&self.json["findings"]).unwrap()
    }

    /// design.md section 3.
    fn has_its_form(&self) {
        assert_eq!(self.json["schema"], 1);
        assert!(self.json["took_ms"].is_u64());
        self.json["checked_at"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .unwrap();
        for made in self.json["checks"].as_array().unwrap() {
            let result = made["result"].as_str().unwrap();
            assert!(
                ["ok", "warning", "error", "skipped", "unknown"].contains(&result),
                "{made}"
            );
        }
        let mut effects = false;
        for finding in self.findings() {
            assert!(
                finding["check"].as_str().is_some_and(|c| !c.is_empty()),
                "{finding}"
            );
            // Roots come first.
            let effect = !finding["caused_by"].is_null();
            assert!(effect || !effects, "{}", self.text());
            effects = effect;
        }
    }
}

/// Counted for the last line of scripts/test: a fault that was made and named first.
fn tally(code: &str) {
    let Some(folder) = std::env::var_os("OOY_TEST_WORK") else {
        return;
    };
    let path = std::path::Path::new(&folder).join("faults-named-first");
    let mut file = std::fs::File::options()
        .append(true)
        .create(true)
        .open(path)
        .unwrap();
    std::io::Write::write_all(&mut file, format!("{code}\n").as_bytes()).unwrap();
}

/// A root cause says how it is known, how to see it, why it matters, and what repairs it.
#[track_caller]
fn complete(finding: &Value) {
    let filled = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
    assert!(filled(&finding["summary"]), "{finding:#}");
    assert!(filled(&finding["impact"]), "impact: {finding:#}");
    let evidence = finding["evidence"].as_array().unwrap();
    assert!(!evidence.is_empty(), "evidence: {finding:#}");
    for fact in evidence {
        assert!(filled(&fact["value"]), "{finding:#}");
        assert!(filled(&fact["source"]), "{finding:#}");
    }
    assert!(
        evidence.iter().any(|fact| filled(&fact["command"])),
        "a command to see it: {finding:#}"
    );
    let fix = &finding["fix"];
    assert!(
        filled(&fix["command"]) || fix["manual"].as_array().is_some_and(|m| !m.is_empty()),
        "fix: {finding:#}"
    );
    if filled(&fix["command"]) {
        assert!(
            fix["command"].as_str().unwrap().contains(" fix "),
            "{finding:#}"
        );
        assert!(
            fix["manual"].as_array().is_some_and(|m| !m.is_empty()),
            "by hand: {finding:#}"
        );
    }
    assert!(filled(&fix["interrupts"]), "interrupts: {finding:#}");
}
