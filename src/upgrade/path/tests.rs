use super::*;
use crate::fault::Kind;
use proptest::prelude::*;

const RAPIDPRO: App = App::Rapidpro;

impl Refusal<'_> {
    /// The way to the last release that can be reached, empty where none can.
    fn legal(&self) -> &[Leg<'_>] {
        match self {
            Self::Server { legal, .. } | Self::NoImage { legal, .. } => legal,
            _ => &[],
        }
    }
}

fn catalogue() -> Catalogue {
    Catalogue::embedded().unwrap()
}

fn version(text: &str) -> Version {
    Version::parse(text).unwrap()
}

/// The way as it is shown, or the refusal.
fn asked(app: App, from: &str, to: &str, server: Option<u32>) -> Result<String, Refusal<'static>> {
    let catalogue: &'static Catalogue = Box::leak(Box::new(catalogue()));
    let to = (!to.is_empty()).then(|| version(to));
    path(catalogue, app, version(from), to, server).map(|legs| way(&legs))
}

fn refused(app: App, from: &str, to: &str, server: Option<u32>) -> Refusal<'static> {
    asked(app, from, to, server).unwrap_err()
}

fn told(app: App, refusal: &Refusal) -> Fault {
    refusal.fault(app, |rest| format!("ooy {rest}"))
}

#[test]
fn every_stable_release_is_passed_in_turn() {
    assert_eq!(
        asked(RAPIDPRO, "6.4.8", "7.4.2", None).unwrap(),
        "6.4.8 → 7.0.4 → 7.2.4 → 7.4.2"
    );
    assert_eq!(
        asked(RAPIDPRO, "7.2.4", "7.4.2", None).unwrap(),
        "7.2.4 → 7.4.2"
    );
}

#[test]
fn the_last_patch_of_its_own_stable_comes_first() {
    assert_eq!(
        asked(RAPIDPRO, "6.4.3", "7.0.4", None).unwrap(),
        "6.4.3 → 6.4.8 → 7.0.4"
    );
    assert_eq!(
        asked(RAPIDPRO, "7.4.0", "7.4.2", None).unwrap(),
        "7.4.0 → 7.4.2"
    );
    // A later patch than the list has.
    assert_eq!(
        asked(RAPIDPRO, "6.4.9", "7.0.4", None).unwrap(),
        "6.4.9 → 7.0.4"
    );
}

#[test]
fn four_legs_lead_from_what_is_deployed_to_the_newest() {
    let catalogue = catalogue();
    let aim = Some(version("8.0.1"));
    let legs = path(&catalogue, RAPIDPRO, version("6.4.8"), aim, Some(100_019)).unwrap();
    let tags: Vec<Vec<&str>> = legs
        .iter()
        .map(|leg| {
            let images = RAPIDPRO.images().iter();
            images
                .map(|image| leg.to.tags[image.service].as_str())
                .collect()
        })
        .collect();
    assert_eq!(
        tags,
        [
            ["v7.0.4", "v7.0.1", "v7.0.0", "v7.0.0"],
            ["v7.2.4", "v7.2.6", "v7.2.0", "v7.2.0"],
            ["v7.4.2", "v7.4.1", "v7.4.0", "v7.4.0"],
            ["v8.0.1", "v8.0.0", "v8.0.2", "v8.0.0"],
        ]
    );
    let migrations: Vec<_> = legs.iter().map(Leg::migrations).collect();
    assert_eq!(migrations, [Some(54), Some(88), Some(53), Some(135)]);
    assert_eq!(legs[0].to_string(), "6.4.8 → 7.0.4");
    assert_eq!(legs[1].from, version("7.0.4"));
    assert_eq!(legs[3].postgres(), Some(100_000));
    assert!(!legs[3].broken()[0].certain);
    assert_eq!(
        path(
            &catalogue,
            RAPIDPRO,
            version("6.4.8"),
            Some(version("8.0.1")),
            None
        ),
        Ok(legs)
    );
}

#[test]
fn an_elasticsearch_that_is_too_old_is_a_note_and_no_refusal() {
    let catalogue = catalogue();
    for (text, said) in [("6.2.4", "has to be 7"), ("9.2.5", "should be 8")] {
        let leg = Leg {
            from: version("6.0.8"),
            to: catalogue.release(RAPIDPRO, version(text)).unwrap(),
            over: Vec::new(),
        };
        assert!(leg.notes().any(|note| note.contains(said)), "{text}");
    }
}

