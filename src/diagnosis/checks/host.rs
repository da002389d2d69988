//! The machine itself: kernel settings, memory, clock.

use std::rc::Rc;

use crate::diagnosis::check::{Check, Checked, Halt, Looking, Report, Subject, blocking};
use crate::diagnosis::scene::Scene;
use crate::diagnosis::{Code, Evidence, Finding};
use crate::host::sysctl;

/// The checks of this subject.
pub const SUBJECT: Subject = Subject {
    checks: &[Check {
        name: "max-map-count",
        about: "memory maps that Linux allows a process; Elasticsearch wants many",
        codes: &[Code::MaxMapCountLow],
        run: |scene| -> Looking { Box::pin(max_map_count(scene)) },
    }],
    rules: &[],
};

async fn max_map_count(scene: Rc<Scene>) -> Checked {
    let count = blocking(sysctl::max_map_count)
        .await?
        .map_err(|error| Halt::unknown(format!("/proc/sys/vm/max_map_count: {error}")))?;
    let wanted = sysctl::MAX_MAP_COUNT_WANTED;
    if count >= wanted {
        return Ok(Report::fine());
    }
    // Info: with one node (discovery.type=single-node) Elasticsearch starts all the same.
    Ok(Finding::info(
        Code::MaxMapCountLow,
        format!("vm.max_map_count is {count}: too low for Elasticsearch"),
    )
    .service("elasticsearch")
    .evidence(
        Evidence::new("vm.max_map_count", count.to_string(), "the kernel")
            .threshold(wanted.to_string())
            .command("sysctl vm.max_map_count"),
    )
    .impact("Elasticsearch may fail under load, and contact search with it")
    .fix(scene.command("fix max-map-count"))
    .manual(format!("sudo sysctl -w vm.max_map_count={wanted}"))
    .manual(format!(
        "echo vm.max_map_count={wanted} | sudo tee /etc/sysctl.d/90-elasticsearch.conf"
    ))
    .interrupts("nothing")
    .into())
}
