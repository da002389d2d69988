//! RapidPro.

use crate::harness::Home;

#[test]
fn play() {
    let home = Home::with_databases("dplay");
    home.ooy(&["start"]).expect(0);
    println!("{} {}", home.folder.display(), home.project);
    std::mem::forget(home);
}