#[test]
fn casepro_and_contentrepo_jump_and_bring_what_they_jump_over() {
    let catalogue = catalogue();
    let legs = path(&catalogue, App::Contentrepo, version("0.0.41"), None, None).unwrap();
    assert_eq!(way(&legs), "0.0.41 → 1.6.4");
    let over: Vec<Version> = legs[0].over.iter().map(|release| release.version).collect();
    assert_eq!(listed(&over), "0.0.101, 0.0.110, 1.0.0, 1.1.0");
    assert!(legs[0].notes().any(|note| note.contains("token")));
    assert_eq!(legs[0].migrations(), None);

    let legs = path(
        &catalogue,
        App::Casepro,
        version("1.3.13"),
        None,
        Some(100_019),
    )
    .unwrap();
    assert_eq!(way(&legs), "1.3.13 → 1.10.0");
    assert_eq!(legs[0].postgres(), Some(100_000));
    assert_eq!(legs[0].settings().count(), 1);
    // Neither its odd second numbers nor one that the list does not have are in its way.
    assert_eq!(
        asked(App::Casepro, "1.3.15", "1.3.17", None).unwrap(),
        "1.3.15 → 1.3.17"
    );
    assert_eq!(
        asked(App::Contentrepo, "0.0.80", "1.0.0", None).unwrap(),
        "0.0.80 → 1.0.0"
    );
}

#[test]
fn no_way_leads_on_from_a_development_release() {
    let refusal = refused(RAPIDPRO, "6.5.71", "7.0.4", None);
    assert_eq!(
        refusal,
        Refusal::Development {
            runs: version("6.5.71")
        }
    );
    assert_eq!(refused(RAPIDPRO, "6.5.71", "", None), refusal);
    let fault = told(RAPIDPRO, &refusal);
    assert_eq!(fault.kind, Kind::Problem);
    assert_eq!(fault.title, "rapidpro 6.5.71: a development release");
}

#[test]
fn what_is_older_than_the_list_has_no_next_release() {
    let refusal = refused(RAPIDPRO, "5.2.0", "7.0.4", None);
    assert!(matches!(&refusal, Refusal::Unlisted { known, .. } if known[0] == version("5.6.5")));
    let fault = told(RAPIDPRO, &refusal);
    assert_eq!(fault.title, "rapidpro 5.2.0: not in the list of releases");
    assert_eq!(fault.next, ["ooy self-update --check"]);
}

#[test]
fn an_unknown_release_names_the_nearest() {
    let near = |from: &str, to: &str| match refused(RAPIDPRO, from, to, None) {
        Refusal::Unknown { near, .. } => listed(&near),
        other => panic!("{other:?}"),
    };
    assert_eq!(near("6.4.8", "7.4.0"), "7.2.4, 7.4.2");
    // What runs and what is older is no aim.
    assert_eq!(near("6.4.8", "6.8.0"), "7.0.4");
    assert_eq!(near("6.4.8", "99.0.0"), "26.2.0");
    assert_eq!(near("26.2.0", "99.0.0"), "");

    let next = |to: &str| {
        let fault = told(RAPIDPRO, &refused(RAPIDPRO, "6.4.8", to, None));
        assert_eq!(fault.kind, Kind::Usage);
        fault.next.join("\n")
    };
    assert_eq!(next("7.4.0"), "ooy upgrade rapidpro --to 7.4.2");
    assert_eq!(next("7.3.5"), "ooy upgrade rapidpro --to 7.2.4");
    assert_eq!(next("6.8.0"), "ooy upgrade rapidpro --to 7.0.4");
    let none = refused(RAPIDPRO, "26.2.0", "99.0.0", None);
    assert_eq!(told(RAPIDPRO, &none).next, ["ooy self-update --check"]);
}

#[test]
fn what_runs_and_what_is_older_is_refused() {
    let refusal = refused(RAPIDPRO, "7.0.4", "7.0.4", None);
    assert_eq!(
        refusal,
        Refusal::Same {
            version: version("7.0.4")
        }
    );
    assert_eq!(told(RAPIDPRO, &refusal).title, "rapidpro: already 7.0.4");
    // Whether the list has it or not.
    let same = refused(App::Casepro, "1.3.15", "1.3.15", None);
    assert_eq!(
        same,
        Refusal::Same {
            version: version("1.3.15")
        }
    );
    for to in ["6.4.8", "6.4.1"] {
        let refusal = refused(RAPIDPRO, "7.0.4", to, None);
        let (version, runs) = (version(to), version("7.0.4"));
        assert_eq!(refusal, Refusal::Older { version, runs });
        assert_eq!(told(RAPIDPRO, &refusal).next, ["ooy rollback"]);
    }
}

