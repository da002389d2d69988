//! The releases there are, and what changes from one to the next: `embedded/releases.toml`, typed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::deployment::embedded;
use crate::deployment::version::Version;
use crate::fault::{Fault, Result};

/// What can be upgraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum App {
    /// RapidPro, with mailroom, courier and the indexer.
    Rapidpro,
    /// Casepro.
    Casepro,
    /// ContentRepo.
    Contentrepo,
}

/// Where the image of a part of an application is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// The service whose tags and versions the catalogue has. Workers have the image of their web
    /// service.
    pub service: &'static str,
    /// The setting in ooy.env.
    pub setting: &'static str,
}

const fn image(service: &'static str, setting: &'static str) -> Image {
    Image { service, setting }
}

impl App {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Rapidpro, Self::Casepro, Self::Contentrepo];

    /// As in a command and in the names of its databases: `rapidpro`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rapidpro => "rapidpro",
            Self::Casepro => "casepro",
            Self::Contentrepo => "contentrepo",
        }
    }

    /// As people write it: RapidPro.
    pub fn label(self) -> &'static str {
        match self {
            Self::Rapidpro => "RapidPro",
            Self::Casepro => "Casepro",
            Self::Contentrepo => "ContentRepo",
        }
    }

    /// The images that a release of it consists of; the first has the application's own version.
    pub fn images(self) -> &'static [Image] {
        match self {
            Self::Rapidpro => {
                const {
                    &[
                        image("rapidpro", "RAPIDPRO_IMAGE"),
                        image("mailroom", "MAILROOM_IMAGE"),
                        image("courier", "COURIER_IMAGE"),
                        image("indexer", "INDEXER_IMAGE"),
                    ]
                }
            }
            Self::Casepro => const { &[image("casepro", "CASEPRO_IMAGE")] },
            Self::Contentrepo => const { &[image("contentrepo", "CONTENTREPO_IMAGE")] },
        }
    }
}

/// One release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Its version.
    pub version: Version,
    /// Year and month: `2021-11`.
    pub released: Option<String>,
    /// None that comes after can be reached without it.
    #[serde(default)]
    pub required: bool,
    /// New migration files since the release before it in the catalogue.
    pub migrations: Option<u32>,
    /// The image applies its migrations when it starts.
    #[serde(default)]
    pub migrates_itself: bool,
    /// The oldest PostgreSQL it works with, as `server_version_num` has it: 120000 is 12.
    pub postgres: Option<u32>,
    /// The Elasticsearch of its own tests.
    pub elasticsearch: Option<String>,
    /// The Redis of its own tests.
    pub redis: Option<String>,
    /// The versions of what belongs to it, by service; its own is not among them.
    #[serde(default)]
    pub versions: BTreeMap<String, Version>,
    /// The tags of its images, by service, written as they were published. None is known where
    /// one is missing.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Environment variables that come, go or change their name with it.
    #[serde(default)]
    pub settings: Vec<Setting>,
    /// What has been published and is no good.
    #[serde(default)]
    pub broken: Vec<Broken>,
    /// What a person has to know on the way to it, a sentence each.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Release {
    /// The services of the application without a published image.
    pub fn missing(&self, app: App) -> Vec<&'static str> {
        let services = app.images().iter().map(|image| image.service);
        services
            .filter(|service| !self.tags.contains_key(*service))
            .collect()
    }

    /// An image of it is said not to work: it was tried, or read in its code.
    pub fn is_broken(&self) -> bool {
        !self.broken.is_empty()
    }
}

/// An environment variable of a service that changes with a release.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Setting {
    /// The service that reads it; of workers, their web service.
    pub service: String,
    /// What becomes of it.
    pub change: Change,
    /// Where its value comes from, or why it goes, in words.
    pub from: String,
    /// Only a person knows the value, and the release does not work without.
    pub ask: bool,
}

