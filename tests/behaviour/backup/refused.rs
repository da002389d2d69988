//! What cannot be done is said before anything is begun, or leaves nothing half.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::common::{Held, LIMIT, dumping};
use super::damage::seal_again;
use super::round::tidy;
use crate::harness::{Home, Ran, sql, surroundings, until};

#[test]
fn without_fitting_programs_there_is_no_backup() {
    let home = Home::with_only_databases("programs");
    let empty = home.folder.join("empty");
    let old = home.folder.join("old");
    std::fs::create_dir_all(&empty).unwrap();
    std::fs::create_dir_all(old.join("9.6/bin")).unwrap();
    for program in ["pg_dump", "pg_restore"] {
        let path = old.join("9.6/bin").join(program);
        std::fs::write(
            &path,
            format!("#!/bin/sh\necho '{program} (PostgreSQL) 9.6.24'\n"),
        )
        .unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
    }
    for (name, folder) in [("programs-missing", &empty), ("programs-old", &old)] {
        // Debian's wrapper in /usr/bin stays, and is not taken for one.
        let mount = format!("mount --bind '{}' /usr/lib/postgresql", folder.display());
        let ran = home.after(&mount, &["--yes", "backup", "create"]).expect(1);
        insta::assert_snapshot!(name, tidy(&home, &ran.stderr).replace(&major(), "MAJOR"));
        home.has_no_backup();
    }
}

/// `15`
fn major() -> String {
    let bin = PathBuf::from(surroundings("OOY_TEST_POSTGRES_BIN"));
    bin.iter()
        .rev()
        .nth(1)
        .unwrap()
        .to_string_lossy()
        .into_owned()
}

