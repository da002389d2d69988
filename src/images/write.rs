//! Writes a package: on a thread of its own, under a name that no complete one has.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufWriter, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use tokio::sync::mpsc::Receiver;

use super::archive::{DOCKER, OWN, Passage, SUMS};
use super::manifest::Manifest;
use super::{Place, Trouble};
use crate::host::tar::{self, BLOCK};

/// What the thread is told.
pub enum Part {
    /// More of Docker's stream.
    Bytes(Vec<u8>),
    /// It has come to its end. Without this word what was written is taken away again.
    Whole,
}

/// Whether a package of that name is compressed: as people and `tar` read names.
pub fn is_compressed(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.ends_with(".gz") || name.ends_with(".tgz")
}

/// What is written to.
enum Target {
    Plain(BufWriter<File>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl Target {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.write_all(bytes),
            Self::Gzip(gzip) => gzip.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<File> {
        let file = match self {
            Self::Plain(file) => file,
            Self::Gzip(gzip) => gzip.finish()?,
        };
        file.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// A package that is being written.
pub struct Writer {
    target: Target,
    /// Its file's name until it is complete, and then. A pipe has none.
    names: Option<(PathBuf, PathBuf)>,
    passage: Passage,
    manifest: Manifest,
    /// Bytes of Docker's stream so far.
    written: Arc<AtomicU64>,
}

/// The name of the file while it is written.
pub fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

impl Writer {
    /// Opens it, and writes what is in it.
    pub fn begin(
        place: &Place,
        manifest: &Manifest,
        written: Arc<AtomicU64>,
    ) -> Result<Self, Trouble> {
        let (file, names) = match place {
            Place::Pipe => (File::from(io::stdout().as_fd().try_clone_to_owned()?), None),
            Place::File(path) => {
                let partial = partial(path);
                (open(&partial)?, Some((partial, path.clone())))
            }
        };
        let file = BufWriter::with_capacity(1 << 20, file);
        let compressed = names.as_ref().is_some_and(|(_, path)| is_compressed(path));
        let mut writer = Self {
            target: match compressed {
                // The fastest: 45 % of the stand-ins' bytes; the usual level has 37 %, and takes
                // several times as long.
                true => Target::Gzip(Box::new(GzEncoder::new(file, Compression::fast()))),
                false => Target::Plain(file),
            },
            names,
            passage: Passage::default(),
            manifest: manifest.clone(),
            written,
        };
        let own = tar::file(OWN, &manifest.text(), manifest.made_at);
        writer.feed(&own)?;
        Ok(writer)
    }

    fn feed(&mut self, bytes: &[u8]) -> io::Result<()> {
        let target = &mut self.target;
        self.passage
            .feed(bytes, &mut |_, bytes| target.write_all(bytes))
    }

    /// Writes what comes, until its end; how large the package is.
    pub fn run(mut self, parts: Receiver<Part>) -> Result<u64, Trouble> {
        let names = self.names.clone();
        let done = self.all(parts).and_then(|()| self.complete());
        if done.is_err()
            && let Some((partial, _)) = names
        {
            let _ = std::fs::remove_file(partial);
        }
        done
    }

    fn all(&mut self, mut parts: Receiver<Part>) -> Result<(), Trouble> {
        loop {
            match parts.blocking_recv() {
                Some(Part::Bytes(bytes)) => {
                    self.feed(&bytes)?;
                    let length = bytes.len() as u64;
                    self.written.fetch_add(length, Ordering::Relaxed);
                }
                Some(Part::Whole) => break,
                None => return Err(Trouble::Gone),
            }
        }
        if !self.passage.is_closed() {
            return Err(Trouble::Damaged(
                "Docker's answer ends in the middle".to_owned(),
            ));
        }
        let docker = self.passage.kept(DOCKER).unwrap_or_default();
        // A name may be given to another image at any moment.
        match self.manifest.contradicts(docker) {
            Some(why) => Err(Trouble::Damaged(why)),
            None => Ok(()),
        }
    }

    /// The digests, the end, and the name.
    fn complete(mut self) -> Result<u64, Trouble> {
        let sums = tar::file(SUMS, self.passage.sums().as_bytes(), Timestamp::now());
        self.passage.reopen();
        self.feed(&sums)?;
        self.target.write_all(&[0; 2 * BLOCK])?;
        let file = self.target.finish()?;
        let Some((partial, path)) = self.names else {
            return Ok(0);
        };
        file.sync_all()?;
        let bytes = file.metadata()?.len();
        std::fs::rename(&partial, &path)?;
        File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()?;
        Ok(bytes)
    }
}

/// Takes the file for itself; what a killed run has left in it goes.
fn open(path: &Path) -> io::Result<File> {
    // Never through a link: the folder may be another user's.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(io::Error::other("another one is writing it at this moment"));
        }
        // Not every file system of a stick knows locks.
        Err(TryLockError::Error(_)) => {}
    }
    file.set_len(0)?;
    Ok(file)
}
