//! Contacts and their URNs in RapidPro's database, as mailroom and courier write them.

use crate::pg::{Error, Row, literal};
use crate::random;
use crate::version;

/// Runs a statement inside the transaction of the caller.
pub type Run<'a> = &'a mut dyn FnMut(&str) -> Result<Vec<Row>, Error>;

/// Courier gives the first URN of a contact this priority, mailroom the one after it.
const TOP_PRIORITY: usize = 1000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Urn {
    pub scheme: String,
    pub path: String,
    pub display: Option<String>,
}

impl Urn {
    /// `scheme:path#display`, with a query that is left out.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, display) = match text.split_once('#') {
            Some((rest, display)) => (rest, Some(display.to_owned())),
            None => (text, None),
        };
        let rest = rest.split('?').next()?;
        let (scheme, path) = rest.split_once(':')?;
        let is_scheme = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_lowercase());
        (is_scheme && !path.is_empty()).then(|| Self {
            scheme: scheme.to_owned(),
            path: path.trim().to_owned(),
            display: display.filter(|d| !d.is_empty()),
        })
    }

    pub fn identity(&self) -> String {
        format!("{}:{}", self.scheme, self.path)
    }
}

/// The first value of the first row.
pub fn scalar(rows: &[Row]) -> Option<String> {
    rows.first()?.first()?.clone()
}

fn number(rows: &[Row]) -> Result<i64, Error> {
    scalar(rows)
        .and_then(|value| value.parse().ok())
        .ok_or_else(|| Error::Client("sql: no rows in result set".into()))
}

pub fn or_null(value: Option<&str>) -> String {
    value.filter(|v| !v.is_empty()).map_or_else(|| "NULL".into(), literal)
}

pub struct NewContact<'a> {
    pub org_id: i64,
    /// None: whichever user came first, who is RapidPro's own.
    pub user_id: Option<i64>,
    pub name: Option<&'a str>,
    pub language: Option<&'a str>,
    pub channel_id: Option<i64>,
}

/// The ids of a contact and of its URN with this identity.
pub fn find_by_urn(run: Run, org_id: i64, urn: &Urn) -> Result<Option<(i64, i64)>, Error> {
    let rows = run(&format!(
        "SELECT c.id, u.id FROM contacts_contact c JOIN contacts_contacturn u ON u.contact_id = c.id \
         WHERE u.identity = {} AND u.org_id = {org_id} AND c.is_active",
        literal(&urn.identity())
    ))?;
    let ids = rows.first().and_then(|row| {
        let id = |at: usize| row.get(at)?.as_deref()?.parse().ok();
        Some((id(0)?, id(1)?))
    });
    Ok(ids)
}

/// A new contact with these URNs, the first one preferred. Gives its id.
pub fn insert(run: Run, contact: &NewContact, urns: &[Urn]) -> Result<i64, Error> {
    let user = contact
        .user_id
        .filter(|id| *id > 0)
        .map_or_else(|| "(SELECT min(id) FROM auth_user)".into(), |id| id.to_string());
    // A column without a default of the database's own: 6.4 does not know it.
    let (tickets, none) = if version::since(7, 0) { ("ticket_count, ", "0, ") } else { ("", "") };
    let id = number(&run(&format!(
        "INSERT INTO contacts_contact \
         (org_id, is_active, status, uuid, name, language, {tickets}created_on, modified_on, created_by_id, modified_by_id) \
         VALUES ({}, TRUE, 'A', '{}', {}, {}, {none}now(), now(), {user}, {user}) RETURNING id",
        contact.org_id,
        random::uuid(),
        or_null(contact.name),
        or_null(contact.language),
    ))?)?;
    for (index, urn) in urns.iter().enumerate() {
        attach(run, contact.org_id, id, urn, contact.channel_id, TOP_PRIORITY - index)?;
    }
    Ok(id)
}

/// Give a URN to a contact, whoever had it before. Gives the URN's id.
pub fn attach(
    run: Run,
    org_id: i64,
    contact_id: i64,
    urn: &Urn,
    channel_id: Option<i64>,
    priority: usize,
) -> Result<i64, Error> {
    let identity = literal(&urn.identity());
    let channel = channel_id.map_or_else(|| "NULL".into(), |id| id.to_string());
    let updated = run(&format!(
        "UPDATE contacts_contacturn SET contact_id = {contact_id}, priority = {priority} \
         WHERE org_id = {org_id} AND identity = {identity} RETURNING id"
    ))?;
    if !updated.is_empty() {
        return number(&updated);
    }
    number(&run(&format!(
        "INSERT INTO contacts_contacturn \
         (org_id, identity, scheme, path, display, priority, channel_id, contact_id) \
         VALUES ({org_id}, {identity}, {}, {}, {}, {priority}, {channel}, {contact_id}) RETURNING id",
        literal(&urn.scheme),
        literal(&urn.path),
        or_null(urn.display.as_deref()),
    ))?)
}

/// The contact of a URN, made where there is none, as for a start or an incoming message.
pub fn get_or_create(run: Run, contact: &NewContact, urn: &Urn) -> Result<(i64, i64, bool), Error> {
    if let Some((id, urn_id)) = find_by_urn(run, contact.org_id, urn)? {
        return Ok((id, urn_id, false));
    }
    let id = insert(run, contact, &[])?;
    let urn_id = attach(run, contact.org_id, id, urn, contact.channel_id, TOP_PRIORITY)?;
    Ok((id, urn_id, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urns_come_apart() {
        let urn = Urn::parse("tel:+254712345678?id=4&priority=1000#Bob").unwrap();
        assert_eq!(urn.identity(), "tel:+254712345678");
        assert_eq!(urn.display.as_deref(), Some("Bob"));
        for text in ["", "tel", "tel:", ":1", "Tel:1"] {
            assert_eq!(Urn::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_known_urn_keeps_its_contact_and_an_unknown_one_gets_a_new_one() {
        let contact = NewContact {
            org_id: 1,
            user_id: None,
            name: None,
            language: None,
            channel_id: Some(3),
        };
        let urn = Urn::parse("tel:+254712345678").unwrap();
        let row = |values: &[&str]| vec![values.iter().map(|v| Some((*v).to_owned())).collect()];

        let found = get_or_create(&mut |_| Ok(row(&["7", "8"])), &contact, &urn);
        assert_eq!(found, Ok((7, 8, false)));

        let mut statements = Vec::new();
        let made = get_or_create(
            &mut |sql| {
                statements.push(sql.to_owned());
                Ok(match statements.len() {
                    1 | 3 => Vec::new(),
                    2 => row(&["20"]),
                    _ => row(&["30"]),
                })
            },
            &contact,
            &urn,
        );
        assert_eq!(made, Ok((20, 30, true)));
        assert!(statements[1].starts_with("INSERT INTO contacts_contact "));
        assert!(
            statements[3]
                .contains("'tel:+254712345678', 'tel', '+254712345678', NULL, 1000, 3, 20")
        );
    }
}