/// What becomes of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is read from now on.
    Add(String),
    /// It is not read any more.
    Drop(String),
    /// The same under another name.
    Rename {
        /// Before.
        old: String,
        /// From now on.
        new: String,
    },
}

/// A setting as the file has it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    service: String,
    add: Option<String>,
    drop: Option<String>,
    rename: Option<String>,
    to: Option<String>,
    from: String,
    #[serde(default)]
    ask: bool,
}

impl TryFrom<Written> for Setting {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let change = match (written.add, written.drop, written.rename, written.to) {
            (Some(name), None, None, None) => Change::Add(name),
            (None, Some(name), None, None) => Change::Drop(name),
            (None, None, Some(old), Some(new)) => Change::Rename { old, new },
            _ => return Err("a setting has one of add, drop, and rename with to"),
        };
        Ok(Self {
            service: written.service,
            change,
            from: written.from,
            ask: written.ask,
        })
    }
}

/// An image that has been published and is no good.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broken {
    /// Whose image.
    pub service: String,
    /// Its tag.
    pub tag: String,
    /// What is wrong with it.
    pub why: String,
    /// It was tried; else it was only read in the code.
    pub certain: bool,
}

/// All releases that are known, of each application from the oldest to the newest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    rapidpro: Vec<Release>,
    casepro: Vec<Release>,
    contentrepo: Vec<Release>,
}

impl Catalogue {
    /// The one that this executable carries.
    pub fn embedded() -> Result<Self> {
        let text = embedded::text("releases.toml").unwrap_or_default();
        Self::parse(&text).map_err(|error| {
            // Guarded by a test: the embedded file is what this executable was built from.
            Box::new(
                Fault::problem(
                    "releases.toml: cannot be read",
                    "the embedded list of releases is damaged",
                )
                .evidence(error)
                .why("nothing can be upgraded without it")
                .next("ooy self-update"),
            )
        })
    }

    /// From the text of such a file.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// The releases of an application, the oldest first.
    pub fn app(&self, app: App) -> &[Release] {
        match app {
            App::Rapidpro => &self.rapidpro,
            App::Casepro => &self.casepro,
            App::Contentrepo => &self.contentrepo,
        }
    }

    /// One of them.
    pub fn release(&self, app: App, version: Version) -> Option<&Release> {
        let mut releases = self.app(app).iter();
        releases.find(|release| release.version == version)
    }

