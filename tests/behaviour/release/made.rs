use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::checkout::{Checkout, TARGET, VERSION, root, said, small};

fn mode(path: &std::path::Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_release_is_packed_signed_and_described() {
    let checkout = Checkout::new();
    checkout.pack(VERSION, small()).expect(0);
    insta::assert_snapshot!(names(&checkout.out).join("\n"), @r"
    NOTES.md
    SHA256SUMS
    install
    ooy-0.1.0-x86_64-unknown-linux-gnu.cdx.json
    ooy-0.1.0-x86_64-unknown-linux-gnu.tar.gz
    releases.json
    ");

    let archive = checkout.archive();
    let content = said(Command::new("tar").arg("-tvzf").arg(&archive));
    let modes: Vec<&str> = content
        .lines()
        .filter(|line| !line.contains("man/") && !line.contains("completions/"))
        .map(|line| &line[..14])
        .collect();
    assert_eq!(
        modes,
        ["-rw-r--r-- 0/0", "-rw-r--r-- 0/0", "-rwxr-xr-x 0/0"]
    );
    for name in [
        "CHANGELOG.md",
        "LICENSE",
        "ooy",
        "man/ooy.1",
        "man/ooy-start.1",
    ] {
        assert!(
            content
                .lines()
                .any(|line| line.ends_with(&format!(" {name}"))),
            "{name}\n{content}"
        );
    }
    for name in [
        "completions/_ooy",
        "completions/ooy.bash",
        "completions/ooy.fish",
    ] {
        assert!(content.contains(name), "{name}");
    }

    // By its name and by the key: see self_update's verification in tests of `ooy self-update`.
    let key = checkout.keys.join(&names(&checkout.keys)[0]);
    let zipsign = zipsign();
    said(
        Command::new(&zipsign)
            .args(["verify", "tar"])
            .arg(&archive)
            .arg(&key),
    );
    let renamed = checkout.out.join("ooy-9.9.9.tar.gz");
    std::fs::copy(&archive, &renamed).unwrap();
    let output = Command::new(&zipsign)
        .args(["verify", "tar"])
        .arg(&renamed)
        .arg(&key)
        .output()
        .unwrap();
    assert!(!output.status.success(), "the signature is of the name too");
    std::fs::remove_file(renamed).unwrap();

    let sum = checkout.sum(&archive);
    let index = std::fs::read_to_string(checkout.out.join("releases.json")).unwrap();
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&index).unwrap(),
        serde_json::json!({"schema": 1, "releases": [{
            "version": VERSION, "date": "2026-11-26", "notes": "### Added\n- `ooy start`.\n",
            "archives": [{
                "target": TARGET, "name": format!("ooy-{VERSION}-{TARGET}.tar.gz"),
                "size": std::fs::metadata(&archive).unwrap().len(), "sha256": sum,
            }],
        }]})
    );
    said(
        Command::new("sha256sum")
            .args(["-c", "SHA256SUMS"])
            .current_dir(&checkout.out),
    );
    let notes = std::fs::read_to_string(checkout.out.join("NOTES.md")).unwrap();
    assert_eq!(notes, "### Added\n- `ooy start`.\n");
    bill_of_materials_is_what_cargo_has(&checkout);

    // Once more: the same bytes, also with the key from the environment, and after a run that was
    // killed in the middle.
    std::fs::create_dir(checkout.out.join(".release.killed")).unwrap();
    let base64 = said(Command::new("base64").args(["-w", "0"]).arg(&checkout.key));
    let (out, executable) = (checkout.out.to_str().unwrap(), small().to_str().unwrap());
    let again = checkout
        .command(&[VERSION, "--out", out, "--executable", executable])
        .env("OOY_RELEASE_KEY", &base64)
        .output()
        .unwrap();
    crate::harness::Ran::of(&again).expect(0);
    assert_eq!(checkout.sum(&archive), sum);
    assert_eq!(names(&checkout.out).len(), 6);
    let log = std::fs::read_to_string(checkout.root.join(".work/release/release.log")).unwrap();
    assert!(!log.contains(&base64));
}

/// What scripts/test has had built.
fn zipsign() -> String {
    let script = "rig_log=/dev/null; . \"$1/tests/rig/lib.sh\"; zipsign";
    let path = said(
        Command::new("bash")
            .args(["-c", script, "bash"])
            .arg(root()),
    );
    path.trim().to_owned()
}

