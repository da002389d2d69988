//! Workspaces that are flagged or suspended: two things that look alike (stack.md section 4).

use std::rc::Rc;

use crate::diagnosis::check::{Checked, Halt, Report};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::postgres::session::{Row, Session};

/// Releases differ in their columns (topups end with 8.0), so those are taken from the row as JSON.
const ORGS: &str = "SELECT o.id, coalesce(o.slug, ''), o.name, o.is_flagged, o.is_suspended, \
     to_jsonb(o)->>'uses_topups', o.modified_on::timestamptz(0), \
     coalesce(to_jsonb(o)->>'uuid', '') FROM orgs_org o \
     WHERE o.is_active AND (o.is_flagged OR o.is_suspended) ORDER BY o.id";

/// How many imports are shown.
const IMPORTS: usize = 3;

pub async fn workspaces(scene: Rc<Scene>) -> Checked {
    let session = scene.postgres("rapidpro").await?;
    let unseen = |error| Halt::unanswered(error, "RapidPro's database has no workspaces");
    let rows = session.rows(ORGS).await.map_err(unseen)?;
    let container = scene.container("rapidpro").await.ok().flatten();
    let container = container.map_or("RAPIDPRO", |container| container.name.as_str());
    let mut report = Report::fine();
    for row in rows {
        let org = Org::new(&row);
        if row.truth(4) {
            report.found(suspended(&org, row.get(5), container));
        }
        if row.truth(3) {
            let imports = imports(session, org.id).await;
            report.found(flagged(&scene, &org, imports, container));
        }
    }
    Ok(report)
}

struct Org<'a> {
    id: i64,
    slug: &'a str,
    name: &'a str,
    modified: &'a str,
    uuid: &'a str,
}

impl<'a> Org<'a> {
    fn new(row: &'a Row) -> Self {
        Self {
            id: row.number(0),
            slug: row.text(1),
            name: row.text(2),
            modified: row.text(6),
            uuid: row.text(7),
        }
    }

    /// A command in the container that works on exactly this workspace.
    fn python(&self, container: &str, work: &str) -> String {
        let id = self.id;
        format!(
            "docker exec {container} /venv/bin/python /rapidpro/manage.py shell -c \
             \"from temba.orgs.models import Org; o = Org.objects.get(id={id}); {work}; \
             print(o.slug, o.is_flagged, o.is_suspended)\""
        )
    }
}

/// The newest imports, one line each.
async fn imports(session: &Session, org: i64) -> Vec<String> {
    let query = format!(
        "SELECT original_filename, num_records, coalesce(started_on, created_on)::timestamptz(0) \
         FROM contacts_contactimport WHERE org_id = {org} ORDER BY id DESC LIMIT {IMPORTS}"
    );
    // Without them the finding still stands.
    let rows = session.rows(&query).await.unwrap_or_default();
    rows.iter()
        .map(|row| {
            format!(
                "{} ({} numbers, {})",
                row.text(0),
                row.number(1),
                row.text(2)
            )
        })
        .collect()
}

fn flagged(scene: &Scene, org: &Org, imports: Vec<String>, container: &str) -> Finding {
    let mut finding = Finding::error(
        Code::WorkspaceFlagged,
        format!("Workspace {} is flagged: every change by API is refused", org.name),
    )
    .service("rapidpro")
    .owner("rapidpro")
    .evidence(
        Evidence::new(
            format!("workspace {}, is_flagged", name(org)),
            format!("true; last changed {}", org.modified),
            "orgs_org, RapidPro's database",
        )
        .command(org.python(container, "pass")),
    )
    .evidence(Evidence::new(
        "its newest imports",
        if imports.is_empty() {
            "none".to_owned()
        } else {
            imports.join("; ")
        },
        "contacts_contactimport, RapidPro's database",
    ))
    .impact("finished calls start no flow, nobody can send by hand, Casepro cannot answer, label or archive; campaigns and replies of flows go on")
    .cause(if imports.is_empty() {
        "no import is known, so probably staff flagged it by hand"
    } else {
        "an import flags a workspace when 250 of all its numbers differ by one from a neighbour; a long \
         honest list does too. A verified workspace is never flagged again"
    })
    .manual(org.python(container, "o.unflag()"))
    .manual(format!(
        "{}    (instead: also never again)",
        org.python(container, "o.verify()")
    ))
    .interrupts("nothing");
    let target = if org.slug.is_empty() {
        org.uuid
    } else {
        org.slug
    };
    finding = finding
        .fix(scene.command(&format!("fix workspace-flag {target}")))
        .names([org.uuid.to_owned(), org.name.to_owned()]);
    finding
}

fn suspended(org: &Org, topups: Option<&str>, container: &str) -> Finding {
    let by_credit = topups == Some("true");
    let mut finding = Finding::error(
        Code::WorkspaceSuspended,
        format!("Workspace {} is suspended: no message of it is sent", org.name),
    )
    .service("rapidpro")
    .owner("rapidpro")
    .evidence(
        Evidence::new(
            format!("workspace {}, is_suspended", name(org)),
            format!("true; last changed {}", org.modified),
            "orgs_org, RapidPro's database",
        )
        .command(org.python(container, "pass")),
    )
    .impact("mailroom marks every message as failed, and changes by API are refused; unflagging does not help")
    .interrupts("nothing");
    if let Some(topups) = topups {
        finding = finding.evidence(Evidence::new(
            "it pays by credit (uses_topups)",
            topups,
            "orgs_org, RapidPro's database",
        ));
    }
    if by_credit {
        finding
            .cause("RapidPro suspends a workspace that pays by credit, within the hour, when none is left")
            .manual("add credit to the workspace in RapidPro (as staff: Manage Topups), or let it work without:")
            .manual(org.python(
                container,
                "o.uses_topups = False; o.is_suspended = False; o.save()",
            ))
    } else {
        finding
            .cause("it does not pay by credit, so somebody suspended it by hand: ask before it is undone")
            .manual(org.python(container, "o.is_suspended = False; o.save()"))
    }
}

fn name(org: &Org) -> String {
    if org.slug.is_empty() {
        org.id.to_string()
    } else {
        org.slug.to_owned()
    }
}
