//! Redis as redigo speaks to it: AUTH with the password of the URL only, SELECT of its
//! path, and redigo's error texts.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Mutex;
use std::time::Duration;

use crate::go::dial;
use crate::go::url::Url;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    Nil,
    Text(String),
    Int(i64),
    List(Vec<Reply>),
}

impl Reply {
    pub fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            _ => 0,
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::List(items) => items.iter().map(Self::text).collect(),
            _ => Vec::new(),
        }
    }
}

pub struct Redis {
    /// `host:port`, as it stands in the URL.
    address: String,
    password: Option<String>,
    database: String,
    connection: Mutex<Option<BufReader<TcpStream>>>,
}

const LIMIT: Duration = Duration::from_secs(5);

impl Redis {
    pub fn new(url: &Url) -> Self {
        Self {
            address: url.host.clone(),
            password: url.password.clone(),
            database: url.path.trim_start_matches('/').to_owned(),
            connection: Mutex::new(None),
        }
    }

    pub fn command(&self, parts: &[&str]) -> Result<Reply, String> {
        let mut replies = self.pipeline(&[parts])?;
        replies.pop().unwrap_or(Ok(Reply::Nil))
    }

    /// Several commands in one round trip. A connection that broke is not tried again: the
    /// caller sees the error, and the next call dials.
    pub fn pipeline(&self, commands: &[&[&str]]) -> Result<Vec<Result<Reply, String>>, String> {
        let mut guard = self.connection.lock().unwrap();
        let mut connection = match guard.take() {
            Some(connection) => connection,
            None => self.dial()?,
        };
        let replies = exchange(&mut connection, commands)?;
        *guard = Some(connection);
        Ok(replies)
    }

    fn dial(&self) -> Result<BufReader<TcpStream>, String> {
        let stream = dial::tcp(&self.address, LIMIT)?;
        let _ = stream.set_read_timeout(Some(LIMIT));
        let mut connection = BufReader::new(stream);
        if let Some(password) = &self.password {
            only(exchange(&mut connection, &[&["AUTH", password]])?)?;
        }
        only(exchange(&mut connection, &[&["SELECT", &self.database]])?)?;
        Ok(connection)
    }
}

fn only(mut replies: Vec<Result<Reply, String>>) -> Result<Reply, String> {
    replies.pop().unwrap_or(Ok(Reply::Nil))
}

fn exchange(
    connection: &mut BufReader<TcpStream>,
    commands: &[&[&str]],
) -> Result<Vec<Result<Reply, String>>, String> {
    let mut out = Vec::new();
    for parts in commands {
        encode(&mut out, parts);
    }
    connection.get_mut().write_all(&out).map_err(|e| dial::io_error(&e))?;
    commands.iter().map(|_| read_reply(connection)).collect()
}

fn encode(out: &mut Vec<u8>, parts: &[&str]) {
    out.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
    for part in parts {
        out.extend_from_slice(format!("${}\r\n{part}\r\n", part.len()).as_bytes());
    }
}

/// The outer error is one of the connection, the inner one an answer of Redis.
fn read_reply(source: &mut impl BufRead) -> Result<Result<Reply, String>, String> {
    let mut line = String::new();
    if source.read_line(&mut line).map_err(|e| dial::io_error(&e))? == 0 {
        return Err("EOF".into());
    }
    let line = line.trim_end_matches(['\r', '\n']);
    let malformed = || "redigo: malformed length".to_owned();
    let (kind, rest) = line.split_at_checked(1).ok_or("redigo: short response line")?;
    Ok(match kind {
        "+" => Ok(Reply::Text(rest.to_owned())),
        "-" => Err(rest.to_owned()),
        ":" => Ok(Reply::Int(rest.parse().map_err(|_| malformed())?)),
        "$" => {
            let length: i64 = rest.parse().map_err(|_| malformed())?;
            if length < 0 {
                return Ok(Ok(Reply::Nil));
            }
            let mut bytes = vec![0; length as usize + 2];
            source.read_exact(&mut bytes).map_err(|e| dial::io_error(&e))?;
            bytes.truncate(length as usize);
            Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        "*" => {
            let length: i64 = rest.parse().map_err(|_| malformed())?;
            if length < 0 {
                return Ok(Ok(Reply::Nil));
            }
            let mut items = Vec::new();
            for _ in 0..length {
                items.push(read_reply(source)?.unwrap_or_else(Reply::Text));
            }
            Ok(Reply::List(items))
        }
        _ => return Err("redigo: unexpected response line".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Result<Reply, String>, String> {
        read_reply(&mut text.as_bytes())
    }

    #[test]
    fn commands_and_replies_follow_the_protocol() {
        let mut out = Vec::new();
        encode(&mut out, &["SELECT", "15"]);
        assert_eq!(out, b"*2\r\n$6\r\nSELECT\r\n$2\r\n15\r\n");

        assert_eq!(read("+PONG\r\n"), Ok(Ok(Reply::Text("PONG".into()))));
        assert_eq!(read("-NOAUTH x\r\n"), Ok(Err("NOAUTH x".into())));
        assert_eq!(read(":7\r\n").unwrap().unwrap().int(), 7);
        assert_eq!(read("$-1\r\n"), Ok(Ok(Reply::Nil)));
        let list = read("*2\r\n$1\r\na\r\n$3\r\nb\nc\r\n").unwrap().unwrap();
        assert_eq!(list.texts(), ["a", "b\nc"]);
        assert_eq!(read(""), Err("EOF".into()));
        assert!(read("?\r\n").is_err());
    }
}