#[test]
fn everything_that_is_wrong_with_the_databases_is_said_in_one_run() {
    let home = Home::with_only_databases("wrongdb");
    let change = |owner: &str, from: &str, to: &str| {
        let name = format!("{owner}_DATABASE_URL");
        let url = home.setting(&name);
        assert!(url.contains(from));
        home.set(&name, &format!("{name}={}", url.replacen(from, to, 1)));
    };
    let port = format!(":{}/", surroundings("OOY_TEST_POSTGRES_PORT"));
    change("RAPIDPRO", &port, ":1/");
    change("CASEPRO", "casepro:", "casepro:not");
    change("CONTENTREPO", "/contentrepo_", "/nothing_like_contentrepo_");
    let ran = home.ooy(&["--yes", "backup", "create"]).expect(1);
    for said in ["RapidPro: ", "Casepro: ", "ContentRepo: "] {
        assert!(ran.stderr.contains(&format!("✗ {said}")), "{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("casepro:not"), "{}", ran.stderr);
    home.has_no_backup();
}

/// Between `ooy` and the server, so that the server is not found as this host's own.
fn relay(to: String) -> u16 {
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = TcpStream::connect(&to) else {
                continue;
            };
            for (mut from, mut into) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server, client),
            ] {
                std::thread::spawn(move || {
                    let mut piece = [0; 65536];
                    while let Ok(some @ 1..) = from.read(&mut piece) {
                        if into.write_all(&piece[..some]).is_err() {
                            break;
                        }
                    }
                    let _ = into.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    port
}

/// A role of its own: others use the usual ones at the same time.
#[test]
fn the_grant_that_a_role_lacks_is_named_and_is_enough() {
    let home = Home::with_only_databases("grants");
    let role = format!("ooy_role_{}", std::process::id());
    let database = home.database("casepro");
    sql(
        "postgres",
        &format!("CREATE ROLE {role} LOGIN PASSWORD 'pOfTheRole'"),
    );
    sql(
        "postgres",
        &format!("ALTER DATABASE {database} OWNER TO {role}"),
    );
    let port = relay(format!(
        "{}:{}",
        surroundings("OOY_TEST_POSTGRES_HOST"),
        surroundings("OOY_TEST_POSTGRES_PORT")
    ));
    let host = surroundings("OOY_TEST_POSTGRES_HOST");
    home.set(
        "CASEPRO_DATABASE_URL",
        &format!("CASEPRO_DATABASE_URL=postgres://{role}:pOfTheRole@{host}:{port}/{database}"),
    );
    let as_it = |statement: &str| sql(&database, &format!("SET ROLE {role}; {statement}"));
    as_it("CREATE TABLE a AS SELECT n FROM generate_series(1, 10) n");
    let id = home.back_up(&["--database", "casepro"]);
    let refused = home.ooy(&["--yes", "backup", "verify", &id]).expect(1);
    let grant = format!("ALTER ROLE {role} CREATEDB");
    assert!(refused.stderr.contains(&grant), "{}", refused.stderr);
    assert!(!refused.stderr.contains("pOfTheRole"));
    home.ooy(&["--yes", "restore", &id]).expect(1);
    assert!(!home.folder.join("state/restore.json").exists());
    sql("postgres", &grant);
    // As the role from beginning to end, its own database renamed under it.
    home.ooy(&["--yes", "backup", "verify", &id]).expect(0);
    // An extension that only a superuser makes.
    sql(&database, "CREATE EXTENSION postgis");
    let with_postgis = home.back_up(&["--database", "casepro"]);
    let refused = home
        .ooy(&["--yes", "backup", "verify", &with_postgis])
        .expect(1);
    let for_now = ["SUPERUSER", "NOSUPERUSER"].map(|right| format!("ALTER ROLE {role} {right}"));
    for grant in &for_now {
        assert!(
            refused.stderr.contains(grant.as_str()),
            "{}",
            refused.stderr
        );
    }
    sql("postgres", &for_now[0]);
    home.ooy(&["--yes", "backup", "verify", &with_postgis])
        .expect(0);
    sql("postgres", &for_now[1]);
    sql(&database, "DROP EXTENSION postgis");
    as_it("DELETE FROM a");
    home.ooy(&["--yes", "restore", &id]).expect(0);
    assert_eq!(as_it("SELECT count(*) FROM a"), "10");
    home.drop_databases_beside();
    sql(
        "postgres",
        &format!("ALTER DATABASE {database} OWNER TO casepro"),
    );
    sql(
        &database,
        &format!("REASSIGN OWNED BY {role} TO casepro; DROP OWNED BY {role}"),
    );
    sql("postgres", &format!("DROP ROLE {role}"));
}

#[test]
fn without_room_nothing_is_begun() {
    let home = Home::with_only_databases("noroom");
    let id = home.back_up(&["--database", "casepro"]);
    home.set("DISK_RESERVE_MB", "DISK_RESERVE_MB=1000000");
    for command in [
        &["backup", "create"][..],
        &["backup", "verify", &id],
        &["restore", &id],
    ] {
        let ran = home.ooy(&[&["--yes"], command].concat()).expect(1);
        assert!(ran.stderr.contains("not enough room"), "{}", ran.stderr);
    }
    assert_eq!(home.backups().len(), 1);
    assert_eq!(home.databases_beside(), Vec::<String>::new());
}

#[test]
fn what_is_not_a_backup_of_this_deployment_is_not_restored() {
    let home = Home::with_only_databases("theirs");
    let other = Home::with_only_databases("ours");
    home.as_role("casepro", "CREATE TABLE a AS SELECT 1 AS n");
    let id = home.back_up(&["--database", "casepro"]);
    let folder = home.backup_folder(&id).display().to_string();
    let refused = other.ooy(&["--yes", "restore", &folder]).expect(2);
    assert!(
        refused.stderr.contains("of another deployment"),
        "{}",
        refused.stderr
    );
    other.ooy(&["--yes", "backup", "verify", &folder]).expect(0);
    other
        .ooy(&["--yes", "restore", &folder, "--foreign"])
        .expect(0);
    assert_eq!(other.as_role("casepro", "SELECT n FROM a"), "1");
    other.drop_databases_beside();

    // Asked for what it does not have, a name that does not exist, a folder that is none.
    home.ooy(&["--yes", "restore", &id, "--database", "rapidpro"])
        .expect(2);
    let mistyped = format!("{}0", &id[..id.len() - 1]);
    if mistyped != id {
        let unknown = home.ooy(&["--yes", "restore", &mistyped]).expect(2);
        assert!(
            unknown.stderr.contains(&format!("restore {id}")),
            "{}",
            unknown.stderr
        );
    }
    let nothing = home.folder.join("ssl").display().to_string();
    home.ooy(&["--yes", "restore", &nothing]).expect(1);

    // Made by a newer one; changed by somebody.
    let manifest = home.backup_folder(&id).join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replace("\"format\": 1", "\"format\": 9")).unwrap();
    seal_again(&home.backup_folder(&id), "");
    let newer = home.ooy(&["--yes", "restore", &id]).expect(1);
    insta::assert_snapshot!("newer", tidy(&home, &newer.stderr));
    std::fs::write(&manifest, text.replace("\"casepro\"", "\"casepr0\"")).unwrap();
    let changed = home.ooy(&["--yes", "restore", &id]).expect(1);
    assert!(
        changed.stderr.contains("is not what SHA256SUMS says"),
        "{}",
        changed.stderr
    );
}

#[test]
fn a_second_one_does_not_begin_and_a_signal_leaves_nothing() {
    let home = Home::with_only_databases("twobackups");
    home.as_role("casepro", "CREATE TABLE a AS SELECT 1 AS n");
    for signal in ["HUP", "INT", "TERM"] {
        let held = Held::table(&home, "casepro", "a");
        let child = home
            .command(&["--yes", "backup", "create", "--database", "casepro"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        until("it dumps", LIMIT, || dumping(&home));
        if signal == "HUP" {
            for second in [
                &["backup", "create"][..],
                &["backup", "delete", "--expired"],
            ] {
                let ran = home.ooy(&[&["--yes"], second].concat());
                // Nothing is expired: that needs no lock.
                assert_eq!(
                    ran.code,
                    if second[1] == "create" { 3 } else { 0 },
                    "{}",
                    ran.stderr
                );
            }
            // Who repairs is not kept waiting.
            home.ooy(&["stop"]).expect(0);
        }
        let pid = child.id().to_string();
        assert!(
            Command::new("kill")
                .args([&format!("-{signal}"), &pid])
                .status()
                .unwrap()
                .success()
        );
        let ran = Ran::of(&child.wait_with_output().unwrap()).expect(130);
        assert!(
            ran.stderr.contains("what it had made so far is gone"),
            "{}",
            ran.stderr
        );
        drop(held);
        home.has_no_backup();
    }
    home.back_up(&["--database", "casepro", "--prove"]);
}

#[test]
fn the_hook_gets_the_finished_backup_and_its_failure_is_told() {
    let home = Home::with_only_databases("hook");
    let hook = home.folder.join("hook");
    let write = |text: &str| {
        std::fs::write(&hook, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&hook, mode).unwrap();
    };
    home.set("BACKUP_HOOK", &format!("BACKUP_HOOK={}", hook.display()));
    let got = home.folder.join("got");
    write(&format!(
        "#!/bin/sh\ntest -f \"$1/manifest.json\" && echo \"$1\" > '{}'\n",
        got.display()
    ));
    let id = home.back_up(&["--database", "casepro"]);
    let path = std::fs::read_to_string(&got).unwrap();
    assert_eq!(Path::new(path.trim()), home.backup_folder(&id));
    write("#!/bin/sh\necho 'no route to host' >&2\nexit 7\n");
    let failed = home
        .ooy(&["--yes", "backup", "create", "--database", "casepro"])
        .expect(1);
    assert!(
        failed.stderr.contains("no route to host"),
        "{}",
        failed.stderr
    );
    std::fs::remove_file(&hook).unwrap();
    home.ooy(&["--yes", "backup", "create", "--database", "casepro"])
        .expect(1);
    assert_eq!(home.backups().len(), 3, "they stand all the same");
}
