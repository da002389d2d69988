//! One request, one answer, one connection; errors as Go's net/http words them.

use std::io::{BufReader, Write};
use std::time::Duration;

use super::wire::{self, Length};
use super::{Request, Response, find_header};
use crate::go::{dial, log, url};

/// The target of the request is a whole `http://` URL.
pub fn send(request: &Request, limit: Duration) -> Result<Response, String> {
    exchange(request, limit).map_err(|problem| {
        let method = match request.method.as_str() {
            "GET" => "Get",
            "HEAD" => "Head",
            "POST" => "Post",
            "PUT" => "Put",
            "DELETE" => "Delete",
            other => other,
        };
        let mut target = String::new();
        log::quote(&mut target, &request.target);
        format!("{method} {target}: {problem}")
    })
}

fn exchange(request: &Request, limit: Duration) -> Result<Response, String> {
    let target = url::parse(&request.target)?;
    if target.scheme != "http" {
        return Err(format!("unsupported protocol scheme \"{}\"", target.scheme));
    }
    let address = match dial::split_host_port(&target.host) {
        Some(_) => target.host.clone(),
        None => format!("{}:80", target.host),
    };
    let mut stream = dial::tcp(&address, limit)?;
    let _ = stream.set_read_timeout(Some(limit));
    let _ = stream.set_write_timeout(Some(limit));

    let after_host = request.target.split_once("://").map_or("", |(_, rest)| rest);
    let path = after_host.find(['/', '?']).map_or("/", |at| &after_host[at..]);
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut out = format!(
        "{} {slash}{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
        request.method,
        target.host,
        request.body.len()
    );
    for (name, value) in &request.headers {
        out.push_str(&format!("{name}: {value}\r\n"));
    }
    out.push_str("\r\n");
    let mut bytes = out.into_bytes();
    bytes.extend_from_slice(&request.body);
    stream.write_all(&bytes).map_err(|e| dial::io_error(&e))?;

    let mut source = BufReader::new(stream);
    let head = wire::read_head(&mut source).map_err(|e| dial::io_error(&e))?.ok_or("EOF")?;
    let status = head.start.split(' ').nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| format!("malformed HTTP response \"{}\"", head.start))?;
    let size = find_header(&head.headers, "content-length");
    let length = if request.method == "HEAD" {
        Length::Exactly(0)
    } else if find_header(&head.headers, "transfer-encoding").eq_ignore_ascii_case("chunked") {
        Length::Chunked
    } else if size.is_empty() {
        Length::UntilClose
    } else {
        Length::Exactly(size.parse().map_err(|_| format!("bad Content-Length \"{size}\""))?)
    };
    let body = wire::read_body(&mut source, &length).map_err(|e| dial::io_error(&e))?;
    Ok(Response { status, headers: head.headers, body })
}
