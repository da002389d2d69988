//! Gets the list of releases and an archive from where they are. Blocks: to be called on a thread of
//! its own.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use ureq::tls::RootCerts;

use super::index::{Archive, Index, LARGEST_FILE, LARGEST_INDEX, Unusable};
use crate::deployment::releases::{ArchiveName, Place, Source};
use crate::fault::{Fault, Result};
use crate::host::disk::human;
use crate::host::download::{Client, Refused};
use crate::host::text::{hex, shorten};

/// The longest that the list may take, all in all.
const INDEX_LIMIT: Duration = Duration::from_secs(60);

/// The longest that an archive may take: some megabytes over the slowest of lines.
const ARCHIVE_LIMIT: Duration = Duration::from_secs(2 * 3600);

/// How the first bytes of an archive are (RFC 1952).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Where releases come from, and how.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Where they are.
    pub source: Source,
    /// Whose certificates are believed.
    pub roots: RootCerts,
    /// The longest time that a server may say nothing.
    pub silence: Duration,
    /// The command, to be repeated.
    pub again: String,
    /// The same for releases that lie elsewhere, up to the place.
    pub elsewhere: String,
}

/// What a file is opened as.
struct Stream {
    from: Box<dyn Read>,
    length: Option<u64>,
    kind: String,
}

/// Why a file did not come, in words, and the command by which one sees the same.
struct Missing {
    why: String,
    see: String,
}

impl Origin {
    /// The list of releases.
    pub fn index(&self, place: &Place) -> Result<Index> {
        let lost = |missing: Missing| {
            Box::new(
                Fault::problem(
                    "self-update: the list of releases cannot be had",
                    "where releases of ooy are to be found, no list of them came",
                )
                .evidence(format!("{place}: {}", missing.why))
                .why("whether there is a newer ooy cannot be told; the present one stays as it is")
                .next(missing.see)
                .next(self.again.clone())
                .next(format!("{} /a/folder/with/releases", self.elsewhere)),
            )
        };
        let mut stream = self.open(place, INDEX_LIMIT).map_err(lost)?;
        let mut bytes = Vec::new();
        let read = (&mut stream.from)
            .take(LARGEST_INDEX + 1)
            .read_to_end(&mut bytes);
        if let Err(error) = read {
            return Err(lost(self.broken_off(
                place,
                bytes.len() as u64,
                stream.length,
                &error,
            )));
        }
        let wrong = |why: String| {
            Box::new(
                Fault::problem(
                    "self-update: the list of releases cannot be used",
                    "what lies in its place is no list of releases of ooy",
                )
                .evidence(format!("{place}: {why}"))
                .why("whether there is a newer ooy cannot be told; the present one stays as it is")
                .next(see(place))
                .next(self.again.clone()),
            )
        };
        if bytes.len() as u64 > LARGEST_INDEX {
            return Err(wrong(format!("it is larger than {}", human(LARGEST_INDEX))));
        }
        if let Some(page) = web_page(&stream.kind, &bytes) {
            return Err(wrong(page));
        }
        Index::parse(&bytes).map_err(|unusable| match unusable {
            Unusable::Wrong(why) => wrong(why),
            Unusable::Newer(form) => {
                let mut fault = wrong(format!(
                    "it is of form {form}, which only newer versions read"
                ));
                fault.what =
                    "the list of releases is made for a newer ooy than this one".to_owned();
                fault.next = vec![format!("{} /path/of/an/archive", self.elsewhere)];
                fault
            }
        })
    }

    /// Writes the archive of that name to a new file; how much of it has come is told. Of one that is in
    /// a list size and digest have to be as they are there. Answers its size.
    pub fn archive(
        &self,
        name: &ArchiveName,
        listed: Option<&Archive>,
        to: &Path,
        come: &AtomicU64,
    ) -> Result<u64, Trouble> {
        let place = self.source.archive(name);
        let lost = |missing: Missing| {
            Trouble::Fault(Box::new(
                Fault::problem(
                    format!("self-update: {name} cannot be had"),
                    "the archive of the release did not come, or not whole",
                )
                .evidence(format!("{place}: {}", missing.why))
                .why("nothing was replaced; the present ooy stays as it is")
                .next(missing.see)
                .next(self.again.clone()),
            ))
        };
        let strange = |evidence: Vec<String>| {
            let mut fault = Fault::problem(
                format!("self-update: {name} is not what it should be"),
                "what came is not the archive that was released under that name",
            )
            .why("nothing was unpacked and nothing replaced; the present ooy stays as it is")
            .next(see(&place))
            .next(self.again.clone());
            fault.evidence = evidence;
            Trouble::Fault(Box::new(fault))
        };
        let mut stream = self.open(&place, ARCHIVE_LIMIT).map_err(lost)?;
        let size = listed.map(|archive| archive.size);
        let most = size.unwrap_or(LARGEST_FILE);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(to)
            .map_err(Trouble::Write)?;
        let mut digest = Sha256::new();
        let mut buffer = vec![0; 64 * 1024];
        let mut total = 0u64;
        loop {
            let count = match stream.from.read(&mut buffer) {
                Ok(count) => count,
                Err(error) => {
                    let whole = size.or(stream.length);
                    return Err(lost(self.broken_off(&place, total, whole, &error)));
                }
            };
            let part = &buffer[..count];
            if total == 0 {
                let told = stream.length.zip(size).filter(|(told, size)| told != size);
                if !part.starts_with(&GZIP) && count >= GZIP.len() {
                    let page = web_page(&stream.kind, part);
                    let why = page.unwrap_or_else(|| "it is no .tar.gz".to_owned());
                    return Err(strange(vec![format!("{place}: {why}")]));
                }
                if let Some((told, size)) = told {
                    return Err(strange(vec![
                        format!("by the list of releases it has {size} bytes"),
                        format!("{place} has {told}"),
                    ]));
                }
            }
            if count == 0 {
                break;
            }
            total += count as u64;
            if total > most {
                return Err(strange(vec![format!(
                    "{place}: it has more than {most} bytes"
                )]));
            }
            digest.update(part);
            file.write_all(part).map_err(Trouble::Write)?;
            come.store(total, Ordering::Relaxed);
        }
        let Some(listed) = listed else {
            return Ok(total);
        };
        if total != listed.size {
            let missing = Missing {
                why: format!("it ended after {total} of {} bytes", listed.size),
                see: see(&place),
            };
            return Err(lost(missing));
        }
        let digest = hex(&digest.finalize());
        if digest != listed.sha256 {
            return Err(strange(vec![
                format!("sha256 by the list of releases: {}", listed.sha256),
                format!("of what came:                   {digest}"),
            ]));
        }
        Ok(total)
    }

