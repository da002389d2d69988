//! The settings file: what is missing, wrong, unknown or weak in it, and who may read it.

mod faults;
mod permissions;
mod secrets;

pub(super) use faults::{code_of, is_wrong, wrong_values};

use crate::diagnosis::Code;
use crate::diagnosis::Finding;
use crate::diagnosis::cause::{Rule, When, rules};
use crate::diagnosis::check::{Check, Looking, Subject};

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[
        Check {
            name: "settings",
            about: "whether all settings are there, known and of the right kind",
            codes: &[
                Code::SettingMissing,
                Code::SettingPlaceholder,
                Code::SettingUnknown,
            ],
            run: |scene| -> Looking { Box::pin(faults::check(scene)) },
        },
        Check {
            name: "secrets",
            about: "secrets that are known to others, weak, or used twice",
            codes: &[Code::SettingInsecureDefault],
            run: |scene| -> Looking { Box::pin(secrets::check(scene)) },
        },
        Check {
            name: "file-permissions",
            about: "who may read settings, keys, journal and finished calls",
            codes: &[Code::FilePermissions],
            run: |scene| -> Looking { Box::pin(permissions::check(scene)) },
        },
    ],
    rules: RULES,
};

const RULES: &[Rule] = rules![
    // A host name that is wrong is asked for by its default, and nobody answers to that.
    CertificateMismatch <- ITS_DOMAIN => [SettingMissing, SettingPlaceholder];
    RapidproUnreachable <- ITS_DOMAIN => [SettingMissing, SettingPlaceholder];
    CaseproUnreachable <- ITS_DOMAIN => [SettingMissing, SettingPlaceholder];
    ContentrepoUnreachable <- ITS_DOMAIN => [SettingMissing, SettingPlaceholder];
    ServiceUnhealthy <- ITS_DOMAIN => [SettingMissing, SettingPlaceholder];
    UpstreamUnreachable <- ITS_DOMAIN => [SettingMissing, SettingPlaceholder];
    // nginx reads its key files at its start.
    NginxConfigInvalid <- KEY_FILE => [FilePermissions];
];

const ITS_DOMAIN: When = When::If(|_, setting, _| {
    setting
        .evidence
        .iter()
        .any(|fact| fact.what.ends_with("_DOMAIN"))
});

const KEY_FILE: When = When::If(|_, file: &Finding, _| permissions::keeps_nginx_away(file));
