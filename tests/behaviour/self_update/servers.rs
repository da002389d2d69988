//! Servers that are not there, are slow, stop in the middle, send elsewhere, or lie.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Instant;

use super::Host;
use super::made::{INDEX, Made, NEW, archive_of};
use super::server::{Manner, Server};
use crate::harness::Ran;

/// A path of the server, with a slash.
fn archive() -> String {
    format!("/{}", archive_of(NEW))
}

/// What is said where a server behaves so for a file; nothing may have been done.
fn told(path: &str, manner: Manner) -> String {
    let host = Host::new();
    let server = Server::of(&Made::get().releases);
    server.behave(path, manner);
    let refused = host.update(&server.url("")).expect(1);
    host.is_as_it_was();
    let fault = refused.stderr.rfind('✗').unwrap();
    host.tidy(&refused.stderr[fault..])
}

#[test]
fn no_server() {
    let host = Host::new();
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let refused = host.update(&format!("http://127.0.0.1:{port}")).expect(1);
    insta::assert_snapshot!(host.tidy(&refused.stderr), @r"
    ✗ self-update: the list of releases cannot be had

      what      where releases of ooy are to be found, no list of them came
      evidence  http://SERVER/releases.json: connection refused
      why       whether there is a newer ooy cannot be told; the present one stays as it is
      next      curl -sSIL http://SERVER/releases.json
                ooy --home HOST/home self-update --from http://SERVER
                ooy --home HOST/home self-update --from /a/folder/with/releases
    ");
    let refused = host.update("/nowhere").expect(1);
    insta::assert_snapshot!(host.tidy(&refused.stderr), @r"
    ✗ self-update: the list of releases cannot be had

      what      where releases of ooy are to be found, no list of them came
      evidence  /nowhere/releases.json: No such file or directory
      why       whether there is a newer ooy cannot be told; the present one stays as it is
      next      ls -l /nowhere/releases.json
                ooy --home HOST/home self-update --from /nowhere
                ooy --home HOST/home self-update --from /a/folder/with/releases
    ");
    host.is_as_it_was();
}

#[test]
fn a_slow_server_is_waited_for() {
    let host = Host::new();
    let server = Server::of(&Made::get().releases);
    server.behave(&archive(), Manner::Slowly);
    let began = Instant::now();
    // It takes longer than the two seconds for which nothing may come.
    host.update(&server.url("")).expect(0);
    assert!(began.elapsed().as_secs() >= 2);
    host.is_updated();
}

#[test]
fn a_server_that_says_nothing_any_more_is_given_up() {
    insta::assert_snapshot!(told("/releases.json", Manner::Mute), @r"
    ✗ self-update: the list of releases cannot be had

      what      where releases of ooy are to be found, no list of them came
      evidence  http://SERVER/releases.json: it said nothing for 2 s
      why       whether there is a newer ooy cannot be told; the present one stays as it is
      next      curl -sSIL http://SERVER/releases.json
                ooy --home HOST/home self-update --from http://SERVER
                ooy --home HOST/home self-update --from /a/folder/with/releases
    ");
    insta::assert_snapshot!(told("/releases.json", Manner::Stalls(20)), @r"
    ✗ self-update: the list of releases cannot be had

      what      where releases of ooy are to be found, no list of them came
      evidence  http://SERVER/releases.json: it said nothing for 2 s, after 20 of 829 bytes
      why       whether there is a newer ooy cannot be told; the present one stays as it is
      next      curl -sSIL http://SERVER/releases.json
                ooy --home HOST/home self-update --from http://SERVER
                ooy --home HOST/home self-update --from /a/folder/with/releases
    ");
    insta::assert_snapshot!(told(&archive(), Manner::Stalls(100_000)), @r"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz cannot be had

      what      the archive of the release did not come, or not whole
      evidence  http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz: it said nothing for 2 s, after MANY of MANY bytes
      why       nothing was replaced; the present ooy stays as it is
      next      curl -sSIL http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz
                ooy --home HOST/home self-update --from http://SERVER
    ");
}

#[test]
fn a_server_that_stops_in_the_middle_leaves_the_old_one_whole() {
    insta::assert_snapshot!(told("/releases.json", Manner::Stops(20)), @r"
    ✗ self-update: the list of releases cannot be had

      what      where releases of ooy are to be found, no list of them came
      evidence  http://SERVER/releases.json: the connection was closed, after 20 of 829 bytes
      why       whether there is a newer ooy cannot be told; the present one stays as it is
      next      curl -sSIL http://SERVER/releases.json
                ooy --home HOST/home self-update --from http://SERVER
                ooy --home HOST/home self-update --from /a/folder/with/releases
    ");
    insta::assert_snapshot!(told(&archive(), Manner::Stops(100_000)), @r"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz cannot be had

      what      the archive of the release did not come, or not whole
      evidence  http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz: the connection was closed, after MANY of MANY bytes
      why       nothing was replaced; the present ooy stays as it is
      next      curl -sSIL http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz
                ooy --home HOST/home self-update --from http://SERVER
    ");
    // Without a length only the list knows that it was not all.
    let bytes = std::fs::read(Made::get().archive(NEW)).unwrap();
    let half = bytes[..bytes.len() / 2].to_vec();
    insta::assert_snapshot!(told(&archive(), Manner::Bytes(half)), @r"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz cannot be had

      what      the archive of the release did not come, or not whole
      evidence  http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz: it ended after MANY of MANY bytes
      why       nothing was replaced; the present ooy stays as it is
      next      curl -sSIL http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz
                ooy --home HOST/home self-update --from http://SERVER
    ");
}

#[test]
fn no_more_is_taken_than_was_announced() {
    insta::assert_snapshot!(told("/releases.json", Manner::Endless), @r"
    ✗ self-update: the list of releases cannot be used

      what      what lies in its place is no list of releases of ooy
      evidence  http://SERVER/releases.json: it is larger than SIZE
      why       whether there is a newer ooy cannot be told; the present one stays as it is
      next      curl -sSIL http://SERVER/releases.json
                ooy --home HOST/home self-update --from http://SERVER
    ");
    insta::assert_snapshot!(told(&archive(), Manner::Endless), @r"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz is not what it should be

      what      what came is not the archive that was released under that name
      evidence  http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz: it has more than MANY bytes
      why       nothing was unpacked and nothing replaced; the present ooy stays as it is
      next      curl -sSIL http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz
                ooy --home HOST/home self-update --from http://SERVER
    ");
}

#[test]
fn a_status_is_told_in_words() {
    for (status, words) in [
        (404, "404 Not Found: there is no such file"),
        (403, "403 Forbidden: it may not be fetched by everybody"),
        (
            407,
            "407 Proxy Authentication Required: the proxy wants a name and a password",
        ),
        (
            500,
            "500 Internal Server Error: the server has a fault of its own",
        ),
        (
            503,
            "503 Service Unavailable: the server has a fault of its own",
        ),
        (204, "204 No Content"),
    ] {
        let said = told("/releases.json", Manner::Status(status));
        assert!(said.contains(words), "{said}");
    }
    insta::assert_snapshot!(told(&archive(), Manner::Status(404)), @r"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz cannot be had

      what      the archive of the release did not come, or not whole
      evidence  http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz: the server answers 404 Not Found: there is no such file
      why       nothing was replaced; the present ooy stays as it is
      next      curl -sSIL http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz
                ooy --home HOST/home self-update --from http://SERVER
    ");
}

#[test]
fn a_page_for_people_is_no_release() {
    insta::assert_snapshot!(told("/releases.json", Manner::Page), @r#"
    ✗ self-update: the list of releases cannot be used

      what      what lies in its place is no list of releases of ooy
      evidence  http://SERVER/releases.json: a web page came instead (text/html, titled "hotel �[31mwi-fi"): a log-in, or a proxy's
      why       whether there is a newer ooy cannot be told; the present one stays as it is
      next      curl -sSIL http://SERVER/releases.json
                ooy --home HOST/home self-update --from http://SERVER
    "#);
    insta::assert_snapshot!(told(&archive(), Manner::Page), @r#"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz is not what it should be

      what      what came is not the archive that was released under that name
      evidence  http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz: a web page came instead (text/html, titled "hotel �[31mwi-fi"): a log-in, or a proxy's
      why       nothing was unpacked and nothing replaced; the present ooy stays as it is
      next      curl -sSIL http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz
                ooy --home HOST/home self-update --from http://SERVER
    "#);
    let text = Manner::Bytes(b"version https://git-lfs.github.com/spec/v1\n".to_vec());
    insta::assert_snapshot!(told(&archive(), text), @r"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz is not what it should be

      what      what came is not the archive that was released under that name
      evidence  http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz: it is no .tar.gz
      why       nothing was unpacked and nothing replaced; the present ooy stays as it is
      next      curl -sSIL http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz
                ooy --home HOST/home self-update --from http://SERVER
    ");
}

#[test]
fn redirects_are_followed_and_not_for_ever() {
    let host = Host::new();
    let server = Server::of(&Made::get().releases);
    let releases = Server::of(&Made::get().releases);
    let moved = format!("/moved{}", archive());
    server.behave(&archive(), Manner::Redirect(moved.clone()));
    server.behave(&moved, Manner::Redirect(releases.url(&archive())));
    host.update(&server.url("")).expect(0);
    host.is_updated();
    assert_eq!(releases.asked(), [archive()]);

    insta::assert_snapshot!(told("/releases.json", Manner::Redirect("/releases.json".to_owned())), @r"
    ✗ self-update: the list of releases cannot be had

      what      where releases of ooy are to be found, no list of them came
      evidence  http://SERVER/releases.json: more than 5 redirects, the last one to http://SERVER/releases.json
      why       whether there is a newer ooy cannot be told; the present one stays as it is
      next      curl -sSIL http://SERVER/releases.json
                ooy --home HOST/home self-update --from http://SERVER
                ooy --home HOST/home self-update --from /a/folder/with/releases
    ");
    for (to, why) in [
        (
            "ftp://host/x",
            "a redirect to something else than https: ftp://host/x",
        ),
        (
            "file:///etc/shadow",
            "a redirect to something else than https",
        ),
        ("", "a redirect that says not where to"),
    ] {
        let said = told("/releases.json", Manner::Redirect(to.to_owned()));
        assert!(said.contains(why), "{said}");
    }
}

#[test]
fn a_list_that_is_none_is_refused() {
    for (text, why) in [
        ("", "EOF while parsing"),
        ("{\"schema\": 1}", "missing field `releases`"),
        (
            "{\"schema\": 2}",
            "of form 2, which only newer versions read",
        ),
        ("{\"schema\": 1, \"releases\": []}", "no release at all"),
    ] {
        let said = told("/releases.json", Manner::Bytes(text.into()));
        assert!(said.contains(why), "{said}");
    }
    let text = std::fs::read_to_string(Made::get().releases.join(INDEX)).unwrap();
    let elsewhere = text.replace(&archive_of(NEW), "../../../../bin/ooy");
    insta::assert_snapshot!(told("/releases.json", Manner::Bytes(elsewhere.into())), @r"
    ✗ self-update: the list of releases cannot be used

      what      what lies in its place is no list of releases of ooy
      evidence  http://SERVER/releases.json: 0.8.0: ../../../../bin/ooy is no name of an archive of ooy
      why       whether there is a newer ooy cannot be told; the present one stays as it is
      next      curl -sSIL http://SERVER/releases.json
                ooy --home HOST/home self-update --from http://SERVER
    ");
    let others = text.replace("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu");
    insta::assert_snapshot!(told("/releases.json", Manner::Bytes(others.into())), @r"
    ✗ self-update: no build for this machine

      what      ooy is wanted for x86_64-unknown-linux-gnu, and there is none
      evidence  http://SERVER/releases.json: aarch64-unknown-linux-gnu
      why       another machine's executable does not run here; the present one stays as it is
      next      uname -m
                ooy --home HOST/home self-update --from /path/of/another/archive
    ");
    let digest = regex::Regex::new(r#""sha256": ?"[0-9a-f]{64}""#).unwrap();
    let wrong = digest.replace_all(&text, format!("\"sha256\":\"{}\"", "ab".repeat(32)));
    insta::assert_snapshot!(told("/releases.json", Manner::Bytes(wrong.as_bytes().to_vec())), @r"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz is not what it should be

      what      what came is not the archive that was released under that name
      evidence  sha256 by the list of releases: DIGEST
                of what came:                   DIGEST
      why       nothing was unpacked and nothing replaced; the present ooy stays as it is
      next      curl -sSIL http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz
                ooy --home HOST/home self-update --from http://SERVER
    ");
    let size = regex::Regex::new(r#""size": ?\d+"#).unwrap();
    let wrong = size.replace_all(&text, "\"size\":123456");
    insta::assert_snapshot!(told("/releases.json", Manner::Bytes(wrong.as_bytes().to_vec())), @r"
    ✗ self-update: ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz is not what it should be

      what      what came is not the archive that was released under that name
      evidence  by the list of releases it has MANY bytes
                http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz has MANY
      why       nothing was unpacked and nothing replaced; the present ooy stays as it is
      next      curl -sSIL http://SERVER/ooy-0.8.0-x86_64-unknown-linux-gnu.tar.gz
                ooy --home HOST/home self-update --from http://SERVER
    ");
}

#[test]
fn whoever_does_not_want_to_wait_interrupts() {
    let host = Host::new();
    let server = Server::of(&Made::get().releases);
    server.behave(&archive(), Manner::Stalls(100_000));
    let mut command = host.command(&[
        "--yes",
        "self-update",
        "--from",
        &server.url(""),
        "--timeout",
        "3600",
    ]);
    let runs = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    server.is_asked_for(&archive());
    let pid = libc::pid_t::try_from(runs.id()).unwrap();
    // SAFETY: plain system call; the process is ours, and was not waited for.
    unsafe { libc::kill(pid, libc::SIGINT) };
    let ran = Ran::of(&runs.wait_with_output().unwrap()).expect(130);
    assert!(
        ran.stderr.contains("what was done so far stays"),
        "{}",
        ran.stderr
    );
    host.is_as_it_was();
}
