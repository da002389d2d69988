//! Reads a package: what is in it first, and then all of it, once, on a thread of its own.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use tokio::sync::mpsc::Sender;

use super::archive::{DOCKER, INDEXES, MOST_KEPT, OWN, Passage, SUMS};
use super::manifest::{Manifest, Refused};
use super::{Place, Trouble};
use crate::host::tar::{BLOCK, Entry, damaged};

/// Bytes that are read at once.
const STEP: usize = 256 * 1024;
/// How many of such pieces may wait for Docker.
pub const AHEAD: usize = 8;

/// Why there is no package to read.
#[derive(Debug)]
pub enum Unusable {
    /// It cannot be read, or is damaged.
    Trouble(Trouble),
    /// It is something else: no file of ours stands first in it.
    Other,
    /// A newer `ooy` has made it.
    Newer(u32),
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Trouble(error.into())
    }
}

/// A package of which what is in it has been read.
pub struct Reader {
    input: Box<dyn Read + Send>,
    passage: Passage,
    manifest: Manifest,
    /// Bytes read so far, as they lie in the file.
    read: Arc<AtomicU64>,
    /// Bytes of the file; a pipe does not say.
    pub length: Option<u64>,
    /// It is compressed.
    pub compressed: bool,
}

/// Counts what is read.
struct Counted(File, Arc<AtomicU64>);

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read(buffer)?;
        self.1.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

impl Reader {
    /// Opens it and reads what is in it.
    pub fn open(place: &Place) -> Result<Self, Unusable> {
        let (file, length) = match place {
            Place::Pipe => (File::from(io::stdin().as_fd().try_clone_to_owned()?), None),
            Place::File(path) => {
                let file = File::open(path)?;
                let metadata = file.metadata()?;
                if metadata.is_dir() {
                    return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
                }
                (file, Some(metadata.len()))
            }
        };
        let read = Arc::new(AtomicU64::new(0));
        let mut input = BufReader::with_capacity(STEP, Counted(file, Arc::clone(&read)));
        let compressed = input.fill_buf()?.starts_with(&[0x1f, 0x8b]);
        let mut input: Box<dyn Read + Send> = match compressed {
            true => Box::new(MultiGzDecoder::new(input)),
            false => Box::new(input),
        };
        let mut passage = Passage::default();
        let content = first(&mut input, &mut passage)?;
        let manifest = match Manifest::parse(&content) {
            Ok(manifest) => manifest,
            Err(Refused::Newer(schema)) => return Err(Unusable::Newer(schema)),
            Err(Refused::NoManifest(why)) => {
                return Err(Unusable::Trouble(Trouble::Damaged(format!("{OWN}: {why}"))));
            }
        };
        Ok(Self {
            input,
            passage,
            manifest,
            read,
            length,
            compressed,
        })
    }

    /// What is in it.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Counts the bytes that are read from the file.
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.read)
    }

    /// Reads the rest, and hands it to Docker, if it is to have it. Without its lists Docker loads
    /// nothing, and they are kept back until all of it was read and found whole.
    pub fn run(mut self, docker: Option<Sender<io::Result<Vec<u8>>>>) -> Result<(), Trouble> {
        let send = |bytes: io::Result<Vec<u8>>| match &docker {
            Some(docker) => docker.blocking_send(bytes).map_err(|_| Trouble::Gone),
            None => Ok(()),
        };
        let done = self.all(&send);
        if let Err(trouble) = &done
            && !matches!(trouble, Trouble::Gone)
        {
            // Breaks the connection.
            let _ = send(Err(io::ErrorKind::InvalidData.into()));
        }
        done
    }

    fn all(
        &mut self,
        send: &dyn Fn(io::Result<Vec<u8>>) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let mut kept_back = Vec::new();
        let mut buffer = vec![0; STEP];
        loop {
            let read = match self.input.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if read == 0 {
                break;
            }
            let mut on = Vec::with_capacity(read);
            self.passage.feed(&buffer[..read], &mut |entry, bytes| {
                if INDEXES.contains(&entry.name.as_str()) {
                    keep_back(&mut kept_back, entry, bytes)?;
                } else if entry.name != OWN && entry.name != SUMS {
                    on.extend_from_slice(bytes);
                }
                Ok(())
            })?;
            if !on.is_empty() {
                send(Ok(on))?;
            }
        }
        self.whole()?;
        kept_back.extend_from_slice(&[0; 2 * BLOCK]);
        send(Ok(kept_back))
    }

    /// Whether all that was read is what was written.
    fn whole(&self) -> Result<(), Trouble> {
        let passage = &self.passage;
        let sums = passage.kept(SUMS);
        let damaged = |why: &str| Err(Trouble::Damaged(why.to_owned()));
        match sums {
            None if passage.is_closed() => return damaged("its digests are not in it"),
            None => return damaged("it ends in the middle"),
            Some(_) if !passage.is_closed() => return damaged("it ends in the middle"),
            Some(sums) if sums != passage.sums().as_bytes() => {
                return Err(Trouble::Damaged(other_digest(sums, passage.sums())));
            }
            Some(_) => {}
        }
        let docker = passage.kept(DOCKER).unwrap_or_default();
        match self.manifest.contradicts(docker) {
            Some(why) => Err(Trouble::Damaged(why)),
            None => Ok(()),
        }
    }
}

