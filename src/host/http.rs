//! One HTTP request to an address, for readiness: no TLS, no redirect, a deadline over all.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer, as far as readiness needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The first 64 KB of head and body.
    pub text: String,
}

impl Answer {
    /// What follows the head.
    pub fn body(&self) -> &str {
        self.text
            .split_once("\r\n\r\n")
            .map_or("", |(_, body)| body)
    }
}

/// Largest part of an answer that is read.
const LIMIT: u64 = 64 * 1024;

/// Whether something accepts connections there. The error is a short text for people.
pub async fn listens(address: SocketAddr, deadline: Duration) -> Result<(), String> {
    match tokio::time::timeout(deadline, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(plain(&error)),
        Err(_) => Err(silent(deadline)),
    }
}

fn plain(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => error.to_string(),
    }
}

fn silent(deadline: Duration) -> String {
    format!("no answer within {} ms", deadline.as_millis())
}

/// GETs a path with this Host header. The error is a short text for people.
pub async fn get(
    address: SocketAddr,
    host: &str,
    path: &str,
    deadline: Duration,
) -> Result<Answer, String> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: ooy\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    exchange(address, &request, deadline).await
}

/// POSTs JSON to a path, with this `Authorization`. For questions only that cannot be asked
/// otherwise.
pub async fn post(
    address: SocketAddr,
    path: &str,
    authorization: &str,
    body: &str,
    deadline: Duration,
) -> Result<Answer, String> {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: ooy\r\nAccept: */*\r\nAuthorization: {authorization}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    exchange(address, &request, deadline).await
}

/// Sends a request that changes something, with a body of JSON or none.
pub async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    body: &str,
    deadline: Duration,
) -> Result<Answer, String> {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: ooy\r\nAccept: */*\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    exchange(address, &request, deadline).await
}

async fn exchange(
    address: SocketAddr,
    request: &str,
    deadline: Duration,
) -> Result<Answer, String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(LIMIT).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(deadline, exchange)
        .await
        .map_err(|_| silent(deadline))?
        .map_err(|error| plain(&error))?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5))
        .and_then(|code| code.parse().ok())
        .ok_or("the answer is no HTTP")?;
    Ok(Answer { status, text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};

    fn serve(reply: &'static [u8]) -> SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(reply);
        });
        address
    }

    fn ask(address: SocketAddr) -> Result<Answer, String> {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(get(address, "localhost", "/", Duration::from_secs(2)))
    }

    #[test]
    fn the_status_and_text_are_read() {
        let answer = ask(serve(b"HTTP/1.1 503 Service Unavailable\r\n\r\ndb err")).unwrap();
        assert_eq!(answer.status, 503);
        assert!(answer.text.ends_with("db err"));
    }

    #[test]
    fn something_else_than_http_is_told() {
        assert_eq!(
            ask(serve(b"+PONG\r\n")).unwrap_err(),
            "the answer is no HTTP"
        );
    }
}
