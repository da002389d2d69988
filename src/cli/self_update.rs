//! `ooy self-update`.

use clap::Args;

#[derive(Debug, Args)]
pub struct SelfUpdate {
    /// Only say whether there is a newer one: exit code 1 if there is
    #[arg(long, conflicts_with_all = ["rollback", "allow_downgrade", "dry_run"])]
    pub check: bool,
    /// Go back to the one before the last update; once more, and forth again
    #[arg(long, conflicts_with_all = ["from", "allow_downgrade"])]
    pub rollback: bool,
    /// A folder, an address or one archive, in the place of what RELEASES names
    #[arg(long, value_name = "PLACE")]
    pub from: Option<String>,
    /// Take an older version than the present one too
    #[arg(long)]
    pub allow_downgrade: bool,
    /// The longest that a server may say nothing
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub timeout: u64,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}