fn keep_back(kept_back: &mut Vec<u8>, entry: &Entry, bytes: &[u8]) -> io::Result<()> {
    if entry.size > MOST_KEPT {
        return Err(damaged(format!("{} in it is too large", entry.name)));
    }
    kept_back.extend_from_slice(bytes);
    Ok(())
}

/// The content of the first file, which has to be ours.
fn first(input: &mut dyn Read, passage: &mut Passage) -> Result<Vec<u8>, Unusable> {
    let mut ours = false;
    let mut block = [0; BLOCK];
    let mut wanted = 0;
    loop {
        match input.read_exact(&mut block) {
            // Too short for the first head: whatever it is, it is no archive.
            Err(error) if !ours && error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(Unusable::Other);
            }
            other => other?,
        }
        let fed = passage.feed(&block, &mut |entry, _| {
            ours = entry.name == OWN;
            wanted = entry.size;
            Ok(())
        });
        match fed {
            Err(_) if !ours => return Err(Unusable::Other),
            other => other?,
        }
        if !ours {
            return Err(Unusable::Other);
        }
        let content = passage.kept(OWN).unwrap_or_default();
        if content.len() as u64 >= wanted {
            return Ok(content.to_vec());
        }
    }
}

/// Which file is another than the digests say.
fn other_digest(sums: &[u8], found: &str) -> String {
    let sums = String::from_utf8_lossy(sums);
    let mut lines = sums.lines();
    for line in found.lines() {
        if lines.next() != Some(line) {
            let name = line.split_once("  ").map_or(line, |(_, name)| name);
            return format!("{name} in it is not what was written");
        }
    }
    "it has digests of more than is in it".to_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jiff::Timestamp;
    use tokio::sync::mpsc;

    use super::super::write::{Part, Writer};
    use super::*;
    use crate::host::tar;
    use crate::images::manifest::Image;

    fn manifest() -> Manifest {
        Manifest {
            schema: 1,
            ooy: "0.1.0".to_owned(),
            made_at: Timestamp::UNIX_EPOCH,
            project: "ooy".to_owned(),
            upgrade: None,
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            containerd: false,
            images: vec![Image {
                setting: None,
                reference: "a/b:1".to_owned(),
                id: format!("sha256:{}", "a".repeat(64)),
                layers: Vec::new(),
                repo_digests: Vec::new(),
                bytes: 1,
            }],
        }
    }

    /// What `docker save` would say, with a layer of two pieces.
    fn docker(closed: bool) -> Vec<u8> {
        let at = Timestamp::UNIX_EPOCH;
        let config = format!("{}.json", "a".repeat(64));
        let list = format!("[{{\"Config\":\"{config}\",\"RepoTags\":[\"a/b:1\"]}}]");
        let mut archive = tar::file(&config, b"{}", at);
        archive.extend(tar::file("b/layer.tar", &[7; 3000], at));
        archive.extend(tar::file(DOCKER, list.as_bytes(), at));
        if closed {
            archive.extend([0; 1024]);
        }
        archive
    }

    fn write(path: &Path, stream: Vec<u8>, whole: bool) -> Result<u64, Trouble> {
        let (tx, rx) = mpsc::channel(8);
        tx.try_send(Part::Bytes(stream)).ok();
        if whole {
            tx.try_send(Part::Whole).ok();
        }
        drop(tx);
        let counter = Arc::new(AtomicU64::new(0));
        Writer::begin(&Place::File(path.to_owned()), &manifest(), counter)?.run(rx)
    }

    /// What Docker would be given, whole or not.
    fn read(path: &Path) -> (Result<(), String>, Vec<u8>, bool) {
        let (tx, mut rx) = mpsc::channel(1000);
        let reader = match Reader::open(&Place::File(path.to_owned())) {
            Ok(reader) => reader,
            Err(why) => return (Err(format!("{why:?}")), Vec::new(), true),
        };
        let done = reader.run(Some(tx)).map_err(|why| format!("{why:?}"));
        let (mut given, mut broken) = (Vec::new(), false);
        while let Ok(bytes) = rx.try_recv() {
            match bytes {
                Ok(bytes) => given.extend(bytes),
                Err(_) => broken = true,
            }
        }
        (done, given, broken)
    }

    #[test]
    fn docker_is_given_what_docker_wrote() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a.tar", "a.tar.gz"] {
            let path = folder.path().join(name);
            write(&path, docker(true), true).unwrap();
            assert_eq!(read(&path), (Ok(()), docker(true), false), "{name}");
        }
        // Each part of it is there for who has no ooy.
        let listed = std::process::Command::new("sh")
            .args(["-ec", "tar -xzf a.tar.gz && sha256sum -c ooy.sha256"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(listed.status.success(), "{listed:?}");
        assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 4);
    }

    #[test]
    fn what_is_not_whole_gets_no_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        assert!(matches!(
            write(&path, docker(true), false),
            Err(Trouble::Gone)
        ));
        assert!(matches!(
            write(&path, docker(false), true),
            Err(Trouble::Damaged(_))
        ));
        let other = docker(true).into_iter().map(|byte| match byte {
            b'1' => b'2',
            byte => byte,
        });
        assert!(
            write(&path, other.collect(), true).is_err(),
            "of other images"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        // What was there stays until the new one is complete.
        std::fs::write(&path, "old").unwrap();
        assert!(write(&path, docker(true), false).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        write(&path, docker(true), true).unwrap();
        assert!(read(&path).0.is_ok());
    }

    /// Wherever it was cut or changed: Docker never sees a list, and so never an image.
    #[test]
    fn what_was_cut_or_changed_is_given_to_docker_without_its_lists() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        write(&path, docker(true), true).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let seen = |spoiled: &[u8], at: usize| {
            std::fs::write(&path, spoiled).unwrap();
            let (done, given, broken) = read(&path);
            if done.is_ok() {
                // In a blank at the end of a head's sum, or of the last zeros: nothing is lost.
                assert_eq!(given.len(), docker(true).len(), "{at}");
                return false;
            }
            assert!(broken, "{at}");
            let lists = given
                .windows(DOCKER.len())
                .any(|name| name == DOCKER.as_bytes());
            assert!(!lists, "{at}");
            true
        };
        for at in (0..whole.len() - 1024).step_by(37) {
            assert!(seen(&whole[..at], at), "cut at {at}");
        }
        let mut harmless = 0;
        for at in (0..whole.len()).step_by(11) {
            let mut spoiled = whole.clone();
            spoiled[at] ^= 0x20;
            harmless += usize::from(!seen(&spoiled, at));
        }
        assert!(harmless <= 2 * 5, "{harmless}");
    }

    #[test]
    fn what_is_no_package_is_known_as_such() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let at = Timestamp::UNIX_EPOCH;
        let mut large = tar::head(OWN, 1 << 30, at).to_vec();
        large.extend([b' '; 4096]);
        for (content, other) in [
            (Vec::new(), true),
            (b"hello".to_vec(), true),
            (vec![b'x'; 5000], true),
            (vec![0; 5000], true),
            (docker(true), true),
            (large, false),
            (tar::file(OWN, b"{}", at), false),
            (tar::file(OWN, b"", at), false),
        ] {
            std::fs::write(&path, &content).unwrap();
            let unusable = Reader::open(&Place::File(path.clone())).err();
            let unusable = unusable.expect("it was opened");
            assert_eq!(matches!(unusable, Unusable::Other), other, "{unusable:?}");
        }
        let newer = tar::file(OWN, b"{\"schema\":7}", at);
        std::fs::write(&path, newer).unwrap();
        let unusable = Reader::open(&Place::File(path)).err();
        assert!(matches!(unusable, Some(Unusable::Newer(7))));
    }
}
