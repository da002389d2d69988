//! The channel types that courier knows, and which methods and actions each answers.

use crate::random;

pub struct Handler {
    pub kind: &'static str,
    pub name: &'static str,
    /// Method and action; some have an empty action.
    pub routes: &'static [(&'static str, &'static str)],
}

const fn handler(
    kind: &'static str,
    name: &'static str,
    routes: &'static [(&'static str, &'static str)],
) -> Handler {
    Handler { kind, name, routes }
}

/// The one type whose path has no UUID.
const WITHOUT_UUID: &str = "FBA";

/// What a request under /c/ was meant for.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// The type, the channel, the action.
    Channel(&'static str, &'a str, &'static str),
    /// The path exists, but not with this method.
    WrongMethod,
    Nothing,
}

pub fn find<'a>(method: &str, path: &'a str) -> Found<'a> {
    let mut found = Found::Nothing;
    for handler in HANDLERS {
        for (wanted, action) in handler.routes {
            let Some(uuid) = take(handler, action, path) else { continue };
            if *wanted == method {
                return Found::Channel(handler.kind, uuid, action);
            }
            found = Found::WrongMethod;
        }
    }
    found
}

/// The channel's UUID in the path, or nothing where the type has none in it.
fn take<'a>(handler: &Handler, action: &str, path: &'a str) -> Option<&'a str> {
    let rest = path.strip_prefix("/c/")?.strip_prefix(&handler.kind.to_lowercase())?;
    let rest =
        if action.is_empty() { rest } else { rest.strip_suffix(action)?.strip_suffix('/')? };
    if handler.kind == WITHOUT_UUID {
        return rest.is_empty().then_some("");
    }
    rest.strip_prefix('/').filter(|uuid| random::is_uuid(uuid))
}

/// The list on courier's front page.
pub fn listing() -> Vec<String> {
    let mut lines: Vec<String> = HANDLERS
        .iter()
        .flat_map(|handler| {
            handler.routes.iter().map(|(_, action)| {
                let hex = "[0-9a-f]";
                let uuid =
                    format!("/{{uuid:{hex}{{8}}-{hex}{{4}}-{hex}{{4}}-{hex}{{4}}-{hex}{{12}}}}");
                let uuid = if handler.kind == WITHOUT_UUID { "" } else { &uuid };
                let slash = if action.is_empty() { "" } else { "/" };
                let path = format!("/c/{}{uuid}{slash}{action}", handler.kind.to_lowercase());
                format!("{path:<20} - {} {action}", handler.name)
            })
        })
        .collect();
    lines.sort();
    lines
}

