//! Many calls in one file: one flush for all that ended at the same time.

use std::io;

use super::write::{Temporary, read_file, read_record_file};
use super::{Accepted, Damaged, Deliverer, Folder, Spool};
use crate::agi::record::{Id, Record};
use crate::host::clock;

/// What is so much larger is no batch.
const LARGEST_BATCH: u64 = 256 << 20;

/// So many files are written before the first is flushed, each of them open meanwhile.
const AT_ONCE: usize = 128;

impl Spool {
    /// Takes all these calls over, or none of them.
    pub fn accept_batch(&self, records: &[Record]) -> io::Result<()> {
        match records {
            [] => return Ok(()),
            [record] => return self.accept(record).map(|_: Accepted| ()),
            _ => {}
        }
        let content: Vec<u8> = records.iter().flat_map(Record::to_json).collect();
        let mut number = 0;
        self.with_folders(|| {
            let mut temporary = self.write_temporary("batch", &content)?;
            temporary.sync()?;
            loop {
                // In the order of time, as the names are read.
                let name = format!(
                    "{:015}-{}-{number}.jsonl",
                    clock::since_boot_ms(),
                    std::process::id()
                );
                if temporary.move_new(&self.folder(Folder::Batch).join(name))? {
                    return self.sync_folder(Folder::Batch);
                }
                number += 1;
            }
        })
    }

    /// The calls in batches, for those who only look. What cannot be read is the deliverer's
    /// business.
    pub fn waiting_in_batches(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for name in self.names(Folder::Batch)? {
            // It may have been made into single files meanwhile.
            let content = match read_file(&self.folder(Folder::Batch).join(name), LARGEST_BATCH) {
                Ok(Ok(content)) => content,
                _ => continue,
            };
            for line in content.split(|byte| *byte == b'\n') {
                if let Ok(record) = Record::from_json(line) {
                    records.push(record);
                }
            }
        }
        Ok(records)
    }
}

