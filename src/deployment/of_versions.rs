//! Lines of the compose file that only some versions of an application read, marked at their end:
//! `# RAPIDPRO until 7.0`, `# RAPIDPRO from 8.0`.

use super::version::Version;

/// A line that not all versions have.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Marked<'a> {
    /// What is written: without the mark.
    line: &'a str,
    /// The setting that names the application's image: `RAPIDPRO_IMAGE`.
    setting: String,
    from: bool,
    /// Major and minor.
    release: (u32, u32),
}

fn marked(line: &str) -> Option<Marked<'_>> {
    let (content, mark) = line.rsplit_once(" # ")?;
    let mut words = mark.split(' ');
    let setting = format!("{}_IMAGE", words.next()?);
    let from = match words.next()? {
        "from" => true,
        "until" => false,
        _ => return None,
    };
    let (major, minor) = words.next()?.split_once('.')?;
    Some(Marked {
        line: content,
        setting,
        from,
        release: (major.parse().ok()?, minor.parse().ok()?),
    })
}

impl Marked<'_> {
    /// Whether a version has it. One whose version its tag does not tell is taken for the oldest
    /// that is known: what it does not read does no harm, what it misses does.
    fn is_for(&self, version: Option<Version>) -> bool {
        let release = version.map_or((0, 0), |version| (version.major, version.minor));
        match self.from {
            true => release >= self.release,
            false => release <= self.release,
        }
    }
}

/// The text for the versions that these settings name.
pub fn text<'a>(text: &str, get: impl Fn(&str) -> &'a str) -> String {
    let lines = text.lines().filter_map(|line| match marked(line) {
        None => Some(line),
        Some(marked) => marked
            .is_for(Version::of_image(get(&marked.setting)))
            .then_some(marked.line),
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// What changes between two versions of what a setting names: `true` for what is added, then the
/// line as it is written (`NAME: ${VALUE}`).
pub fn changes(text: &str, setting: &str, from: &Version, to: &Version) -> Vec<(bool, String)> {
    let of_it = text
        .lines()
        .filter_map(marked)
        .filter(|line| line.setting == setting);
    of_it
        .filter_map(
            |line| match (line.is_for(Some(*from)), line.is_for(Some(*to))) {
                (false, true) => Some((true, line.line.trim().to_owned())),
                (true, false) => Some((false, line.line.trim().to_owned())),
                _ => None,
            },
        )
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
a:
  OLD: \"on\" # RAPIDPRO until 7.0
  BOTH: ${X} # a comment
  NEW: ${X} # RAPIDPRO from 7.0
  LATER: ${Y} # RAPIDPRO from 8.0
";

    #[test]
    fn only_the_lines_of_the_version_are_written() {
        let of = |image: &'static str| text(TEXT, |_| image);
        assert_eq!(
            of("r:v6.4.8"),
            "a:\n  OLD: \"on\"\n  BOTH: ${X} # a comment\n"
        );
        assert!(of("r:v7.0.4").contains("OLD") && of("r:v7.0.4").contains("NEW"));
        assert!(!of("r:v7.2.4").contains("OLD") && of("r:v8.0.1").contains("LATER"));
        assert_eq!(of("r:latest"), of("r:v6.4.8"));
    }

    #[test]
    fn what_an_upgrade_changes_is_told() {
        let version = |text: &str| Version::parse(text).unwrap();
        let changes = changes(TEXT, "RAPIDPRO_IMAGE", &version("6.4.8"), &version("7.2.4"));
        assert_eq!(
            changes,
            [
                (false, "OLD: \"on\"".to_owned()),
                (true, "NEW: ${X}".to_owned())
            ]
        );
    }
}