#[test]
fn nothing_newer_is_said_where_nothing_is_asked_for() {
    for (app, from) in [
        (RAPIDPRO, "8.0.1"),
        (RAPIDPRO, "9.0.0"),
        (App::Casepro, "1.13.6"),
    ] {
        let refusal = refused(app, from, "", None);
        assert_eq!(
            refusal,
            Refusal::Newest {
                runs: version(from)
            }
        );
        assert!(told(app, &refusal).title.contains("nothing newer"));
    }
}

#[test]
fn an_image_that_is_missing_on_the_way_ends_it_before() {
    let refusal = refused(RAPIDPRO, "7.4.2", "9.0.0", Some(100_019));
    let Refusal::NoImage {
        version: at,
        missing,
        server,
        ..
    } = &refusal
    else {
        panic!("{refusal:?}");
    };
    assert_eq!(*at, version("8.2.0"));
    assert_eq!(missing, &["rapidpro", "mailroom", "courier", "indexer"]);
    assert_eq!(
        *server,
        Some(TooOld {
            needs: 120_000,
            has: 100_019
        })
    );
    assert_eq!(way(refusal.legal()), "7.4.2 → 8.0.1");
    let fault = told(RAPIDPRO, &refusal);
    assert_eq!(fault.title, "rapidpro 8.2.0: not published");
    assert_eq!(
        fault.evidence,
        [
            "PostgreSQL 10.19 would be too old for it as well: it needs 12",
            "published: 7.4.2 → 8.0.1",
        ]
    );
    assert_eq!(fault.next, ["ooy upgrade rapidpro --to 8.0.1"]);
}

#[test]
fn a_single_missing_image_is_enough_and_nothing_before_it_is_offered() {
    let refusal = refused(RAPIDPRO, "6.0.8", "6.4.8", None);
    let Refusal::NoImage {
        missing,
        server: None,
        legal,
        ..
    } = &refusal
    else {
        panic!("{refusal:?}");
    };
    assert_eq!(missing, &["rapidpro"]);
    assert!(legal.is_empty());
    let fault = told(RAPIDPRO, &refusal);
    assert_eq!(
        fault.what,
        "no image of RapidPro 6.2.4 is known for rapidpro"
    );
    assert_eq!(fault.next, ["ooy self-update --check"]);
}

#[test]
fn a_server_that_is_too_old_ends_the_way_before() {
    let refusal = refused(RAPIDPRO, "6.4.8", "7.4.2", Some(90_624));
    let Refusal::Server {
        version: at,
        server,
        legal,
    } = &refusal
    else {
        panic!("{refusal:?}");
    };
    assert_eq!(*at, version("7.2.4"));
    assert_eq!(
        *server,
        TooOld {
            needs: 100_000,
            has: 90_624
        }
    );
    assert_eq!(way(legal), "6.4.8 → 7.0.4");
    let fault = told(RAPIDPRO, &refusal);
    assert_eq!(fault.title, "rapidpro 7.2.4: PostgreSQL is too old");
    assert_eq!(fault.what, "RapidPro 7.2.4 needs PostgreSQL 10");
    assert_eq!(
        fault.evidence,
        ["PostgreSQL here: 9.6.24", "enough for: 6.4.8 → 7.0.4"]
    );
    assert_eq!(
        fault.next,
        [
            "ooy upgrade rapidpro --to 7.0.4",
            "ooy diagnose postgres-version",
            "ooy upgrade rapidpro --to 7.2.4",
        ]
    );
    // Nothing before it: PostgreSQL comes first.
    let refusal = refused(RAPIDPRO, "6.4.8", "7.0.4", Some(90_500));
    assert!(refusal.legal().is_empty());
    assert_eq!(
        told(RAPIDPRO, &refusal).next,
        [
            "ooy diagnose postgres-version",
            "ooy upgrade rapidpro --to 7.0.4"
        ]
    );
    // A server of unknown version is not in the way.
    assert!(asked(RAPIDPRO, "6.4.8", "7.4.2", None).is_ok());
}

