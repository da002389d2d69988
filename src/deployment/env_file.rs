//! Reads and writes the settings file.
//!
//! dotenvy does the reading; before it, every line is checked, and a line whose meaning
//! dotenvy and a person (or compose) could see differently is refused. dotenvy would cut
//! `A=pa$word` to `pa` without a word, and its own errors quote the line, secret included;
//! neither reaches the operator from here.

use std::path::Path;

use crate::fault::{Fault, Result};

/// One setting as it stands in the file.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// Line in the file, from 1.
    pub line: usize,
    /// Name of the setting.
    pub key: String,
    /// Its value, quotes and escapes resolved.
    pub value: String,
}

// By hand: the value may be a secret.
impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}=…", self.line, self.key)
    }
}

/// What is wrong with one line, without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineFault {
    /// Line in the file, from 1.
    pub line: usize,
    /// What is wrong and how to write it instead.
    pub message: String,
}

/// All settings of the text in their order, or everything that is wrong with it.
pub fn parse(text: &str) -> std::result::Result<Vec<Entry>, Vec<LineFault>> {
    match parse_what_can_be(text) {
        (entries, faults) if faults.is_empty() => Ok(entries),
        (_, faults) => Err(faults),
    }
}

/// The settings of all lines that are right, and what is wrong with the others. Of a name that
/// is set twice the first counts. For what must not stand still because of a line that it does
/// not need.
pub fn parse_what_can_be(text: &str) -> (Vec<Entry>, Vec<LineFault>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut faults = Vec::new();
    let mut entries: Vec<Entry> = Vec::new();
    for (index, raw) in text.lines().enumerate() {
        let line = index + 1;
        let wrong = match check_line(raw) {
            Ok(None) => continue,
            Ok(Some(key)) => match entries.iter().find(|entry| entry.key == key) {
                Some(Entry { line: first, .. }) => {
                    format!("{key} is set already in line {first}; remove one")
                }
                // One line at a time: a fault has its line, and no value can refer to another.
                None => match dotenvy::from_read_iter(raw.as_bytes()).next() {
                    Some(Ok((key, value))) => {
                        entries.push(Entry { line, key, value });
                        continue;
                    }
                    _ => "cannot be read; write it as NAME='value'".to_owned(),
                },
            },
            Err(message) => message,
        };
        faults.push(LineFault {
            line,
            message: wrong,
        });
    }
    (entries, faults)
}

/// The name a line sets, nothing for an empty line or a comment, or what is wrong with it.
fn check_line(raw: &str) -> std::result::Result<Option<&str>, String> {
    let line = raw.trim_start();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").map_or(line, str::trim_start);
    let Some((key, value)) = line.split_once('=') else {
        return Err("is not of the form NAME=value".to_owned());
    };
    let name_ok = key
        .chars()
        .enumerate()
        .all(|(i, c)| c == '_' || c.is_ascii_alphabetic() || (i > 0 && c.is_ascii_digit()));
    if key.is_empty() || !name_ok {
        return Err(if key.trim_end() != key {
            format!("{}: no space may stand before the =", key.trim_end())
        } else {
            "the name before = may hold only letters, digits and _".to_owned()
        });
    }
    check_value(value).map_err(|message| format!("{key}: {message}"))?;
    Ok(Some(key))
}

fn check_value(value: &str) -> std::result::Result<(), String> {
    if value.starts_with([' ', '\t']) && !value.trim().is_empty() {
        return Err("no space may stand after the =".to_owned());
    }
    let rest = match value.chars().next() {
        Some('\'') => {
            let inner = &value[1..];
            let end = inner
                .find('\'')
                .ok_or("the closing ' is missing in this line")?;
            &inner[end + 1..]
        }
        Some('"') => {
            let end = check_double_quoted(&value[1..])?;
            &value[1 + end + 1..]
        }
        _ => {
            let end = value.find([' ', '\t']).unwrap_or(value.len());
            if let Some(bad) = value[..end].chars().find(|c| is_special(*c)) {
                return Err(format!(
                    "contains {bad}; write the value in 'single quotes'"
                ));
            }
            &value[end..]
        }
    };
    let rest_trimmed = rest.trim();
    let comment = rest_trimmed.starts_with('#') && rest.starts_with([' ', '\t']);
    if rest_trimmed.is_empty() || comment {
        Ok(())
    } else {
        Err("contains a space or goes on after its quotes; write the whole value in 'single quotes'".to_owned())
    }
}

/// Characters that some reader of such files treats specially in an unquoted value.
fn is_special(c: char) -> bool {
    matches!(c, '$' | '#' | '\'' | '"' | '\\' | '`') || c.is_whitespace() || c.is_control()
}

/// Where the closing quote stands.
fn check_double_quoted(inner: &str) -> std::result::Result<usize, String> {
    let mut escaped = false;
    for (index, c) in inner.char_indices() {
        match (escaped, c) {
            (true, '\\' | '"' | '$' | 'n') => escaped = false,
            (true, _) => {
                return Err("between \" only \\\\ \\\" \\$ and \\n may follow a backslash; or use 'single quotes'".to_owned());
            }
            (false, '\\') => escaped = true,
            (false, '"') => return Ok(index),
            (false, '$') => {
                return Err("contains $ between \"; write \\$ or use 'single quotes'".to_owned());
            }
            _ => {}
        }
    }
    Err("the closing \" is missing in this line".to_owned())
}

