//! What nginx is given, seen from the real nginx without the applications.

use crate::harness::Home;

#[test]
fn nginx_starts_although_everything_behind_it_is_missing() {
    let home = Home::with_databases("alone");
    // All five fail; nginx waits for them to settle and starts without.
    let fail: &[(&str, &str)] = &[("STAND_IN_EXIT_CODE", "1")];
    home.steer(&[
        ("rapidpro", fail),
        ("courier", fail),
        ("mailroom", fail),
        ("casepro", fail),
        ("contentrepo", fail),
    ]);
    home.ooy(&["start", "nginx", "--timeout", "20"]).expect(1);
    assert_eq!(home.service_status("nginx")["ready"], true);
    for (host, path) in [
        ("rapidpro.test", "/users/login/"),
        ("rapidpro.test", "/c/kn/x/receive"),
        ("casepro.test", "/"),
        ("content.test", "/"),
    ] {
        // 504 when the request met a container between two of its restarts: its address is known
        // for a moment, and nobody answers there.
        let status = home.get(host, path, &[]).0;
        assert!([502, 504].contains(&status), "{host}{path}: {status}");
    }
    // A host that is not ours gets no certificate.
    assert_eq!(home.get("other.test", "/", &[]).0, 0);
}
