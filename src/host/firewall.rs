//! Whether the packet filter of this host keeps strangers from a port of it. A provider's firewall
//! outside of the host is not seen.

use std::collections::HashMap;
use std::time::Duration;

use super::cmd;

/// What becomes of a stranger's connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It gets through.
    Open,
    /// It does not.
    Closed,
    /// That cannot be told; why.
    Unknown(String),
}

/// What becomes of a connection to a TCP port of this host that comes over the internet.
pub async fn from_outside(port: u16, ipv6: bool, deadline: Duration) -> Verdict {
    let program = if ipv6 { "ip6tables" } else { "iptables" };
    let rules = match cmd::run(program, &["-w", "2", "-S"], &[], deadline).await {
        Ok(output) if output.success => output.stdout,
        Ok(output) => return Verdict::Unknown(format!("{program}: {}", output.last_error_line())),
        // No program, no rules of that kind.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Verdict::Unknown(format!("{program}: {error}")),
    };
    if judge(&rules, port) == Verdict::Closed {
        return Verdict::Closed;
    }
    match cmd::run("nft", &["-j", "list", "chains"], &[], deadline).await {
        Ok(output) if output.success && has_own_chains(&output.stdout) => {
            Verdict::Unknown("nftables has rules of its own, which are not judged here".to_owned())
        }
        _ => Verdict::Open,
    }
}

/// Whether nftables filters what comes in by other chains than those that iptables keeps in it.
fn has_own_chains(json: &str) -> bool {
    let Ok(answer) = serde_json::from_str::<serde_json::Value>(json) else {
        return false;
    };
    let items = answer["nftables"].as_array().into_iter().flatten();
    items.map(|item| &item["chain"]).any(|chain| {
        chain["hook"] == "input"
            && chain["type"] == "filter"
            && !(chain["table"] == "filter"
                && (chain["family"] == "ip" || chain["family"] == "ip6"))
    })
}

/// Follows the rules of `iptables -S` as a first packet from a stranger would.
fn judge(rules: &str, port: u16) -> Verdict {
    let mut chains: HashMap<String, Vec<Vec<String>>> = HashMap::new();
    let mut policy = "ACCEPT".to_owned();
    for line in rules.lines() {
        let words = words(line);
        match words.first().map(String::as_str) {
            Some("-P") if words.get(1).is_some_and(|chain| chain == "INPUT") => {
                policy = words.get(2).cloned().unwrap_or_default();
            }
            Some("-A") => {
                if let Some(chain) = words.get(1) {
                    chains
                        .entry(chain.clone())
                        .or_default()
                        .push(words[2..].to_vec());
                }
            }
            _ => {}
        }
    }
    let open = follow(&chains, "INPUT", port, 0).unwrap_or(policy == "ACCEPT");
    if open { Verdict::Open } else { Verdict::Closed }
}

/// Whether the packet is let in; `None`: the chain says nothing about it.
fn follow(
    chains: &HashMap<String, Vec<Vec<String>>>,
    chain: &str,
    port: u16,
    depth: usize,
) -> Option<bool> {
    if depth > 30 {
        return None;
    }
    for rule in chains.get(chain)? {
        let Some(at) = rule.iter().position(|word| word == "-j" || word == "-g") else {
            continue;
        };
        let target = rule.get(at + 1)?.as_str();
        if !matches(&rule[..at], port, target == "ACCEPT") {
            continue;
        }
        match target {
            "ACCEPT" => return Some(true),
            "DROP" | "REJECT" => return Some(false),
            "RETURN" => return None,
            other => {
                if let Some(open) = follow(chains, other, port, depth + 1) {
                    return Some(open);
                }
                if rule[at] == "-g" {
                    return None;
                }
            }
        }
    }
    None
}

/// Whether a rule is about a stranger's first packet to the port. Where that is not certain, one
/// that lets in is, and one that keeps out is not.
fn matches(conditions: &[String], port: u16, lets_in: bool) -> bool {
    let mut words = conditions.iter().map(String::as_str);
    let mut not = false;
    while let Some(word) = words.next() {
        let so = match word {
            "!" => {
                not = true;
                continue;
            }
            "-p" => matches!(words.next(), Some("tcp" | "all" | "6")),
            "-i" => words.next().is_some_and(is_outer),
            // A stranger has any address.
            "-s" => matches!(words.next(), Some("0.0.0.0/0" | "::/0")),
            "-d" => {
                words.next();
                // Which of the host's addresses is not asked.
                if lets_in != not { true } else { not }
            }
            "--dport" | "--dports" | "--destination-port" | "--destination-ports" => words
                .next()
                .is_some_and(|ports| ports.split(',').any(|range| holds(range, port))),
            "--ctstate" | "--state" => words
                .next()
                .is_some_and(|states| states.split(',').any(|state| state == "NEW")),
            "--dst-type" => words.next() == Some("LOCAL"),
            "--tcp-flags" => {
                words.next();
                words.next();
                true
            }
            "--syn" => true,
            // Limits of how often: the first is let in.
            "--limit" | "--limit-burst" | "--hashlimit-upto" | "--connlimit-upto" => {
                words.next();
                lets_in
            }
            "--comment" => {
                words.next();
                true
            }
            "-m" => match words.next() {
                Some(
                    "tcp" | "comment" | "conntrack" | "state" | "multiport" | "addrtype" | "limit",
                ) => true,
                _ => return false,
            },
            // What is not known here.
            _ => return false,
        };
        if so == not {
            return false;
        }
        not = false;
    }
    true
}

