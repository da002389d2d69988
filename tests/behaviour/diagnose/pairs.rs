//! Two faults at once: where one comes of the other there is one root cause, otherwise both are
//! told, the worse first.

use super::workspace::PATIENCE;
use crate::harness::{Home, until};
use crate::hotline::TOKEN;

#[test]
fn pairs() {
    let home = Home::brought_up("pairs", &[]);
    home.seed();
    home.healthy_again(PATIENCE);

    two_services_that_hang_are_two_causes(&home);
    an_error_stands_before_a_warning(&home);
    a_stopped_worker_and_a_missing_page_are_two_causes(&home);
}

#[track_caller]
fn roots_become(home: &Home, roots: &[&str]) {
    until(&format!("the causes are {roots:?}"), PATIENCE, || {
        home.diagnose(&[]).roots() == roots
    });
}

fn two_services_that_hang_are_two_causes(home: &Home) {
    home.control("casepro", r#"{"hang": true}"#);
    home.control("contentrepo", r#"{"hang": true}"#);
    roots_become(home, &["casepro-unreachable", "contentrepo-unreachable"]);
    home.control("casepro", "{}");
    roots_become(home, &["contentrepo-unreachable"]);
    home.control("contentrepo", "{}");
    home.healthy_again(PATIENCE);
}

fn an_error_stands_before_a_warning(home: &Home) {
    home.set(
        "BIGQUERY_RAPIDPRO_TOKEN",
        &format!("BIGQUERY_RAPIDPRO_TOKEN={TOKEN}"),
    );
    home.comes_up();
    home.control("contentrepo", r#"{"hang": true}"#);
    roots_become(home, &["contentrepo-unreachable", "bigquery-token-missing"]);
    home.control("contentrepo", "{}");
    roots_become(home, &["bigquery-token-missing"]);
    home.set("BIGQUERY_RAPIDPRO_TOKEN", "BIGQUERY_RAPIDPRO_TOKEN=");
    home.comes_up();
    home.healthy_again(PATIENCE);
}

fn a_stopped_worker_and_a_missing_page_are_two_causes(home: &Home) {
    home.docker(&["rm", "-f", &home.container("casepro-celery")]);
    home.control("contentrepo", r#"{"hang": true}"#);
    roots_become(home, &["service-missing", "contentrepo-unreachable"]);
    home.control("contentrepo", "{}");
    home.comes_up();
    home.healthy_again(PATIENCE);
}
