//! New lines for pg_hba.conf, each where it takes effect: the first line that matches a connection
//! decides, and no later one is looked at (PostgreSQL documentation, 21.1).

use std::net::IpAddr;

use super::hba::{From, Rule, rule, words};
use super::names::hba_word;

/// Whom to let in: one role, one database, one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// The database.
    pub database: String,
    /// The role.
    pub user: String,
    /// The network, or one address.
    pub from: Network,
    /// It is one of the server's own addresses: written as `samehost`, since which of them is taken
    /// for a connection to oneself changes with the routes.
    pub own: bool,
    /// How it logs in: `scram-sha-256`, `md5`.
    pub method: &'static str,
}

/// Addresses that share so many bits with this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The first of them.
    pub address: IpAddr,
    /// How many bits.
    pub bits: u8,
}

impl Network {
    /// Reads `172.18.0.0/16`.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let bits: u8 = bits.parse().ok()?;
        (bits <= width(address)).then_some(Self { address, bits })
    }

    /// One address alone.
    pub fn only(address: IpAddr) -> Self {
        Self {
            address,
            bits: width(address),
        }
    }

    /// Whether an address is in it.
    pub fn holds(&self, address: IpAddr) -> bool {
        self.covers(&Self::only(address))
    }

    /// Whether all of the other network is in it.
    fn covers(&self, other: &Self) -> bool {
        self.bits <= other.bits && same_bits(self.address, other.address, self.bits)
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.covers(other) || other.covers(self)
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn same_bits(a: IpAddr, b: IpAddr, bits: u8) -> bool {
    match (a, b) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (a.to_bits() ^ b.to_bits())
                .checked_shr(32 - u32::from(bits.min(32)))
                .unwrap_or(0)
                == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (a.to_bits() ^ b.to_bits())
                .checked_shr(128 - u32::from(bits.min(128)))
                .unwrap_or(0)
                == 0
        }
        _ => false,
    }
}

/// A pg_hba.conf with new lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// All of the new file.
    pub text: String,
    /// The new lines; none: it lets all of them in already.
    pub added: Vec<Added>,
}

/// A new line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Added {
    /// The line.
    pub line: String,
    /// The line that decided until now, above which it has to stand; none: at the end.
    pub above: Option<String>,
}

/// The file with a line for each whom it does not let in yet. `included` reads the file of an
/// `include` line (PostgreSQL 16 and later). `remark` stands above each new line.
pub fn admit(
    text: &str,
    wanted: &[Admission],
    remark: &str,
    included: &dyn Fn(&str) -> Option<Vec<Rule>>,
) -> Edit {
    let mut edit = Edit {
        text: text.to_owned(),
        added: Vec::new(),
    };
    for one in wanted {
        let place = match place_for(&edit.text, one, included) {
            Place::Needless => continue,
            Place::Above(line) => Some(line),
            Place::End => None,
        };
        let line = line_of(one);
        let mut lines: Vec<&str> = edit.text.lines().collect();
        let above = place.map(|at| lines[at].split_whitespace().collect::<Vec<_>>().join(" "));
        // Lines that go to one place stand under one remark, in the order in which they came.
        let at = place.unwrap_or(lines.len());
        let follows = at
            .checked_sub(1)
            .and_then(|before| lines.get(before))
            .is_some_and(|before| edit.added.iter().any(|added| added.line == **before));
        if follows {
            lines.insert(at, &line);
        } else {
            lines.splice(at..at, [remark, &line]);
        }
        edit.text = lines.join("\n") + "\n";
        edit.added.push(Added { line, above });
    }
    edit
}

fn line_of(one: &Admission) -> String {
    let from = if one.own {
        "samehost".to_owned()
    } else {
        one.from.to_string()
    };
    format!(
        "host  {}  {}  {from}  {}",
        hba_word(&one.database),
        hba_word(&one.user),
        one.method
    )
}

enum Place {
    /// It is let in already.
    Needless,
    /// Above the line of this number, from 0.
    Above(usize),
    End,
}

fn place_for(text: &str, one: &Admission, included: &dyn Fn(&str) -> Option<Vec<Rule>>) -> Place {
    for (at, line) in logical_lines(text) {
        let words = words(&line);
        let verdict = match (words.first().map(String::as_str), words.get(1)) {
            (Some("include" | "include_if_exists"), Some(file)) => match included(file) {
                Some(rules) => rules.iter().map(|rule| judge(rule, one)).find(decides),
                None => Some(Verdict::KeepsOut),
            },
            (Some("include_dir"), _) => Some(Verdict::KeepsOut),
            _ => rule(at + 1, &line, &words).map(|rule| judge(&rule, one)),
        };
        match verdict {
            Some(Verdict::LetsIn) => return Place::Needless,
            Some(Verdict::KeepsOut) => return Place::Above(at),
            Some(Verdict::Other) | None => {}
        }
    }
    Place::End
}

