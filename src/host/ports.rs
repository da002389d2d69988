//! Who listens on a TCP port of this host.
//!
//! Read from /proc, so that it needs no program and works for any user; only who it is (the
//! process) is hidden from those who are not root. Sees the network namespace of this process:
//! a port that a container publishes shows as Docker's own `docker-proxy`.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// A socket in state LISTEN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The address it is bound to. `0.0.0.0` and `::` mean every address; `::` takes IPv4 too,
    /// unless the program asked otherwise.
    pub address: IpAddr,
    /// The process that holds it; the lowest number where several share it (nginx's master
    /// before its workers). `None` where /proc does not show it to this user.
    pub pid: Option<u32>,
    /// The name of that process: at most 15 bytes, from /proc/PID/comm.
    pub process: Option<String>,
    /// The user who owns the socket.
    pub uid: u32,
}

/// The first that listens on `port`, a known process before an unknown one.
pub fn listener(port: u16) -> Option<Listener> {
    let mut all = listeners(port);
    let known = all.iter().position(|l| l.pid.is_some()).unwrap_or(0);
    (!all.is_empty()).then(|| all.swap_remove(known))
}

/// All that listen on `port`, IPv4 before IPv6; each address and process once.
pub fn listeners(port: u16) -> Vec<Listener> {
    let found = listeners_in(Path::new("/proc"), |other| other == port);
    found.into_iter().map(|(_, listener)| listener).collect()
}

/// All that listen on any port, as it was at one moment: for who asks for several.
#[derive(Debug, Clone)]
pub struct Table(Vec<(u16, Listener)>);

impl Table {
    /// As it is now.
    pub fn read() -> Self {
        Self(listeners_in(Path::new("/proc"), |_| true))
    }

    /// Those on a port, in the order of [`listeners`].
    pub fn on(&self, port: u16) -> Vec<Listener> {
        let on_port = self.0.iter().filter(|(other, _)| *other == port);
        on_port.map(|(_, listener)| listener.clone()).collect()
    }
}

fn listeners_in(proc: &Path, wanted: impl Fn(u16) -> bool) -> Vec<(u16, Listener)> {
    let mut sockets = Vec::new();
    for table in ["net/tcp", "net/tcp6"] {
        // tcp6 is missing where IPv6 is switched off.
        let text = fs::read_to_string(proc.join(table)).unwrap_or_default();
        sockets.extend(
            text.lines()
                .filter_map(parse_line)
                .filter(|s| wanted(s.port)),
        );
    }
    // Reading every process's descriptors takes long on a busy host: only for a taken port.
    let owners = if sockets.is_empty() {
        Vec::new()
    } else {
        owners(proc, sockets.iter().map(|socket| socket.inode).collect())
    };
    let mut found: Vec<(u16, Listener)> = Vec::new();
    for socket in sockets {
        let pid = owners
            .iter()
            .find(|(inode, _)| *inode == socket.inode)
            .map(|(_, pid)| *pid);
        let process = pid.and_then(|pid| {
            let name = fs::read(proc.join(pid.to_string()).join("comm")).ok()?;
            Some(String::from_utf8_lossy(&name).trim_end().to_owned())
        });
        let listener = Listener {
            address: socket.address,
            pid,
            process,
            uid: socket.uid,
        };
        // SO_REUSEPORT: one line for each worker.
        let listener = (socket.port, listener);
        if !found.contains(&listener) {
            found.push(listener);
        }
    }
    found
}

struct Socket {
    address: IpAddr,
    port: u16,
    uid: u32,
    inode: u64,
}

/// A line of /proc/net/tcp or tcp6 (proc(5)) in state 0A, LISTEN.
fn parse_line(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace();
    let (address, port) = fields.nth(1)?.split_once(':')?;
    let state = fields.nth(1)?;
    if state != "0A" {
        return None;
    }
    Some(Socket {
        address: parse_address(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        uid: fields.nth(3)?.parse().ok()?,
        inode: fields.nth(1)?.parse().ok()?,
    })
}

/// The kernel prints an address as 32-bit words, each in the machine's own byte order.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let digits = hex.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let mut bytes = [0; 16];
            for (at, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            Some(Ipv6Addr::from(bytes).into())
        }
        _ => None,
    }
}

