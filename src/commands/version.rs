//! `ooy --version`, and what else clap answers by itself.

use std::ffi::OsString;

use clap::error::ErrorKind;

use crate::cli::Global;
use crate::ui::Ui;

/// Answers a command line that names nothing to do: help, version, or what is wrong with it; the
/// exit code. clap ends at `--version`, whatever stands beside it: `--json` is looked for here.
pub fn or_usage(answer: &clap::Error, arguments: &[OsString]) -> u8 {
    if answer.kind() == ErrorKind::DisplayVersion
        && arguments.iter().any(|argument| argument == "--json")
    {
        // Whoever read it has gone: nothing to tell to nobody.
        let _ = Ui::new(&Global::default()).json(&serde_json::json!({
            "schema": 1,
            "version": env!("CARGO_PKG_VERSION"),
            "commit": env!("OOY_COMMIT"),
            "target": env!("OOY_TARGET"),
        }));
        return 0;
    }
    let _ = answer.print();
    u8::try_from(answer.exit_code()).unwrap_or(2)
}
