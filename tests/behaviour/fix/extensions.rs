//! Databases without their extensions.

use super::cluster::Cluster;
use super::postgres::{ACCESS, as_another_user, killed_when, subnet, summary};
use crate::harness::{Home, surroundings};

const EXTENSIONS: &[&str] = &["postgres-extensions"];

/// Extensions that a restore by another role than the superuser has left out.
#[test]
fn databases_get_their_extensions() {
    let home = Home::new("fixext");
    let cluster = Cluster::up("ooyfixext");
    cluster.serve(&home, &surroundings("OOY_TEST_POSTGRES_HOST"));
    // No container runs here: one is made for each look, which takes its time on a busy machine.
    home.set("DIAGNOSE_TIMEOUT", "DIAGNOSE_TIMEOUT=30s");
    // Before the first start: there is not even a network.
    let said = home.fixes(ACCESS);
    assert!(said.contains("make the deployment's network"), "{said}");
    let lines = std::fs::read_to_string(cluster.hba()).unwrap();
    assert!(lines.contains(&subnet(&home)), "{lines}");
    home.has_nothing_to_fix(ACCESS);
    home.ooy(&["start", "elasticsearch"]).expect(0);
    home.has_nothing_to_fix(EXTENSIONS);

    by_the_superuser(&home, &cluster);
    by_the_role_itself(&home, &cluster);
    killed_while_one_is_made(&home, &cluster);
    without_its_files_the_package_is_named(&home, &cluster);
}

fn missing(home: &Home) -> String {
    summary(home, "postgres-extensions", "postgres-extension-missing")
}

/// What RapidPro does with both.
fn rapidpro_writes(cluster: &Cluster) {
    cluster.sql_as(
        "rapidpro",
        "CREATE TABLE IF NOT EXISTS places (at geometry, more hstore)",
    );
    cluster.sql_as(
        "rapidpro",
        "INSERT INTO places VALUES (ST_Point(36.8, -1.3), 'town => Nairobi')",
    );
    let town = cluster.sql_as(
        "rapidpro",
        "SELECT more -> 'town' FROM places WHERE ST_X(at) > 36",
    );
    assert!(town.starts_with("Nairobi"), "{town}");
}

fn by_the_superuser(home: &Home, cluster: &Cluster) {
    cluster.sql("rapidpro", "DROP EXTENSION postgis");
    assert_eq!(missing(home), "RapidPro: database rapidpro lacks postgis");
    let said = home.fixes(EXTENSIONS);
    assert!(
        said.contains(
            "CREATE EXTENSION postgis in database rapidpro as PostgreSQL's superuser postgres"
        ),
        "{said}"
    );
    assert!(said.contains("rapidpro has postgis 3."), "{said}");
    rapidpro_writes(cluster);
    home.has_nothing_to_fix(EXTENSIONS);
}

/// With nobody looking, and as somebody who is not root: the role may make it.
fn by_the_role_itself(home: &Home, cluster: &Cluster) {
    cluster.sql("casepro", "DROP EXTENSION hstore");
    // Its first migrations would make it: those are over.
    cluster.sql_as(
        "casepro",
        "CREATE TABLE django_migrations (app text, name text)",
    );
    assert_eq!(missing(home), "Casepro: database casepro lacks hstore");
    let ran = as_another_user(home, &["--yes", "fix", "postgres-extensions"]).expect(0);
    assert!(ran.stderr.contains("as role casepro"), "{}", ran.stderr);
    assert_eq!(
        cluster.sql_as("casepro", "SELECT hstore('a', 'b') -> 'a'"),
        "b"
    );
    home.has_nothing_to_fix(EXTENSIONS);
    // Only the superuser may make this one.
    cluster.sql("rapidpro", "DROP EXTENSION postgis CASCADE");
    let ran = as_another_user(home, &["--yes", "fix", "postgres-extensions"]).expect(1);
    assert!(ran.stderr.contains("no permission"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("sudo -u postgres psql"),
        "{}",
        ran.stderr
    );
    // It only adds: nobody has to look.
    let shown = home.ooy(&["fix", "--all", "--dry-run"]);
    assert!(
        shown.stderr.contains("CREATE EXTENSION postgis"),
        "{}",
        shown.stderr
    );
    home.fixes(EXTENSIONS);
    cluster.sql("rapidpro", "DROP TABLE places");
    rapidpro_writes(cluster);
}

fn killed_while_one_is_made(home: &Home, cluster: &Cluster) {
    cluster.sql("rapidpro", "DROP EXTENSION postgis CASCADE");
    killed_when(home, "postgres-extensions", "creating postgis");
    home.fixes(EXTENSIONS);
    cluster.sql("rapidpro", "DROP TABLE places");
    rapidpro_writes(cluster);
    home.has_nothing_to_fix(EXTENSIONS);
}

fn without_its_files_the_package_is_named(home: &Home, cluster: &Cluster) {
    cluster.sql("rapidpro", "DROP EXTENSION postgis CASCADE");
    cluster.ctl("stop");
    // The server, and nobody else, sees no file of postgis.
    let folder = cluster.sharedir();
    cluster.start_after(&format!(
        "mount -t tmpfs none /mnt && cp {folder}/hstore* {folder}/plpgsql* /mnt \
         && mount --bind /mnt {folder}"
    ));
    let summary = missing(home);
    assert_eq!(summary, "RapidPro: database rapidpro lacks postgis");
    let ran = home.fix(EXTENSIONS).expect(1);
    assert!(
        ran.stderr.contains("a package is missing"),
        "{}",
        ran.stderr
    );
    assert!(
        ran.stderr.contains("apt-get install -y postgresql-"),
        "{}",
        ran.stderr
    );
    // Nor is it tried with nobody looking.
    let shown = home.ooy(&["fix", "--all", "--dry-run"]);
    assert!(
        !shown.stderr.contains("postgres-extensions:"),
        "{}",
        shown.stderr
    );
    cluster.ctl("restart");
    home.fixes(EXTENSIONS);
    cluster.sql("rapidpro", "DROP TABLE places");
    rapidpro_writes(cluster);
}
