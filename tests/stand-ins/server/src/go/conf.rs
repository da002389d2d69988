//! ezconf and Go's flag package: every setting is a flag, and an environment variable with
//! the service's prefix; the flag wins, an empty variable counts as unset.

use std::collections::HashMap;
use std::fmt::Write;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Int,
    Float,
    Bool,
}

/// One setting: its name in snake case, what it holds, and its default.
#[derive(Debug)]
pub struct Setting {
    pub name: &'static str,
    pub kind: Kind,
    pub default: &'static str,
}

pub const fn text(name: &'static str, default: &'static str) -> Setting {
    Setting { name, kind: Kind::Text, default }
}

pub const fn int(name: &'static str, default: &'static str) -> Setting {
    Setting { name, kind: Kind::Int, default }
}

pub const fn float(name: &'static str, default: &'static str) -> Setting {
    Setting { name, kind: Kind::Float, default }
}

pub const fn switch(name: &'static str, default: &'static str) -> Setting {
    Setting { name, kind: Kind::Bool, default }
}

#[derive(Debug)]
pub struct Program {
    pub name: &'static str,
    pub description: &'static str,
    pub settings: &'static [Setting],
}

#[derive(Debug, Default)]
pub struct Values(HashMap<&'static str, String>);

impl Values {
    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub fn int(&self, name: &str) -> i64 {
        self.text(name).parse().unwrap_or_default()
    }

    pub fn is_set(&self, name: &str) -> bool {
        parse_bool(self.text(name)).unwrap_or_default()
    }
}

/// Why the program ends instead of starting.
#[derive(Debug, PartialEq, Eq)]
struct Refusal {
    /// Go's flag package writes to standard error, ezconf to standard output.
    to_stdout: bool,
    message: String,
    code: i32,
}

impl Program {
    /// The settings of this process, or its end.
    pub fn load(&self, arguments: &[String]) -> Values {
        match self.read(arguments, |name| std::env::var(name).ok()) {
            Ok(values) => values,
            Err(refusal) => {
                if refusal.to_stdout {
                    print!("{}", refusal.message);
                } else {
                    eprint!("{}", refusal.message);
                }
                eprint!("{}", self.usage());
                crate::boot::exit(refusal.code)
            }
        }
    }

    fn read(
        &self,
        arguments: &[String],
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Values, Refusal> {
        let flags = self.parse_flags(arguments)?;
        let mut values = Values::default();
        for setting in self.settings {
            values.0.insert(setting.name, setting.default.to_owned());
            let name = format!("{}_{}", self.name, setting.name).to_uppercase();
            if let Some(value) = variable(&name).filter(|v| !v.is_empty()) {
                check(setting.kind, &value).map_err(|problem| Refusal {
                    to_stdout: true,
                    message: format!("Error while reading configuration: {problem}\n\n"),
                    code: 1,
                })?;
                values.0.insert(setting.name, value);
            }
        }
        values.0.extend(flags);
        Ok(values)
    }

    fn parse_flags(&self, arguments: &[String]) -> Result<HashMap<&'static str, String>, Refusal> {
        let refuse = |message: String, code| Refusal { to_stdout: false, message, code };
        let mut flags = HashMap::new();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            // The first word that is no flag ends them; what follows is ignored.
            let Some(flag) = argument.strip_prefix('-').filter(|f| !f.is_empty()) else { break };
            let flag = match flag.strip_prefix('-') {
                Some("") => break,
                Some(long) => long,
                None => flag,
            };
            if flag.starts_with('-') || flag.starts_with('=') {
                return Err(refuse(format!("bad flag syntax: {argument}\n"), 2));
            }
            let (name, given) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            match name {
                "help" => return Err(refuse(String::new(), 1)),
                "h" => return Err(refuse(String::new(), 0)),
                "debug-conf" => continue,
                _ => {}
            }
            let setting = self.settings.iter().find(|s| s.name.replace('_', "-") == name);
            let Some(setting) = setting else {
                return Err(refuse(format!("flag provided but not defined: -{name}\n"), 2));
            };
            let value = match given {
                Some(value) => value,
                None if setting.kind == Kind::Bool => "true".into(),
                None => rest
                    .next()
                    .cloned()
                    .ok_or_else(|| refuse(format!("flag needs an argument: -{name}\n"), 2))?,
            };
            if check(setting.kind, &value).is_err() {
                let kind = if setting.kind == Kind::Bool { "boolean value" } else { "value" };
                let tail = if setting.kind == Kind::Bool { "" } else { "flag " };
                return Err(refuse(
                    format!("invalid {kind} \"{value}\" for {tail}-{name}: parse error\n"),
                    2,
                ));
            }
            flags.insert(setting.name, value);
        }
        Ok(flags)
    }

    fn usage(&self) -> String {
        let mut text = format!("{}\n\nUsage of {}:\n", self.description, self.name);
        let mut settings: Vec<&Setting> = self.settings.iter().collect();
        settings.sort_by_key(|s| s.name);
        for setting in &settings {
            let kind = match setting.kind {
                Kind::Text => " string",
                Kind::Int => " int",
                Kind::Float => " float",
                Kind::Bool => "",
            };
            let _ = writeln!(text, "  -{}{kind}", setting.name.replace('_', "-"));
            let default = match (setting.kind, setting.default) {
                (_, "" | "0" | "false") => String::new(),
                (Kind::Text, value) => format!("(default \"{value}\")"),
                (_, value) => format!("(default {value})"),
            };
            let _ = writeln!(text, "    \t{default}");
        }
        text.push_str("\nEnvironment variables:\n");
        for setting in settings {
            let name = format!("{}_{}", self.name, setting.name).to_uppercase();
            let kind = match setting.kind {
                Kind::Text => "string",
                Kind::Int => "int",
                Kind::Float => "float",
                Kind::Bool => "bool",
            };
            let _ = writeln!(text, "    {name:>40} - {kind}");
        }
        text
    }
}

