use super::checkout::root;

#[test]
fn every_direct_dependency_has_its_reason_in_architecture_md() {
    let text = |name: &str| std::fs::read_to_string(root().join(name)).unwrap();
    let architecture = text("ARCHITECTURE.md");
    let (_, section) = architecture
        .split_once("## Dependencies, each with its reason\n")
        .unwrap();
    let section = section.split("\n## ").next().unwrap();
    let given: Vec<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.split_once(" | "))
        .filter(|(_, reason)| reason.trim_end_matches('|').trim().len() > 8)
        .flat_map(|(crates, _)| crates.split(", "))
        .map(|name| name.split(' ').next().unwrap())
        .collect();
    let manifest: toml::Table = toml::from_str(&text("Cargo.toml")).unwrap();
    for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
        let Some(crates) = manifest.get(section) else {
            continue;
        };
        for name in crates.as_table().unwrap().keys() {
            assert!(given.contains(&name.as_str()), "{name} has no line");
        }
    }
}
