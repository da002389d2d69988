//! What belongs to an application, and in which order it is stopped.

use super::catalogue::App;
use crate::deployment::services::{CASEPRO_MIGRATIONS, ReleaseTask};
use crate::lifecycle::Context;

/// How an application is taken from one version to the next.
pub struct Procedure {
    /// Whose database it is, and whose pages are closed meanwhile; also the service whose image
    /// migrates the database.
    pub owner: &'static str,
    /// What works unseen, and is stopped while people are still served.
    pub unseen: &'static [&'static str],
    /// What is stopped then, behind the closed door, group by group. Who takes messages in from
    /// outside is the last.
    pub stops: &'static [&'static [&'static str]],
    /// Whether the owner's new container may boot while the database is migrated: it asks the database
    /// nothing before its first request, which the closed door keeps away. RapidPro's code was seen to
    /// load with no server at hand; Casepro, and ContentRepo from v0.0.101 on, migrate by themselves
    /// at each start.
    pub boots_early: bool,
    /// What takes messages from providers.
    pub takes_messages: Option<&'static str>,
    /// How many messages were written since a time of this database: a query that ends before that time.
    pub messages: Option<&'static str>,
}

/// Beat before Celery, which it would go on giving work: that is the order of the graph. RapidPro's
/// web before courier, whose messages come from people who cannot send them again.
const RAPIDPRO: Procedure = Procedure {
    owner: "rapidpro",
    unseen: &[
        "rapidpro-beat",
        "rapidpro-celery",
        "bigquery-sync",
        "indexer",
    ],
    stops: &[&["mailroom", "rapidpro"], &["courier"]],
    boots_early: true,
    takes_messages: Some("courier"),
    messages: Some("SELECT count(*) FROM msgs_msg WHERE created_on > "),
};

const CASEPRO: Procedure = Procedure {
    owner: "casepro",
    unseen: &["casepro-celery"],
    stops: &[&["casepro"]],
    boots_early: false,
    takes_messages: None,
    messages: Some("SELECT count(*) FROM msgs_message WHERE created_on > "),
};

const CONTENTREPO: Procedure = Procedure {
    owner: "contentrepo",
    unseen: &[],
    stops: &[&["contentrepo"]],
    boots_early: false,
    takes_messages: None,
    messages: None,
};

/// That of an application.
pub fn of(app: App) -> &'static Procedure {
    match app {
        App::Rapidpro => &RAPIDPRO,
        App::Casepro => &CASEPRO,
        App::Contentrepo => &CONTENTREPO,
    }
}

impl Procedure {
    /// All its services.
    pub fn services(&self) -> impl Iterator<Item = &'static str> {
        let groups = [self.unseen].into_iter().chain(self.stops.iter().copied());
        groups.flatten().copied()
    }

    /// How its database is migrated. Casepro migrates at each start by itself, where nobody sees how
    /// far it is and a time limit may end it: here it is done before.
    pub fn task(&self, context: &Context) -> Option<ReleaseTask> {
        match self.owner {
            "casepro" => Some(CASEPRO_MIGRATIONS),
            service => context.stack.service(service)?.task,
        }
    }
}