fn check(kind: Kind, value: &str) -> Result<(), String> {
    let quoted = |function: &str| {
        let mut text = format!("strconv.{function}: parsing ");
        super::log::quote(&mut text, value);
        text + ": invalid syntax"
    };
    match kind {
        Kind::Text => Ok(()),
        Kind::Int => value.parse::<i64>().map(|_| ()).map_err(|_| quoted("ParseInt")),
        Kind::Float => value.parse::<f64>().map(|_| ()).map_err(|_| quoted("ParseFloat")),
        Kind::Bool => parse_bool(value).map(|_| ()).ok_or_else(|| quoted("ParseBool")),
    }
}

fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: Program = Program {
        name: "mailroom",
        description: "Mailroom",
        settings: &[
            text("address", "localhost"),
            int("batch_workers", "4"),
            switch("retry_pending_messages", "true"),
        ],
    };

    fn read(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Values, Refusal> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        PROGRAM.read(&arguments, |name| {
            variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string())
        })
    }

    #[test]
    fn flags_win_over_variables_and_those_over_defaults() {
        let values = read(&[], &[]).unwrap();
        assert_eq!(values.text("address"), "localhost");
        assert!(values.is_set("retry_pending_messages"));

        let variables = [("MAILROOM_ADDRESS", "0.0.0.0"), ("MAILROOM_BATCH_WORKERS", "0")];
        let values = read(&["-batch-workers=8", "ignored", "--nonsense"], &variables).unwrap();
        assert_eq!(values.text("address"), "0.0.0.0");
        assert_eq!(values.int("batch_workers"), 8);

        let values = read(&["--address", "::", "--retry-pending-messages=f"], &variables).unwrap();
        assert_eq!(values.text("address"), "::");
        assert!(!values.is_set("retry_pending_messages"));
        assert_eq!(read(&[], &[("MAILROOM_ADDRESS", "")]).unwrap().text("address"), "localhost");
    }

    #[test]
    fn what_go_refuses_ends_the_program() {
        for (arguments, message, code) in [
            (&["--workers", "3"][..], "flag provided but not defined: -workers\n", 2),
            (&["--address"], "flag needs an argument: -address\n", 2),
            (
                &["-batch-workers", "x"],
                "invalid value \"x\" for flag -batch-workers: parse error\n",
                2,
            ),
            (&["---address"], "bad flag syntax: ---address\n", 2),
            (&["--help"], "", 1),
        ] {
            let refusal = read(arguments, &[]).unwrap_err();
            assert_eq!((refusal.message.as_str(), refusal.code), (message, code));
            assert!(!refusal.to_stdout);
        }
        let refusal = read(&[], &[("MAILROOM_BATCH_WORKERS", "many")]).unwrap_err();
        assert!(refusal.to_stdout && refusal.code == 1);
        assert!(refusal.message.contains("strconv.ParseInt: parsing \"many\": invalid syntax"));
    }

    #[test]
    fn usage_names_flags_and_variables() {
        let usage = PROGRAM.usage();
        assert!(usage.contains("  -address string\n    \t(default \"localhost\")\n"));
        assert!(usage.contains("MAILROOM_BATCH_WORKERS - int\n"));
    }
}
