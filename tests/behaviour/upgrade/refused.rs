//! What cannot be done is said before anything is stopped.

use super::tidy;
use crate::harness::{Home, sql};

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

#[test]
fn what_only_a_person_or_a_superuser_can_give_is_asked_for_first() {
    let home = Home::with_only_databases("upneeds");
    let images = home.images();
    sql(&home.database("rapidpro"), "DROP EXTENSION postgis");
    let upgrade = ["--yes", "upgrade", "rapidpro", "--to"];
    let refused = home.ooy(&[&upgrade[..], &["7.0.4"]].concat()).expect(1);
    insta::assert_snapshot!("extension", tidy(&home, &refused.stderr));
    assert_eq!(home.images(), images);
    // As if that one ran: the next one wants DynamoDB.
    let image = images[0]
        .replace(":v6.4.8", ":v9.2.5")
        .replace(":6.4.8", ":v9.2.5");
    home.set("RAPIDPRO_IMAGE", &format!("RAPIDPRO_IMAGE={image}"));
    let parts = [
        "--mailroom",
        "v10.0.0",
        "--courier",
        "v10.0.0",
        "--indexer",
        "v10.0.0",
    ];
    let refused = home
        .ooy(&[&upgrade[..], &["10.0.1"], &parts].concat())
        .expect(2);
    insta::assert_snapshot!("settings", tidy(&home, &refused.stderr));
    assert_eq!(home.backups().len(), 0);
    home.is_settled("rapidpro");
}
