//! `ooy calls …`.

use clap::{Args, Subcommand};

#[derive(Debug, Args)]
pub struct Calls {
    #[command(subcommand)]
    pub command: CallsCommand,
}

#[derive(Debug, Subcommand)]
pub enum CallsCommand {
    /// Show the calls that wait or failed, and why the queue stands still if it does
    #[command(after_help = "Examples:
  ooy calls list
  ooy calls list --sent -n 5
  ooy calls list --json")]
    List(CallsList),
    /// Deliver what waits now, whatever the pauses between attempts
    #[command(after_help = "Examples:
  ooy calls deliver")]
    Deliver(CallsDeliver),
    /// Put calls that RapidPro refused back among the waiting ones
    #[command(after_help = "Examples:
  ooy calls retry 1795345652.1-3f2a9c1e
  ooy calls retry --dead")]
    Retry(CallsRetry),
    /// Take calls over FastAGI and deliver them, until told to end; run by systemd
    #[command(after_help = "Examples:
  ooy calls serve
  ooy calls serve --listen 127.0.0.1:4574
  ooy calls serve --listen off")]
    Serve(CallsServe),
    /// Print the lines for Asterisk
    #[command(after_help = "Examples:
  ooy calls dialplan > /etc/asterisk/ooy.conf
  ooy calls dialplan --fastagi
  ooy calls dialplan --old")]
    Dialplan(CallsDialplan),
}

#[derive(Debug, Args)]
pub struct CallsList {
    /// Calls that wait or are being sent
    #[arg(long)]
    pub waiting: bool,
    /// Calls that RapidPro has
    #[arg(long)]
    pub sent: bool,
    /// Calls of which RapidPro is not told: withheld numbers, extensions
    #[arg(long)]
    pub skipped: bool,
    /// Calls that RapidPro refused for good
    #[arg(long)]
    pub dead: bool,
    /// So many of each kind [default: 20, with --json all]
    #[arg(short = 'n', long = "lines", value_name = "N")]
    pub lines: Option<usize>,
}

#[derive(Debug, Args)]
pub struct CallsDeliver {
    /// In the background: until nothing waits any more
    #[arg(long, hide = true)]
    pub detached: bool,
}

#[derive(Debug, Args)]
pub struct CallsRetry {
    /// Calls, as `ooy calls list --dead` names them
    #[arg(
        value_name = "ID",
        required_unless_present = "dead",
        conflicts_with = "dead"
    )]
    pub ids: Vec<String>,
    /// All of them
    #[arg(long)]
    pub dead: bool,
}

#[derive(Debug, Args)]
pub struct CallsServe {
    /// Where Asterisk connects to: address:port, unix:/path, or off [default: CALLS_LISTEN]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
}

#[derive(Debug, Args)]
pub struct CallsDialplan {
    /// For FastAGI: Asterisk connects to `ooy calls serve` instead of starting a process
    #[arg(long, conflicts_with = "old")]
    pub fastagi: bool,
    /// For a dialplan with the wiki's own lines, which stay as they are
    #[arg(long)]
    pub old: bool,
}
