//! Where releases of `ooy` itself are found: what the setting RELEASES and `--from` name.

use std::path::{Path, PathBuf};

use super::version::Version;

/// Where the repository is that releases come from unless somebody says otherwise.
pub const DEFAULT: &str = "github:praekeltfoundation/ooy";

/// The list of releases, in each place of them.
pub const INDEX: &str = "releases.json";

/// Where releases are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Releases of a repository on GitHub.
    GitHub(String),
    /// A folder of a web server; no slash at the end.
    Web(String),
    /// A folder.
    Folder(PathBuf),
    /// One archive, without a list.
    Archive(Place, ArchiveName),
}

/// Where one file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On a web server.
    Web(String),
    /// On this machine.
    File(PathBuf),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Web(url) => f.write_str(url),
            Place::File(path) => path.display().fmt(f),
        }
    }
}

/// What the name of an archive says: `ooy-0.2.0-x86_64-unknown-linux-gnu.tar.gz`. Its signature is
/// bound to that name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveName {
    /// Which release it is.
    pub version: Version,
    /// For which machines, as Rust names them.
    pub target: String,
}

impl ArchiveName {
    /// Reads such a name.
    pub fn parse(name: &str) -> Option<Self> {
        let (version, target) = name
            .strip_prefix("ooy-")?
            .strip_suffix(".tar.gz")?
            .split_once('-')?;
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let this = Self {
            version: Version::parse(version)?,
            target: target.to_owned(),
        };
        (!target.is_empty() && target.chars().all(fits) && this.to_string() == name).then_some(this)
    }
}

impl std::fmt::Display for ArchiveName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ooy-{}-{}.tar.gz", self.version, self.target)
    }
}

impl Source {
    /// Reads `github:OWNER/REPO`, an address or a path. The error is what is wrong, without a subject.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.chars().any(|c| c.is_control()) {
            return Err("holds a control character".to_owned());
        }
        if let Some(repository) = text.strip_prefix("github:") {
            let fits = |part: &str| {
                let odd = |c: char| !(c.is_ascii_alphanumeric() || "._-".contains(c));
                !part.is_empty()
                    && part.len() <= 100
                    && !part.starts_with('.')
                    && !part.contains(odd)
            };
            return match repository.split_once('/') {
                Some((owner, name)) if fits(owner) && fits(name) => {
                    Ok(Source::GitHub(repository.to_owned()))
                }
                _ => Err("names no repository; write github:OWNER/NAME".to_owned()),
            };
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return Self::of_address(text);
        }
        if text.is_empty() || text.contains("://") {
            return Err(
                "is neither github:OWNER/NAME nor an http:// or https:// address nor a path"
                    .to_owned(),
            );
        }
        let path = Path::new(text);
        Ok(match text.ends_with(".tar.gz") {
            true => {
                let name = path.file_name().and_then(|name| name.to_str());
                let name = name.and_then(ArchiveName::parse).ok_or_else(no_archive)?;
                Source::Archive(Place::File(path.to_owned()), name)
            }
            false => Source::Folder(path.to_owned()),
        })
    }

    fn of_address(text: &str) -> Result<Self, String> {
        let (_, rest) = text.split_once("://").unwrap_or_default();
        let host = rest.split('/').next().unwrap_or_default();
        if host.is_empty() || rest.contains(char::is_whitespace) {
            return Err("names no host".to_owned());
        }
        // A password would end up in lists of processes, logs and messages.
        if host.contains('@') {
            return Err(
                "holds a user name before the @; releases are signed, and need none".to_owned(),
            );
        }
        if rest.contains(['?', '#']) {
            return Err("has a ? or # in it; a folder has neither".to_owned());
        }
        let url = text.trim_end_matches('/').to_owned();
        Ok(match url.ends_with(".tar.gz") {
            true => {
                let name = url.rsplit('/').next().and_then(ArchiveName::parse);
                Source::Archive(Place::Web(url), name.ok_or_else(no_archive)?)
            }
            false => Source::Web(url),
        })
    }

    /// The list of releases; one archive has none.
    pub fn index(&self) -> Option<Place> {
        Some(match self {
            Source::GitHub(repository) => Place::Web(format!(
                "https://github.com/{repository}/releases/latest/download/{INDEX}"
            )),
            Source::Web(url) => Place::Web(format!("{url}/{INDEX}")),
            Source::Folder(path) => Place::File(path.join(INDEX)),
            Source::Archive(..) => return None,
        })
    }

    /// Where the archive of that name is.
    pub fn archive(&self, name: &ArchiveName) -> Place {
        match self {
            Source::GitHub(repository) => Place::Web(format!(
                "https://github.com/{repository}/releases/download/v{}/{name}",
                name.version
            )),
            Source::Web(url) => Place::Web(format!("{url}/{name}")),
            Source::Folder(path) => Place::File(path.join(name.to_string())),
            Source::Archive(place, _) => place.clone(),
        }
    }
}

