//! From the arguments of `ooy agi` to a call, whatever a dialplan or a caller makes of them.
//!
//! The caller id is chosen by the caller. A quotation mark in it makes Asterisk pass all four
//! arguments as one, a comma in it makes more than four.

use std::ffi::OsStr;

use super::record::Call;
use super::time::CallTime;

/// The four arguments of a call, and what was not as it should be.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parts {
    msisdn: String,
    start: String,
    end: String,
    direction: String,
    note: Option<&'static str>,
}

/// Reads MSISDN CALL_START CALL_END [DIRECTION]. Never fails: what is not there is empty.
pub fn read<S: AsRef<OsStr>>(arguments: &[S]) -> Call {
    let mut notes = Vec::new();
    let texts: Vec<String> = arguments
        .iter()
        .map(|argument| {
            let text = argument.as_ref().to_string_lossy();
            if matches!(text, std::borrow::Cow::Owned(_)) && notes.is_empty() {
                notes.push("an argument is not UTF-8 text".to_owned());
            }
            unquoted(&text)
        })
        .collect();
    let parts = take_apart(&texts);
    notes.extend(parts.note.map(str::to_owned));
    let direction = match parts.direction.to_ascii_lowercase() {
        empty if empty.is_empty() => {
            notes.push("the direction of the call is missing".to_owned());
            "unknown".to_owned()
        }
        known if is_direction(&known) => known,
        _ => parts.direction,
    };
    Call {
        msisdn: parts.msisdn,
        start: parts.start,
        end: parts.end,
        direction,
        notes,
        ..Call::default()
    }
}

fn take_apart(texts: &[String]) -> Parts {
    if stand_as_they_should(texts) {
        return in_order(texts);
    }
    let pieces: Vec<String> = texts
        .iter()
        .flat_map(|text| text.split(','))
        .map(unquoted)
        .collect();
    let Some(start) = find_start(&pieces) else {
        return in_order(texts);
    };
    let at = |index: usize| pieces.get(index).cloned().unwrap_or_default();
    // All before the start is the caller id, all after the end the direction.
    let mut found = Parts {
        msisdn: pieces[..start].join(","),
        start: at(start),
        end: at(start + 1),
        direction: pieces.get(start + 2..).unwrap_or_default().join(","),
        note: None,
    };
    if found.direction.is_empty() && is_direction(&found.end.to_ascii_lowercase()) {
        std::mem::swap(&mut found.direction, &mut found.end);
    }
    found.note = Some(if texts.len() == 1 {
        "all arguments came as one (a quotation mark in the caller id does that)"
    } else {
        "the arguments came as more than there are (a comma in the caller id does that)"
    });
    found
}

/// Whether the second and third argument are where they belong. A time that was not understood
/// is no reason to look for another in its place while its neighbour is one.
fn stand_as_they_should(texts: &[String]) -> bool {
    let is_time = |at: usize| {
        texts
            .get(at)
            .is_some_and(|text| CallTime::parse(text).is_some())
    };
    texts.len() <= 4 && (is_time(1) || (is_time(2) && !is_time(3)))
}

fn in_order(texts: &[String]) -> Parts {
    let at = |index: usize| texts.get(index).cloned().unwrap_or_default();
    let mut parts = Parts {
        msisdn: at(0),
        start: at(1),
        end: at(2),
        direction: texts.get(3..).unwrap_or_default().join(","),
        note: None,
    };
    // The end, or both times, left out.
    if parts.direction.is_empty() {
        for place in [&mut parts.end, &mut parts.start] {
            if is_direction(&place.to_ascii_lowercase()) {
                parts.direction = std::mem::take(place);
                break;
            }
        }
    }
    parts
}

/// Where the start of the call stands: a time that another follows, else any time, else where it
/// has to be when the direction is the last.
fn find_start(pieces: &[String]) -> Option<usize> {
    let is_time = |at: &usize| {
        pieces
            .get(*at)
            .is_some_and(|piece| CallTime::parse(piece).is_some())
    };
    // The first is the caller id, or a part of it.
    let places = 1..pieces.len();
    places
        .clone()
        .find(|at| is_time(at) && is_time(&(at + 1)))
        .or_else(|| places.clone().find(is_time))
        .or_else(|| {
            let last = pieces.last()?.to_ascii_lowercase();
            (pieces.len() >= 4 && is_direction(&last)).then(|| pieces.len() - 3)
        })
}

fn is_direction(text: &str) -> bool {
    matches!(text, "inbound" | "outbound")
}