/// Whether strangers come by such an interface.
fn is_outer(name: &str) -> bool {
    !(name == "lo"
        || name.starts_with("docker")
        || name.starts_with("br-")
        || name.starts_with("veth"))
}

fn holds(range: &str, port: u16) -> bool {
    let (first, last) = range.split_once(':').unwrap_or((range, range));
    let number = |text: &str, open: u16| {
        if text.is_empty() {
            Some(open)
        } else {
            text.parse().ok()
        }
    };
    matches!(
        (number(first, 0), number(last, u16::MAX)),
        (Some(first), Some(last)) if (first..=last).contains(&port)
    )
}

/// The words of a line, double quotes around those with blanks.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(rules: &str) -> bool {
        judge(rules, 5432) == Verdict::Closed
    }

    #[test]
    fn without_rules_everything_is_open() {
        assert!(!closed(""));
        assert!(!closed(
            "-P INPUT ACCEPT\n-P FORWARD DROP\n-N DOCKER\n-A FORWARD -j DOCKER\n"
        ));
    }

    #[test]
    fn a_policy_or_a_rule_closes() {
        assert!(closed("-P INPUT DROP\n-A INPUT -i lo -j ACCEPT\n"));
        assert!(closed(
            "-P INPUT DROP\n-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n"
        ));
        assert!(closed(
            "-P INPUT DROP\n-A INPUT -i docker0 -p tcp -m tcp --dport 5432 -j ACCEPT\n-A INPUT -s 172.16.0.0/12 -p tcp -m tcp --dport 5432 -j ACCEPT\n"
        ));
        assert!(closed(
            "-P INPUT ACCEPT\n-A INPUT ! -i lo -p tcp -m multiport --dports 5432,6379 -j REJECT --reject-with icmp-port-unreachable\n"
        ));
        assert!(closed(
            "-P INPUT ACCEPT\n-A INPUT -i eth0 -p tcp -m tcp --dport 5000:6000 -j DROP\n"
        ));
    }

    #[test]
    fn what_lets_in_is_seen_before_what_closes() {
        assert!(!closed(
            "-P INPUT DROP\n-A INPUT -p tcp -m tcp --dport 5432 -m comment --comment \"the database -j DROP\" -j ACCEPT\n"
        ));
        assert!(!closed("-P INPUT DROP\n-A INPUT -i eth0 -j ACCEPT\n"));
        assert!(!closed(
            "-P INPUT ACCEPT\n-A INPUT -s 172.18.0.0/16 -p tcp -m tcp --dport 5432 -j REJECT --reject-with icmp-port-unreachable\n"
        ));
        assert!(!closed(
            "-P INPUT ACCEPT\n-A INPUT -p udp -m udp --dport 5432 -j DROP\n"
        ));
        // What is not known closes nothing.
        assert!(!closed(
            "-P INPUT ACCEPT\n-A INPUT -m set --match-set bad src -j DROP\n"
        ));
    }

    #[test]
    fn ufws_chains_are_followed() {
        let ufw = "-P INPUT DROP\n-N ufw-before-input\n-N ufw-not-local\n-N ufw-user-input\n-N ufw-after-input\n\
            -A INPUT -j ufw-before-input\n-A INPUT -j ufw-after-input\n\
            -A ufw-before-input -i lo -j ACCEPT\n\
            -A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT\n\
            -A ufw-before-input -m conntrack --ctstate INVALID -j DROP\n\
            -A ufw-before-input -p udp -m udp --sport 67 --dport 68 -j ACCEPT\n\
            -A ufw-before-input -j ufw-not-local\n-A ufw-before-input -j ufw-user-input\n\
            -A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN\n\
            -A ufw-not-local -m limit --limit 3/min --limit-burst 10 -j ufw-logging-deny\n\
            -A ufw-not-local -j DROP\n";
        assert!(closed(ufw));
        let allowed = format!("{ufw}-A ufw-user-input -p tcp -m tcp --dport 5432 -j ACCEPT\n");
        assert!(!closed(&allowed));
        let containers = format!(
            "{ufw}-A ufw-user-input -s 172.16.0.0/12 -p tcp -m tcp --dport 5432 -j ACCEPT\n"
        );
        assert!(closed(&containers));
    }

    #[test]
    fn chains_of_nftables_itself_are_seen() {
        let chain = |table: &str| {
            format!(
                r#"{{"nftables":[{{"metainfo":{{}}}},{{"chain":{{"family":"ip","table":"{table}","name":"INPUT","type":"filter","hook":"input","policy":"drop"}}}}]}}"#
            )
        };
        assert!(!has_own_chains(&chain("filter")));
        assert!(has_own_chains(&chain("firewalld")));
        assert!(!has_own_chains("nonsense"));
    }
}