fn bill_of_materials_is_what_cargo_has(checkout: &Checkout) {
    let bill = std::fs::read_to_string(
        checkout
            .out
            .join(format!("ooy-{VERSION}-{TARGET}.cdx.json")),
    )
    .unwrap();
    let bill: serde_json::Value = serde_json::from_str(&bill).unwrap();
    assert_eq!(
        bill["metadata"]["component"]["hashes"][0]["content"],
        checkout.sum(small())
    );
    let listed = |scope: &str| -> Vec<String> {
        let components = bill["components"].as_array().unwrap().iter();
        let mut names: Vec<String> = components
            .filter(|it| it["purl"].as_str().unwrap().starts_with("pkg:cargo/"))
            .filter(|it| scope.is_empty() || it["scope"] == scope)
            .map(|it| {
                format!(
                    "{} {}",
                    it["name"].as_str().unwrap(),
                    it["version"].as_str().unwrap()
                )
            })
            .collect();
        names.sort();
        names
    };
    let tree = |edges: &str| -> Vec<String> {
        let text = said(Command::new("cargo").current_dir(&checkout.root).args([
            "tree",
            "--locked",
            "--offline",
            "--target",
            TARGET,
            "--prefix",
            "none",
            "-e",
            edges,
            "-f",
            "{p}",
        ]));
        let mut names: Vec<String> = text
            .lines()
            .filter(|line| !line.starts_with("ooy "))
            .map(|line| {
                line.split(' ')
                    .take(2)
                    .collect::<Vec<_>>()
                    .join(" ")
                    .replacen(" v", " ", 1)
            })
            .collect();
        names.sort();
        names.dedup();
        names
    };
    assert_eq!(listed(""), tree("normal,build"));
    assert_eq!(listed("required"), tree("normal,no-proc-macro"));
    assert!(listed("required").len() > 100);
    // What each hangs on is listed too.
    let known: Vec<&str> = bill["components"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["bom-ref"].as_str().unwrap())
        .collect();
    for edge in bill["dependencies"].as_array().unwrap() {
        for on in edge["dependsOn"].as_array().unwrap() {
            assert!(known.contains(&on.as_str().unwrap()), "{on}");
        }
    }
}

