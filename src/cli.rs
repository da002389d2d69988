//! The command line: its definitions and nothing else.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

mod backup;
mod calls;
mod manual;
mod upgrade;

pub use backup::{
    Backup, BackupCommand, BackupCreate, BackupDelete, BackupVerify, Owner, Restore, Resume,
};
pub use calls::{
    Calls, CallsCommand, CallsDeliver, CallsDialplan, CallsList, CallsRetry, CallsServe,
};
pub use manual::{Completions, Man, Shell};
pub use upgrade::{Application, Rollback, Upgrade};

macro_rules! exit_codes {
    () => {
        "Exit codes: 0 fine · 1 a problem was found or the work failed · 2 wrong usage or settings · \
3 another operation holds the lock · 130 interrupted"
    };
}

/// Run and repair the One 2 One Youth deployment: twelve services behind nginx
#[derive(Debug, Parser)]
#[command(name = "ooy", version = VERSION, disable_help_subcommand = true, arg_required_else_help = true, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// The release, and which build of it: commit and target.
pub const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("OOY_COMMIT"),
    ", ",
    env!("OOY_TARGET"),
    ")"
);

const AFTER_HELP: &str = concat!(
    "Examples:
  ooy diagnose
  ooy fix
  ooy status
  ooy logs mailroom --since 30m --level warn
  ooy start

",
    exit_codes!()
);

/// What the number says with which a command ends.
pub const EXIT_CODES: &str = exit_codes!();

/// Options of every command, in the help behind its own.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Keep everything below this folder instead of /etc/ooy and /var/lib/ooy
    #[arg(
        display_order = 900,
        long,
        global = true,
        value_name = "DIR",
        value_hint = ValueHint::DirPath,
        env = "OOY_HOME",
        hide_env_values = true
    )]
    pub home: Option<PathBuf>,
    /// Answer in JSON, for machines
    #[arg(display_order = 901, long, global = true)]
    pub json: bool,
    /// Colours: auto (where a terminal can), always, or never
    #[arg(
        display_order = 902,
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub color: Color,
    /// Say only what went wrong
    #[arg(
        display_order = 903,
        short,
        long,
        global = true,
        conflicts_with = "verbose"
    )]
    pub quiet: bool,
    /// Say more
    #[arg(display_order = 904, short, long, global = true)]
    pub verbose: bool,
    /// Ask nothing: yes to every question
    #[arg(display_order = 905, short, long, global = true)]
    pub yes: bool,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write the settings file, its secrets made, and say what is left to fill in
    #[command(after_help = "Examples:
  ooy init
  ooy init --import /srv/combined/compose-combined.yml
  ooy init --self-signed --set RAPIDPRO_DOMAIN=rapidpro.example.org
  ooy init --pbx --set RAPIDPRO_URL=https://rapidpro.example.org")]
    Init(Init),
    /// Show what would be deployed, secrets masked; --check validates it
    #[command(after_help = "Examples:
  ooy config env
  ooy config nginx
  ooy config --check")]
    Config(Config),
    /// Start all services, or some and what they need, in their order
    #[command(after_help = "Examples:
  ooy start
  ooy start rapidpro
  ooy start --dry-run")]
    Start(Start),
    /// Stop all services, or some, in reverse order
    #[command(after_help = "Examples:
  ooy stop
  ooy stop casepro casepro-celery")]
    Stop(Stop),
    /// Stop services and start them again in their order
    #[command(after_help = "Examples:
  ooy restart mailroom
  ooy restart")]
    Restart(Start),
    /// Show how each service is
    #[command(after_help = "Examples:
  ooy status
  ooy status --watch
  ooy status --json")]
    Status(Status),
    /// Show the logs of all services, or some, in the order of time
    #[command(after_help = "Examples:
  ooy logs -f
  ooy logs mailroom courier --since 1h --level warn
  ooy logs --grep 'connection refused' -n 500")]
    Logs(Logs),
    /// Say what is wrong, how that is known, why it matters, and what repairs it
    #[command(after_help = "Examples:
  ooy diagnose
  ooy diagnose --list
  ooy diagnose casepro-sync disk-full
  ooy diagnose --json")]
    Diagnose(Diagnose),
    /// Repair what is wrong, and prove that it works again
    #[command(after_help = "Examples:
  ooy fix
  ooy fix casepro-sync
  ooy fix disk-space --dry-run
  ooy fix workspace-flag lvcthealth --verify
  ooy fix --all --yes
  ooy fix --list")]
    Fix(Fix),
    /// Diagnose every few minutes, repair what loses nothing, report what comes and goes
    #[command(after_help = "Examples:
  ooy watch
  ooy watch --interval 10m
  ooy watch --once
  ooy watch --once --dry-run")]
    Watch(Watch),
    /// Have systemd bring up what ran after a boot, and watch over it
    #[command(after_help = "Examples:
  ooy boot enable
  ooy boot status
  ooy boot enable --root /mnt/image --dry-run")]
    Boot(Boot),
    /// Put what a helper has to see into one archive, secrets and personal data taken out
    #[command(after_help = "Examples:
  ooy bundle
  ooy bundle --output /tmp/for-support.tar.gz
  ooy bundle --lines 2000")]
    Bundle(Bundle),
    /// Back up the databases, and prove backups by restoring them
    #[command(after_help = "Examples:
  ooy backup create --prove
  ooy backup list
  ooy backup verify")]
    Backup(Backup),
    /// Put databases back as a backup has them; what was there is kept beside
    #[command(after_help = "Examples:
  ooy restore 20261126-023000
  ooy restore 20261126-023000 --database casepro
  ooy restore 20261126-023000 --dry-run
  ooy restore rapidpro_before_20261126_031500")]
    Restore(Restore),
    /// Take an application to another version, release by release, with a proved way back
    #[command(after_help = "Examples:
  ooy upgrade rapidpro --dry-run
  ooy upgrade rapidpro --to 7.4.2
  ooy upgrade casepro")]
    Upgrade(Upgrade),
    /// Go back to the version and the database from before the last upgrade
    #[command(after_help = "Examples:
  ooy rollback --dry-run
  ooy rollback --accept-loss-since 2026-11-26T02:15:00Z")]
    Rollback(Rollback),
    /// Finish what was cut off in the middle, or take it back
    #[command(after_help = "Examples:
  ooy resume
  ooy resume --undo")]
    Resume(Resume),
    /// Show who did what, when, with what result and how long it took
    #[command(after_help = "Examples:
  ooy history
  ooy history -n 5 --json")]
    History(History),
    /// Take over a finished call; called by Asterisk, everything after `agi` is data
    #[command(
        override_usage = "ooy agi MSISDN CALL_START CALL_END [DIRECTION]",
        disable_help_flag = true,
        after_help = "Examples:
  ooy agi 254712345678 2026-11-26T11:07:32 2026-11-26T11:09:50
  ooy agi 254712345678 2026-11-26T11:07:32 2026-11-26T11:09:50 outbound"
    )]
    Agi(Agi),
    /// Show, deliver and retry finished calls; serve FastAGI
    #[command(after_help = "Examples:
  ooy calls list
  ooy calls deliver
  ooy calls retry --dead")]
    Calls(Calls),
    /// Print what lets a shell complete commands, options and names
    #[command(after_help = "Examples:
  sudo sh -c 'ooy completions bash > /etc/bash_completion.d/ooy'
  sudo sh -c 'ooy completions zsh > /usr/local/share/zsh/site-functions/_ooy'
  sudo sh -c 'ooy completions fish > /etc/fish/completions/ooy.fish'