    fn open(&self, place: &Place, limit: Duration) -> Result<Stream, Missing> {
        match place {
            Place::File(path) => {
                let opened = File::open(path).and_then(|file| {
                    let about = file.metadata()?;
                    match about.is_file() {
                        true => Ok((file, about.len())),
                        false => Err(io::Error::other("it is no file")),
                    }
                });
                let (file, length) = opened.map_err(|error| Missing {
                    why: error.to_string(),
                    see: see(place),
                })?;
                Ok(Stream {
                    from: Box::new(file),
                    length: Some(length),
                    kind: String::new(),
                })
            }
            Place::Web(url) => {
                let client = Client::new(self.roots.clone(), self.silence);
                let coming = client.open(url, limit).map_err(|refused| Missing {
                    why: match refused {
                        Refused::Broken(why) => self.patient(why),
                        Refused::Status(at, status) => status_words(url, &at, status),
                    },
                    see: see(place),
                })?;
                Ok(Stream {
                    length: coming.length,
                    kind: coming.kind.clone(),
                    from: Box::new(coming),
                })
            }
        }
    }

    fn broken_off(
        &self,
        place: &Place,
        come: u64,
        whole: Option<u64>,
        error: &io::Error,
    ) -> Missing {
        let of = whole.map_or(String::new(), |whole| format!(" of {whole}"));
        let why = match error.kind() {
            io::ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
            _ => self.patient(error.to_string()),
        };
        Missing {
            why: format!("{why}, after {come}{of} bytes"),
            see: see(place),
        }
    }

    /// How long was waited, where that is why.
    fn patient(&self, why: String) -> String {
        match why.as_str() {
            "no answer in time" => format!("it said nothing for {} s", self.silence.as_secs()),
            _ => why,
        }
    }
}

/// Why an archive did not get onto the disk.
#[derive(Debug)]
pub enum Trouble {
    /// It did not come.
    Fault(Box<Fault>),
    /// It could not be written.
    Write(io::Error),
}

/// The command by which an operator sees the same.
fn see(place: &Place) -> String {
    match place {
        Place::Web(url) => format!("curl -sSIL {url}"),
        Place::File(path) => format!("ls -l {}", path.display()),
    }
}

/// `404 Not Found`, and what that mostly means; where it was redirected to, if it was.
fn status_words(asked: &str, at: &str, status: u16) -> String {
    let name = ureq::http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or_default();
    let meaning = match status {
        404 | 410 => ": there is no such file",
        401 | 403 => ": it may not be fetched by everybody",
        407 => ": the proxy wants a name and a password",
        429 => ": too many asked, later it may go",
        500.. => ": the server has a fault of its own, later it may go",
        _ => "",
    };
    // What is behind the ? may be a key to the file.
    let by = match at == asked {
        true => String::new(),
        false => format!(" ({})", shorten(at.split('?').next().unwrap_or(at), 200)),
    };
    format!("the server answers {status} {name}{meaning}{by}")
}

/// Instead of a file there came a page for people: a log-in, or a proxy's refusal.
fn web_page(kind: &str, bytes: &[u8]) -> Option<String> {
    let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(1000)]).to_ascii_lowercase();
    let begin = begin.trim_start_matches('\u{feff}').trim_start();
    let is_page = begin.starts_with("<!doctype html") || begin.starts_with("<html");
    if !is_page && !kind.starts_with("text/html") {
        return None;
    }
    let title = begin
        .split_once("<title>")
        .and_then(|(_, rest)| rest.split_once("</title>"))
        .map(|(title, _)| format!(", titled \"{}\"", shorten(title.trim(), 80)))
        .unwrap_or_default();
    Some(format!(
        "a web page came instead (text/html{title}): a log-in, or a proxy's"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_for_people_is_told_from_a_file() {
        let page = b"\n <!DOCTYPE html><html><head><title>Log\x1b in</title>";
        let said = web_page("application/json", page).unwrap();
        assert!(said.contains("titled \"log\u{fffd} in\""), "{said}");
        assert!(web_page("text/html; charset=utf-8", b"").is_some());
        assert!(web_page("text/plain", b"{\"schema\": 1}").is_none());
        assert!(web_page("", &GZIP).is_none());
    }

    #[test]
    fn a_key_in_a_redirect_is_not_told() {
        let said = status_words("https://a/x", "https://b/y?signature=s3cret", 403);
        assert_eq!(
            said,
            "the server answers 403 Forbidden: it may not be fetched by everybody (https://b/y)"
        );
        assert_eq!(
            status_words("https://a/x", "https://a/x", 404),
            "the server answers 404 Not Found: there is no such file"
        );
    }
}
