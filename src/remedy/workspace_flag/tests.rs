use super::*;

fn workspace(id: i64, slug: &str, name: &str, flagged: bool) -> Workspace {
    Workspace {
        id,
        slug: slug.to_owned(),
        uuid: format!("0000000{id}-AAAA-4c9c-9c8f-0d9a2f3e1b6d"),
        name: name.to_owned(),
        flagged,
        suspended: false,
        modified: "2026-11-26 02:14:07+00".to_owned(),
        verified: false,
    }
}

fn ids(choice: Choice<'_>) -> Vec<i64> {
    match choice {
        Choice::One(one) => vec![one.id],
        Choice::Several(all) => all.iter().map(|it| it.id).collect(),
        Choice::None | Choice::NoneFlagged => Vec::new(),
    }
}

#[test]
fn exactly_one_workspace_is_meant() {
    let all = [
        workspace(1, "lvcthealth", "LVCT Health", true),
        workspace(2, "training", "Training", false),
        workspace(3, "training-2", "Training", false),
    ];
    assert_eq!(ids(choose(&all, None)), [1]);
    assert_eq!(ids(choose(&all, Some("training"))), [2]);
    assert_eq!(ids(choose(&all, Some("Training"))), [2, 3]);
    let uuid = "00000003-aaaa-4c9c-9c8f-0d9a2f3e1b6d";
    assert_eq!(ids(choose(&all, Some(uuid))), [3]);
    assert!(matches!(choose(&all, Some("lvct")), Choice::None));
    assert!(matches!(choose(&all[1..], None), Choice::NoneFlagged));
}

#[test]
fn what_an_operator_types_is_a_name_and_nothing_else() {
    let all = [workspace(1, "lvcthealth", "LVCT Health", true)];
    for wanted in [
        "'; DROP TABLE orgs_org; --",
        "lvcthealth' OR '1'='1",
        "__import__('os').system('id')",
        "",
        "%",
    ] {
        assert!(
            matches!(choose(&all, Some(wanted)), Choice::None),
            "{wanted}"
        );
    }
}
