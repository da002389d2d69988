//! `ooy boot …`: what systemd does for the deployment.

use super::{Failure, Outcome, block, block_interruptible};
use crate::boot::{self, Deployment, Status};
use crate::cli::{Boot, BootChange, BootCommand, BootStatus};
use crate::deployment::places::Places;
use crate::operation::Reporter;
use crate::ui::table::{self, Side};
use crate::ui::{Ui, human, progress};

/// Width of the longest word of what is told.
const WIDTH: usize = 8;

pub fn run(ui: &Ui, places: &Places, arguments: &Boot) -> Outcome {
    match &arguments.command {
        BootCommand::Enable(arguments) => enable(ui, places, arguments),
        BootCommand::Disable(arguments) => disable(ui, places, arguments),
        BootCommand::Status(arguments) => status(ui, places, arguments),
    }
}

fn enable(ui: &Ui, places: &Places, arguments: &BootChange) -> Outcome {
    let deployment = Deployment::load(places, true)?;
    let systemd = boot::systemd(&deployment, arguments.root.clone(), "enable")?;
    let reporter = reporter(ui);
    let again = places.command("boot enable");
    let changed = block_interruptible(&again, async {
        let work = boot::enable(&deployment, &systemd, &reporter, arguments.dry_run);
        Ok(work.await?)
    })?;
    let done = match (deployment.only_calls, systemd.is_live()) {
        (true, _) => "finished calls are taken and delivered, after a boot as well",
        (false, true) => "what runs comes back in its order after a boot, and is watched over",
        (false, false) => {
            "after its next boot that machine brings up what ran, and watches over it"
        }
    };
    let backups = match &deployment.backup_at {
        Some(time) => format!("; each night at {time} a backup is made and proved"),
        None => String::new(),
    };
    conclude(ui, arguments, changed, &format!("{done}{backups}"));
    Ok(0)
}

fn disable(ui: &Ui, places: &Places, arguments: &BootChange) -> Outcome {
    let deployment = Deployment::load(places, false)?;
    let systemd = boot::systemd(&deployment, arguments.root.clone(), "disable")?;
    let reporter = reporter(ui);
    let again = places.command("boot disable");
    let changed = block_interruptible(&again, async {
        let work = boot::disable(&deployment, &systemd, &reporter, arguments.dry_run);
        Ok(work.await?)
    })?;
    let done = "nothing of ooy is started at boot; services that run go on, and Docker's own \
                start is left as it is";
    conclude(ui, arguments, changed, done);
    Ok(0)
}

fn reporter(ui: &Ui) -> Reporter {
    let reporter = Reporter::new("boot");
    progress::attach(ui, &reporter, WIDTH);
    reporter
}

fn conclude(ui: &Ui, arguments: &BootChange, changed: usize, done: &str) {
    if ui.json {
        return;
    }
    if arguments.dry_run {
        let count = human::count(changed, "change");
        return ui.say(&format!("nothing was done (--dry-run): {count} to make"));
    }
    let nothing = if changed == 0 {
        " · nothing to do"
    } else {
        ""
    };
    ui.say(&format!("✓ {done}{nothing}"));
}

fn status(ui: &Ui, places: &Places, arguments: &BootStatus) -> Outcome {
    let deployment = Deployment::load(places, false)?;
    let systemd = boot::systemd(&deployment, arguments.root.clone(), "status")?;
    let status = block(async {
        boot::status(&deployment, &systemd)
            .await
            .map_err(Failure::from)
    })?;
    if ui.json {
        ui.json(&status)?;
    } else {
        let enable = boot::command(&deployment, &systemd, "boot enable");
        show(ui, &status, &enable)?;
    }
    Ok(u8::from(!status.ok))
}

fn show(ui: &Ui, status: &Status, enable: &str) -> Result<(), Failure> {
    let mut rows = vec![
        ["UNIT", "FILE", "AT BOOT", "NOW", "DOES"]
            .map(str::to_owned)
            .to_vec(),
    ];
    let word = |yes, word: &str, other: &str| if yes { word } else { other }.to_owned();
    for unit in &status.units {
        let file = match (unit.installed, unit.current, unit.by_hand) {
            (false, _, _) => "missing",
            (_, true, _) => "as it should be",
            (_, _, true) => "made by hand",
            _ => "not this version's",
        };
        rows.push(vec![
            unit.unit.clone(),
            file.to_owned(),
            word(unit.enabled, "started", "not started"),
            unit.active.clone().unwrap_or_else(|| "–".to_owned()),
            unit.does.to_owned(),
        ]);
    }
    for line in table::lines(&[Side::Left; 5], &rows) {
        ui.out(&line)?;
    }
    if let Some(next) = status.units.iter().find_map(|unit| unit.next.as_deref()) {
        ui.out(&format!("next backup: {next}"))?;
    }
    for path in &status.left {
        ui.out(&format!("! {} is no longer needed", path.display()))?;
    }
    if !status.docker.is_empty() {
        ui.out(&format!("Docker's own unit is {}", status.docker))?;
    }
    if !status.ok {
        ui.out(&format!("next: {enable}"))?;
    }
    Ok(())
}
