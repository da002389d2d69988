//! Commands as they are shown to an operator, ready to be pasted into a shell.

use std::net::IpAddr;

/// A command with a remark on where it belongs, which a shell takes for a comment; none where
/// that is this machine.
pub(in crate::host) fn on_machine(host: &str, command: &str) -> String {
    if is_this_machine(host) {
        command.to_owned()
    } else {
        format!("{command}   # on {host}")
    }
}

/// Whether an address belongs to this machine: then, and only then, it can be bound to. Names
/// are not looked up for it.
pub fn is_this_machine(host: &str) -> bool {
    let bindable = |address: IpAddr| std::net::UdpSocket::bind((address, 0)).is_ok();
    host == "localhost" || host.parse().is_ok_and(bindable)
}

/// In single quotes, for a shell.
pub(in crate::host) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// For a shell, quoted where that is needed.
pub fn word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@%:".contains(&b);
    if text.bytes().all(plain) && !text.starts_with('-') {
        text.to_owned()
    } else {
        quoted(text)
    }
}
