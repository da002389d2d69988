//! HTTP/1.1, by hand: a server with one thread a connection, and a client that asks once
//! and closes.

pub mod client;
pub mod server;
mod wire;

use std::fmt::Write;

use serde_json::Value;

use crate::go::url;

#[derive(Debug, Default, Clone)]
pub struct Request {
    pub method: String,
    /// As it was sent, with the query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub fn query(&self) -> Vec<(String, String)> {
        url::parse_query(self.target.split_once('?').map_or("", |(_, query)| query))
    }

    pub fn header(&self, name: &str) -> &str {
        find_header(&self.headers, name)
    }

    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The parameters of the query and, for a POST, of the body's form.
    pub fn form(&self) -> Vec<(String, String)> {
        let mut form = Vec::new();
        if self.header("content-type").starts_with("application/x-www-form-urlencoded") {
            form.extend(url::parse_query(&self.body_text()));
        }
        form.extend(self.query());
        form
    }
}

fn find_header<'a>(headers: &'a [(String, String)], name: &str) -> &'a str {
    headers
        .iter()
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map_or("", |(_, value)| value.as_str())
}

#[derive(Debug, Clone, Default)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".into(), content_type.into())],
            body: body.into(),
        }
    }

    pub fn json(status: u16, value: &Value) -> Self {
        Self::new(status, "application/json", value.to_string())
    }

    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn body_text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Indented JSON: Go's encoder and Elasticsearch's `?pretty` use different blanks.
pub fn pretty(value: &Value, indent: &str, colon: &str) -> String {
    let mut out = String::new();
    write_pretty(&mut out, value, (indent, colon), 0);
    out
}

fn write_pretty(out: &mut String, value: &Value, style: (&str, &str), depth: usize) {
    let (indent, colon) = style;
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&indent.repeat(depth));
    };
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(out, depth + 1);
                write_pretty(out, item, style, depth + 1);
            }
            line(out, depth);
            out.push(']');
        }
        Value::Object(fields) if !fields.is_empty() => {
            out.push('{');
            for (index, (key, item)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(out, depth + 1);
                let _ = write!(out, "{}{colon}", Value::String(key.clone()));
                write_pretty(out, item, style, depth + 1);
            }
            line(out, depth);
            out.push('}');
        }
        plain => {
            let _ = write!(out, "{plain}");
        }
    }
}

pub fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        301 => "Moved Permanently",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Request Entity Too Large",
        422 => "Unprocessable Entity",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_indented_as_asked() {
        let value = serde_json::json!({"b": [1, {"c": []}], "a": {}});
        assert_eq!(
            pretty(&value, "  ", ": "),
            "{\n  \"b\": [\n    1,\n    {\n      \"c\": []\n    }\n  ],\n  \"a\": {}\n}"
        );
    }

    #[test]
    fn a_request_knows_its_parts() {
        let request = Request {
            method: "POST".into(),
            target: "/c/ex/receive?text=a&from=1".into(),
            headers: vec![(
                "Content-Type".into(),
                "application/x-www-form-urlencoded; charset=utf-8".into(),
            )],
            body: b"from=2".to_vec(),
        };
        assert_eq!(request.path(), "/c/ex/receive");
        // The body comes first, as in Go's Form.
        assert_eq!(request.form()[0], ("from".into(), "2".into()));
        assert_eq!(request.query().len(), 2);
    }
}