#[test]
fn a_jump_that_is_too_far_offers_a_shorter_one() {
    let refusal = refused(App::Casepro, "1.3.13", "1.13.6", None);
    assert!(matches!(&refusal, Refusal::NoImage { version: at, .. } if *at == version("1.13.6")));
    assert_eq!(way(refusal.legal()), "1.3.13 → 1.10.0");
    assert_eq!(refusal.legal()[0].over.len(), 1);
    let refusal = refused(App::Casepro, "1.3.13", "1.10.0", Some(90_624));
    assert_eq!(way(refusal.legal()), "1.3.13 → 1.3.17");
    assert_eq!(
        told(App::Casepro, &refusal).next,
        [
            "ooy upgrade casepro --to 1.3.17",
            "ooy diagnose postgres-version",
            "ooy upgrade casepro --to 1.10.0",
        ]
    );
    // The deployment as it is: PostgreSQL 10.19 is too old for every later ContentRepo.
    let refusal = refused(App::Contentrepo, "0.0.41", "", Some(100_019));
    assert!(matches!(refusal, Refusal::Server { legal, .. } if legal.is_empty()));
    let refusal = refused(App::Contentrepo, "0.0.41", "", Some(110_000));
    assert_eq!(way(refusal.legal()), "0.0.41 → 1.1.0");
    assert!(
        refused(App::Casepro, "1.13.5", "1.13.6", None)
            .legal()
            .is_empty()
    );
}

#[test]
fn every_refusal_has_its_four_parts() {
    for refusal in [
        refused(RAPIDPRO, "6.4.8", "7.4.0", None),
        refused(RAPIDPRO, "6.4.8", "6.4.8", None),
        refused(RAPIDPRO, "8.0.1", "", None),
        refused(RAPIDPRO, "7.0.4", "6.4.8", None),
        refused(RAPIDPRO, "6.5.1", "7.0.4", None),
        refused(RAPIDPRO, "5.2.0", "7.0.4", None),
        refused(RAPIDPRO, "6.4.8", "7.2.4", Some(90_600)),
        refused(RAPIDPRO, "6.4.8", "9.0.0", None),
    ] {
        let fault = refusal.fault(RAPIDPRO, |rest| format!("ooy --home /x {rest}"));
        assert!(fault.title.starts_with("rapidpro"), "{}", fault.title);
        assert!(
            !fault.what.is_empty() && !fault.why.is_empty(),
            "{}",
            fault.title
        );
        assert!(!fault.next.is_empty(), "{}", fault.title);
        assert!(
            fault
                .next
                .iter()
                .all(|next| next.starts_with("ooy --home /x "))
        );
    }
}

#[test]
fn postgres_is_named_as_people_do() {
    for (number, name) in [
        (120_000, "12"),
        (120_004, "12.4"),
        (100_019, "10.19"),
        (90_600, "9.6"),
        (90_624, "9.6.24"),
    ] {
        assert_eq!(postgres(number), name);
    }
}

proptest! {
    // Whatever runs and is asked for: a way leads there, upwards, over images that exist.
    #[test]
    fn a_way_leads_up_to_what_was_asked_for(
        app in prop::sample::select(App::ALL.to_vec()),
        at in 0usize..20,
        patch in 0u32..20,
        aim in 0usize..20,
        server in proptest::option::of(90_000u32..170_000),
    ) {
        let catalogue = catalogue();
        let releases = catalogue.app(app);
        let runs = releases[at % releases.len()].version;
        let runs = Version::new(runs.major, runs.minor, patch);
        let aim = releases[aim % releases.len()].version;
        if let Ok(legs) = path(&catalogue, app, runs, Some(aim), server) {
            prop_assert_eq!(legs[0].from, runs);
            prop_assert_eq!(legs[legs.len() - 1].to.version, aim);
            for leg in &legs {
                prop_assert!(leg.from < leg.to.version);
                prop_assert!(leg.to.missing(app).is_empty());
                prop_assert!(leg.over.iter().all(|over| !over.required));
            }
            for pair in legs.windows(2) {
                prop_assert_eq!(pair[0].to.version, pair[1].from);
            }
            let passed: usize = legs.iter().map(|leg| leg.releases().count()).sum();
            let between = |of: &&Release| of.version > runs && of.version <= aim;
            prop_assert_eq!(passed, releases.iter().filter(between).count());
        }
    }
}
