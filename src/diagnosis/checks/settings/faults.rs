//! What is wrong with the settings, as the reader of the file has said it.

use std::rc::Rc;

use crate::deployment::keys::{self, Kind, PLACEHOLDER};
use crate::diagnosis::check::{Checked, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};

/// One line of what is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// Its setting.
    pub name: String,
    /// The line in the file, where it has one.
    pub line: Option<String>,
    /// What is wrong, the name first.
    pub message: String,
    /// What that is called.
    pub code: Code,
}

/// Takes a line of `Settings::load_with_faults` apart: "line 12: EMAIL_HOST is empty".
fn parse(text: &str) -> Wrong {
    let (line, message) = match text
        .strip_prefix("line ")
        .and_then(|rest| rest.split_once(": "))
    {
        Some((line, message)) if line.bytes().all(|byte| byte.is_ascii_digit()) => {
            (Some(line.to_owned()), message)
        }
        _ => (None, text),
    };
    let name = message
        .split([' ', ':'])
        .next()
        .unwrap_or_default()
        .to_owned();
    let weak = || keys::find(&name).is_some_and(|key| key.kind == Kind::Token);
    let code = if message.contains(" is no setting of ooy") {
        Code::SettingUnknown
    } else if message.ends_with(&format!("still holds {PLACEHOLDER}")) {
        Code::SettingPlaceholder
    } else if message.contains(" name the same Redis database") {
        Code::RedisDatabaseShared
    } else if weak() && message.contains("has to be at least") {
        Code::SettingInsecureDefault
    } else {
        Code::SettingMissing
    };
    Wrong {
        name,
        line,
        message: message.to_owned(),
        code,
    }
}

/// All that is wrong.
pub fn wrong(scene: &Scene) -> Vec<Wrong> {
    scene
        .wrong_settings
        .iter()
        .map(|line| parse(line))
        .collect()
}

/// Names of the settings whose values are not known, because they are missing or wrong.
pub fn wrong_values(scene: &Scene) -> impl Iterator<Item = String> {
    wrong(scene)
        .into_iter()
        .filter(|wrong| !matches!(wrong.code, Code::SettingUnknown | Code::RedisDatabaseShared))
        .map(|wrong| wrong.name)
}

/// Whether this setting's value is not known.
pub fn is_wrong(scene: &Scene, name: &str) -> bool {
    wrong_values(scene).any(|wrong| wrong == name)
}

/// Under which code a wrong setting is found.
pub fn code_of(scene: &Scene, name: &str) -> Code {
    wrong(scene)
        .into_iter()
        .find(|wrong| wrong.name == name)
        .map_or(Code::SettingMissing, |wrong| wrong.code)
}

pub async fn check(scene: Rc<Scene>) -> Checked {
    let wrong = wrong(&scene);
    let mut report = Report::fine();
    for code in [
        Code::SettingMissing,
        Code::SettingPlaceholder,
        Code::SettingUnknown,
    ] {
        let found: Vec<&Wrong> = wrong.iter().filter(|wrong| wrong.code == code).collect();
        if !found.is_empty() {
            report.found(finding(&scene, code, &found));
        }
    }
    Ok(report)
}