/// Lines with those that they go on in (a backslash at the end, PostgreSQL 14 and later), and where
/// each begins, from 0.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (at, line) in text.lines().enumerate() {
        let (part, more) = match line.strip_suffix('\\') {
            Some(part) => (part, true),
            None => (line, false),
        };
        match lines.last_mut() {
            Some((_, begun)) if goes_on => begun.push_str(part),
            _ => lines.push((at, part.to_owned())),
        }
        goes_on = more;
    }
    lines
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    LetsIn,
    /// It may: a line that cannot be judged counts, since a new one above it does no harm.
    KeepsOut,
    /// It is about others; or it lets some of them in, and never keeps one out.
    Other,
}

fn decides(verdict: &Verdict) -> bool {
    *verdict != Verdict::Other
}

/// How sure a match is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Match {
    No,
    Maybe,
    Yes,
}

fn judge(rule: &Rule, one: &Admission) -> Verdict {
    // The services do not use TLS unless told to, and GSSAPI never.
    if !matches!(rule.kind.as_str(), "host" | "hostnossl" | "hostnogssenc") {
        return Verdict::Other;
    }
    let from = match &rule.from {
        From::All => Match::Yes,
        From::Network(address, bits) => {
            let network = Network {
                address: *address,
                bits: *bits,
            };
            match (network.covers(&one.from), network.overlaps(&one.from)) {
                (true, _) => Match::Yes,
                (false, true) => Match::Maybe,
                (false, false) => Match::No,
            }
        }
        // An address of its own is in all of its networks.
        From::Near if one.own => Match::Yes,
        From::Near | From::Name(_) => Match::Maybe,
    };
    let sure = from
        .min(of_databases(&rule.databases, one))
        .min(of_users(&rule.users, one));
    let lets_in = matches!(
        rule.method.as_str(),
        "trust" | "md5" | "scram-sha-256" | "password" | "pam" | "ldap" | "radius" | "bsd"
    );
    match (sure, lets_in) {
        (Match::No, _) | (Match::Maybe, true) => Verdict::Other,
        (Match::Yes, true) => Verdict::LetsIn,
        (_, false) => Verdict::KeepsOut,
    }
}

fn of_databases(list: &str, one: &Admission) -> Match {
    any(list, |word| match word {
        "all" => Match::Yes,
        "sameuser" if one.user == one.database => Match::Yes,
        "sameuser" | "replication" => Match::No,
        "samerole" | "samegroup" => Match::Maybe,
        word if word.starts_with(['@', '/']) => Match::Maybe,
        word if word == one.database => Match::Yes,
        _ => Match::No,
    })
}

fn of_users(list: &str, one: &Admission) -> Match {
    any(list, |word| match word {
        "all" => Match::Yes,
        word if word.starts_with(['@', '/', '+']) => Match::Maybe,
        word if word == one.user => Match::Yes,
        _ => Match::No,
    })
}