#[rustfmt::skip]
pub const HANDLERS: &[Handler] = &[
    handler("D3", "360Dialog", &[("POST", "receive")]),
    handler("AT", "Africas Talking", &[("POST", "receive"), ("POST", "callback"), ("POST", "delivery"), ("POST", "status")]),
    handler("AC", "Arabia Cell", &[("POST", "receive")]),
    handler("BM", "Blackmyna", &[("GET", "receive"), ("GET", "status")]),
    handler("BL", "Bongo Live", &[("POST", "receive")]),
    handler("BS", "Burst SMS", &[("GET", "receive"), ("GET", "status")]),
    handler("CK", "Chikka", &[("POST", "receive")]),
    handler("CM", "Click Mobile", &[("GET", "receive"), ("POST", "receive")]),
    handler("CT", "Clickatell", &[("POST", "receive"), ("POST", "status")]),
    handler("CS", "ClickSend", &[("POST", "receive")]),
    handler("DA", "DartMedia", &[("GET", "receive"), ("GET", "delivered")]),
    handler("DS", "Discord", &[("POST", "receive"), ("POST", "sent"), ("POST", "delivered"), ("POST", "failed")]),
    handler("DK", "dmark", &[("POST", "receive"), ("POST", "status")]),
    handler("EX", "External", &[("POST", "receive"), ("GET", "receive"), ("GET", "sent"), ("POST", "sent"), ("GET", "delivered"), ("POST", "delivered"), ("GET", "failed"), ("POST", "failed"), ("POST", "stopped"), ("GET", "stopped")]),
    handler("FB", "Facebook", &[("POST", "receive"), ("GET", "receive")]),
    handler("FBA", "Facebook", &[("GET", "receive"), ("POST", "receive")]),
    handler("FCM", "Firebase", &[("POST", "receive"), ("POST", "register")]),
    handler("FC", "FreshChat", &[("POST", "receive")]),
    handler("GL", "Globe Labs", &[("POST", "receive")]),
    handler("HX", "High Connection", &[("POST", "receive"), ("GET", "status")]),
    handler("HM", "Hormuud", &[("POST", "receive")]),
    handler("H9", "Hub9", &[("GET", "receive"), ("GET", "delivered")]),
    handler("I2", "I2SMS", &[("POST", "receive")]),
    handler("IB", "Infobip", &[("POST", "receive"), ("POST", "delivered")]),
    handler("JS", "Jasmin", &[("POST", "receive"), ("POST", "status")]),
    handler("JC", "Jiochat", &[("GET", ""), ("POST", "rcv/msg/message"), ("POST", "rcv/event/menu"), ("POST", "rcv/event/follow")]),
    handler("JN", "Junebug", &[("POST", "event"), ("POST", "inbound")]),
    handler("KWA", "Kaleyra WhatsApp", &[("GET", "receive"), ("GET", "status")]),
    handler("KN", "Kannel", &[("POST", "receive"), ("GET", "status")]),
    handler("LN", "Line", &[("POST", "receive")]),
    handler("M3", "M3Tech", &[("POST", "receive")]),
    handler("MK", "Macrokiosk", &[("POST", "status"), ("GET", "status"), ("GET", "receive"), ("POST", "receive")]),
    handler("MB", "Mblox", &[("POST", "receive")]),
    handler("MG", "Messangi", &[("POST", "receive")]),
    handler("MT", "Mtarget", &[("POST", "receive"), ("POST", "status")]),
    handler("NX", "Nexmo", &[("GET", "receive"), ("POST", "receive"), ("POST", "status"), ("GET", "status")]),
    handler("NV", "Novo", &[("POST", "receive")]),
    handler("PM", "Play Mobile", &[("POST", "receive")]),
    handler("PL", "Plivo", &[("POST", "status"), ("POST", "receive")]),
    handler("RR", "Red Rabbit", &[]),
    handler("RC", "RocketChat", &[("POST", "receive")]),
    handler("SQ", "Shaqodoon", &[("POST", "receive")]),
    handler("SW", "SignalWire", &[("POST", "receive"), ("POST", "status")]),
    handler("SC", "SMS Central", &[("POST", "receive")]),
    handler("ST", "Start Mobile", &[("POST", "receive")]),
    handler("TG", "Telegram", &[("POST", "receive")]),
    handler("TS", "Telesom", &[("GET", "receive"), ("POST", "receive")]),
    handler("TXW", "TextIt", &[("POST", "receive")]),
    handler("TQ", "ThinQ", &[("POST", "receive"), ("POST", "status")]),
    handler("T", "Twilio", &[("POST", "receive"), ("POST", "status")]),
    handler("TMS", "Twilio Messaging Service", &[("POST", "receive"), ("POST", "status")]),
    handler("TWA", "Twilio Whatsapp", &[("POST", "receive"), ("POST", "status")]),
    handler("TW", "TWIML API", &[("POST", "receive"), ("POST", "status")]),
    handler("TT", "Twitter", &[("POST", "receive"), ("GET", "receive")]),
    handler("TWT", "Twitter Activity", &[("POST", "receive"), ("GET", "receive")]),
    handler("VP", "Viber", &[("POST", "receive")]),
    handler("VK", "VK", &[("POST", "receive")]),
    handler("WV", "Wavy", &[("POST", "receive"), ("POST", "sent"), ("POST", "delivered")]),
    handler("WC", "WeChat", &[("GET", ""), ("POST", "")]),
    handler("WA", "WhatsApp", &[("POST", "receive")]),
    handler("YO", "YO!", &[("GET", "receive")]),
    handler("ZV", "Zenvia", &[("POST", "receive"), ("POST", "status")]),
    handler("ZVS", "Zenvia SMS", &[("POST", "receive"), ("POST", "status")]),
    handler("ZVW", "Zenvia WhatsApp", &[("POST", "receive"), ("POST", "status")]),
];

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "6e1a0a3b-0000-4000-8000-000000000000";

    #[test]
    fn paths_find_their_type() {
        let path = format!("/c/ex/{UUID}/receive");
        assert_eq!(find("POST", &path), Found::Channel("EX", UUID, "receive"));
        assert_eq!(find("DELETE", &path), Found::WrongMethod);
        assert_eq!(find("GET", &format!("/c/at/{UUID}/receive")), Found::WrongMethod);
        let path = format!("/c/jc/{UUID}/rcv/msg/message");
        assert_eq!(find("POST", &path), Found::Channel("JC", UUID, "rcv/msg/message"));
        assert_eq!(find("POST", &format!("/c/wc/{UUID}")), Found::Channel("WC", UUID, ""));
        assert_eq!(find("POST", "/c/fba/receive"), Found::Channel("FBA", "", "receive"));
        for path in ["/c", "/c/", "/c/ex", "/c/ex/1/receive", "/c/zz/receive", "/x/c/ex"] {
            assert_eq!(find("POST", path), Found::Nothing, "{path}");
        }
    }

    #[test]
    fn every_type_is_known_once() {
        let mut kinds: Vec<&str> = HANDLERS.iter().map(|h| h.kind).collect();
        let before = kinds.len();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!(kinds.len(), before);
        assert!(listing().iter().any(|line| line.ends_with(" - External receive")));
    }
}