/// The value as it has to be written so that [`parse`] gives it back unchanged.
pub fn quote(value: &str) -> String {
    if value.chars().all(|c| !is_special(c)) {
        value.to_owned()
    } else if !value.contains(['\'', '\n', '\r', '\\']) {
        format!("'{value}'")
    } else {
        let mut quoted = String::with_capacity(value.len() + 8);
        quoted.push('"');
        for c in value.chars() {
            match c {
                '\n' => quoted.push_str("\\n"),
                '\\' | '"' | '$' => {
                    quoted.push('\\');
                    quoted.push(c);
                }
                _ => quoted.push(c),
            }
        }
        quoted.push('"');
        quoted
    }
}

/// The template with these values put in: a setting that stands there, commented out or not,
/// is replaced in its place.
pub fn fill(template: &str, values: &[(String, String)]) -> String {
    let mut filled = String::with_capacity(template.len() + 256);
    for line in template.lines() {
        let name = line
            .strip_prefix('#')
            .unwrap_or(line)
            .split_once('=')
            .map(|(name, _)| name);
        match values.iter().find(|(key, _)| Some(key.as_str()) == name) {
            Some((key, value)) => {
                filled.push_str(key);
                filled.push('=');
                filled.push_str(&quote(value));
            }
            None => filled.push_str(line),
        }
        filled.push('\n');
    }
    filled
}

/// Reads the file; a missing or unreadable one, or a faulty line, is one fault with all lines.
pub fn read(path: &Path, init: &str, check: &str) -> Result<Vec<Entry>> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|error| {
        let fault = match error.kind() {
            std::io::ErrorKind::NotFound => Fault::usage(
                format!("settings: {shown} is missing"),
                "this deployment has no settings file yet",
            )
            .evidence(format!("{shown}: {error}"))
            .next(init),
            std::io::ErrorKind::PermissionDenied => Fault::usage(
                format!("settings: {shown} cannot be read"),
                "the file belongs to another user; it holds secrets and is readable by its owner only",
            )
            .evidence(format!("{shown}: {error}"))
            .next(format!("sudo {check}")),
            _ => Fault::usage(
                format!("settings: {shown} cannot be read"),
                "reading the settings file failed",
            )
            .evidence(format!("{shown}: {error}"))
            .next(check),
        };
        Box::new(fault.why("without settings no service can be started or checked"))
    })?;
    let text = String::from_utf8(text).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()]
            .split(|byte| *byte == b'\n')
            .count();
        Fault::usage(
            format!("settings: {shown} is not UTF-8 text"),
            "the file holds bytes that are no text",
        )
        .evidence(format!("{shown}, line {line}"))
        .why("without settings no service can be started or checked")
        .next(check)
    })?;
    parse(&text).map_err(|faults| {
        let mut fault = Fault::usage(
            format!(
                "settings: {} in {shown}",
                match faults.len() {
                    1 => "1 line cannot be read".to_owned(),
                    n => format!("{n} lines cannot be read"),
                }
            ),
            "the file has lines that could be understood in two ways or in none",
        )
        .why("a value cut short is a wrong password later; nothing was started");
        for LineFault { line, message } in faults {
            fault = fault.evidence(format!("line {line}: {message}"));
        }
        Box::new(fault.next(format!("nano {shown}")).next(check))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(line: &str) -> std::result::Result<String, String> {
        parse(line)
            .map(|entries| entries[0].value.clone())
            .map_err(|faults| faults[0].message.clone())
    }

    #[test]
    fn values_that_two_readers_would_understand_differently_are_refused() {
        for line in [
            "A=hello world",
            "A=pa$word",
            "A=pa$$word",
            "A=${B}",
            "A=\"pa$word\"",
            "A=C:\\dir",
            "A=\"a\\tb\"",
            "A='it\\'s'",
            "A",
            "A-B=1",
            "A = 1",
            "A= 1",
            "A='open",
            "A=\"open",
            "A={\"k\": 1}",
            "A=a#b",
            "A='a'b",
        ] {
            assert!(one(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_usual_forms_are_read() {
        assert_eq!(one("A=").unwrap(), "");
        assert_eq!(one("export A=b").unwrap(), "b");
        assert_eq!(one("A='pa$word' # why").unwrap(), "pa$word");
        assert_eq!(one("A=\"pa\\$w\\\"\\\\x\\n\"").unwrap(), "pa$w\"\\x\n");
        assert_eq!(one("A=b   # comment").unwrap(), "b");
        assert_eq!(
            one("A=postgres://u:p%40x@h:5432/d?a=b").unwrap(),
            "postgres://u:p%40x@h:5432/d?a=b"
        );
        assert_eq!(one("\u{feff}A=b").unwrap(), "b");
    }

    #[test]
    fn a_name_set_twice_names_both_lines() {
        let faults = parse("A=1\n\nA=2").unwrap_err();
        assert_eq!(faults[0].line, 3);
        assert!(faults[0].message.contains("line 1"));
    }

    #[test]
    fn no_message_holds_the_value() {
        for line in ["A=sec ret", "A=se$cret", "A='secret", "A=\"sec\\ret\""] {
            assert!(!one(line).unwrap_err().contains("cret"), "{line}");
        }
    }

    #[test]
    fn filling_replaces_commented_and_plain_settings_in_place() {
        let filled = fill(
            "# A is b\nA=CHANGE_ME\n#B=1\n",
            &[("A".into(), "x y".into()), ("B".into(), "2".into())],
        );
        assert_eq!(filled, "# A is b\nA='x y'\nB=2\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn any_value_survives_the_file(value in "[^\r\u{0}]*") {
            let text = format!("BEFORE=1\nKEY={}\nAFTER=2\n", quote(&value));
            let entries = parse(&text).map_err(|f| TestCaseError::fail(format!("{f:?}")))?;
            prop_assert_eq!(entries.len(), 3);
            prop_assert_eq!(&entries[1].value, &value);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