fn any(list: &str, of: impl Fn(&str) -> Match) -> Match {
    list.split(',')
        .map(|word| of(word.trim()))
        .max()
        .unwrap_or(Match::No)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(database: &str, user: &str) -> Admission {
        Admission {
            database: database.to_owned(),
            user: user.to_owned(),
            from: Network::parse("172.18.0.0/16").unwrap(),
            own: false,
            method: "scram-sha-256",
        }
    }

    fn edit(text: &str) -> Edit {
        admit(text, &[wanted("rapidpro", "rp")], "# ooy", &|_| None)
    }

    const LINE: &str = "host  rapidpro  rp  172.18.0.0/16  scram-sha-256";

    #[test]
    fn a_file_that_says_nothing_gets_its_line_at_the_end() {
        for (before, after) in [
            ("", format!("# ooy\n{LINE}\n")),
            (
                "local all postgres peer\nhost all all 127.0.0.1/32 md5",
                format!("local all postgres peer\nhost all all 127.0.0.1/32 md5\n# ooy\n{LINE}\n"),
            ),
        ] {
            let edit = edit(before);
            assert_eq!(edit.text, after);
            assert_eq!(edit.added[0].above, None);
        }
    }

    #[test]
    fn a_line_that_keeps_out_comes_after_the_new_one() {
        for reject in [
            "host all all 0.0.0.0/0 reject",
            "host  rapidpro,casepro  rp  172.18.0.0/24  reject",
            "host all all 172.16.0.0 255.240.0.0 reject # containers",
            "host @apps all 172.16.0.0/12 reject",
            "host all +staff all ident",
            "host all all samenet reject",
            "include_dir conf.d",
            "host all all \\\n  all reject",
        ] {
            let before = format!("host all all 127.0.0.1/32 md5\n{reject}\nhost a b all md5\n");
            let edit = edit(&before);
            assert_eq!(
                edit.text,
                format!(
                    "host all all 127.0.0.1/32 md5\n# ooy\n{LINE}\n{reject}\nhost a b all md5\n"
                ),
                "{reject}"
            );
            assert!(edit.added[0].above.is_some(), "{reject}");
        }
    }

    #[test]
    fn lines_about_others_are_passed() {
        let before = "hostssl all all all reject\nhost other all all reject\n\
                      host all other all reject\nhost replication all all reject\n\
                      host sameuser all all reject\nhost all all 172.19.0.0/16 reject\n\
                      host all all fd00::/8 reject\nhost all all samenet md5\n";
        assert_eq!(edit(before).text, format!("{before}# ooy\n{LINE}\n"));
    }

    #[test]
    fn who_is_let_in_needs_no_line() {
        for line in [
            "host all all 172.16.0.0/12 md5",
            "host \"rapidpro\" all all trust",
            "hostnossl all rp,other 172.18.0.0/16 password",
            LINE,
        ] {
            let before = format!("{line}\nhost all all all reject\n");
            let edit = edit(&before);
            assert_eq!(edit.added, [], "{line}");
            assert_eq!(edit.text, before);
        }
        // Some of them only.
        let before = "host all all 172.18.0.0/24 md5\n";
        assert_eq!(edit(before).text, format!("{before}# ooy\n{LINE}\n"));
    }

    #[test]
    fn several_stand_together_and_names_are_quoted() {
        let all = [wanted("rapidpro", "rp"), wanted("Case Pro", "all")];
        let edit = admit("host all all all reject\n", &all, "# ooy", &|_| None);
        assert_eq!(
            edit.text,
            format!(
                "# ooy\n{LINE}\nhost  \"Case Pro\"  \"all\"  172.18.0.0/16  scram-sha-256\n\
                 host all all all reject\n"
            )
        );
        let again = admit(&edit.text, &all, "# ooy", &|_| None);
        assert_eq!(again.added, []);
    }

    #[test]
    fn included_files_are_judged_where_they_stand() {
        let rules = |text: &str| -> Vec<Rule> {
            text.lines()
                .filter_map(|line| rule(1, line, &words(line)))
                .collect()
        };
        let before = "include more.conf\nhost all all all reject\n";
        let with = |text: &'static str| {
            admit(before, &[wanted("rapidpro", "rp")], "# ooy", &move |_| {
                Some(rules(text))
            })
        };
        assert_eq!(with("host all all 172.16.0.0/12 md5").added, []);
        assert!(
            with("host all all all reject")
                .text
                .starts_with("# ooy\nhost")
        );
        assert!(
            with("host other all all reject")
                .text
                .starts_with("include more.conf\n# ooy\n")
        );
    }

    #[test]
    fn this_host_itself_is_let_in_by_whatever_address_it_takes() {
        let own = Admission {
            own: true,
            from: Network::only("172.17.0.1".parse().unwrap()),
            ..wanted("rapidpro", "rp")
        };
        let edit = |text: &str| admit(text, std::slice::from_ref(&own), "# ooy", &|_| None);
        let line = "host  rapidpro  rp  samehost  scram-sha-256\n";
        assert_eq!(edit("").text, format!("# ooy\n{line}"));
        assert_eq!(edit(line).added, []);
        assert_eq!(edit("host all all samenet md5\n").added, []);
        assert!(
            edit("host all all samenet reject\n")
                .text
                .contains(&format!("{line}host all"))
        );
    }

    #[test]
    fn networks_hold_their_addresses() {
        let network = Network::parse("172.18.0.0/16").unwrap();
        assert!(network.holds("172.18.255.1".parse().unwrap()));
        assert!(!network.holds("172.19.0.1".parse().unwrap()));
        assert!(!network.holds("fd00::1".parse().unwrap()));
        assert!(
            Network::parse("0.0.0.0/0")
                .unwrap()
                .holds("8.8.8.8".parse().unwrap())
        );
        assert!(
            Network::parse("fd00::/64")
                .unwrap()
                .holds("fd00::1".parse().unwrap())
        );
        assert_eq!(Network::parse("172.18.0.0/33"), None);
    }
}
