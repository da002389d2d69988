//! Messages that should have been sent, and were not (stack.md section 3.3).

use std::rc::Rc;
use std::time::Duration;

use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding, words};
use crate::host::postgres::session::Row;

/// A message is due from the moment it was made, was queued again, or may be tried again. Without
/// those of channels that are gone; an Android phone fetches its messages itself (type A).
const WAITING: &str = "SELECT c.id, c.name, c.channel_type, count(*), \
     extract(epoch FROM now() - min(due))::bigint, min(due)::timestamptz(0), \
     string_agg(DISTINCT m.status, '') FROM (\
       SELECT channel_id, status, greatest(created_on, queued_on, next_attempt) AS due \
       FROM msgs_msg WHERE direction = 'O' AND status IN ('I', 'P', 'Q', 'E')) m \
     JOIN channels_channel c ON c.id = m.channel_id JOIN orgs_org o ON o.id = c.org_id \
     WHERE c.is_active AND o.is_active AND m.due < now() \
     GROUP BY 1, 2, 3 ORDER BY 5 DESC";

/// So long ago a message went out of a channel that moves.
const MOVES: Duration = Duration::from_secs(120);

pub async fn outbox(scene: Rc<Scene>) -> Checked {
    let session = scene.postgres("rapidpro").await?;
    let unseen = |error| Halt::unanswered(error, "RapidPro's database has no messages");
    let rows = session.rows(WAITING).await.map_err(unseen)?;
    let limit = scene.context.settings.interval("OUTBOX_AGE");
    let mut report = Report::fine();
    let waiting: i64 = rows.iter().map(|row| row.number(3)).sum();
    report.figure(format!("outbox {waiting}"));
    for row in rows.iter().filter(|row| age(row) > limit) {
        // Asked for only where something waits: the table is large.
        let sent = format!(
            "SELECT extract(epoch FROM now() - max(sent_on))::bigint FROM msgs_msg \
             WHERE channel_id = {} AND direction = 'O' AND status IN ('W', 'S', 'D') \
             AND created_on > now() - interval '7 days'",
            row.number(0)
        );
        let sent = session.rows(&sent).await.map_err(unseen)?;
        let last = sent
            .first()
            .and_then(|row| row.get(0)?.parse().ok())
            .map(Duration::from_secs);
        report.found(finding(&scene, row, last, limit));
    }
    Ok(report)
}

fn age(row: &Row) -> Duration {
    Duration::from_secs(row.number(4).try_into().unwrap_or_default())
}

fn finding(scene: &Scene, row: &Row, last: Option<Duration>, limit: Duration) -> Finding {
    let (channel, kind) = (row.text(1), row.text(2));
    let count = words::count(row.number(3), "message");
    let oldest = words::age(age(row));
    let moves = last.is_some_and(|last| last < MOVES);
    let mut finding = if moves {
        Finding::info(
            Code::OutboxStuck,
            format!("Channel {channel} sends, and is {oldest} behind: {count} wait"),
        )
    } else {
        Finding::error(
            Code::OutboxStuck,
            format!("Channel {channel} has not sent what is due for {oldest}: {count} wait"),
        )
    };
    finding = finding
        .service("courier")
        .owner("rapidpro")
        .evidence(
            Evidence::new(
                "oldest message that waits",
                format!("due since {}, {oldest} ago", row.text(5)),
                "msgs_msg, RapidPro's database",
            )
            .threshold(format!("{} (OUTBOX_AGE)", words::age(limit)))
            .command(command(scene)),
        )
        .evidence(Evidence::new(
            "what they wait for",
            stages(row.text(6)),
            "msgs_msg.status, RapidPro's database",
        ))
        .evidence(Evidence::new(
            "the channel last sent",
            last.map_or_else(
                || "not in 7 days".to_owned(),
                |last| format!("{} ago", words::age(last)),
            ),
            "msgs_msg.sent_on, RapidPro's database",
        ))
        .impact("contacts do not get their messages; nothing is lost, they go out afterwards");
    if kind == "A" {
        finding
            .cause(
                "an Android phone sends for this channel: it has to be on, online and have credit",
            )
            .manual("look at the phone, then at its page in RapidPro")
            .interrupts("nothing")
    } else {
        finding
            .fix(scene.command("fix service courier"))
            .manual("RapidPro, the channel's page: its log says what the provider answers")
            .manual(scene.command("logs -n 50 courier"))
            .manual(scene.command("restart courier"))
            .interrupts("sending and receiving of messages, about 5 s")
    }
}

/// The codes of RapidPro (temba/msgs/models.py) in words.
fn stages(codes: &str) -> String {
    let words: Vec<&str> = codes
        .chars()
        .map(|code| match code {
            'I' => "mailroom has not begun with them (I)",
            'P' => "they are not queued (P)",
            'Q' => "they are queued for courier (Q)",
            'E' => "another attempt after an error (E)",
            _ => "another state",
        })
        .collect();
    words.join(", ")
}

fn command(scene: &Scene) -> String {
    let name = match scene.database("rapidpro") {
        Ok(database) => database.url.database().to_owned(),
        Err(_) => "rapidpro".to_owned(),
    };
    format!(
        "sudo -u postgres psql -d {name} -c \"SELECT status, count(*), min(created_on) FROM msgs_msg \
         WHERE direction = 'O' AND status IN ('I','P','Q','E') GROUP BY 1\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_told_in_words() {
        assert_eq!(
            stages("EQ"),
            "another attempt after an error (E), they are queued for courier (Q)"
        );
    }
}
