//! Tells cargo what the executable is made of besides `src`: what is embedded, of which commit it
//! is, and which keys its updates may be signed with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    // A new file under embedded/ does not retrigger rust-embed's macro by itself.
    println!("cargo:rerun-if-changed=embedded");
    // What the compiler made twice is there once: 3 % of the executable. By lld, which rustc brings along
    // from 1.90 on and takes by itself.
    if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
    println!("cargo:rustc-env=OOY_COMMIT={}", commit());
    println!("cargo:rustc-env=OOY_DATE={}", date());
    println!("cargo:rustc-env=OOY_TARGET={}", env::var("TARGET").unwrap());
    keys();
}

/// OOY_COMMIT, or what git says; `unknown` where the source is no checkout.
fn commit() -> String {
    println!("cargo:rerun-if-env-changed=OOY_COMMIT");
    if let Ok(commit) = env::var("OOY_COMMIT") {
        return commit;
    }
    // In a linked work tree .git is a file: git knows where its HEAD is, and what that names.
    for name in ["HEAD", &git(&["symbolic-ref", "HEAD"]).unwrap_or_default()] {
        if let Some(path) = git(&["rev-parse", "--git-path", name]).filter(|_| !name.is_empty()) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"]).unwrap_or_else(|| "unknown".to_owned())
}

/// The day of that commit, for the man pages: OOY_DATE, or what git says; empty where nobody knows.
fn date() -> String {
    println!("cargo:rerun-if-env-changed=OOY_DATE");
    env::var("OOY_DATE")
        .ok()
        .or_else(|| git(&["show", "--no-patch", "--format=%cs", "HEAD"]))
        .unwrap_or_default()
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

/// The public keys, *.pub in embedded/release-keys or in OOY_RELEASE_KEYS: 32 bytes each, as zipsign
/// writes them. Two at most: the one in use, and the one before or after it while keys are changed.
fn keys() {
    println!("cargo:rerun-if-env-changed=OOY_RELEASE_KEYS");
    let folder = env::var_os("OOY_RELEASE_KEYS")
        .map_or_else(|| PathBuf::from("embedded/release-keys"), PathBuf::from);
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "pub"))
        .collect();
    files.sort();
    assert!(
        files.len() <= 2,
        "{}: more than two keys: the oldest goes when a third comes",
        folder.display()
    );
    let mut code = String::from("&[\n");
    for file in &files {
        let key: [u8; 32] = fs::read(file)
            .unwrap()
            .try_into()
            .unwrap_or_else(|_| panic!("{}: a public key has 32 bytes", file.display()));
        let name = file.file_stem().unwrap().to_str().unwrap();
        code += &format!("    ({name:?}, {key:?}),\n");
    }
    code += "]\n";
    let to = Path::new(&env::var_os("OUT_DIR").unwrap()).join("release_keys.rs");
    fs::write(to, code).unwrap();
}