/// Which process holds each of the sockets, the lowest number first.
fn owners(proc: &Path, mut wanted: HashSet<u64>) -> Vec<(u64, u32)> {
    let mut pids: Vec<u32> = fs::read_dir(proc)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    pids.sort_unstable();
    let mut owners = Vec::new();
    for pid in pids {
        if wanted.is_empty() {
            break;
        }
        // Refused for other people's processes, gone for those that just ended: both skipped.
        let Ok(descriptors) = fs::read_dir(proc.join(pid.to_string()).join("fd")) else {
            continue;
        };
        for descriptor in descriptors.flatten() {
            let inode = fs::read_link(descriptor.path())
                .ok()
                .and_then(|target| parse_socket_link(target.to_str()?));
            if let Some(inode) = inode
                && wanted.remove(&inode)
            {
                owners.push((inode, pid));
            }
        }
    }
    owners
}

/// The inode of `socket:[12345]`.
fn parse_socket_link(target: &str) -> Option<u64> {
    target
        .strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_of_this_process_is_found() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let found = listener(port).unwrap();
        assert_eq!(found.address, IpAddr::from([127, 0, 0, 1]));
        assert_eq!(found.pid, Some(std::process::id()));
        assert!(found.process.is_some());
        assert_eq!(found.uid, rustix::process::getuid().as_raw());
        drop(socket);
        assert_eq!(listener(port), None);
    }

    #[test]
    fn a_listener_on_ipv6_is_found() {
        // IPv6 may be switched off.
        let Ok(socket) = TcpListener::bind("[::1]:0") else {
            return;
        };
        let port = socket.local_addr().unwrap().port();
        assert_eq!(
            listener(port).unwrap().address,
            IpAddr::from(Ipv6Addr::LOCALHOST)
        );
    }

    #[test]
    fn several_listeners_and_hidden_processes() {
        let proc = tempfile::tempdir().unwrap();
        let net = proc.path().join("net");
        fs::create_dir(&net).unwrap();
        let header = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let line = |at: &str, state: &str, uid: u32, inode: u64| {
            format!(
                "   0: {at} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid:>5}        0 {inode} 1 0 100 0 0 10 0\n"
            )
        };
        let one = u32::from_ne_bytes([10, 0, 10, 4]);
        fs::write(
            net.join("tcp"),
            [
                header.to_owned(),
                line(&format!("{one:08X}:0050"), "0A", 33, 7),
                line(&format!("{one:08X}:0050"), "01", 33, 8),
                line("00000000:0051", "0A", 0, 9),
                line("00000000:0050", "0A", 0, 10),
                line("00000000:0050", "0A", 0, 11),
                "cut off".to_owned(),
            ]
            .concat(),
        )
        .unwrap();
        for (pid, inode) in [("300", 7), ("20", 7)] {
            let fd = proc.path().join(pid).join("fd");
            fs::create_dir_all(&fd).unwrap();
            fs::write(proc.path().join(pid).join("comm"), "nginx\n").unwrap();
            std::os::unix::fs::symlink(format!("socket:[{inode}]"), fd.join("6")).unwrap();
        }
        let all = listeners_in(proc.path(), |_| true);
        assert_eq!(all.len(), 3);
        let found = Table(all).on(80);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].address.to_string(), "10.0.10.4");
        assert_eq!((found[0].pid, found[0].uid), (Some(20), 33));
        assert_eq!(found[0].process.as_deref(), Some("nginx"));
        assert_eq!((found[1].pid, found[1].process.clone()), (None, None));
    }

    #[test]
    fn odd_lines_are_left_out() {
        for line in [
            "",
            "0:",
            "0: zz:0050 x 0A a b c 0 0 1",
            "0: 0100007F:0050 0:0 0A 0 0 0 x 0 1",
        ] {
            assert!(parse_line(line).is_none(), "{line}");
        }
        assert_eq!(parse_address("é00000é"), None);
        assert_eq!(parse_socket_link("pipe:[7]"), None);
    }
}