For bash that needs the package bash-completion. Without it, and for yourself
alone, in any of them (then begin a new shell):
  echo 'source <(ooy completions bash)' >> ~/.bashrc
  echo 'source <(ooy completions zsh)' >> ~/.zshrc
  echo 'ooy completions fish | source' >> ~/.config/fish/config.fish")]
    Completions(Completions),
    /// Print a page of the manual, or write them all
    #[command(after_help = "Examples:
  ooy man | man -l -
  ooy man backup create | man -l -
  sudo ooy man --write /usr/local/share/man/man1")]
    Man(Man),
    /// Ask PostgreSQL and Redis; run by ooy itself inside a container
    #[command(name = "probe-data-services", hide = true)]
    ProbeDataServices,
}

#[derive(Debug, Args)]
pub struct Init {
    /// Take values over from the compose file of a deployment that exists
    #[arg(long, value_name = "COMPOSE_FILE", value_hint = ValueHint::FilePath)]
    pub import: Option<PathBuf>,
    /// Give a setting its value (not for secrets: other users see the command line)
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// Take a setting's value from the environment variable of the same name
    #[arg(long, value_name = "NAME")]
    pub set_from_env: Vec<String>,
    /// Make self-signed certificates where there are none
    #[arg(long)]
    pub self_signed: bool,
    /// Only what a telephone exchange (Asterisk) needs to hand its finished calls over
    #[arg(long, conflicts_with_all = ["import", "self_signed"])]
    pub pbx: bool,
}

#[derive(Debug, Args)]
pub struct Config {
    /// Validate all that can be validated without starting anything
    #[arg(long)]
    pub check: bool,
    /// What to show: env, compose, nginx or dialplan
    #[arg(
        value_name = "PART",
        default_value = "env",
        hide_possible_values = true
    )]
    pub what: What,
}

/// A part of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// The compose file, every value in its place.
    Compose,
    /// nginx's files.
    Nginx,
    /// The lines for Asterisk.
    Dialplan,
    /// The settings in force.
    Env,
}

