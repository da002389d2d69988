//! Archives (POSIX ustar): heads as they are written, and archives taken apart while they pass by,
//! in pieces of any size. Nothing is unpacked, and no file is held whole.

use std::io;

/// Size of the blocks of an archive.
pub const BLOCK: usize = 512;

/// Longest name that a head holds without a prefix.
pub const LONGEST_NAME: usize = 100;

/// Most bytes of names and sizes that stand before an entry's own head.
const MOST_BEFORE: usize = 64 * 1024;

/// The head of a file.
pub fn head(name: &str, size: usize, at: jiff::Timestamp) -> [u8; BLOCK] {
    let mut head = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| head[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, b"0000600\0");
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{size:011o}\0").as_bytes());
    put(136, format!("{:011o}\0", at.as_second().max(0)).as_bytes());
    // The sum counts itself as blanks.
    put(148, b"        ");
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(265, b"root");
    put(297, b"root");
    let sum: u32 = head.iter().map(|byte| u32::from(*byte)).sum();
    head[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    head
}

/// A whole file as it stands in an archive: its head, its content, and zeros up to the next block.
pub fn file(name: &str, content: &[u8], at: jiff::Timestamp) -> Vec<u8> {
    let mut bytes = head(name, content.len(), at).to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

/// What stands in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path.
    pub name: String,
    /// Bytes of its content.
    pub size: u64,
    /// A file, and no folder or link.
    pub is_file: bool,
}

/// A part of an archive; all of them in turn, with the zeros of `End`, are its bytes.
#[derive(Debug)]
pub enum Piece<'a> {
    /// An entry begins: it, and the bytes of its head.
    Head(&'a Entry, &'a [u8]),
    /// Bytes of its content.
    Content(&'a [u8]),
    /// It ends, with so many zeros behind its content.
    End(usize),
}

#[derive(Debug)]
enum At {
    /// In a head.
    Head,
    /// In what stands before a head, of this type: where it ends among the bytes so far, and where
    /// the zeros behind it do.
    Before(u8, usize, usize),
    /// In the content of an entry.
    Content(u64, usize),
    /// In the zeros behind it; how many there were, and are still to come.
    Padding(usize, usize),
    /// Behind the last entry.
    Closed,
}

/// Takes an archive apart.
#[derive(Debug)]
pub struct Splitter {
    at: At,
    /// Bytes of the head so far, with what stands before it.
    raw: Vec<u8>,
    /// Where the block that is being read begins in them.
    block: usize,
    /// Name and size that hold in the place of the head's.
    name: Option<String>,
    size: Option<u64>,
}

impl Default for Splitter {
    fn default() -> Self {
        Self {
            at: At::Head,
            raw: Vec::new(),
            block: 0,
            name: None,
            size: None,
        }
    }
}

/// What is no archive, or a damaged one.
pub fn damaged(words: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words.into())
}

impl Splitter {
    /// Whether the archive's end was seen: zeros in the place of a head.
    pub fn is_closed(&self) -> bool {
        matches!(self.at, At::Closed)
    }

    /// More is going to be written behind the last entry.
    pub fn reopen(&mut self) {
        *self = Self::default();
    }

