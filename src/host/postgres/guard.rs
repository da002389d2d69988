//! A stream that ends at the first bytes which cannot come from PostgreSQL.
//!
//! Without it an HTTP server's "HTTP/1.1 400" is taken for a message of 1.4 GB: tokio-postgres
//! reserves the memory and waits for the rest.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// No first answer is longer: an error, or a way of logging in. libpq draws the line there too.
const LONGEST_FIRST_ANSWER: u32 = 30_000;

/// The connection, and what it has shown of the server's first message.
pub(super) struct Guard {
    stream: TcpStream,
    head: Vec<u8>,
}

impl Guard {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            head: Vec::with_capacity(5),
        }
    }
}

/// Whether a server's first message may begin so: a letter and a length (PostgreSQL
/// documentation, 55.7). R asks for a login, E is an error, N a notice, v another version.
fn plausible(head: &[u8]) -> bool {
    let Some((letter, length)) = head.split_first() else {
        return true;
    };
    let length = match <[u8; 4]>::try_from(length) {
        Ok(bytes) => u32::from_be_bytes(bytes),
        Err(_) => 4,
    };
    b"RENv".contains(letter) && (4..=LONGEST_FIRST_ANSWER).contains(&length)
}

impl AsyncRead for Guard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let answer = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.head.len() < 5 {
            let wanted = 5 - self.head.len();
            let fresh = &buffer.filled()[before..];
            self.head.extend(fresh.iter().take(wanted));
            if !plausible(&self.head) {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the answer is not in PostgreSQL's protocol",
                )));
            }
        }
        answer
    }
}

impl AsyncWrite for Guard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_protocols_are_recognised() {
        for head in [&b"R\0\0\0\x08"[..], b"E\0\0\0\x60", b"R", b"", b"v\0\0"] {
            assert!(plausible(head), "{head:?}");
        }
        for head in [
            &b"HTTP/"[..],
            b"-ERR ",
            b"SSH-2",
            b"ERR s",
            b"\x4a\0\0\0\x0a",
            b"R\0\0\0\0",
        ] {
            assert!(!plausible(head), "{head:?}");
        }
    }
}
