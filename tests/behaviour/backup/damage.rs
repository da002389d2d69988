//! Whatever is wrong with a backup, a proof finds it.

use std::path::Path;
use std::process::Command;

use crate::harness::{Home, sql};

/// Verifies, and expects that it is refused; what was said.
#[track_caller]
fn refuted(home: &Home, id: &str) -> String {
    let ran = home.ooy(&["--yes", "backup", "verify", id]).expect(1);
    let backup = &home.backups()[0];
    assert_eq!(backup["proved"], false, "{backup:#}");
    assert_eq!(home.databases_beside(), Vec::<String>::new());
    ran.stderr
}

#[track_caller]
fn proved(home: &Home, id: &str) {
    home.ooy(&["--yes", "backup", "verify", id]).expect(0);
    assert_eq!(home.backups()[0]["proved"], true);
}

/// As if the damage had been there before the digests were made: a disk that wrote something else, a
/// dump that ended early.
pub fn seal_again(folder: &Path, part: &str) {
    let script = r#"
import hashlib, json, sys
folder, part = sys.argv[1:]
def digest(path): return hashlib.sha256(open(f'{folder}/{path}', 'rb').read()).hexdigest()
manifest = json.load(open(f'{folder}/manifest.json'))
for one in manifest['parts']:
    if one['path'] == part:
        one['sha256'], one['bytes'] = digest(part), len(open(f'{folder}/{part}', 'rb').read())
json.dump(manifest, open(f'{folder}/manifest.json', 'w'))
with open(f'{folder}/SHA256SUMS', 'w') as sums:
    for one in manifest['parts']:
        sums.write(f"{one['sha256']}  {one['path']}\n")
    sums.write(f"{digest('manifest.json')}  manifest.json\n")
"#;
    let status = Command::new("python3")
        .args(["-c", script])
        .arg(folder)
        .arg(part)
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn a_flipped_bit_or_a_cut_at_any_place_is_found() {
    let home = Home::with_only_databases("damage");
    home.fill();
    let id = home.back_up(&["--database", "rapidpro"]);
    let folder = home.backup_folder(&id);
    let dump = folder.join("rapidpro.dump");
    let whole = std::fs::read(&dump).unwrap();
    proved(&home, &id);
    let last = whole.len() - 1;
    let places = |count: usize| (0..count).map(move |n| n * last / (count - 1));
    for at in places(12) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1 << (at % 8);
        std::fs::write(&dump, &flipped).unwrap();
        let said = refuted(&home, &id);
        assert!(said.contains("another content"), "{at}: {said}");
        std::fs::write(&dump, &whole[..at]).unwrap();
        let said = refuted(&home, &id);
        assert!(said.contains("were written"), "{at}: {said}");
    }
    std::fs::write(&dump, &whole).unwrap();
    proved(&home, &id);

    // Without the help of digests: restoring it does not come to the same.
    for at in places(8).filter(|at| *at > 0 && *at + 1 < whole.len()) {
        std::fs::write(&dump, &whole[..at]).unwrap();
        seal_again(&folder, "rapidpro.dump");
        let said = refuted(&home, &id);
        assert!(said.contains("is not proved"), "cut at {at}: {said}");
    }
    std::fs::write(&dump, &whole).unwrap();
    seal_again(&folder, "rapidpro.dump");
    proved(&home, &id);
    let said = {
        std::fs::remove_file(folder.join("settings/ooy.env")).unwrap();
        refuted(&home, &id)
    };
    insta::assert_snapshot!("part-missing", super::round::tidy(&home, &said));
}

/// Rows that are missing from a dump which is in order otherwise.
#[test]
fn a_dump_without_some_rows_or_a_table_is_found() {
    let home = Home::with_only_databases("rows");
    home.as_role(
        "casepro",
        "CREATE TABLE a AS SELECT n FROM generate_series(1, 50) n",
    );
    home.as_role("casepro", "CREATE TABLE b AS SELECT 1 AS n");
    let id = home.back_up(&["--database", "casepro"]);
    let folder = home.backup_folder(&id);
    home.as_role(
        "casepro",
        "DELETE FROM a WHERE n = 7; DROP TABLE b; CREATE TABLE c ()",
    );
    let dump = folder.join("casepro.dump");
    let made = home
        .client("pg_dump", "casepro")
        .args(["-Fc", "-f"])
        .arg(&dump)
        .args(["-d", &home.database("casepro")])
        .status();
    assert!(made.unwrap().success());
    seal_again(&folder, "casepro.dump");
    let said = refuted(&home, &id);
    insta::assert_snapshot!("rows-missing", super::round::tidy(&home, &said));
    let listed = home.ooy(&["backup", "list"]).expect(0);
    assert!(listed.stdout.contains("FAILED"), "{}", listed.stdout);
}

/// One that this server cannot make any more.
#[test]
fn an_extension_that_the_server_lacks_is_found() {
    let home = Home::with_only_databases("extension");
    let version = home.as_role("casepro", "SHOW server_version_num");
    let major = version.parse::<u32>().unwrap() / 10_000;
    let name = format!("ooy_test_{}", std::process::id());
    let files = [
        (
            format!("{name}.control"),
            "default_version = '1.0'\ntrusted = true\n".to_owned(),
        ),
        (
            format!("{name}--1.0.sql"),
            "CREATE TABLE of_extension (a integer);\n".to_owned(),
        ),
    ];
    let folder = Path::new("/usr/share/postgresql").join(format!("{major}/extension"));
    for (file, text) in &files {
        std::fs::write(folder.join(file), text).unwrap();
    }
    sql(
        &home.database("casepro"),
        &format!("CREATE EXTENSION {name}"),
    );
    let id = home.back_up(&["--database", "casepro"]);
    proved(&home, &id);
    for (file, _) in &files {
        std::fs::remove_file(folder.join(file)).unwrap();
    }
    let ran = home.ooy(&["--yes", "backup", "verify", &id]).expect(1);
    assert!(
        ran.stderr
            .contains(&format!("not in pg_available_extensions: {name}")),
        "{}",
        ran.stderr
    );
    // Not the backup's fault: another server may have it.
    assert_eq!(home.backups()[0]["failed_at"], serde_json::Value::Null);
}
