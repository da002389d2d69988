//! RESP2, the protocol of Redis: a command is an array of byte strings, a reply one of five
//! kinds (redis.io, "Redis serialization protocol specification").

use std::fmt;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::mask;
use crate::host::reach::{self, NotConnected};
use crate::host::url::RedisUrl;

/// Longest line of a reply, in bytes: a status, an error or a length.
const LONGEST_LINE: usize = 64 * 1024;
/// Longest byte string, in bytes; far above anything that is asked for here.
const LONGEST_BULK: usize = 64 * 1024 * 1024;
/// Most elements of an array, and most arrays within arrays.
const LARGEST_ARRAY: usize = 1_000_000;
const DEEPEST: usize = 4;

/// A reply of Redis; its errors are [`RedisError::Answer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A short text: `OK`, `PONG`.
    Status(String),
    /// A number.
    Integer(i64),
    /// A byte string.
    Bulk(Vec<u8>),
    /// Nothing: no such key.
    Nil,
    /// Several replies.
    Array(Vec<Reply>),
}

impl Reply {
    /// As text; empty for what is not.
    pub fn text(&self) -> String {
        match self {
            Reply::Status(text) => text.clone(),
            Reply::Integer(number) => number.to_string(),
            Reply::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Reply::Nil | Reply::Array(_) => String::new(),
        }
    }
}

/// Why a command brought no reply. Never holds the password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedisError {
    /// No TCP connection came about.
    #[allow(
        private_interfaces,
        reason = "only this module's own callers look inside"
    )]
    Unreached(NotConnected),
    /// No answer in time.
    Silent,
    /// The answer is not in Redis's protocol.
    NotRedis,
    /// The connection ended.
    Closed(String),
    /// Redis answered with an error; its first sentence.
    Answer(String),
}

impl RedisError {
    /// Redis answers, and takes no writes: a save failed, a replica, no memory.
    pub fn refuses_writes(&self) -> bool {
        let RedisError::Answer(text) = self else {
            return false;
        };
        ["MISCONF", "READONLY", "OOM"]
            .iter()
            .any(|word| text.starts_with(word))
    }
}

impl fmt::Display for RedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RedisError::Unreached(why) => f.write_str(&why.attempts.join(", ")),
            RedisError::Silent => f.write_str("no answer in time"),
            RedisError::NotRedis => f.write_str("the answer is not in Redis's protocol"),
            RedisError::Closed(why) => write!(f, "the connection ended: {why}"),
            RedisError::Answer(text) => f.write_str(text),
        }
    }
}

/// A connection, logged in and with the database of its URL chosen.
pub struct Connection {
    stream: BufReader<TcpStream>,
    /// To be taken out of errors: an unknown command is answered with its arguments.
    password: Option<String>,
}

impl Connection {
    /// Connects, logs in and chooses the database, all of it at the latest at `until`. The
    /// caller sets the deadline for what follows.
    pub async fn open(url: &RedisUrl, until: Instant) -> Result<Self, RedisError> {
        let mut connection = Self::connect(url, until).await?;
        match timeout_at(until, connection.introduce(url)).await {
            Err(_) => Err(RedisError::Silent),
            Ok(Ok(())) => Ok(connection),
            // Protected mode and a full server answer before they are asked, and close: what we
            // had sent by then makes the kernel throw their answer away. Listen first, then.
            Ok(Err(closed @ RedisError::Closed(_))) => {
                let mut second = Self::connect(url, until).await?;
                let patience = until.min(Instant::now() + Duration::from_millis(300));
                match timeout_at(patience, second.reply()).await {
                    Ok(Err(error @ RedisError::Answer(_))) => Err(error),
                    _ => Err(closed),
                }
            }
            Ok(Err(error)) => Err(error),
        }
    }

    async fn connect(url: &RedisUrl, until: Instant) -> Result<Self, RedisError> {
        let stream = reach::connect(url.host(), url.port(), until).await;
        Ok(Self {
            stream: BufReader::new(stream.map_err(RedisError::Unreached)?),
            password: url.password().map(str::to_owned),
        })
    }

    async fn introduce(&mut self, url: &RedisUrl) -> Result<(), RedisError> {
        match (url.user(), url.password()) {
            (Some(user), Some(password)) => drop(self.call(&["AUTH", user, password]).await?),
            (None, Some(password)) => drop(self.call(&["AUTH", password]).await?),
            _ => {}
        }
        self.call(&["SELECT", &url.db().to_string()]).await?;
        Ok(())
    }