/// Without the quotes that `Set(X="inbound")` leaves in a value, and without space around it.
fn unquoted(text: &str) -> String {
    text.trim_matches(|c: char| c == '"' || c == '\'' || c.is_whitespace())
        .replace('"', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStrExt as _;

    const START: &str = "2026-11-22T11:07:32";
    const END: &str = "2026-11-22T11:07:33";

    fn parts(arguments: &[&str]) -> [String; 4] {
        let call = read(arguments);
        [call.msisdn, call.start, call.end, call.direction]
    }

    #[test]
    fn the_wikis_arguments_are_read() {
        assert_eq!(
            parts(&["254712345678", START, END, "inbound"]),
            ["254712345678", START, END, "inbound"]
        );
        assert_eq!(
            parts(&["0712345678", START, END, "\"Outbound\""]),
            ["0712345678", START, END, "outbound"]
        );
        assert!(
            read(&["254712345678", START, END, "inbound"])
                .notes
                .is_empty()
        );
    }

    #[test]
    fn nothing_of_a_caller_id_is_an_option() {
        for caller in ["--home", "serve", "-h", "--", "", "calls"] {
            assert_eq!(
                parts(&[caller, START, END, "inbound"]),
                [caller, START, END, "inbound"]
            );
        }
    }

    #[test]
    fn a_quotation_mark_in_the_caller_id_loses_nothing() {
        let whole = format!("0712x,{START},{END},inbound");
        assert_eq!(parts(&[&whole]), ["0712x", START, END, "inbound"]);
        let with_comma = format!("0712,x,{START},{END},inbound");
        assert_eq!(parts(&[&with_comma]), ["0712,x", START, END, "inbound"]);
        let epoch = "0712345678,1795345652,1795345660,outbound";
        assert_eq!(
            parts(&[epoch]),
            ["0712345678", "1795345652", "1795345660", "outbound"]
        );
        let without_direction = format!("0712x,{START},{END}");
        assert_eq!(
            parts(&[&without_direction]),
            ["0712x", START, END, "unknown"]
        );
        assert_eq!(parts(&["0712x,,,inbound"]), ["0712x", "", "", "inbound"]);
        assert_eq!(
            read(&[whole]).notes,
            ["all arguments came as one (a quotation mark in the caller id does that)"]
        );
    }

    #[test]
    fn a_comma_in_the_caller_id_loses_nothing() {
        assert_eq!(
            parts(&["0712", "345", START, END, "inbound"]),
            ["0712,345", START, END, "inbound"]
        );
        assert_eq!(
            parts(&["0712", "345", START, END]),
            ["0712,345", START, END, "unknown"]
        );
        assert_eq!(
            parts(&["a", "b", "c", START, END, "inbound", "more"]),
            ["a,b,c", START, END, "inbound,more"]
        );
    }

    #[test]
    fn what_is_missing_is_empty_and_the_rest_keeps_its_place() {
        assert_eq!(parts(&["0712345678"]), ["0712345678", "", "", "unknown"]);
        assert_eq!(
            parts(&["0712345678", START]),
            ["0712345678", START, "", "unknown"]
        );
        assert_eq!(
            parts(&["0712345678", START, "inbound"]),
            ["0712345678", START, "", "inbound"]
        );
        assert_eq!(
            parts(&["0712345678", "outbound"]),
            ["0712345678", "", "", "outbound"]
        );
        assert_eq!(
            parts(&["0712345678", "", END, "inbound"]),
            ["0712345678", "", END, "inbound"]
        );
        assert_eq!(
            parts(&["0712345678", "garbage", END, "inbound"]),
            ["0712345678", "garbage", END, "inbound"]
        );
        assert_eq!(
            parts(&["0712345678", "", "", "inbound"]),
            ["0712345678", "", "", "inbound"]
        );
        assert_eq!(parts(&["", "", "", ""]), ["", "", "", "unknown"]);
        assert_eq!(
            read(&["0712345678", START, END]).notes,
            ["the direction of the call is missing"]
        );
    }

    #[test]
    fn bytes_that_are_no_text_and_newlines_are_taken() {
        let call = read(&[
            OsStr::from_bytes(b"07\xff12"),
            OsStr::new("2026-11-22T11:07:32\n"),
            OsStr::new(END),
            OsStr::new("in\nbound"),
        ]);
        assert_eq!(call.msisdn, "07\u{fffd}12");
        assert_eq!(call.start, START);
        assert_eq!(call.direction, "in\nbound");
        assert_eq!(call.notes, ["an argument is not UTF-8 text"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]
        #[test]
        fn no_arguments_make_it_panic(arguments in proptest::collection::vec(any::<String>(), 0..8)) {
            read(&arguments);
        }

        #[test]
        fn whatever_the_caller_id_the_times_and_the_direction_are_found(
            caller in "[^\"]{0,30}",
            outbound in any::<bool>(),
        ) {
            let direction = if outbound { "outbound" } else { "inbound" };
            // As Asterisk passes it: whole, taken apart at its commas, or all as one.
            let joined = format!("{caller},{START},{END},{direction}");
            let apart: Vec<&str> = joined.split(',').collect();
            for arguments in [vec![caller.as_str(), START, END, direction], apart, vec![joined.as_str()]] {
                let [_, start, end, way] = parts(&arguments);
                prop_assert_eq!([start.as_str(), &end, &way], [START, END, direction]);
            }
        }
    }
}
