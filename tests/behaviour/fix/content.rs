//! ContentRepo as the service that is seen to work again: it answers a page that it keeps in Redis,
//! and writes a row when somebody logs in.

use std::process::Command;

use crate::harness::{Home, Ran};

/// ContentRepo runs and has an administrator.
pub fn comes_up(home: &Home) {
    home.ooy(&["start", "contentrepo"]).expect(0);
    let seed = [
        "exec",
        &home.container("contentrepo"),
        "python",
        "manage.py",
    ];
    let said = home.docker(&[&seed[..], &["stand_in_seed", "--username", "night"]].concat());
    assert!(said.contains("night"), "{said}");
}

fn curl(home: &Home, path: &str, more: &[&str]) -> (String, String) {
    let template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = home.inspect("contentrepo", template);
    let output = Command::new("curl")
        .args(["-sS", "--max-time", "20", "--noproxy", "*"])
        .args(["-w", "\n%{http_code}", "-H", "Host: content.test"])
        .args(more)
        .arg(format!("http://{address}:8000{path}"))
        .output()
        .unwrap();
    let text = Ran::of(&output).stdout;
    let (body, status) = text.rsplit_once('\n').unwrap_or(("", &text));
    (status.to_owned(), body.to_owned())
}

/// Status of a page that is read from PostgreSQL and kept in Redis.
pub fn page(home: &Home) -> String {
    curl(home, "/api/v2/pages/", &[]).0
}

/// Somebody logs in, which writes a row in django_session; the status that he got.
pub fn log_in(home: &Home) -> String {
    let jar = home.folder.join("cookies");
    // Somebody new: who is logged in already gets his row anew.
    let _ = std::fs::remove_file(&jar);
    let jar = jar.display().to_string();
    let cookies = ["-c", &jar, "-b", &jar];
    let (status, form) = curl(home, "/admin/login/", &cookies);
    let token = form
        .split_once("name=\"csrfmiddlewaretoken\" value=\"")
        .and_then(|(_, rest)| rest.split_once('"'));
    let Some((token, _)) = token else {
        return status;
    };
    let token = format!("csrfmiddlewaretoken={token}");
    let fields = [
        "-d",
        &token,
        "-d",
        "username=night",
        "-d",
        "password=lvcthealth",
    ];
    curl(home, "/admin/login/", &[&cookies[..], &fields].concat()).0
}
