//! The lines for Asterisk that hand finished calls in.

use std::net::SocketAddr;

use super::embedded;
use super::places::Places;

/// How Asterisk hands a call in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It starts `ooy agi` for each call.
    Agi,
    /// It connects to `ooy calls serve`, and starts `ooy agi` where that does not run.
    FastAgi,
    /// The wiki's dialplan stays; what has to be done beside it.
    Old,
}

/// Where Asterisk connects to when the setting names no TCP port.
const USUAL_PORT: u16 = 4573;

/// Where the executable is expected on a PBX.
const EXECUTABLE: &str = "/usr/local/bin/ooy";

/// The text, ready to be saved. `listen`: the setting CALLS_LISTEN.
pub fn text(way: Way, places: &Places, time_zone: &str, listen: &str) -> String {
    let part = |name: &str| embedded::text(name).unwrap_or_default();
    let (base, end, through) = match way {
        Way::Agi => ("dialplan/ooy.conf", "dialplan/end-agi.conf", "`ooy agi`"),
        Way::FastAgi => (
            "dialplan/ooy.conf",
            "dialplan/end-fastagi.conf",
            "`ooy calls serve` (FastAGI)",
        ),
        Way::Old => ("dialplan/old.conf", "", ""),
    };
    let home = places.home.as_ref().map(|home| home.display().to_string());
    let home_option = home.map(|home| format!("--home={home}"));
    let agi: Vec<&str> = [Some(EXECUTABLE), home_option.as_deref(), Some("agi")]
        .into_iter()
        .flatten()
        .collect();
    let serve = [
        Some(EXECUTABLE),
        home_option.as_deref(),
        Some("calls serve"),
    ]
    .into_iter()
    .flatten()
    .collect::<Vec<_>>()
    .join(" ");
    let service = match way {
        Way::FastAgi => service(&serve),
        _ => String::new(),
    };
    // The parts first: they have names of their own.
    [
        ("END", part(end)),
        ("SERVICE", service),
        ("THROUGH", through.to_owned()),
        ("AGI", agi.join(",")),
        ("HAND_IN", places.command("agi")),
        ("LISTEN", connect_to(listen)),
        ("TIME_ZONE", time_zone.to_owned()),
        ("SPOOL", places.spool.display().to_string()),
        ("SETTINGS", places.env_file.display().to_string()),
        ("CALLS_DIALPLAN", places.command("calls dialplan")),
    ]
    .iter()
    .fold(part(base), |text, (name, value)| {
        text.replace(&format!("{{{{{name}}}}}"), value)
    })
}

/// How `ooy calls serve` is kept running, as a comment.
fn service(serve: &str) -> String {
    let unit = embedded::text("systemd/ooy-calls.service")
        .unwrap_or_default()
        .replace("{{USER}}", "asterisk")
        .replace("{{SERVE}}", serve);
    let mut text = "; 4. Keep `ooy calls serve` running. Save this as /etc/systemd/system/ooy-calls.service, then\n\
        ;    systemctl daemon-reload && systemctl enable --now ooy-calls\n;\n"
        .to_owned();
    for line in unit.lines() {
        let line = format!(";      {line}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str(";\n");
    text
}

/// The address that Asterisk, on the same machine, finds the server at.
fn connect_to(listen: &str) -> String {
    match listen.parse::<SocketAddr>() {
        Ok(address) if !address.ip().is_unspecified() => address.to_string(),
        Ok(address) => format!("127.0.0.1:{}", address.port()),
        // Asterisk knows no unix sockets.
        Err(_) => format!("127.0.0.1:{USUAL_PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(way: Way, home: Option<&str>) -> String {
        text(
            way,
            &Places::new(home.map(std::path::Path::new)),
            "Africa/Nairobi",
            "0.0.0.0:4000",
        )
    }

    #[test]
    fn nothing_is_left_to_fill_in() {
        for way in [Way::Agi, Way::FastAgi, Way::Old] {
            let text = shown(way, None);
            assert!(!text.contains("{{"), "{text}");
            assert!(text.contains("Africa/Nairobi") && text.contains("/var/spool/ooy"));
            // A line of a dialplan is not folded; prose is.
            for line in text.lines().filter(|line| line.starts_with("; ")) {
                assert!(line.len() <= 110 || line.contains("exten"), "{line}");
            }
        }
    }

    #[test]
    fn both_ways_have_the_same_contexts_and_the_same_last_resort() {
        let agi = shown(Way::Agi, None);
        let fast = shown(Way::FastAgi, None);
        for context in [
            "[ooy-inbound]",
            "[ooy-outbound]",
            "[ooy-begin]",
            "[ooy-end]",
        ] {
            assert!(agi.contains(context) && fast.contains(context));
        }
        let call = "AGI(/usr/local/bin/ooy,agi,\"${MSISDN}\",${CALL_START},${CALL_END},\"${CALL_DIRECTION}\")";
        assert!(agi.contains(call) && fast.contains(call));
        let last = "echo 'agi_uniqueid: ${UNIQUEID}' | ooy agi '${MSISDN}'";
        assert!(agi.contains(last) && fast.contains(last));
        assert!(fast.contains("AGI(agi://127.0.0.1:4000/call?linkedid=${CHANNEL(linkedid)},"));
        assert!(!agi.contains("agi://") && !agi.contains("systemctl"));
        assert!(fast.contains(";      ExecStart=/usr/local/bin/ooy calls serve\n"));
    }

    #[test]
    fn a_deployment_below_a_folder_is_named_in_each_command() {
        let text = shown(Way::FastAgi, Some("/srv/ooy"));
        assert!(text.contains("AGI(/usr/local/bin/ooy,--home=/srv/ooy,agi,"));
        assert!(text.contains("| ooy --home /srv/ooy agi '${MSISDN}'"));
        assert!(text.contains("ExecStart=/usr/local/bin/ooy --home=/srv/ooy calls serve"));
    }

    #[test]
    fn asterisk_is_told_a_place_that_it_can_connect_to() {
        assert_eq!(connect_to("127.0.0.1:4573"), "127.0.0.1:4573");
        assert_eq!(connect_to("[::]:4000"), "127.0.0.1:4000");
        assert_eq!(connect_to("unix:/run/ooy"), "127.0.0.1:4573");
        assert_eq!(connect_to("off"), "127.0.0.1:4573");
    }
}
