//! Tells cargo what the executable is made of besides `src`.

fn main() {
    // A new file under embedded/ does not retrigger rust-embed's macro by itself.
    println!("cargo:rerun-if-changed=embedded");
}
