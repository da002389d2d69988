//! Requests for a channel: messages, states and stops of the type External.

use serde_json::json;

use super::Courier;
use super::channels::Channel;
use super::messages::{self, Message};
use super::web::{data_response, error_response};
use crate::clock;
use crate::go::log;
use crate::http::{Request, Response};
use crate::rapidpro::Urn;

pub fn answer(
    courier: &Courier,
    request: &Request,
    kind: &str,
    uuid: &str,
    action: &str,
) -> Response {
    if uuid.is_empty() {
        // Facebook's own path: the channel would be named in the body.
        return error_response(&["no entries found".into()]);
    }
    let channel = match courier.channels.find(&courier.database, Some(kind), uuid) {
        Ok(channel) => channel,
        Err(problem) => return error_response(&[problem]),
    };
    let result = match (kind, action) {
        ("EX", "receive") => receive(courier, request, &channel),
        ("EX", "stopped") => stopped(request, &channel),
        ("EX", "sent" | "delivered" | "failed") => state(courier, request, &channel, action),
        _ => Err(vec![format!("the stand-in reads External channels only, not {kind}")]),
    };
    result.unwrap_or_else(|problems| {
        log::with("url", &request.target)
            .with("error", problems.first().map_or("", String::as_str))
            .with("channel_uuid", &channel.uuid)
            .info("request errored");
        error_response(&problems)
    })
}

type Outcome = Result<Response, Vec<String>>;

fn value<'a>(form: &'a [(String, String)], names: &[&str]) -> &'a str {
    names
        .iter()
        .find_map(|name| form.iter().find(|(key, _)| key == name))
        .map_or("", |(_, value)| value.as_str())
}

fn receive(courier: &Courier, request: &Request, channel: &Channel) -> Outcome {
    let form = request.form();
    let from = value(&form, &["from", "sender"]);
    if from.is_empty() {
        return Err(vec!["must have one of 'sender' or 'from' set".into()]);
    }
    let received_on = match value(&form, &["date", "time"]) {
        "" => clock::now_micros(),
        date => clock::parse_timestamp(date)
            .filter(|_| date.contains('T'))
            .ok_or_else(|| vec!["invalid date format, must be RFC 3339".to_owned()])?,
    };
    let received_on = clock::utc_text(received_on, 6);
    let urn = tel_urn(from).map_err(|problem| vec![problem])?;
    let message = Message::new(channel, &urn, value(&form, &["text"]), &received_on);
    messages::write(courier, &message).map_err(|problem| vec![problem])?;
    log::with("channel_uuid", &channel.uuid)
        .with("url", &request.target)
        .with("msg_uuid", &message.uuid)
        .with("msg_urn", &message.urn)
        .with("msg_text", &message.text)
        .with("msg_attachments", "[]")
        .info("msg received");
    let data = json!({
        "type": "msg",
        "channel_uuid": channel.uuid,
        "msg_uuid": message.uuid,
        "text": message.text,
        "urn": message.urn,
        "received_on": received_on,
    });
    Ok(data_response(200, "Message Accepted", &[data]))
}

fn stopped(request: &Request, channel: &Channel) -> Outcome {
    let form = request.form();
    let from = value(&form, &["from"]);
    if from.is_empty() {
        return Err(missing("stopContactForm", "From", "from"));
    }
    let urn = tel_urn(from).map_err(|problem| vec![problem])?;
    log::with("channel_uuid", &channel.uuid)
        .with("url", &request.target)
        .with("event_type", "stop_contact")
        .with("event_urn", urn.identity())
        .info("evt received");
    let data = json!({
        "type": "event",
        "channel_uuid": channel.uuid,
        "event_type": "stop_contact",
        "urn": urn.identity(),
        "received_on": clock::utc_text(clock::now_micros(), 6),
    });
    Ok(data_response(200, "Event Accepted", &[data]))
}

fn state(courier: &Courier, request: &Request, channel: &Channel, action: &str) -> Outcome {
    let form = request.form();
    let id = value(&form, &["id"]);
    if id.is_empty() || id == "0" {
        return Err(missing("statusForm", "ID", "id"));
    }
    let id: i64 =
        id.parse().map_err(|_| vec!["schema: error converting value for \"id\"".to_owned()])?;
    let status = match action {
        "sent" => "S",
        "delivered" => "D",
        _ => "F",
    };
    // Written in the background by the real one: the answer does not depend on it.
    let sql = format!(
        "UPDATE msgs_msg SET status = '{status}', modified_on = now() \
         WHERE id = {id} AND channel_id = {} AND direction = 'O'",
        channel.id
    );
    if let Err(problem) = courier.database.query(&sql) {
        log::with("comp", "status committer").with("error", problem).error("error writing status");
    }
    log::with("channel_uuid", &channel.uuid)
        .with("url", &request.target)
        .with("status", status)
        .with("msg_id", id)
        .info("status updated");
    let data = json!({
        "type": "status", "channel_uuid": channel.uuid, "status": status, "msg_id": id,
    });
    Ok(data_response(200, "Status Update Accepted", &[data]))
}

fn missing(form: &str, field: &str, name: &str) -> Vec<String> {
    vec![
        format!(
            "Key: '{form}.{field}' Error:Field validation for '{field}' failed on the 'required' tag"
        ),
        format!("field '{name}' required"),
    ]
}

/// A number of a Kenyan channel: `0712…`, `254712…` and `+254712…` are the same. What can
/// be no number stays as it is, unless it is no digits at all.
fn tel_urn(from: &str) -> Result<Urn, String> {
    let from = from.trim();
    let digits: String = from.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err("phone number supplied is not a number".into());
    }
    let international = from.starts_with('+') || (digits.len() >= 11 && !digits.starts_with('0'));
    let path = if international {
        format!("+{digits}")
    } else if digits.len() == 10 && digits.starts_with('0') {
        format!("+254{}", &digits[1..])
    } else {
        digits
    };
    Ok(Urn { scheme: "tel".into(), path, display: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_in_one_form() {
        for from in ["0712345678", "254712345678", "+254 712-345678"] {
            assert_eq!(tel_urn(from).unwrap().identity(), "tel:+254712345678", "{from}");
        }
        assert_eq!(tel_urn("22500").unwrap().identity(), "tel:22500");
        for from in ["anonymous", "", "+"] {
            assert!(tel_urn(from).is_err(), "{from}");
        }
    }
}