    /// The newest with all its images, none of which is said not to work, be it certain or not.
    pub fn newest(&self, app: App) -> Option<&Release> {
        let mut newest_first = self.app(app).iter().rev();
        newest_first.find(|release| release.missing(app).is_empty() && !release.is_broken())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::keys::KEYS;

    fn embedded_catalogue() -> Catalogue {
        Catalogue::embedded().unwrap()
    }

    fn all() -> Vec<(App, Release)> {
        let catalogue = embedded_catalogue();
        let of = |app| {
            catalogue
                .app(app)
                .iter()
                .map(move |release| (app, release.clone()))
        };
        App::ALL.into_iter().flat_map(of).collect()
    }

    #[test]
    fn the_embedded_file_goes_from_the_oldest_to_the_newest() {
        let catalogue = embedded_catalogue();
        for app in App::ALL {
            let releases = catalogue.app(app);
            assert!(
                releases.is_sorted_by(|a, b| a.version < b.version),
                "{app:?}"
            );
            let dates: Vec<_> = releases
                .iter()
                .filter_map(|of| of.released.as_deref())
                .collect();
            assert!(dates.is_sorted(), "{app:?}: {dates:?}");
            let servers: Vec<_> = releases.iter().filter_map(|of| of.postgres).collect();
            assert!(servers.is_sorted(), "{app:?}: {servers:?}");
        }
        let version = |app: App, at: usize| catalogue.app(app)[at].version.to_string();
        assert_eq!(version(App::Rapidpro, 0), "5.6.5");
        assert_eq!(
            version(App::Rapidpro, catalogue.app(App::Rapidpro).len() - 1),
            "26.2.0"
        );
        assert_eq!(version(App::Casepro, 0), "1.3.8");
        assert_eq!(version(App::Contentrepo, 0), "0.0.41");
    }

    #[test]
    fn rapidpro_is_passed_in_turn_and_has_one_release_a_stable() {
        for (app, release) in all() {
            assert_eq!(
                release.required,
                app == App::Rapidpro,
                "{}",
                release.version
            );
            assert!(
                !release.required || release.version.minor % 2 == 0,
                "{}",
                release.version
            );
        }
        let releases = embedded_catalogue().rapidpro;
        assert!(releases.is_sorted_by(|a, b| !a.version.same_stable(b.version)));
    }

    #[test]
    fn dates_and_servers_are_written_as_they_are_meant() {
        for (_, release) in all() {
            let version = release.version;
            if let Some(date) = &release.released {
                let (year, month) = date.split_once('-').unwrap();
                assert!(
                    year.len() == 4 && year.parse::<u16>().is_ok(),
                    "{version}: {date}"
                );
                assert!(month.len() == 2, "{version}: {date}");
                assert!(
                    (1..=12).contains(&month.parse::<u8>().unwrap()),
                    "{version}: {date}"
                );
            }
            if let Some(server) = release.postgres {
                assert!((90_000..200_000).contains(&server), "{version}: {server}");
            }
        }
    }

    #[test]
    fn every_service_is_one_of_the_application() {
        for (app, release) in all() {
            let known = |name: &str| app.images().iter().any(|image| image.service == name);
            let named = release.versions.keys().chain(release.tags.keys());
            let named = named.chain(release.settings.iter().map(|setting| &setting.service));
            for service in named.chain(release.broken.iter().map(|broken| &broken.service)) {
                assert!(known(service), "{}: {service}", release.version);
            }
            for broken in &release.broken {
                assert_eq!(release.tags.get(&broken.service), Some(&broken.tag));
            }
        }
    }

    #[test]
    fn a_tag_is_of_the_version_that_belongs_to_the_release() {
        for (app, release) in all() {
            for (service, tag) in &release.tags {
                let said = Version::of_tag(tag).unwrap();
                let own = (service == app.name()).then_some(&release.version);
                let belongs = own.or(release.versions.get(service)).unwrap();
                // Courier's of 6.2 is a later patch.
                assert!(
                    said == *belongs || (said.same_stable(*belongs) && said > *belongs),
                    "{}: {service}:{tag}",
                    release.version
                );
            }
        }
    }

    #[test]
    fn the_variables_are_written_as_their_services_read_them() {
        for (_, release) in all() {
            for setting in &release.settings {
                let names = match &setting.change {
                    Change::Add(name) | Change::Drop(name) => vec![name],
                    Change::Rename { old, new } => vec![old, new],
                };
                for name in names {
                    let letters =
                        |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
                    assert!(name.chars().all(letters), "{name}");
                    let prefix = format!("{}_", setting.service.to_uppercase());
                    let of_go =
                        ["mailroom", "courier", "indexer"].contains(&setting.service.as_str());
                    assert_eq!(name.starts_with(&prefix), of_go, "{name}");
                }
                assert!(!setting.from.is_empty());
            }
        }
    }

    #[test]
    fn notes_are_lines_without_a_full_stop() {
        for (_, release) in all() {
            for note in &release.notes {
                assert!(!note.contains('\n') && !note.ends_with('.'), "{note}");
            }
        }
    }

    #[test]
    fn what_is_deployed_without_a_setting_is_in_the_catalogue() {
        let catalogue = embedded_catalogue();
        for app in App::ALL {
            let default = |setting: &str| {
                let key = KEYS.iter().find(|key| key.name == setting).unwrap();
                key.default.unwrap()
            };
            let own = Version::of_image(default(app.images()[0].setting)).unwrap();
            let release = catalogue.release(app, own).unwrap();
            for image in app.images() {
                let tag = default(image.setting).rsplit_once(':').unwrap().1;
                assert_eq!(release.tags[image.service], tag, "{}", image.setting);
            }
        }
    }

    #[test]
    fn the_newest_has_all_its_images_and_works_as_far_as_is_known() {
        let mut catalogue = embedded_catalogue();
        let newest =
            |catalogue: &Catalogue, app| catalogue.newest(app).unwrap().version.to_string();
        assert_eq!(newest(&catalogue, App::Rapidpro), "7.4.2");
        assert_eq!(newest(&catalogue, App::Casepro), "1.10.0");
        assert_eq!(newest(&catalogue, App::Contentrepo), "1.6.4");
        for release in &mut catalogue.rapidpro {
            release.broken.clear();
        }
        assert_eq!(newest(&catalogue, App::Rapidpro), "8.0.1");
    }

    #[test]
    fn facts_of_the_releases_are_read() {
        let catalogue = embedded_catalogue();
        let of = |app, text: &str| {
            catalogue
                .release(app, Version::parse(text).unwrap())
                .unwrap()
        };
        let release = of(App::Rapidpro, "7.0.4");
        assert_eq!(release.migrations, Some(54));
        assert_eq!(release.versions["mailroom"], Version::new(7, 0, 1));
        assert_eq!(release.postgres, Some(90_600));
        assert!(release.settings.iter().any(|setting| {
            setting.change == Change::Add("MAILROOM_READONLY_DB".to_owned())
                && setting.from == "the same as MAILROOM_DB"
        }));
        let renamed = Change::Rename {
            old: "MAILROOM_S3_MEDIA_BUCKET".to_owned(),
            new: "MAILROOM_S3_ATTACHMENTS_BUCKET".to_owned(),
        };
        let release = of(App::Rapidpro, "8.0.1");
        assert!(
            release
                .settings
                .iter()
                .any(|setting| setting.change == renamed)
        );
        assert!(release.is_broken() && release.broken.len() == 1);
        assert_eq!(
            of(App::Rapidpro, "6.2.4").missing(App::Rapidpro),
            ["rapidpro"]
        );
        assert_eq!(of(App::Rapidpro, "26.0.0").missing(App::Rapidpro).len(), 4);
        assert_eq!(of(App::Casepro, "1.13.5").postgres, Some(120_000));
        assert!(!of(App::Contentrepo, "0.0.41").migrates_itself);
        assert!(of(App::Contentrepo, "0.0.101").migrates_itself);
    }

    #[test]
    fn a_mistake_in_the_file_is_named() {
        let parse = |release: &str| {
            let text = format!("casepro = []\ncontentrepo = []\n[[rapidpro]]\n{release}\n");
            Catalogue::parse(&text).map(|catalogue| catalogue.rapidpro.len())
        };
        let setting = |change: &str| {
            format!(
                "version = \"7.0.4\"\nsettings = [{{ service = \"x\", from = \"\", {change} }}]"
            )
        };
        assert_eq!(parse("version = \"7.0.4\""), Ok(1));
        for (release, said) in [
            ("version = \"7.0\"", "7.0 is no version"),
            ("version = \"7.0.4\"\ntgas = {}", "tgas"),
            (&setting("add = \"A\", drop = \"B\""), "one of add, drop"),
            (&setting("rename = \"A\""), "rename with to"),
        ] {
            let error = parse(release).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn an_application_is_written_as_in_the_command() {
        for app in App::ALL {
            let written = serde_json::to_string(&app).unwrap();
            assert_eq!(written, format!("{:?}", app.name()));
            assert_eq!(serde_json::from_str::<App>(&written).unwrap(), app);
            assert_eq!(app.label().to_lowercase(), app.name());
        }
    }
}
