//! Tells cargo what the executable is made of besides `src`, and which commit it is.

use std::process::Command;

fn main() {
    // A new file under embedded/ does not retrigger rust-embed's macro by itself.
    println!("cargo:rerun-if-changed=embedded");
    println!("cargo:rerun-if-changed=.git/HEAD");
    let commit = Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned());
    println!("cargo:rustc-env=OOY_COMMIT={commit}");
    println!(
        "cargo:rustc-env=OOY_TARGET={}",
        std::env::var("TARGET").unwrap_or_default()
    );
}