#[test]
fn all_that_keeps_a_version_from_being_released_is_said_at_once() {
    let checkout = Checkout::new();
    checkout.write("notes.txt", "not committed");
    std::fs::set_permissions(&checkout.key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let stand_in = checkout.stand_in("0.1.0");
    let ran = checkout.pack("0.2.0", &stand_in).expect(1);
    insta::assert_snapshot!(checkout.told(&ran), @r###"
    x 0.2.0 cannot be released

      Cargo.toml says 0.1.0, not 0.2.0
        set version = "0.2.0" there, and commit it

      Cargo.lock says 0.1.0, not 0.2.0
        when Cargo.toml is right: cargo update --workspace --offline, and commit it

      CHANGELOG.md has no section "## [0.2.0] - DATE"
        give what stands under [Unreleased] that heading: ## [0.2.0] - TODAY

      not committed: notes.txt
        git status; commit or take back

      there is no tag v0.2.0
        git tag -a v0.2.0 -m 'ooy 0.2.0'  (--allow-untagged for a rehearsal)

      /T/private.key can be read by others
        chmod 600 /T/private.key; and think of whether somebody has

      /T/stand-in-0.1.0 is 0.1.0 for x86_64-unknown-linux-gnu, not 0.2.0 for x86_64-unknown-linux-gnu
        leave --executable out, to have it built
    "###);
    assert!(!checkout.out.exists());

    let ran = checkout.release(&["0.1.0", "--allow-untagged"]).expect(1);
    insta::assert_snapshot!(checkout.told(&ran), @"
    x 0.1.0 cannot be released

      not committed: notes.txt
        git status; commit or take back

      no private key to sign with
        --key FILE, or OOY_RELEASE_KEY; the first one is made by scripts/release --new-key FILE
    ");
    for wrong in [
        &[][..],
        &["1.0"],
        &["0.1.0", "--key"],
        &["0.1.0", "--force"],
        &["v0.1.0"],
    ] {
        assert_eq!(checkout.release(wrong).code, 2, "{wrong:?}");
    }
}

#[test]
fn a_key_that_no_host_accepts_or_that_could_be_committed_is_refused() {
    let checkout = Checkout::new();
    assert_eq!(mode(&checkout.key), 0o600);
    let stand_in = checkout.stand_in("0.1.0");
    let public = checkout.keys.join(&names(&checkout.keys)[0]);

    // Inside of the checkout.
    let inside = checkout.root.join(".work/key");
    std::fs::copy(&checkout.key, &inside).unwrap();
    let ran = checkout.pack_with(&inside, VERSION, &stand_in).expect(1);
    insta::assert_snapshot!(checkout.told(&ran), @"
    x 0.1.0 cannot be released

      /T/ooy/.work/key is inside the checkout, and could be committed
        move it out of /T/ooy
    ");

    // Not one of those that are accepted.
    std::fs::write(&public, [7; 32]).unwrap();
    let ran = checkout.pack(VERSION, &stand_in).expect(1);
    insta::assert_snapshot!(checkout.told(&ran), @"
    x 0.1.0 cannot be released

      no host would take this key's signature: its public half is not in /T/keys
        take the key of one of those there, or read /T/keys/README.md
    ");

    // No key at all.
    std::fs::write(&checkout.key, "short").unwrap();
    let ran = checkout.pack(VERSION, &stand_in).expect(1);
    insta::assert_snapshot!(checkout.told(&ran), @"
    x 0.1.0 cannot be released

      the private key is not one of zipsign: those have 64 bytes
        OOY_RELEASE_KEY has base64: base64 -w 0 FILE
    ");

    // A new pair never takes the place of one that is there.
    let key = checkout.key.to_str().unwrap();
    let ran = checkout.release(&["--new-key", key]).expect(1);
    insta::assert_snapshot!(checkout.told(&ran), @"
    x no key was made

      /T/private.key is there already, and is not overwritten
        name a file that is not there

      /T/keys/TODAY.pub: a key was made today already
        use that one, or give it another name
    ");
    assert_eq!(std::fs::read(&checkout.key).unwrap(), b"short");
}

#[test]
fn the_folder_holds_every_release_newest_first_and_none_twice() {
    let checkout = Checkout::new();
    checkout
        .pack(VERSION, &checkout.stand_in(VERSION))
        .expect(0);

    // The same version, other bytes.
    checkout.write("LICENSE", "another");
    checkout.commit();
    checkout.git(&["tag", "-f", "v0.1.0"]);
    let before = checkout.sum(&checkout.archive());
    let ran = checkout
        .pack(VERSION, &checkout.stand_in(VERSION))
        .expect(1);
    insta::assert_snapshot!(checkout.told(&ran), @"
    x 0.1.0 cannot be released once more

      /T/dist has a 0.1.0 already, with other bytes
        release this as a higher version, or take another --out
    ");
    assert_eq!(checkout.sum(&checkout.archive()), before);

    // Later ones; one that is not final comes before the final one.
    let mut current = VERSION;
    for version in ["0.10.0-rc.1", "0.10.0", "0.9.0"] {
        for file in ["Cargo.toml", "Cargo.lock"] {
            let text = std::fs::read_to_string(checkout.root.join(file)).unwrap();
            let (old, new) = (
                format!("name = \"ooy\"\nversion = \"{current}\""),
                format!("name = \"ooy\"\nversion = \"{version}\""),
            );
            assert!(text.contains(&old), "{file}");
            checkout.write(file, &text.replace(&old, &new));
        }
        checkout.write(
            "CHANGELOG.md",
            &format!("# Changelog\n\n## [{version}] - 2026-12-01\n\n- {version}\n"),
        );
        checkout.commit();
        checkout.git(&["tag", &format!("v{version}")]);
        checkout
            .pack(version, &checkout.stand_in(version))
            .expect(0);
        current = version;
    }
    let index = std::fs::read_to_string(checkout.out.join("releases.json")).unwrap();
    let index: serde_json::Value = serde_json::from_str(&index).unwrap();
    let versions: Vec<&str> = index["releases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["version"].as_str().unwrap())
        .collect();
    assert_eq!(versions, ["0.10.0", "0.10.0-rc.1", "0.9.0", "0.1.0"]);
    said(
        Command::new("sha256sum")
            .args(["-c", "--quiet", "SHA256SUMS"])
            .current_dir(&checkout.out),
    );
    // The newest, not the last one that was made.
    let dry = said(
        Command::new("sh")
            .arg(checkout.out.join("install"))
            .arg("--dry-run"),
    );
    assert!(dry.starts_with("ooy 0.10.0\n"), "{dry}");
}