impl Deliverer {
    /// Makes a file in new/ of each call in the batches. May be ended anywhere and begun again:
    /// the batch goes last. A batch that cannot be read keeps no other from its turn.
    pub fn split_batches(&self) -> (Vec<Damaged>, Option<io::Error>) {
        let mut damaged = Vec::new();
        let mut trouble = None;
        let names = self.names(Folder::Batch).unwrap_or_else(|error| {
            trouble = Some(error);
            Vec::new()
        });
        for name in names {
            match self.split_batch(&name, &mut damaged) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => trouble = Some(error),
                Ok(()) => {}
            }
        }
        (damaged, trouble)
    }

    fn split_batch(&self, name: &str, damaged: &mut Vec<Damaged>) -> io::Result<()> {
        let _owner = self.as_owner();
        let path = self.folder(Folder::Batch).join(name);
        match read_file(&path, LARGEST_BATCH)? {
            Ok(content) => {
                self.split(name, &content, damaged)?;
                std::fs::remove_file(&path)
            }
            Err(reason) => {
                damaged.push(self.set_aside(Folder::Batch, name, &reason)?);
                Ok(())
            }
        }
    }

    fn split(&self, name: &str, content: &[u8], damaged: &mut Vec<Damaged>) -> io::Result<()> {
        let mut lines = content.split(|byte| *byte == b'\n').enumerate();
        let mut broken = Vec::new();
        loop {
            let mut written: Vec<(Temporary, Folder, Id)> = Vec::with_capacity(AT_ONCE);
            for (index, line) in lines.by_ref() {
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let record = match Record::from_json(line) {
                    Ok(record) => record,
                    Err(reason) => {
                        broken.push((index + 1, line, reason));
                        continue;
                    }
                };
                let folder = if record.is_skipped() {
                    Folder::Skipped
                } else {
                    Folder::New
                };
                // A file there that cannot be read (written before the power failed, on a file
                // system that keeps no order) is replaced: here is the whole call.
                let there = self.holds(folder, &record.id)?;
                if there && self.is_whole(folder, &record.id)
                    || self.settled(&record.id)?.is_some_and(|at| at != folder)
                {
                    continue;
                }
                if there {
                    self.set_aside(folder, &format!("{}.json", record.id), "is damaged")?;
                }
                let temporary = self.write_temporary(record.id.as_str(), &record.to_json())?;
                temporary.start_sync();
                written.push((temporary, folder, record.id));
                if written.len() == AT_ONCE {
                    break;
                }
            }
            if written.is_empty() {
                break;
            }
            for (temporary, _, _) in &written {
                temporary.sync()?;
            }
            for (temporary, folder, id) in &mut written {
                temporary.move_new(&self.file(*folder, id))?;
            }
        }
        self.sync_folder(Folder::New)?;
        self.sync_folder(Folder::Skipped)?;
        for (line, content, reason) in broken {
            let part = format!("{name}.line-{line}");
            self.replace(Folder::Damaged, &part, content)?;
            damaged.push(Damaged {
                name: part,
                from: Folder::Batch,
                reason,
            });
        }
        Ok(())
    }

    fn is_whole(&self, folder: Folder, id: &Id) -> bool {
        read_record_file(&self.file(folder, id))
            .is_ok_and(|content| content.is_ok_and(|bytes| Record::from_json(&bytes).is_ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agi::record::Moment;
    use crate::agi::record::tests::{call, record};

    fn skipped(uniqueid: &str) -> Record {
        let mut withheld = call(uniqueid);
        withheld.msisdn = String::new();
        Record::new(withheld, "254", Moment::now())
    }

    fn many(count: usize) -> Vec<Record> {
        (0..count).map(|n| record(&n.to_string())).collect()
    }

    #[test]
    fn a_batch_becomes_single_files_once() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let mut records = many(300);
        records.push(skipped("s"));
        records.push(records[0].clone());
        spool.accept_batch(&records).unwrap();
        assert_eq!(spool.names(Folder::Batch).unwrap().len(), 1);
        assert_eq!(spool.waiting_in_batches().unwrap().len(), 302);
        let deliverer = spool.deliver().unwrap();
        let (damaged, trouble) = deliverer.split_batches();
        assert!(damaged.is_empty() && trouble.is_none());
        assert_eq!(spool.names(Folder::Batch).unwrap(), [""; 0]);
        assert_eq!(spool.names(Folder::New).unwrap().len(), 300);
        assert_eq!(spool.names(Folder::Skipped).unwrap().len(), 1);
        assert_eq!(spool.names(Folder::Tmp).unwrap(), [""; 0]);
    }

    #[test]
    fn a_split_that_was_killed_is_begun_again_and_sends_nothing_twice() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let records = many(10);
        spool.accept_batch(&records).unwrap();
        let batch = spool.names(Folder::Batch).unwrap()[0].clone();
        let content = std::fs::read(spool.folder(Folder::Batch).join(&batch)).unwrap();
        let deliverer = spool.deliver().unwrap();
        assert!(deliverer.split_batches().1.is_none());
        // As if it had been killed before the batch was removed, and calls had gone on since.
        for (record, to) in
            records
                .iter()
                .zip([Folder::Sending, Folder::Sent, Folder::Dead, Folder::Skipped])
        {
            std::fs::rename(
                spool.file(Folder::New, &record.id),
                spool.file(to, &record.id),
            )
            .unwrap();
        }
        // And one lost its content when the power failed.
        std::fs::write(spool.file(Folder::New, &records[9].id), b"").unwrap();
        std::fs::write(spool.folder(Folder::Batch).join(&batch), content).unwrap();
        assert!(deliverer.split_batches().1.is_none());
        assert_eq!(spool.names(Folder::New).unwrap().len(), 6);
        assert!(deliverer.is_whole(Folder::New, &records[9].id));
    }

    #[test]
    fn a_damaged_line_is_set_aside_and_the_others_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        spool.accept_batch(&many(3)).unwrap();
        let path = spool
            .folder(Folder::Batch)
            .join(&spool.names(Folder::Batch).unwrap()[0]);
        let content = std::fs::read(&path).unwrap();
        // The last line is cut, as by a disk that lied.
        std::fs::write(&path, &content[..content.len() - 20]).unwrap();
        let deliverer = spool.deliver().unwrap();
        let (damaged, _) = deliverer.split_batches();
        assert_eq!(damaged.len(), 1);
        assert_eq!(damaged[0].reason, "ends in the middle");
        assert!(damaged[0].name.ends_with(".jsonl.line-3"));
        assert_eq!(spool.names(Folder::New).unwrap().len(), 2);
        assert_eq!(spool.names(Folder::Damaged).unwrap().len(), 1);
        assert_eq!(spool.names(Folder::Batch).unwrap(), [""; 0]);
    }

    #[test]
    fn one_call_alone_needs_no_batch() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        spool.accept_batch(&[]).unwrap();
        spool.accept_batch(&many(1)).unwrap();
        assert_eq!(spool.names(Folder::New).unwrap().len(), 1);
        assert_eq!(spool.names(Folder::Batch).unwrap(), [""; 0]);
    }
}
