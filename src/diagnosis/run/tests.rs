use super::*;
use crate::deployment::places::Places;
use crate::deployment::services::Stack;
use crate::deployment::settings::Settings;
use crate::diagnosis::check::Looking;
use crate::lifecycle::Context;
use crate::operation::Reporter;

const SECRET: &str = "hunter2secret";

fn scene(folder: &std::path::Path) -> Scene {
    let places = Places::new(Some(folder));
    let text = format!("DIAGNOSE_TIMEOUT=1s\nEMAIL_HOST=smtp.test\nEMAIL_HOST_PASSWORD={SECRET}\n");
    std::fs::write(&places.env_file, text).unwrap();
    let (settings, wrong) = Settings::load_with_faults(&places).unwrap();
    let stack = Stack::load(&settings).unwrap();
    let context = Context::assemble(settings, stack, Reporter::new("diagnose"));
    Scene::new(context, wrong)
}

fn diagnose(checks: &[&'static Check]) -> Diagnosis {
    let folder = tempfile::tempdir().unwrap();
    let scene = scene(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut ended = 0;
    let diagnosis =
        tokio::task::LocalSet::new().block_on(&runtime, run(scene, checks, |count| ended = count));
    assert_eq!(ended, checks.len());
    diagnosis
}

fn check(name: &'static str, run: fn(Rc<Scene>) -> Looking) -> &'static Check {
    Box::leak(Box::new(Check {
        name,
        about: "a test",
        codes: &[],
        run,
    }))
}

fn result(diagnosis: &Diagnosis, name: &str) -> Result {
    let made = diagnosis.checks.iter().find(|made| made.check == name);
    made.unwrap().result
}

#[test]
fn a_check_that_panics_hangs_or_may_not_look_is_unknown_and_takes_no_other_with_it() {
    let diagnosis = diagnose(&[
        check("panics", |_| Box::pin(async { panic!("boom") })),
        check("hangs", |_| Box::pin(std::future::pending())),
        check("blocks", |_| {
            Box::pin(async {
                crate::diagnosis::check::blocking(|| {
                    std::thread::sleep(std::time::Duration::from_secs(3));
                    Report::fine()
                })
                .await
            })
        }),
        check("may-not", |_| {
            Box::pin(async { Err(Halt::unknown("permission denied")) })
        }),
        check("fine", |_| Box::pin(async { Ok(Report::fine()) })),
        check("unused", |_| {
            Box::pin(async { Err(Halt::unused("none here")) })
        }),
    ]);
    for name in ["panics", "hangs", "blocks", "may-not"] {
        assert_eq!(result(&diagnosis, name), Result::Unknown, "{name}");
        let finding = diagnosis.findings.iter().find(|f| f.check == name).unwrap();
        assert_eq!(finding.code, Code::Unknown);
        assert_eq!(finding.severity, Severity::Warning);
        assert!(!finding.evidence[0].value.is_empty());
    }
    assert_eq!(result(&diagnosis, "fine"), Result::Ok);
    assert_eq!(result(&diagnosis, "unused"), Result::Skipped);
    assert_eq!(diagnosis.findings.len(), 4);
    assert!(!diagnosis.ok);
    assert!(diagnosis.took_ms < 3000, "{} ms", diagnosis.took_ms);
}

#[test]
fn what_blocked_a_check_explains_it_only_where_it_was_found() {
    let blocked = check("blocked", |_| {
        Box::pin(async { Err(Halt::blocked(Code::PostgresUnreachable, "no database")) })
    });
    let alone = diagnose(&[blocked]);
    assert_eq!(alone.findings[0].caused_by, None);
    let finder = check("finder", |_| {
        Box::pin(async { Ok(Finding::error(Code::PostgresUnreachable, "it is down").into()) })
    });
    let both = diagnose(&[blocked, finder]);
    let codes: Vec<Code> = both.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::PostgresUnreachable, Code::Unknown]);
    assert_eq!(both.findings[1].caused_by, Some(Code::PostgresUnreachable));
    assert_eq!(both.explained_by(Code::PostgresUnreachable).len(), 1);
    assert_eq!(both.roots().count(), 1);
}

#[test]
fn roots_come_first_the_worse_before_the_others() {
    let diagnosis = diagnose(&[check("several", |_| {
        Box::pin(async {
            let mut report = Report::fine();
            report.found(Finding::info(Code::ContentrepoDebug, "info"));
            report.found(Finding::warning(Code::DiskLow, "warning"));
            report.found(Finding::error(Code::CeleryStalled, "error, near the roof"));
            report.found(Finding::error(
                Code::ServicePaused,
                "error, near the ground",
            ));
            Ok(report)
        })
    })]);
    let said: Vec<&str> = diagnosis
        .findings
        .iter()
        .map(|finding| finding.summary.as_str())
        .collect();
    assert_eq!(
        said,
        [
            "error, near the ground",
            "error, near the roof",
            "warning",
            "info"
        ]
    );
}

#[test]
fn no_text_of_a_finding_holds_a_secret() {
    let diagnosis = diagnose(&[check("careless", |_| {
        Box::pin(async {
            let fact = Evidence::new(SECRET, SECRET, SECRET)
                .threshold(SECRET)
                .command(SECRET);
            Ok(Finding::error(Code::DiskFull, SECRET)
                .evidence(fact)
                .impact(SECRET)
                .cause(SECRET)
                .fix(SECRET)
                .manual(SECRET)
                .interrupts(SECRET)
                .into())
        })
    })]);
    let text = format!(
        "{} {diagnosis:?}",
        serde_json::to_string(&diagnosis).unwrap()
    );
    assert!(!text.contains(SECRET), "{text}");
}

#[test]
fn the_json_has_the_documented_form() {
    let diagnosis = diagnose(&[check("disk", |_| {
        Box::pin(async {
            Ok(Finding::error(Code::DiskFull, "the disk is full")
                .evidence(Evidence::new("used", "100 %", "statvfs"))
                .into())
        })
    })]);
    let json = serde_json::to_value(&diagnosis).unwrap();
    let keys = |value: &serde_json::Value| {
        let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys.join(" ")
    };
    assert_eq!(keys(&json), "checked_at checks findings ok schema took_ms");
    let finding = &json["findings"][0];
    assert_eq!(
        keys(finding),
        "caused_by check code evidence fix impact service severity summary"
    );
    assert_eq!(finding["code"], "disk-full");
    assert_eq!(finding["severity"], "error");
    assert_eq!(
        keys(&finding["evidence"][0]),
        "command source threshold value what"
    );
    assert_eq!(keys(&finding["fix"]), "command interrupts manual");
    assert_eq!(keys(&json["checks"][0]), "check result took_ms");
}

#[test]
fn a_telephone_exchange_is_asked_only_for_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let mut scene = scene(folder.path());
    assert!(!scene.only_calls);
    scene.only_calls = true;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let fails = check("of-a-deployment", |_| {
        Box::pin(async { Err(Halt::unknown("no Docker")) })
    });
    let diagnosis = tokio::task::LocalSet::new().block_on(&runtime, run(scene, &[fails], |_| {}));
    assert!(diagnosis.ok);
    assert_eq!(diagnosis.checks[0].result, Result::Skipped);
}