    /// Takes the next bytes.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        sink: &mut dyn FnMut(Piece<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.at {
                At::Head => {
                    let wanted = (BLOCK - (self.raw.len() - self.block)).min(bytes.len());
                    self.raw.extend_from_slice(&bytes[..wanted]);
                    bytes = &bytes[wanted..];
                    if self.raw.len() - self.block == BLOCK {
                        self.whole_head(sink)?;
                    }
                }
                At::Before(kind, end, all) => {
                    let wanted = (all - self.raw.len()).min(bytes.len());
                    self.raw.extend_from_slice(&bytes[..wanted]);
                    bytes = &bytes[wanted..];
                    if self.raw.len() == all {
                        self.before(kind, end)?;
                        self.block = all;
                        self.at = At::Head;
                    }
                }
                At::Content(left, padding) => {
                    let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    sink(Piece::Content(&bytes[..wanted]))?;
                    bytes = &bytes[wanted..];
                    self.at = match left - wanted as u64 {
                        0 => At::Padding(padding, padding),
                        left => At::Content(left, padding),
                    };
                    self.maybe_end(sink)?;
                }
                At::Padding(all, left) => {
                    let wanted = left.min(bytes.len());
                    if bytes[..wanted].iter().any(|byte| *byte != 0) {
                        return Err(damaged("something stands between two files"));
                    }
                    bytes = &bytes[wanted..];
                    self.at = At::Padding(all, left - wanted);
                    self.maybe_end(sink)?;
                }
                At::Closed => {
                    if bytes.iter().any(|byte| *byte != 0) {
                        return Err(damaged("something stands behind the end of the archive"));
                    }
                    bytes = &[];
                }
            }
        }
        Ok(())
    }

    fn maybe_end(&mut self, sink: &mut dyn FnMut(Piece<'_>) -> io::Result<()>) -> io::Result<()> {
        if let At::Padding(all, 0) = self.at {
            self.at = At::Head;
            sink(Piece::End(all))?;
        }
        Ok(())
    }

    /// A block in the place of a head is whole.
    fn whole_head(&mut self, sink: &mut dyn FnMut(Piece<'_>) -> io::Result<()>) -> io::Result<()> {
        let block = &self.raw[self.block..];
        if block.iter().all(|byte| *byte == 0) {
            if self.block > 0 {
                return Err(damaged("a name stands before no file"));
            }
            *self = Self {
                at: At::Closed,
                ..Self::default()
            };
            return Ok(());
        }
        if !has_right_sum(block) {
            return Err(damaged("the head of a file in it is damaged"));
        }
        let size = number(&block[124..136]).ok_or_else(|| damaged("a file has no size"))?;
        let padding = |size: u64| (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64;
        let kind = block[156];
        if matches!(kind, b'x' | b'g' | b'L') {
            let end = usize::try_from(size)
                .ok()
                .filter(|size| (1..=MOST_BEFORE).contains(&(self.raw.len() + size)))
                .map(|size| self.raw.len() + size)
                .ok_or_else(|| damaged("a name in it is too long"))?;
            self.at = At::Before(kind, end, end.next_multiple_of(BLOCK));
            return Ok(());
        }
        let entry = Entry {
            name: match self.name.take() {
                Some(name) => name,
                None => name_of(block)?,
            },
            size: self.size.take().unwrap_or(size),
            is_file: matches!(kind, b'0' | b'7' | 0),
        };
        if !entry.is_file && (!matches!(kind, b'1' | b'2' | b'5') || entry.size > 0) {
            return Err(damaged(
                "something stands in it that is no file, folder or link",
            ));
        }
        let harmless = |part: &str| part != "..";
        if entry.name.starts_with('/')
            || entry.name.chars().any(char::is_control)
            || !entry.name.split('/').all(harmless)
        {
            return Err(damaged("a file in it would lie outside of it"));
        }
        let raw = std::mem::take(&mut self.raw);
        self.block = 0;
        let padding = usize::try_from(padding(entry.size)).unwrap_or(0);
        self.at = match entry.size {
            0 => At::Padding(0, 0),
            size => At::Content(size, padding),
        };
        sink(Piece::Head(&entry, &raw))?;
        self.maybe_end(sink)
    }

    /// What stands before a head is whole: it ends at `end` of the bytes so far.
    fn before(&mut self, kind: u8, end: usize) -> io::Result<()> {
        let content = &self.raw[self.block + BLOCK..end];
        let text = std::str::from_utf8(content).map_err(|_| damaged("a name in it is no text"))?;
        if kind == b'L' {
            self.name = Some(text.trim_end_matches('\0').to_owned());
            return Ok(());
        }
        let mut rest = text;
        while !rest.is_empty() {
            // `17 path=dir/file\n`, its own length first.
            let (record, behind) = rest
                .split_once(' ')
                .and_then(|(length, _)| length.parse::<usize>().ok())
                .and_then(|length| rest.split_at_checked(length))
                .filter(|(record, _)| record.ends_with('\n'))
                .ok_or_else(|| damaged("what stands before a file cannot be read"))?;
            rest = behind;
            let record = record.split_once(' ').map_or("", |(_, record)| record);
            // What holds for all that follow is not for names and sizes.
            match record.trim_end_matches('\n').split_once('=') {
                Some(("path", name)) if kind == b'x' => self.name = Some(name.to_owned()),
                Some(("size", size)) if kind == b'x' => {
                    let size = size.parse().map_err(|_| damaged("a file has no size"))?;
                    self.size = Some(size);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The sum of all bytes, those of the sum itself taken as blanks.
fn has_right_sum(block: &[u8]) -> bool {
    let sum: u64 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| match at {
            148..156 => u64::from(b' '),
            _ => u64::from(*byte),
        })
        .sum();
    number(&block[148..156]) == Some(sum)
}

/// Octal digits; or, where they would not be enough, the bytes of the number itself.
fn number(field: &[u8]) -> Option<u64> {
    if field[0] & 0x80 != 0 {
        let mut value = u64::from(field[0] & 0x7f);
        for byte in &field[1..] {
            value = value.checked_mul(256)?.checked_add(u64::from(*byte))?;
        }
        return (value < 1 << 60).then_some(value);
    }
    let text = std::str::from_utf8(field).ok()?;
    let text = text.trim_matches(|c: char| c == ' ' || c == '\0');
    match text {
        "" => Some(0),
        text => u64::from_str_radix(text, 8).ok(),
    }
}

fn name_of(block: &[u8]) -> io::Result<String> {
    let text = |field: &[u8]| {
        let end = field.iter().position(|byte| *byte == 0);
        let field = &field[..end.unwrap_or(field.len())];
        String::from_utf8(field.to_vec()).map_err(|_| damaged("a name in it is no text"))
    };
    let (name, prefix) = (text(&block[..100])?, text(&block[345..500])?);
    // GNU's own form has other things there.
    let posix = &block[257..263] == b"ustar\0";
    match posix && !prefix.is_empty() {
        true => Ok(format!("{prefix}/{name}")),
        false => Ok(name),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use proptest::prelude::*;

    use super::*;

    type Taken = (Vec<(Entry, Vec<u8>)>, Vec<u8>, bool);

    /// Entries with their content, taken apart in pieces of this size; the bytes put together again.
    fn split(archive: &[u8], step: usize) -> io::Result<Taken> {
        let mut splitter = Splitter::default();
        let (mut found, mut again) = (Vec::new(), Vec::new());
        for chunk in archive.chunks(step) {
            splitter.feed(chunk, &mut |piece| {
                match piece {
                    Piece::Head(entry, raw) => {
                        found.push((entry.clone(), Vec::new()));
                        again.extend_from_slice(raw);
                    }
                    Piece::Content(bytes) => {
                        found.last_mut().unwrap().1.extend_from_slice(bytes);
                        again.extend_from_slice(bytes);
                    }
                    Piece::End(zeros) => again.resize(again.len() + zeros, 0),
                }
                Ok(())
            })?;
        }
        Ok((found, again, splitter.is_closed()))
    }

    /// Archives as tar itself writes them, with long names, links, folders and empty files.
    #[test]
    fn what_tar_writes_is_taken_apart_and_put_together_again() {
        let folder = tempfile::tempdir().unwrap();
        let long = "n".repeat(92);
        let deep = folder.path().join("a").join(&long);
        std::fs::create_dir_all(&deep).unwrap();
        let content: Vec<u8> = (0..70_000u32).map(|n| n as u8).collect();
        std::fs::write(deep.join("content"), &content).unwrap();
        std::fs::write(folder.path().join("a/empty"), "").unwrap();
        std::fs::write(folder.path().join("a/é"), vec![b'x'; 512]).unwrap();
        std::os::unix::fs::symlink("../elsewhere", folder.path().join("a/link")).unwrap();
        for form in ["gnu", "pax", "ustar"] {
            let output = Command::new("tar")
                .args(["-c", "--format", form, "-C"])
                .arg(folder.path())
                .arg("a")
                .output()
                .unwrap();
            assert!(output.status.success(), "{form}");
            let archive = output.stdout;
            for step in [1, 7, 512, 513, 65_536] {
                let (found, again, closed) = split(&archive, step).unwrap();
                assert!(closed, "{form} {step}");
                assert_eq!(again, archive[..again.len()], "{form} {step}");
                let named = |name: &str| {
                    let found = found.iter().find(|(entry, _)| entry.name == name);
                    found.unwrap_or_else(|| panic!("{form}: {name}"))
                };
                assert_eq!(named(&format!("a/{long}/content")).1, content);
                assert_eq!(named("a/empty").1, Vec::<u8>::new());
                assert_eq!(named("a/é").1.len(), 512);
                assert!(!named("a/link").0.is_file);
                assert_eq!(found.len(), 6, "{form}");
            }
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let mut archive = file("a.json", b"{}", jiff::Timestamp::now());
        archive.extend(file("b", &[7; 512], jiff::Timestamp::now()));
        let (found, again, closed) = split(&archive, 100).unwrap();
        assert!(!closed, "its end is not there yet");
        assert_eq!(again, archive);
        assert_eq!(found[0].1, b"{}");
        archive.extend([0; 2 * BLOCK]);
        assert!(split(&archive, 100).unwrap().2);
        archive.push(1);
        assert!(split(&archive, 100).is_err());
    }

    #[test]
    fn names_that_lead_out_of_it_are_refused() {
        for name in ["/etc/passwd", "../a", "a/../../b", "a\nb"] {
            let archive = file(name, b"", jiff::Timestamp::now());
            assert!(split(&archive, 512).is_err(), "{name}");
        }
    }

    #[test]
    fn sizes_beyond_octal_digits_are_read() {
        assert_eq!(number(b"00000000017\0"), Some(15));
        assert_eq!(
            number(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0]),
            Some(2 << 32)
        );
        assert_eq!(number(&[0xff; 12]), None);
        assert_eq!(number(b"9"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_no_trouble(bytes in proptest::collection::vec(any::<u8>(), 0..3000), step in 1usize..700) {
            let _ = split(&bytes, step);
        }

        /// All bytes count: of content the caller keeps digests, and this sees the rest.
        #[test]
        fn a_changed_byte_outside_of_content_is_seen(at in 0usize..1536, by in 1u8..) {
            // The end of the sum is blank, whichever way.
            prop_assume!(!(154..156).contains(&at));
            let mut archive = file("a", b"12345", jiff::Timestamp::UNIX_EPOCH);
            archive.extend([0; BLOCK]);
            archive[at] = archive[at].wrapping_add(by);
            let (seen, told) = match split(&archive, 512) {
                Err(_) => (Vec::new(), true),
                Ok((found, _, closed)) => {
                    let content = found.first().map(|(_, content)| content.clone());
                    let whole = closed && found.len() == 1 && found[0].0.name == "a";
                    (content.unwrap_or_default(), !whole)
                }
            };
            prop_assert!(told || seen != b"12345");
        }
    }
}
