//! `ooy backup`, `ooy restore`, `ooy resume`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum, ValueHint};

#[derive(Debug, Args)]
pub struct Backup {
    #[command(subcommand)]
    pub command: BackupCommand,
}

#[derive(Debug, Subcommand)]
pub enum BackupCommand {
    /// Make a backup: databases, settings, rendered files, pinned images
    #[command(after_help = "Examples:
  ooy backup create
  ooy backup create --prove
  ooy backup create --database rapidpro --to /mnt/usb
  ooy backup create --dry-run")]
    Create(BackupCreate),
    /// Show the backups: how old and large they are, and whether they are proved
    #[command(after_help = "Examples:
  ooy backup list
  ooy backup list --json")]
    List,
    /// Prove a backup: restore it into a scratch database, and compare
    #[command(after_help = "Examples:
  ooy backup verify
  ooy backup verify 20261126-023000
  ooy backup verify /mnt/usb/20261126-023000")]
    Verify(BackupVerify),
    /// Remove a backup, or a database that a restore has kept
    #[command(after_help = "Examples:
  ooy backup delete 20261126-023000
  ooy backup delete --expired
  ooy backup delete rapidpro_before_20261126_031500")]
    Delete(BackupDelete),
}

/// Whose database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Owner {
    /// RapidPro's, which mailroom, courier and the indexer use too.
    Rapidpro,
    /// Casepro's.
    Casepro,
    /// The Content Repository's.
    Contentrepo,
}

impl Owner {
    /// As the settings name it: `rapidpro`.
    pub fn name(self) -> &'static str {
        match self {
            Owner::Rapidpro => "rapidpro",
            Owner::Casepro => "casepro",
            Owner::Contentrepo => "contentrepo",
        }
    }
}

#[derive(Debug, Args)]
pub struct BackupCreate {
    /// Only this database: rapidpro, casepro or contentrepo; can be given several
    /// times [default: all]
    #[arg(long, value_name = "DATABASE", hide_possible_values = true)]
    pub database: Vec<Owner>,
    /// Write it into this folder, of another disk for example [default: BACKUP_DIR]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub to: Option<PathBuf>,
    /// Prove it afterwards: see `ooy backup verify`
    #[arg(long)]
    pub prove: bool,
    /// Never remove it because of its age or number; the reason, for whoever reads the list
    #[arg(long, value_name = "REASON")]
    pub keep: Option<String>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct BackupVerify {
    /// The backup, by its ID or its folder [default: the newest]
    #[arg(value_hint = ValueHint::DirPath)]
    pub id: Option<String>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct BackupDelete {
    /// The backup, by its ID or its folder, or the name of a kept database
    #[arg(required_unless_present = "expired", conflicts_with = "expired", value_hint = ValueHint::DirPath)]
    pub id: Option<String>,
    /// All that BACKUP_KEEP and BACKUP_KEEP_DAYS no longer keep
    #[arg(long)]
    pub expired: bool,
    /// Also one that was made to be kept
    #[arg(long, conflicts_with = "expired")]
    pub force: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct Restore {
    /// The backup, by its ID or its folder, or the name of a kept database
    #[arg(value_hint = ValueHint::DirPath)]
    pub id: String,
    /// Only this database: rapidpro, casepro or contentrepo; can be given several
    /// times [default: all of the backup]
    #[arg(long, value_name = "DATABASE", hide_possible_values = true)]
    pub database: Vec<Owner>,
    /// Also a backup of another deployment: another project, other domains
    #[arg(long)]
    pub foreign: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct Resume {
    /// Go back to what was, instead of finishing
    #[arg(long)]
    pub undo: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}
