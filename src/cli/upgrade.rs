//! `ooy upgrade`, `ooy rollback`.

use clap::{Args, ValueEnum};

/// An application that has versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Application {
    /// RapidPro, with mailroom, courier and the indexer
    Rapidpro,
    /// Casepro
    Casepro,
    /// The Content Repository
    Contentrepo,
}

#[derive(Debug, Args)]
pub struct Upgrade {
    /// What is upgraded: rapidpro, casepro or contentrepo
    #[arg(hide_possible_values = true)]
    pub application: Application,
    /// The version [default: the newest one that is known to work]
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,
    /// The tag of mailroom's image, in the place of the catalogue's
    #[arg(long, value_name = "TAG")]
    pub mailroom: Option<String>,
    /// The tag of courier's image
    #[arg(long, value_name = "TAG")]
    pub courier: Option<String>,
    /// The tag of the indexer's image
    #[arg(long, value_name = "TAG")]
    pub indexer: Option<String>,
    /// Leave a failed upgrade as it is, for a person to look at
    #[arg(long)]
    pub no_rollback: bool,
    /// The wiki's sequence: the new mailroom runs without workers while the database is migrated
    #[arg(long)]
    pub wiki_order: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct Rollback {
    /// What goes back: rapidpro, casepro or contentrepo [default: what was upgraded last]
    #[arg(hide_possible_values = true)]
    pub application: Option<Application>,
    /// What was written since this time (the end of the upgrade, as it is shown) may be lost
    #[arg(long, value_name = "TIME")]
    pub accept_loss_since: Option<jiff::Timestamp>,
    /// Show what would be done and lost, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}
