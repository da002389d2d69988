//! What cannot be done is said before anything is stopped.

use super::tidy;
use crate::harness::Home;

#[test]
fn what_leads_nowhere_is_refused_with_the_way_that_leads() {
    let home = Home::with_only_databases("uprefused");
    for (name, code, arguments) in [
        ("malformed", 2, &["rapidpro", "--to", "7.0"][..]),
        ("unknown", 2, &["rapidpro", "--to", "7.1.3"]),
        ("older", 2, &["rapidpro", "--to", "6.2.4"]),
        ("same", 2, &["rapidpro", "--to", "6.4.8"]),
        ("without-images", 1, &["rapidpro", "--to", "9.0.0"]),
        ("not-of-it", 2, &["casepro", "--mailroom", "v1"]),
    ] {
        let ran = home
            .ooy(&[&["--yes", "upgrade"], arguments].concat())
            .expect(code);
        insta::assert_snapshot!(name, tidy(&home, &ran.stderr));
    }
    home.ooy(&["upgrade", "asterisk"]).expect(2);
    let nothing = home.ooy(&["rollback"]).expect(1);
    insta::assert_snapshot!("nothing-to-go-back-to", tidy(&home, &nothing.stderr));
    let images = home.images();
    let pulled = home
        .ooy(&[
            "--yes",
            "upgrade",
            "rapidpro",
            "--to",
            "7.0.4",
            "--courier",
            "v0.0.0",
        ])
        .expect(1);
    assert!(
        pulled.stderr.contains("courier:v0.0.0"),
        "{}",
        pulled.stderr
    );
    assert_eq!(home.images(), images);
    home.is_settled("rapidpro");
    // No room, the database away.
    home.set("DISK_RESERVE_MB", "DISK_RESERVE_MB=1000000");
    let room = home
        .ooy(&["--yes", "upgrade", "rapidpro", "--to", "7.0.4"])
        .expect(1);
    assert!(room.stderr.contains("not enough room"), "{}", room.stderr);
    let url = home.setting("RAPIDPRO_DATABASE_URL");
    home.set(
        "RAPIDPRO_DATABASE_URL",
        &format!("RAPIDPRO_DATABASE_URL={}x", url),
    );
    home.ooy(&["--yes", "upgrade", "rapidpro", "--to", "7.0.4"])
        .expect(1);
    assert_eq!(home.backups().len(), 0);
}
