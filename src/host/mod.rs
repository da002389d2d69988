//! The machine: programs, disk, ports, kernel settings, certificates, and PostgreSQL and Redis as
//! seen from here. Knows nothing of Docker or of the deployment.

pub mod certs;
pub mod cgroup;
pub mod clock;
pub mod cmd;
pub mod cut;
pub mod daemon;
pub mod disk;
pub mod failed_units;
pub mod files;
pub mod firewall;
pub mod http;
pub mod https;
pub mod kernel_log;
pub mod largest;
pub mod locks;
pub mod memory;
pub mod netns;
pub mod notify;
pub mod open_files;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod processes;
pub mod reach;
pub mod redis;
pub mod secret;
pub mod sentry;
pub mod sysctl;
pub mod sysctl_files;
pub mod systemd;
pub mod tar;
pub mod text;
pub mod tls;
pub mod url;
