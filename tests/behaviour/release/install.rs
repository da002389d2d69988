use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::checkout::{Checkout, TARGET, VERSION, said, small};
use crate::harness::Ran;

/// scripts/install as it lies in a release, for this place.
fn install(folder: &Path, to: &Path, arguments: &[&str]) -> Ran {
    let output = Command::new("sh")
        .arg(folder.join("install"))
        .arg("--to")
        .arg(to)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran::of(&output)
}

fn told(ran: &Ran, checkout: &Checkout, to: &Path) -> String {
    let text = format!("{}{}", ran.stdout, ran.stderr)
        .replace(checkout.out.to_str().unwrap(), "/media/stick")
        .replace(to.parent().unwrap().to_str().unwrap(), "/usr/local/bin");
    let version = said(Command::new(small()).arg("--version"));
    let text = text.replace(version.trim(), "ooy 0.1.0 (COMMIT, TARGET)");
    if !checkout.archive().exists() {
        return text;
    }
    text.replace(&checkout.sum(&checkout.archive()), "DIGEST")
}

#[test]
fn a_release_is_installed_from_a_folder_and_what_is_not_whole_is_refused() {
    let checkout = Checkout::new();
    checkout.pack(VERSION, small()).expect(0);
    let bin = tempfile::tempdir().unwrap();
    let to: PathBuf = bin.path().join("ooy");

    let ran = install(&checkout.out, &to, &["--dry-run"]).expect(0);
    assert!(!to.exists());
    insta::assert_snapshot!(told(&ran, &checkout, &to), @"
    ooy 0.1.0
      cp -- /media/stick/SHA256SUMS /media/stick/ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz .
      grep '  ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz$' SHA256SUMS | sha256sum -c -
      tar -xzf ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz ooy && install -m 755 ooy /usr/local/bin/ooy
    ");
    let ran = install(&checkout.out, &to, &[]).expect(0);
    insta::assert_snapshot!(told(&ran, &checkout, &to), @"
    ooy 0.1.0
      cp -- /media/stick/SHA256SUMS /media/stick/ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz .
      grep '  ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz$' SHA256SUMS | sha256sum -c -
      tar -xzf ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz ooy && install -m 755 ooy /usr/local/bin/ooy
    ok /usr/local/bin/ooy: ooy 0.1.0 (COMMIT, TARGET)
       sha256 DIGEST
       The archive is whole: it is what SHA256SUMS beside it says. Who made both is not proved by that;
       compare the digest with the one that was announced, or say it: --sha256.
    ");
    assert_eq!(std::fs::read(&to).unwrap(), std::fs::read(small()).unwrap());
    assert_eq!(
        std::fs::metadata(&to).unwrap().permissions().mode() & 0o7777,
        0o755
    );
    let ran = install(&checkout.out, &to, &[]).expect(0);
    insta::assert_snapshot!(told(&ran, &checkout, &to), @"
    ooy 0.1.0
      cp -- /media/stick/SHA256SUMS /media/stick/ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz .
      grep '  ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz$' SHA256SUMS | sha256sum -c -
      tar -xzf ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz ooy && install -m 755 ooy /usr/local/bin/ooy
    ok /usr/local/bin/ooy is this one already
       sha256 DIGEST
       The archive is whole: it is what SHA256SUMS beside it says. Who made both is not proved by that;
       compare the digest with the one that was announced, or say it: --sha256.
       An ooy that is installed verifies the signature itself: /usr/local/bin/ooy self-update --from /media/stick
    ");

    // By a digest that came another way.
    let sum = checkout.sum(&checkout.archive());
    install(&checkout.out, &to, &["--sha256", &sum]).expect(0);
    let wrong = "0".repeat(64);
    install(&checkout.out, &to, &["--sha256", &wrong]).expect(1);

    // Over a network, and as `curl … | sh`.
    let address = serve(&checkout.out);
    std::fs::remove_file(&to).unwrap();
    let mut child = Command::new("sh")
        .args(["-s", "--", "--from", &format!("http://{address}"), "--to"])
        .arg(&to)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let script = std::fs::read(checkout.out.join("install")).unwrap();
    child.stdin.take().unwrap().write_all(&script).unwrap();
    Ran::of(&child.wait_with_output().unwrap()).expect(0);
    assert_eq!(std::fs::read(&to).unwrap(), std::fs::read(small()).unwrap());

    // One bit; then cut short; then gone. What is installed stays as it is.
    let archive = checkout.archive();
    let whole = std::fs::read(&archive).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    std::fs::write(&archive, &flipped).unwrap();
    let ran = install(&checkout.out, &to, &[]).expect(1);
    insta::assert_snapshot!(told(&ran, &checkout, &to), @"
    ooy 0.1.0
      cp -- /media/stick/SHA256SUMS /media/stick/ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz .
      grep '  ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz$' SHA256SUMS | sha256sum -c -
      tar -xzf ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz ooy && install -m 755 ooy /usr/local/bin/ooy
    sha256sum: WARNING: 1 computed checksum did NOT match
    x ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz is not what it should be: nothing was changed

      why   it was damaged on its way, or is not by those who release
      next  compare with what the others have: sha256sum ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz
    ");
    std::fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
    install(&checkout.out, &to, &[]).expect(1);
    std::fs::remove_file(&archive).unwrap();
    let ran = install(&checkout.out, &to, &[]).expect(1);
    insta::assert_snapshot!(told(&ran, &checkout, &to), @"
    ooy 0.1.0
      cp -- /media/stick/SHA256SUMS /media/stick/ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz .
      grep '  ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz$' SHA256SUMS | sha256sum -c -
      tar -xzf ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz ooy && install -m 755 ooy /usr/local/bin/ooy
    cp: cannot stat '/media/stick/ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz': No such file or directory
    x ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz: cannot be fetched

      why   /media/stick did not give it, or not all of it
      next  the same again
    ");
    assert_eq!(std::fs::read(&to).unwrap(), std::fs::read(small()).unwrap());
    assert_eq!(
        std::fs::read_dir(bin.path()).unwrap().count(),
        1,
        "nothing else is left there"
    );
}

#[test]
fn an_archive_that_is_not_what_it_is_called_is_not_installed() {
    let checkout = Checkout::new();
    // Really released, and then listed under a higher version.
    checkout
        .pack(VERSION, &checkout.stand_in(VERSION))
        .expect(0);
    let lie = format!("ooy-0.9.0-{TARGET}.tar.gz");
    std::fs::rename(checkout.archive(), checkout.out.join(&lie)).unwrap();
    let sums = format!("{}  {lie}\n", checkout.sum(&checkout.out.join(&lie)));
    std::fs::write(checkout.out.join("SHA256SUMS"), sums).unwrap();
    let bin = tempfile::tempdir().unwrap();
    let ran = install(&checkout.out, &bin.path().join("ooy"), &[]).expect(1);
    assert!(
        ran.stderr.contains("it is not what it is called"),
        "{}",
        ran.stderr
    );
    assert_eq!(std::fs::read_dir(bin.path()).unwrap().count(), 0);
}

/// A web server for the files of a folder.
fn serve(folder: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = Vec::new();
            let mut byte = [0];
            while !asked.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
                asked.push(byte[0]);
            }
            let asked = String::from_utf8_lossy(&asked).into_owned();
            let name = asked
                .split(' ')
                .nth(1)
                .unwrap_or("/")
                .trim_start_matches('/');
            let answer = match std::fs::read(folder.join(name)) {
                Ok(body) => {
                    let head = format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                        body.len()
                    );
                    [head.into_bytes(), body].concat()
                }
                Err(_) => {
                    b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                        .to_vec()
                }
            };
            let _ = stream.write_all(&answer);
        }
    });
    address
}