/// All of one kind are one finding: they are put right in one go.
fn finding(scene: &Scene, code: Code, wrong: &[&Wrong]) -> Finding {
    let count = wrong.len();
    let summary = match wrong {
        [one] => one.message.clone(),
        _ => match code {
            Code::SettingPlaceholder => format!("{count} settings still hold {PLACEHOLDER}"),
            Code::SettingUnknown => format!("{count} lines of ooy.env are no settings of ooy"),
            _ => format!("{count} settings are missing or wrong"),
        },
    };
    let file = scene.context.settings.places.env_file.display().to_string();
    let mut finding = match code {
        Code::SettingUnknown => Finding::warning(code, summary).impact(
            "a misspelt setting has no effect; and ooy start refuses to begin while it is there",
        ),
        _ => Finding::error(code, summary).impact(
            "ooy start refuses to begin; what runs goes on with the values it was started with",
        ),
    };
    for one in wrong {
        let source = match &one.line {
            Some(line) => format!("{file}, line {line}"),
            None => file.clone(),
        };
        let without_name = one.message.trim_start_matches(&one.name);
        let said = without_name.trim_start_matches([':', ' ']);
        finding = finding.evidence(Evidence::new(&one.name, said, source));
    }
    if let Some(last) = finding.evidence.last_mut() {
        last.command = Some(scene.command("config --check"));
    }
    finding
        .manual(format!("sudo nano {file}"))
        .manual(scene.command("config --check"))
        .interrupts("nothing")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::places::Places;
    use crate::deployment::settings::Settings;

    #[track_caller]
    fn is(text: &str, name: &str, line: Option<&str>, code: Code) {
        let wrong = parse(text);
        assert_eq!(
            (wrong.name.as_str(), wrong.line.as_deref(), wrong.code),
            (name, line, code),
            "{text}"
        );
    }

    #[test]
    fn each_kind_of_line_has_its_code() {
        is(
            "EMAIL_HOST is missing",
            "EMAIL_HOST",
            None,
            Code::SettingMissing,
        );
        is(
            "line 7: EMAIL_HOST still holds CHANGE_ME",
            "EMAIL_HOST",
            Some("7"),
            Code::SettingPlaceholder,
        );
        is(
            "line 7: EMIAL_HOST is no setting of ooy; did you mean EMAIL_HOST?",
            "EMIAL_HOST",
            Some("7"),
            Code::SettingUnknown,
        );
        is(
            "line 9: HTTP_PORT is not a whole number from 1 to 65535",
            "HTTP_PORT",
            Some("9"),
            Code::SettingMissing,
        );
        is(
            "BIGQUERY_KEY_FILE: /x is no file",
            "BIGQUERY_KEY_FILE",
            None,
            Code::SettingMissing,
        );
        is(
            "RAPIDPRO_REDIS_URL and CASEPRO_REDIS_URL name the same Redis database; each needs a number of its own",
            "RAPIDPRO_REDIS_URL",
            None,
            Code::RedisDatabaseShared,
        );
    }

    /// Against the words of the reader itself, so that neither changes alone.
    #[test]
    fn the_lines_of_the_reader_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(Some(folder.path()));
        let text = "EMAIL_HOST=CHANGE_ME\nCASEPRO_SECRET_KEY=REPLACEME\nHTTP_PROT=81\nHTTPS_PORT=x\nRAPIDPRO_DOMAIN=\n";
        std::fs::write(&places.env_file, text).unwrap();
        let (_, lines) = Settings::load_with_faults(&places).unwrap();
        let code = |name: &str| {
            let line = lines
                .iter()
                .map(|line| parse(line))
                .find(|w| w.name == name);
            line.unwrap_or_else(|| panic!("{name}: {lines:?}")).code
        };
        assert_eq!(code("EMAIL_HOST"), Code::SettingPlaceholder);
        assert_eq!(code("CASEPRO_SECRET_KEY"), Code::SettingInsecureDefault);
        assert_eq!(code("HTTP_PROT"), Code::SettingUnknown);
        assert_eq!(code("HTTPS_PORT"), Code::SettingMissing);
        assert_eq!(code("RAPIDPRO_DOMAIN"), Code::SettingMissing);
        assert_eq!(code("MAILROOM_AUTH_TOKEN"), Code::SettingMissing);
    }

    #[test]
    fn a_shared_redis_database_is_said_in_these_words() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::new(Some(folder.path()));
        let key = |letter: &str| letter.repeat(30);
        let text = format!(
            "RAPIDPRO_DATABASE_URL=postgres://a:b@h/r\nCASEPRO_DATABASE_URL=postgres://a:b@h/c\n\
             CONTENTREPO_DATABASE_URL=postgres://a:b@h/o\nRAPIDPRO_REDIS_URL=redis://h/1\n\
             CASEPRO_REDIS_URL=redis://h/1\nCONTENTREPO_REDIS_URL=redis://h/2\nEMAIL_HOST=h\n\
             RAPIDPRO_SECRET_KEY={}\nCASEPRO_SECRET_KEY={}\nCONTENTREPO_SECRET_KEY={}\n\
             MAILROOM_AUTH_TOKEN={}\n",
            key("a"),
            key("b"),
            key("c"),
            key("d")
        );
        std::fs::write(&places.env_file, text).unwrap();
        let (_, lines) = Settings::load_with_faults(&places).unwrap();
        let codes: Vec<Code> = lines.iter().map(|line| parse(line).code).collect();
        assert_eq!(codes, [Code::RedisDatabaseShared], "{lines:?}");
    }
}
