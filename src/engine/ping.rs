//! What an Engine says of itself at `/_ping`: in a millisecond, where `/version` takes ten (it
//! starts runc and containerd to ask for theirs).

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// The version of an Engine and of its API.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Versions {
    /// `20.10.24`, as far as it is named.
    pub(super) engine: String,
    /// `1.41`
    pub(super) api: String,
}

/// Asks over a connection of its own; `None` where the answer does not tell.
pub(super) async fn ask(socket: &str) -> std::io::Result<Option<Versions>> {
    let mut stream = UnixStream::connect(socket).await?;
    stream
        .write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = String::new();
    stream.take(8192).read_to_string(&mut answer).await?;
    Ok(read(&answer))
}

fn read(answer: &str) -> Option<Versions> {
    if !answer.starts_with("HTTP/1.1 200") {
        return None;
    }
    let header = |wanted: &str| {
        answer
            .lines()
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim())
    };
    // "Docker/20.10.24+dfsg1 (linux)"
    let engine = header("Server")?.strip_prefix("Docker/")?;
    Some(Versions {
        engine: engine.split_whitespace().next()?.to_owned(),
        api: header("Api-Version")?.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_headers() {
        let answer = "HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nServer: Docker/20.10.24+dfsg1 (linux)\r\n\r\nOK";
        assert_eq!(
            read(answer),
            Some(Versions {
                engine: "20.10.24+dfsg1".to_owned(),
                api: "1.41".to_owned()
            })
        );
        assert_eq!(read("HTTP/1.1 200 OK\r\nServer: other\r\n\r\n"), None);
        assert_eq!(
            read("HTTP/1.1 503 starting\r\nApi-Version: 1.41\r\n\r\n"),
            None
        );
    }
}
