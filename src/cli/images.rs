//! `ooy images`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Application;

#[derive(Debug, Args)]
pub struct Images {
    #[command(subcommand)]
    pub command: ImagesCommand,
}

#[derive(Debug, Subcommand)]
pub enum ImagesCommand {
    /// Show which images the deployment wants, whether each is here, and where it came from
    #[command(after_help = "Examples:
  ooy images list
  ooy images list --json")]
    List,
    /// Write all images of the deployment into one file, for a host that reaches no registry
    #[command(after_help = "Examples:
  ooy images save /media/stick/ooy-images.tar.gz
  ooy images save --upgrade rapidpro --to 7.4.2 /media/stick/rapidpro.tar.gz
  ooy images save - | ssh -C root@host ooy images load -

What is not here is pulled first. A name that ends with .gz or .tgz is \
compressed: less than half the size; FAT32 sticks take no file above 4 GB.

Without ooy: docker load -i FILE loads it, which is what docker save writes \
and two files more; tar -xf FILE && sha256sum -c ooy.sha256 shows whether \
each part of it is as it was written.")]
    Save(ImagesSave),
    /// Check such a file and have Docker load it
    #[command(after_help = "Examples:
  ooy images load /media/stick/ooy-images.tar.gz
  ooy images load --dry-run /media/stick/ooy-images.tar.gz
  ooy images load - < /media/stick/ooy-images.tar

What is here already is left out; cut off anywhere, it is begun again by the \
same command. Without ooy: docker load -i FILE")]
    Load(ImagesLoad),
}

#[derive(Debug, Args)]
pub struct ImagesSave {
    /// The file; - is standard output
    pub file: PathBuf,
    /// Those of an upgrade of rapidpro, casepro or contentrepo, not those of now
    #[arg(long, value_name = "APPLICATION", hide_possible_values = true)]
    pub upgrade: Option<Application>,
    /// Its version [default: the newest one that is known to work]
    #[arg(long, value_name = "VERSION", requires = "upgrade")]
    pub to: Option<String>,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Debug, Args)]
pub struct ImagesLoad {
    /// The file; - is standard input
    pub file: PathBuf,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub dry_run: bool,
}
