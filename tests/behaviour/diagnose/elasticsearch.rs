//! Elasticsearch and the index of contacts.

use std::time::Duration;

use super::services::PATIENCE;
use crate::harness::{Home, free_port, until};

#[test]
fn elasticsearch_and_its_index() {
    let home = Home::with_databases("des");
    // This machine may be busy with other tests.
    home.set("DIAGNOSE_TIMEOUT", "DIAGNOSE_TIMEOUT=10s");
    home.ooy(&["start"]).expect(0);
    home.seed_rapidpro();
    home.until_healthy("elasticsearch");
    home.healthy_again(PATIENCE);
    a_red_cluster(&home);
    a_node_that_does_not_answer(&home);
    a_disk_beyond_the_flood_stage(&home);
    an_indexer_that_does_nothing(&home);
    an_index_that_is_not_there(&home);
    a_published_port(&home);
}

fn a_red_cluster(home: &Home) {
    home.control("elasticsearch", r#"{"unhealthy_seconds": 3600}"#);
    let diagnosed = home.diagnose_until("elasticsearch-red", PATIENCE);
    let finding = diagnosed.finding("elasticsearch-red");
    let value = finding["evidence"][0]["value"].as_str().unwrap();
    assert!(value.starts_with("red, "), "{value}");
    assert!(
        finding["fix"]["command"]
            .as_str()
            .unwrap()
            .ends_with("fix service elasticsearch")
    );
    // Mailroom's searches fail because of it.
    assert!(
        diagnosed.explained().contains(&"mailroom-unreachable"),
        "{}",
        diagnosed.text()
    );
    let command = finding["evidence"][0]["command"].as_str().unwrap();
    let seen = home.shell(command);
    assert!(
        seen.contains(r#""status" : "red""#) || seen.contains(r#""status":"red""#),
        "{seen}"
    );
    home.control("elasticsearch", "");
    home.healthy_again(PATIENCE);
}

fn a_node_that_does_not_answer(home: &Home) {
    home.control("elasticsearch", r#"{"hang": true}"#);
    let diagnosed = home.diagnose_until("elasticsearch-red", PATIENCE);
    assert_eq!(
        diagnosed.finding("elasticsearch-red")["summary"],
        "Elasticsearch runs and does not answer"
    );
    home.control("elasticsearch", "");
    home.healthy_again(PATIENCE);
}

fn a_disk_beyond_the_flood_stage(home: &Home) {
    home.control("elasticsearch", r#"{"disk_used_percent": 96}"#);
    let diagnosed = home.diagnose_until("elasticsearch-read-only", PATIENCE);
    let finding = diagnosed.finding("elasticsearch-read-only");
    let values: Vec<&str> = finding["evidence"]
        .as_array()
        .unwrap()
        .iter()
        .map(|fact| fact["value"].as_str().unwrap())
        .collect();
    assert!(values[0].starts_with("true on contacts_"), "{values:?}");
    assert_eq!(values[1], "96 % used");
    for fact in finding["evidence"].as_array().unwrap() {
        let seen = home.shell(fact["command"].as_str().unwrap());
        assert!(
            seen.contains("read_only_allow_delete") || seen.contains("96"),
            "{seen}"
        );
    }
    home.control("elasticsearch", r#"{"disk_used_percent": 50}"#);
    home.healthy_again(PATIENCE);
    home.control("elasticsearch", "");
}

fn an_indexer_that_does_nothing(home: &Home) {
    home.set("SEARCH_LAG", "SEARCH_LAG=2s");
    home.healthy_again(PATIENCE);
    home.control("indexer", r#"{"hang": true}"#);
    // What the indexer has begun may still be done.
    std::thread::sleep(Duration::from_secs(1));
    home.rapidpro_sql("UPDATE contacts_contact SET name = 'Achieng', modified_on = now() WHERE id = (SELECT min(id) FROM contacts_contact)");
    let diagnosed = home.diagnose_until("search-lag", PATIENCE);
    let finding = diagnosed.finding("search-lag");
    assert_eq!(finding["service"], "indexer");
    assert_eq!(finding["evidence"][0]["threshold"], "2 s (SEARCH_LAG)");
    let summary = finding["summary"].as_str().unwrap();
    assert!(summary.ends_with("behind the database"), "{summary}");
    home.control("indexer", "");
    home.healthy_again(PATIENCE);
}

fn an_index_that_is_not_there(home: &Home) {
    home.control("indexer", r#"{"hang": true}"#);
    std::thread::sleep(Duration::from_secs(1));
    let container = home.container("elasticsearch");
    let curl = |arguments: &[&str]| {
        home.docker(&[&["exec", &container, "curl", "-s"], arguments].concat())
    };
    let index = curl(&["localhost:9200/_cat/indices/contacts*?h=index"]);
    curl(&["-X", "DELETE", &format!("localhost:9200/{}", index.trim())]);
    let diagnosed = home.diagnose_until("search-lag", PATIENCE);
    assert_eq!(
        diagnosed.finding("search-lag")["summary"],
        "The search index does not exist"
    );
    home.control("indexer", "");
    home.healthy_again(PATIENCE);
    home.set("SEARCH_LAG", "SEARCH_LAG=5m");
}

fn a_published_port(home: &Home) {
    let port = free_port();
    let own = home.folder.join("compose.override.yaml");
    std::fs::write(
        &own,
        format!("services:\n  elasticsearch:\n    ports: ['{port}:9200']\n"),
    )
    .unwrap();
    home.ooy(&["start", "elasticsearch"]).expect(0);
    home.until_healthy("elasticsearch");
    let diagnosed = home.diagnose_until("elasticsearch-exposed", PATIENCE);
    let finding = diagnosed.finding("elasticsearch-exposed");
    let value = finding["evidence"][0]["value"].as_str().unwrap();
    assert!(value.contains(&port.to_string()), "{value}");
    let seen = home.shell(finding["evidence"][0]["command"].as_str().unwrap());
    assert!(seen.contains(&format!("0.0.0.0:{port}")), "{seen}");

    // On the host alone it is nobody else's business.
    std::fs::write(
        &own,
        format!("services:\n  elasticsearch:\n    ports: ['127.0.0.1:{port}:9200']\n"),
    )
    .unwrap();
    home.ooy(&["start", "elasticsearch"]).expect(0);
    until("elasticsearch answers", PATIENCE, || {
        home.inspect("elasticsearch", "{{.State.Health.Status}}") == "healthy"
    });
    home.healthy_again(PATIENCE);
    std::fs::remove_file(&own).unwrap();
}
