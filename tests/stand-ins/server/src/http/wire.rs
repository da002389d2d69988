//! The bytes of a message: start line, headers, and a body of known length or in chunks.

use std::io::{BufRead, Error, ErrorKind, Read};

pub const HEADER_LIMIT: usize = 64 * 1024;
pub const BODY_LIMIT: usize = 100 * 1024 * 1024;

pub struct Head {
    pub start: String,
    pub headers: Vec<(String, String)>,
}

/// None where the other side closed before the first byte.
pub fn read_head(source: &mut impl BufRead) -> std::io::Result<Option<Head>> {
    let mut start = String::new();
    let mut left = HEADER_LIMIT;
    // A blank line before a request is ignored, as everyone does.
    while start.is_empty() {
        match read_line(source, &mut left)? {
            Some(line) => start = line,
            None => return Ok(None),
        }
    }
    let mut headers = Vec::new();
    loop {
        let line = read_line(source, &mut left)?.ok_or(ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            return Ok(Some(Head { start, headers }));
        }
        let (name, value) = line.split_once(':').ok_or(ErrorKind::InvalidData)?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn read_line(source: &mut impl BufRead, left: &mut usize) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    let length = source.by_ref().take(*left as u64).read_until(b'\n', &mut line)?;
    if length == 0 {
        return Ok(None);
    }
    if line.pop() != Some(b'\n') {
        let kind = if length == *left { ErrorKind::InvalidData } else { ErrorKind::UnexpectedEof };
        return Err(Error::from(kind));
    }
    *left -= length;
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

pub enum Length {
    Exactly(usize),
    Chunked,
    UntilClose,
}

pub fn read_body(source: &mut impl BufRead, length: &Length) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match length {
        Length::Exactly(size) => {
            if *size > BODY_LIMIT {
                return Err(Error::from(ErrorKind::FileTooLarge));
            }
            source.by_ref().take(*size as u64).read_to_end(&mut body)?;
            if body.len() < *size {
                return Err(Error::from(ErrorKind::UnexpectedEof));
            }
        }
        Length::Chunked => loop {
            let mut left = HEADER_LIMIT;
            let line = read_line(source, &mut left)?.ok_or(ErrorKind::UnexpectedEof)?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| ErrorKind::InvalidData)?;
            if body.len() + size > BODY_LIMIT {
                return Err(Error::from(ErrorKind::FileTooLarge));
            }
            source.by_ref().take(size as u64).read_to_end(&mut body)?;
            // After the last chunk come trailers and a blank line, after others a blank line.
            while !read_line(source, &mut left)?.ok_or(ErrorKind::UnexpectedEof)?.is_empty() {}
            if size == 0 {
                break;
            }
        },
        Length::UntilClose => {
            source.by_ref().take(BODY_LIMIT as u64).read_to_end(&mut body)?;
        }
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_and_bodies_are_read() {
        let mut source: &[u8] = b"\r\nGET / HTTP/1.1\r\nHost: a\r\nX:  b \r\n\r\nrest";
        let head = read_head(&mut source).unwrap().unwrap();
        assert_eq!(head.start, "GET / HTTP/1.1");
        assert_eq!(head.headers[1], ("X".into(), "b".into()));
        assert_eq!(read_body(&mut source, &Length::Exactly(4)).unwrap(), b"rest");
        assert!(read_head(&mut source).unwrap().is_none());

        let mut chunks: &[u8] = b"3\r\nabc\r\n2;x\r\nde\r\n0\r\n\r\nnext";
        assert_eq!(read_body(&mut chunks, &Length::Chunked).unwrap(), b"abcde");
        assert_eq!(chunks, b"next");
    }

    #[test]
    fn broken_messages_are_errors() {
        for bytes in ["GET / HTTP/1.1\r\nnonsense\r\n\r\n", "GET / HTTP/1.1\r\nHost: a"] {
            assert!(read_head(&mut bytes.as_bytes()).is_err());
        }
        let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(HEADER_LIMIT));
        assert!(read_head(&mut long.as_bytes()).is_err());
        assert!(read_body(&mut &b"ab"[..], &Length::Exactly(3)).is_err());
        assert!(read_body(&mut &b"zz\r\n"[..], &Length::Chunked).is_err());
    }
}
