//! Archives that are not what they are said to be: none of them is put in place.

use std::path::Path;

use super::Host;
use super::made::{Made, NEW, OLD, archive_of};

/// What is said where this archive is offered; nothing may have been done.
#[track_caller]
fn told(archive: &Path) -> String {
    let host = Host::new();
    let refused = host.update(&archive.display().to_string()).expect(1);
    host.is_as_it_was();
    let fault = refused.stderr.rfind('✗').unwrap();
    let folder = archive.parent().unwrap().display().to_string();
    host.tidy(&refused.stderr[fault..].replace(&folder, "FOLDER"))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn new() -> Vec<u8> {
    std::fs::read(Made::get().archive(NEW)).unwrap()
}

#[test]
fn an_archive_cut_short_or_with_a_flipped_bit() {
    let folder = folder();
    let path = folder.path().join(archive_of(NEW));
    let mut bytes = new();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    insta::assert_snapshot!(told(&path), @r"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz is not signed for this ooy

      what      no key that this build knows has signed the archive under this name
      evidence  FOLDER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz: there is no signature in it, or it was cut short
                ooy 0.7.0 (0123456789ab) knows: DAY
      why       it may be forged or renamed, or its key is newer or older than this build; nothing was unpacked, and the present ooy stays as it is
      next      ooy --home HOST/home self-update --check
                ooy --home HOST/home self-update --from /path/of/the/archive/before/that
    ");
    std::fs::write(&path, &bytes[..1]).unwrap();
    told(&path);
    std::fs::write(&path, b"").unwrap();
    told(&path);
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    insta::assert_snapshot!(told(&path), @r"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz is not signed for this ooy

      what      no key that this build knows has signed the archive under this name
      evidence  FOLDER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz: none of the keys has made its signature
                ooy 0.7.0 (0123456789ab) knows: DAY
      why       it may be forged or renamed, or its key is newer or older than this build; nothing was unpacked, and the present ooy stays as it is
      next      ooy --home HOST/home self-update --check
                ooy --home HOST/home self-update --from /path/of/the/archive/before/that
    ");
}

#[test]
fn a_good_archive_under_another_name() {
    let folder = folder();
    // Of another version, as it would be offered as the newest.
    let path = folder.path().join(archive_of("0.9.0"));
    std::fs::copy(Made::get().archive(OLD), &path).unwrap();
    insta::assert_snapshot!(told(&path), @r"
    ✗ self-update: ooy-0.9.0-x86_64-unknown-linux-gnu.tar.gz is not signed for this ooy

      what      no key that this build knows has signed the archive under this name
      evidence  FOLDER/ooy-0.9.0-x86_64-unknown-linux-gnu.tar.gz: none of the keys has made its signature
                ooy 0.7.0 (0123456789ab) knows: DAY
      why       it may be forged or renamed, or its key is newer or older than this build; nothing was unpacked, and the present ooy stays as it is
      next      ooy --home HOST/home self-update --check
                ooy --home HOST/home self-update --from /path/of/the/archive/before/that
    ");
}

#[test]
fn a_signature_of_another_file() {
    let folder = folder();
    let made = Made::get();
    // What zipsign writes is the comment of a gzip member behind all others (RFC 1952: flag 16): that of
    // the older archive behind what is in the newer one.
    let parts = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        let last = bytes
            .windows(4)
            .rposition(|head| head == [0x1f, 0x8b, 8, 16])
            .unwrap();
        (bytes[..last].to_vec(), bytes[last..].to_vec())
    };
    let (_, signature) = parts(&made.archive(OLD));
    let (content, _) = parts(&made.archive(NEW));
    let path = folder.path().join(archive_of(NEW));
    std::fs::write(&path, [content, signature].concat()).unwrap();
    let said = told(&path);
    assert!(said.contains("is not signed for this ooy"), "{said}");
}

#[test]
fn no_signature_and_one_by_a_key_that_was_retired() {
    let (folder, made) = (folder(), Made::get());
    let executable = std::fs::read(made.executable(NEW)).unwrap();
    let key = made.other_key(folder.path());
    let path = made.packed(folder.path(), &archive_of(NEW), &executable, &key);
    insta::assert_snapshot!(told(&path), @r"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz is not signed for this ooy

      what      no key that this build knows has signed the archive under this name
      evidence  FOLDER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz: none of the keys has made its signature
                ooy 0.7.0 (0123456789ab) knows: DAY
      why       it may be forged or renamed, or its key is newer or older than this build; nothing was unpacked, and the present ooy stays as it is
      next      ooy --home HOST/home self-update --check
                ooy --home HOST/home self-update --from /path/of/the/archive/before/that
    ");
    let tree = tempfile::tempdir().unwrap();
    std::fs::write(tree.path().join("ooy"), executable).unwrap();
    let packed = std::process::Command::new("tar")
        .arg("-czf")
        .arg(&path)
        .args(["-C", tree.path().to_str().unwrap(), "ooy"])
        .status();
    assert!(packed.unwrap().success());
    insta::assert_snapshot!(told(&path), @r"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz is not signed for this ooy

      what      no key that this build knows has signed the archive under this name
      evidence  FOLDER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz: there is no signature in it, or it was cut short
                ooy 0.7.0 (0123456789ab) knows: DAY
      why       it may be forged or renamed, or its key is newer or older than this build; nothing was unpacked, and the present ooy stays as it is
      next      ooy --home HOST/home self-update --check
                ooy --home HOST/home self-update --from /path/of/the/archive/before/that
    ");
}

/// Signed as it should be, with this in the place of the executable.
fn signed(version: &str, executable: &[u8]) -> String {
    let (folder, made) = (folder(), Made::get());
    let path = made.packed(folder.path(), &archive_of(version), executable, &made.key);
    told(&path)
}

#[test]
fn a_release_that_lies_about_its_version() {
    let older = std::fs::read(Made::get().executable(OLD)).unwrap();
    insta::assert_snapshot!(signed("0.9.0", &older), @r"
    ✗ self-update: ooy-0.9.0-x86_64-unknown-linux-gnu.tar.gz is of no use

      what      it is signed, and what is in it is not what it should be
      evidence  FOLDER/ooy-0.9.0-x86_64-unknown-linux-gnu.tar.gz: it calls itself 0.7.0 for x86_64-unknown-linux-gnu, and was released as 0.9.0 for x86_64-unknown-linux-gnu
      why       nothing was replaced; the present ooy stays as it is, and whoever released it has to know
      next      ooy --home HOST/home self-update --check
    ");
}

#[test]
fn an_executable_that_does_not_run_here() {
    let mut other = std::fs::read(Made::get().executable(NEW)).unwrap();
    // The field of the header that names the processor.
    other[18] = 183;
    insta::assert_snapshot!(signed(NEW, &other), @r"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz is of no use

      what      it is signed, and what is in it is not what it should be
      evidence  FOLDER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz: it is for processors of kind aarch64, this one is of kind x86_64
      why       nothing was replaced; the present ooy stays as it is, and whoever released it has to know
      next      ooy --home HOST/home self-update --check
    ");
    insta::assert_snapshot!(signed(NEW, b"#!/bin/sh\necho hello\n"), @r"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz is of no use

      what      it is signed, and what is in it is not what it should be
      evidence  FOLDER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz: it is no executable of Linux
      why       nothing was replaced; the present ooy stays as it is, and whoever released it has to know
      next      ooy --home HOST/home self-update --check
    ");
    insta::assert_snapshot!(signed(NEW, &std::fs::read("/bin/true").unwrap()), @r"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz is of no use

      what      it is signed, and what is in it is not what it should be
      evidence  FOLDER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz: what it says of itself is not understood
      why       nothing was replaced; the present ooy stays as it is, and whoever released it has to know
      next      ooy --home HOST/home self-update --check
    ");
    let host = Host::new();
    let aarch64 = format!("/nowhere/ooy-{NEW}-aarch64-unknown-linux-gnu.tar.gz");
    let refused = host.update(&aarch64).expect(1);
    insta::assert_snapshot!(host.tidy(&refused.stderr), @r"
    ✗ self-update: no build for this machine

      what      ooy is wanted for x86_64-unknown-linux-gnu, and there is none
      evidence  the archive: aarch64-unknown-linux-gnu
      why       another machine's executable does not run here; the present one stays as it is
      next      uname -m
                ooy --home HOST/home self-update --from /path/of/another/archive
    ");
}

#[test]
fn an_archive_without_the_executable() {
    let (folder, made) = (folder(), Made::get());
    let tree = tempfile::tempdir().unwrap();
    std::fs::write(tree.path().join("LICENSE"), "").unwrap();
    let name = archive_of(NEW);
    let path = made.signed(folder.path(), &name, tree.path(), &made.key);
    insta::assert_snapshot!(told(&path), @r#"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz is of no use

      what      it is signed, and what is in it is not what it should be
      evidence  FOLDER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz: no ooy can be taken out of it: there is none
      why       nothing was replaced; the present ooy stays as it is, and whoever released it has to know
      next      ooy --home HOST/home self-update --check
    "#);
    std::os::unix::fs::symlink("/bin/true", tree.path().join("ooy")).unwrap();
    std::fs::remove_file(&path).unwrap();
    let path = made.signed(folder.path(), &name, tree.path(), &made.key);
    insta::assert_snapshot!(told(&path), @r"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz is of no use

      what      it is signed, and what is in it is not what it should be
      evidence  FOLDER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz: what is called ooy in it is no file
      why       nothing was replaced; the present ooy stays as it is, and whoever released it has to know
      next      ooy --home HOST/home self-update --check
    ");
}
