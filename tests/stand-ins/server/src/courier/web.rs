//! The pages: the front page with the health of the parts, the queues, and /c/.

use serde_json::{Value, json};

use super::handlers::{self, Found};
use super::{Courier, receive};
use crate::go::log;
use crate::http::{Request, Response};
use crate::version;

pub fn answer(courier: &Courier, request: &Request) -> Response {
    // One slash at the end more or less is the same path.
    let path = match request.path() {
        "/" => "/",
        path => path.strip_suffix('/').unwrap_or(path),
    };
    match (request.method.as_str(), path) {
        ("GET", "/") => index(courier),
        ("GET", "/status") => status(courier, request),
        (_, "/" | "/status") => wrong_method(request),
        (method, path) => match handlers::find(method, path) {
            Found::Channel(kind, uuid, action) => {
                receive::answer(courier, request, kind, uuid, action)
            }
            Found::WrongMethod => wrong_method(request),
            Found::Nothing => not_found(request),
        },
    }
}

/// Go's encoder: one line, a line feed, and no sign that HTML would take for its own.
pub fn data_response(status: u16, message: &str, data: &[Value]) -> Response {
    let text = json!({"message": message, "data": data}).to_string();
    let text = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    Response::new(status, "application/json", text + "\n")
}

pub fn error_response(problems: &[String]) -> Response {
    let data: Vec<Value> =
        problems.iter().map(|problem| json!({"type": "error", "error": problem})).collect();
    data_response(400, "Error", &data)
}

fn not_found(request: &Request) -> Response {
    log::with("url", &request.target)
        .with("method", &request.method)
        .with("resp_status", "404")
        .info("not found");
    let problem = format!("not found: {}", request.target);
    data_response(404, "Not Found", &[json!({"type": "error", "error": problem})])
}

fn wrong_method(request: &Request) -> Response {
    log::with("url", &request.target)
        .with("method", &request.method)
        .with("resp_status", "405")
        .info("invalid method");
    let problem = format!("method not allowed: {}", request.method);
    data_response(405, "Method Not Allowed", &[json!({"type": "error", "error": problem})])
}

fn page(body: &str) -> Response {
    let text = format!(
        "<title>courier</title><body><pre>\n\n  Courier  v{}{body}</pre></body>",
        version::text()
    );
    Response::new(200, "text/html; charset=utf-8", text)
}

/// Always 200: what fails is named in the text.
fn index(courier: &Courier) -> Response {
    let routes = handlers::listing().join("\n");
    page(&format!("{}\n\n{routes}", health(courier)))
}

/// Asked anew at every request.
fn health(courier: &Courier) -> String {
    let mut text = String::new();
    let mut report = |part: &str, problem: &str| text.push_str(&format!("\n{part:>16}: {problem}"));
    if let Err(problem) = courier.redis.command(&["PING"]) {
        report("redis err", &problem);
    }
    let steer = courier.steering.now();
    if courier.steering.is_unhealthy(&steer) {
        report("db err", "pq: the database system is starting up");
    } else if let Err(problem) = courier.database.ping(std::time::Duration::from_secs(1)) {
        report("db err", &problem.to_string());
    }
    text
}

fn status(courier: &Courier, request: &Request) -> Response {
    let user = courier.values.text("status_username");
    // Since 8.0 also where no user is set.
    if !user.is_empty() || version::since(8, 0) {
        let expected = format!("{user}:{}", courier.values.text("status_password"));
        let given = request.header("authorization").strip_prefix("Basic ").map(base64);
        if given.flatten().as_deref() != Some(expected.as_bytes()) {
            return Response::new(401, "text/plain; charset=utf-8", "Unauthorised.\n")
                .with_header("WWW-Authenticate", "Basic realm=\"Authenticate\"");
        }
    }
    let table = queue_table(courier).unwrap_or_else(|problem| problem);
    page(&format!("\n\n{table}\n\n"))
}

fn queue_table(courier: &Courier) -> Result<String, String> {
    let line = "-".repeat(84);
    let mut table = format!(
        "{line}\n     Size | Bulk Size | Workers | TPS | Type | Channel              \n{line}\n"
    );
    for (set, name) in [("msgs:active", "active"), ("msgs:throttled", "throttled")] {
        let command = ["ZREVRANGEBYSCORE", set, "+inf", "-inf", "WITHSCORES"];
        let reply = courier.redis.command(&command);
        let reply = reply.map_err(|e| format!("unable to read {name} queues: {e}"))?;
        for pair in reply.texts().chunks(2) {
            let [queue, workers] = pair else { continue };
            let queue = queue.strip_prefix("msgs:").unwrap_or(queue);
            let Some((uuid, tps)) = queue.split_once('|') else {
                return Err(format!("error parsing queue name '{queue}'"));
            };
            let size = |priority: &str| {
                let key = format!("msgs:{queue}/{priority}");
                let reply = courier.redis.command(&["ZCARD", &key]);
                reply.map(|r| r.int()).map_err(|e| format!("error reading queue size: {e}"))
            };
            let channel = courier.channels.find(&courier.database, None, uuid);
            let kind = channel.map_or_else(|_| "!!".into(), |c| c.kind);
            let workers = workers.parse::<f64>().unwrap_or(0.0) as i64;
            table.push_str(&format!(
                "{:>9}   {:>9}   {workers:>7}   {tps:>3}   {kind:>4}   {uuid}\n",
                size("1")?,
                size("0")?
            ));
        }
    }
    Ok(table)
}

/// Bulk and priority messages of all queues.
pub fn queue_sizes(courier: &Courier) -> Result<(i64, i64), String> {
    let (mut bulk, mut priority) = (0, 0);
    for (set, name) in [("msgs:active", "active"), ("msgs:throttled", "throttled")] {
        let reply = courier.redis.command(&["ZRANGE", set, "0", "-1"]);
        let reply = reply.map_err(|e| format!("error getting {name} queues: {e}"))?;
        for queue in reply.texts() {
            priority += courier.redis.command(&["ZCARD", &format!("{queue}/1")])?.int();
            bulk += courier.redis.command(&["ZCARD", &format!("{queue}/0")])?.int();
        }
    }
    Ok((bulk, priority))
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for byte in text.trim().trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_one_line_that_html_cannot_read() {
        let response = error_response(&["a <b> & c".into()]);
        assert_eq!(response.status, 400);
        assert_eq!(
            response.body_text(),
            "{\"message\":\"Error\",\"data\":[{\"type\":\"error\",\"error\":\"a \\u003cb\\u003e \\u0026 c\"}]}\n"
        );
    }

    #[test]
    fn passwords_are_decoded() {
        assert_eq!(base64("dXNlcjpzZWNyZXQ=").as_deref(), Some(&b"user:secret"[..]));
        assert_eq!(base64("?"), None);
    }
}