    /// Sends a command and reads its reply: `call(&["LLEN", "celery"])`.
    pub async fn call<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Result<Reply, RedisError> {
        let mut request = format!("*{}\r\n", command.len()).into_bytes();
        for argument in command {
            let argument = argument.as_ref();
            request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            request.extend_from_slice(argument);
            request.extend_from_slice(b"\r\n");
        }
        self.stream
            .get_mut()
            .write_all(&request)
            .await
            .map_err(closed)?;
        self.reply().await
    }

    async fn reply(&mut self) -> Result<Reply, RedisError> {
        self.reply_at(0).await
    }

    /// Boxed, because arrays hold replies.
    fn reply_at(
        &mut self,
        depth: usize,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<Reply, RedisError>> + Send + '_>> {
        Box::pin(async move {
            let line = self.line().await?;
            let (kind, rest) = line.split_first().ok_or(RedisError::NotRedis)?;
            let rest = std::str::from_utf8(rest).map_err(|_| RedisError::NotRedis)?;
            let number = || rest.parse::<i64>().map_err(|_| RedisError::NotRedis);
            match kind {
                b'+' => Ok(Reply::Status(rest.to_owned())),
                b'-' => Err(RedisError::Answer(self.first_sentence(rest))),
                b':' => Ok(Reply::Integer(number()?)),
                b'$' => match checked_length(number()?, LONGEST_BULK)? {
                    None => Ok(Reply::Nil),
                    Some(length) => Ok(Reply::Bulk(self.bulk(length).await?)),
                },
                b'*' if depth < DEEPEST => match checked_length(number()?, LARGEST_ARRAY)? {
                    None => Ok(Reply::Nil),
                    Some(length) => {
                        let mut items = Vec::new();
                        for _ in 0..length {
                            items.push(self.reply_at(depth + 1).await?);
                        }
                        Ok(Reply::Array(items))
                    }
                },
                _ => Err(RedisError::NotRedis),
            }
        })
    }

    /// A line without its end.
    async fn line(&mut self) -> Result<Vec<u8>, RedisError> {
        let mut line = Vec::new();
        let mut limited = (&mut self.stream).take(LONGEST_LINE as u64);
        limited.read_until(b'\n', &mut line).await.map_err(closed)?;
        if line.is_empty() {
            return Err(closed(io::ErrorKind::UnexpectedEof.into()));
        }
        // Cut off, too long, or a protocol of other lines: Redis always ends with CR LF.
        if !line.ends_with(b"\r\n") {
            return Err(RedisError::NotRedis);
        }
        line.truncate(line.len() - 2);
        Ok(line)
    }

    async fn bulk(&mut self, length: usize) -> Result<Vec<u8>, RedisError> {
        // Grows as bytes come: the length alone is only a claim.
        let mut bytes = Vec::new();
        let mut limited = (&mut self.stream).take(length as u64 + 2);
        limited.read_to_end(&mut bytes).await.map_err(closed)?;
        if bytes.len() != length + 2 {
            return Err(closed(io::ErrorKind::UnexpectedEof.into()));
        }
        if !bytes.ends_with(b"\r\n") {
            return Err(RedisError::NotRedis);
        }
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Redis explains at length (protected mode: 900 characters); the first sentence says it.
    /// An unknown command is answered with its arguments, and AUTH can be an unknown command.
    fn first_sentence(&self, text: &str) -> String {
        let sentence = text.split_once(". ").map_or(text, |(first, _)| first);
        let sentence = sentence
            .split_once(", with args beginning")
            .map_or(sentence, |(first, _)| first);
        mask(sentence, self.password.as_deref(), &[])
    }
}

/// A length; -1 stands for nothing.
fn checked_length(number: i64, limit: usize) -> Result<Option<usize>, RedisError> {
    match usize::try_from(number) {
        Ok(length) if length <= limit => Ok(Some(length)),
        Err(_) if number == -1 => Ok(None),
        _ => Err(RedisError::NotRedis),
    }
}

fn closed(error: io::Error) -> RedisError {
    RedisError::Closed(match error.kind() {
        io::ErrorKind::UnexpectedEof => "closed by the server".into(),
        _ => error.to_string(),
    })
}