#[derive(Debug, Args)]
pub struct Start {
    /// Services; none: all
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Seconds each service may take to become ready [default: 60 to 600, by service]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub timeout: Option<u64>,
    /// After a boot: what ran comes back in its order, what was stopped stays so; run by systemd
    #[arg(long, hide = true, conflicts_with = "services")]
    pub at_boot: bool,
    /// Seconds that Docker, PostgreSQL and Redis have to come up
    #[arg(
        long,
        hide = true,
        value_name = "SECONDS",
        default_value_t = 300,
        requires = "at_boot"
    )]
    pub patience: u64,
}

#[derive(Debug, Args)]
pub struct Stop {
    /// Services; none: all
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct Status {
    /// Services; none: all
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Show it again every two seconds
    #[arg(short, long)]
    pub watch: bool,
}

#[derive(Debug, Args)]
pub struct Logs {
    /// Services; none: all
    #[arg(value_name = "SERVICE")]
    pub services: Vec<String>,
    /// Go on with new lines as they come
    #[arg(short, long)]
    pub follow: bool,
    /// Only the last so many lines, over all services
    #[arg(short = 'n', long = "lines", value_name = "N")]
    pub lines: Option<u64>,
    /// From this time on: 10m, 2h, 3d ago, or 2026-11-22T02:14, or 02:14 of today
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Up to this time
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Only lines that match this regular expression
    #[arg(long, value_name = "RE")]
    pub grep: Option<String>,
    /// Only lines of this severity or above: debug, info, warn or error
    #[arg(long, value_name = "LEVEL", hide_possible_values = true)]
    pub level: Option<Level>,
    /// Only what was written to standard output
    #[arg(long, conflicts_with = "stderr")]
    pub stdout: bool,
    /// Only what was written to standard error
    #[arg(long)]
    pub stderr: bool,
}

#[derive(Debug, Args)]
pub struct Diagnose {
    /// Checks, by their names or by what they find; none: all
    #[arg(value_name = "CHECK")]
    pub checks: Vec<String>,
    /// Name the checks and what each can find, and look at nothing
    #[arg(long)]
    pub list: bool,
}

#[derive(Debug, Args)]
pub struct Fix {
    /// A repair, as `ooy diagnose` names it; none: whatever applies
    #[arg(value_name = "REPAIR")]
    pub problem: Option<String>,
    /// The service, or the workspace by its slug or uuid, where there are several
    pub target: Option<String>,
    /// Everything that loses nothing, causes before effects
    #[arg(long, conflicts_with = "problem")]
    pub all: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// With workspace-flag: exempt the workspace from being flagged again by an import
    #[arg(long)]
    pub verify: bool,
    /// With casepro-sync: pull a backlog that does not fit into a worker's time limit
    #[arg(long)]
    pub catch_up: bool,
    /// Name the repairs and what each takes away
    #[arg(long, conflicts_with_all = ["problem", "all"])]
    pub list: bool,
}

#[derive(Debug, Args)]
pub struct Watch {
    /// From one look to the next: 5s to 60m
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub interval: String,
    /// Look once and end: exit code 0 if all is well
    #[arg(long)]
    pub once: bool,
    /// Say what would be repaired; repair nothing and report to nobody
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct Boot {
    #[command(subcommand)]
    pub command: BootCommand,
}

#[derive(Debug, Subcommand)]
pub enum BootCommand {
    /// Install and enable the units, and start the watch
    #[command(after_help = "Examples:
  ooy boot enable
  ooy boot enable --dry-run")]
    Enable(BootChange),
    /// Stop and remove the units; services that run go on
    #[command(after_help = "Examples:
  ooy boot disable")]
    Disable(BootChange),
    /// Show which units are installed, enabled and running
    #[command(after_help = "Examples:
  ooy boot status
  ooy boot status --json")]
    Status(BootStatus),
}

#[derive(Debug, Args)]
pub struct BootChange {
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
    /// The machine whose files lie below this folder, an image for example; nothing is started
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub root: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct BootStatus {
    /// The machine whose files lie below this folder
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub root: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Bundle {
    /// The archive, or the folder for it [default: ooy-bundle-HOST-TIME.tar.gz in this folder]
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<PathBuf>,
    /// Last lines of each service's log
    #[arg(short = 'n', long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub lines: u64,
}

#[derive(Debug, Args)]
pub struct History {
    /// Only the last so many
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 20)]
    pub lines: usize,
}

#[derive(Debug, Args)]
pub struct Agi {
    /// Whatever Asterisk passes
    #[arg(hide = true, allow_hyphen_values = true, trailing_var_arg = true)]
    pub arguments: Vec<OsString>,
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Level {
    /// Everything.
    Debug,
    /// Normal events.
    Info,
    /// Something to look at.
    Warn,
    /// Something failed.
    Error,
}

#[cfg(test)]
mod tests;
