//! For which machine an executable is (elf(5)), as far as that can be told without running it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

/// Word length, byte order, and the processor.
type Machine = ([u8; 2], [u8; 2]);

/// Whether the file is an executable for the same kind of machine as this one; else what it is.
pub fn is_for_this_machine(path: &Path) -> io::Result<Result<(), String>> {
    let own = machine(Path::new("/proc/self/exe"))?;
    Ok(match machine(path)? {
        None => Err("it is no executable of Linux".to_owned()),
        other if other == own => Ok(()),
        Some((_, processor)) => Err(format!(
            "it is for processors of kind {}, this one is of kind {}",
            name(processor),
            own.map_or("unknown".to_owned(), |(_, own)| name(own))
        )),
    })
}

fn machine(path: &Path) -> io::Result<Option<Machine>> {
    let mut head = Vec::new();
    File::open(path)?.take(20).read_to_end(&mut head)?;
    let is_elf = head.len() == 20 && head.starts_with(b"\x7fELF");
    Ok(is_elf.then(|| ([head[4], head[5]], [head[18], head[19]])))
}

/// The names that people use; the numbers of elf.h for the rest.
fn name(processor: [u8; 2]) -> String {
    match u16::from_le_bytes(processor) {
        3 => "x86".to_owned(),
        40 => "arm".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "riscv".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_processor_is_told_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ooy");
        let mut head = [0; 64];
        File::open("/proc/self/exe")
            .unwrap()
            .read_exact(&mut head)
            .unwrap();
        let said = |head: &[u8]| {
            std::fs::write(&path, head).unwrap();
            is_for_this_machine(&path).unwrap()
        };
        assert_eq!(said(&head), Ok(()));
        head[18] = 183;
        assert!(said(&head).unwrap_err().contains("aarch64"));
        assert!(
            said(b"#!/bin/sh\nexec true the script\n")
                .unwrap_err()
                .contains("no executable")
        );
        assert!(said(b"").unwrap_err().contains("no executable"));
    }
}
