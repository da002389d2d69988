//! `ooy restart`: stops, then starts; what needs the restarted services keeps running.

use super::start::{command, conclude, headline, options};
use super::{Failure, Outcome, block_interruptible, context};
use crate::cli::Start;
use crate::deployment::places::Places;
use crate::lifecycle::restart::restart;
use crate::ui::Ui;

pub fn run(ui: &Ui, places: &Places, arguments: &Start) -> Outcome {
    let context = context(ui, places, "restart")?;
    let again = context.command("restart");
    let chosen = context.stack.select(&arguments.services, &again)?;
    super::upgrade::nothing_in_the_way(&context, &chosen)?;
    let start_options = options(arguments);
    let again = command(places, "restart", &arguments.services);
    headline(ui, &context, "restart", arguments);
    let outcome = block_interruptible(&again, async {
        let restarted = restart(&context, &start_options, &again).await;
        restarted.map_err(Failure::from)
    })?;
    if arguments.dry_run {
        ui.say("nothing was done (--dry-run)");
        return Ok(0);
    }
    Ok(conclude(ui, &outcome))
}
