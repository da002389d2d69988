//! Settings of the kernel.

use std::rc::Rc;

use crate::diagnosis::check::{Checked, Halt, Report, blocking};
use crate::diagnosis::scene::{NO_DEPLOYMENT, Scene};
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::sysctl;

/// What Elasticsearch writes when the kernel allows too few (stack.md section 10; its bootstrap
/// check "max virtual memory areas").
const COMPLAINT: &str = "max virtual memory areas vm.max_map_count";

/// Elasticsearch's exit code after a bootstrap check that failed (ExitCodes.CONFIG).
const REFUSED: i64 = 78;

/// The check `max-map-count`.
pub async fn max_map_count(scene: Rc<Scene>) -> Checked {
    if scene.only_calls {
        return Err(Halt::unused(NO_DEPLOYMENT));
    }
    let count = blocking(sysctl::max_map_count)
        .await?
        .map_err(|error| Halt::unknown(format!("/proc/sys/vm/max_map_count: {error}")))?;
    let wanted = sysctl::MAX_MAP_COUNT_WANTED;
    if count >= wanted {
        return Ok(Report::fine());
    }
    let complaint = complaint(&scene).await;
    // Info: with one node (discovery.type=single-node) Elasticsearch starts all the same.
    let mut finding = match &complaint {
        None => Finding::info(
            Code::MaxMapCountLow,
            format!("vm.max_map_count is {count}: too low for Elasticsearch"),
        )
        .impact("Elasticsearch may fail under load, and contact search with it"),
        Some(_) => Finding::error(
            Code::MaxMapCountLow,
            format!("Elasticsearch does not start: vm.max_map_count is {count}"),
        )
        .impact("contact search and group changes fail until Elasticsearch runs"),
    };
    finding = finding.service("elasticsearch").evidence(
        Evidence::new("vm.max_map_count", count.to_string(), "the kernel")
            .threshold(wanted.to_string())
            .command("sysctl vm.max_map_count"),
    );
    if let Some(line) = complaint {
        finding = finding.evidence(
            Evidence::new("its log", line, "Elasticsearch's last lines")
                .command(scene.command("logs elasticsearch -n 30")),
        );
    }
    Ok(finding
        .fix(scene.command("fix max-map-count"))
        .manual(format!("sudo sysctl -w vm.max_map_count={wanted}"))
        .manual(format!(
            "echo vm.max_map_count={wanted} | sudo tee /etc/sysctl.d/90-elasticsearch.conf"
        ))
        .manual(scene.command("start elasticsearch"))
        .interrupts("nothing")
        .into())
}

/// The line by which Elasticsearch, which does not run, says that this is why.
async fn complaint(scene: &Scene) -> Option<String> {
    let container = scene.container("elasticsearch").await.ok()??;
    // A single node only warns in the same words, and one that was stopped has other reasons.
    if container.is_running() || container.exit_code != REFUSED {
        return None;
    }
    let engine = scene.engine().await.ok()?;
    let lines = engine.last_lines(&container.id, 50, None);
    let lines = tokio::time::timeout(scene.time_left(), lines).await.ok()?;
    let line = lines
        .iter()
        .rev()
        .find(|line| line.text.contains(COMPLAINT))?;
    Some(crate::host::text::shorten(&line.text, 200))
}