fn no_archive() -> String {
    "is no archive of ooy: its name has to be as it was released, ooy-VERSION-TARGET.tar.gz; the \
     signature is bound to it"
        .to_owned()
}

/// What is wrong with a value of RELEASES.
pub fn check(value: &str) -> Option<String> {
    match Source::parse(value) {
        Err(why) => Some(why),
        Ok(Source::Archive(..)) => {
            Some("is one archive; RELEASES names where all of them are".to_owned())
        }
        Ok(Source::Folder(path)) if !path.is_absolute() => {
            Some("is neither github:OWNER/NAME nor an address nor an absolute path".to_owned())
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "ooy-0.2.0-x86_64-unknown-linux-gnu.tar.gz";

    fn places(text: &str) -> (String, String) {
        let source = Source::parse(text).unwrap();
        let index = source.index().map(|place| place.to_string());
        let archive = source.archive(&ArchiveName::parse(NAME).unwrap());
        (index.unwrap_or_default(), archive.to_string())
    }

    #[test]
    fn each_kind_of_place_has_its_files_somewhere() {
        assert_eq!(
            places(DEFAULT),
            (
                "https://github.com/praekeltfoundation/ooy/releases/latest/download/releases.json"
                    .to_owned(),
                format!(
                    "https://github.com/praekeltfoundation/ooy/releases/download/v0.2.0/{NAME}"
                )
            )
        );
        let own = places("https://mirror.example.org:8443/ooy/");
        assert_eq!(own.0, "https://mirror.example.org:8443/ooy/releases.json");
        assert_eq!(own.1, format!("https://mirror.example.org:8443/ooy/{NAME}"));
        assert_eq!(places("/mnt/usb").1, format!("/mnt/usb/{NAME}"));
        for archive in [
            format!("/mnt/usb/{NAME}"),
            NAME.to_owned(),
            format!("http://10.0.0.1/{NAME}"),
        ] {
            assert_eq!(places(&archive), (String::new(), archive.clone()));
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for text in [
            "",
            "github:",
            "github:ooy",
            "github:a/b/c",
            "github:a/..",
            "github:a b/c",
            "ftp://host/",
            "https://",
            "https:///ooy",
            "https://me:secret@host/ooy",
            "https://host/ooy?token=1",
            "https://host/ooy#x",
            "https://host/ooy.tar.gz",
            "/mnt/renamed.tar.gz",
            "/mnt/ooy-0.2.0 (1).tar.gz",
            "/mnt/\u{1b}[2J",
        ] {
            let why = Source::parse(text).unwrap_err();
            assert!(!why.contains("secret"), "{why}");
        }
        assert_eq!(check("/mnt/usb"), None);
        assert!(check("usb").is_some());
        assert!(check(&format!("/mnt/{NAME}")).is_some());
    }

    #[test]
    fn a_name_says_version_and_target_and_nothing_else() {
        assert_eq!(
            ArchiveName::parse(NAME).unwrap().target,
            "x86_64-unknown-linux-gnu"
        );
        for name in [
            "ooy-0.2-x86_64-unknown-linux-gnu.tar.gz",
            "ooy-v0.2.0-x86_64-unknown-linux-gnu.tar.gz",
            "ooy-0.2.0-.tar.gz",
            "ooy-0.2.0.tar.gz",
            "ooy-0.2.0-../../x.tar.gz",
            "ooy-0.2.0-x86_64.tar.gz.sig",
            "../ooy-0.2.0-x86_64.tar.gz",
        ] {
            assert_eq!(ArchiveName::parse(name), None, "{name}");
        }
    }
}
