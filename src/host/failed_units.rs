//! Services of the host that systemd has given up.

use std::path::Path;
use std::time::Duration;

use super::cmd;

/// How long systemd may take for an answer, and for a start.
const LIMIT: Duration = Duration::from_secs(60);

/// Starts the units of that pattern (`postgresql*`) that systemd shows as failed, and no others:
/// nothing that runs is interrupted. Answers their names. Without systemd there are none.
pub async fn start(pattern: &str) -> Vec<String> {
    if !Path::new("/run/systemd/system").is_dir() {
        return Vec::new();
    }
    let list = [
        "list-units",
        "--all",
        "--plain",
        "--no-legend",
        "--state=failed",
        pattern,
    ];
    let Ok(listed) = cmd::run("systemctl", &list, &[], LIMIT).await else {
        return Vec::new();
    };
    let mut started = Vec::new();
    for unit in names(&listed.stdout) {
        let start = cmd::run("systemctl", &["start", &unit], &[], LIMIT).await;
        if start.is_ok_and(|output| output.success) {
            started.push(unit);
        }
    }
    started
}

fn names(listed: &str) -> Vec<String> {
    listed
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.contains('.')))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read_from_the_list() {
        let listed = "postgresql@15-main.service loaded failed failed PostgreSQL Cluster 15-main\n\
            * postgresql@13-old.service loaded failed failed PostgreSQL\n\n";
        assert_eq!(
            names(listed),
            ["postgresql@15-main.service", "postgresql@13-old.service"]
        );
    }
}
