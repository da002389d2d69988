//! `ooy calls dialplan`.

use crate::agi::settings::{CallSettings, Listen};
use crate::cli::CallsDialplan;
use crate::commands::Outcome;
use crate::deployment::dialplan::{self, Way};
use crate::deployment::places::Places;
use crate::ui::Ui;

pub fn run(ui: &Ui, places: &Places, arguments: &CallsDialplan) -> Outcome {
    let way = match (arguments.fastagi, arguments.old) {
        (true, _) => Way::FastAgi,
        (_, true) => Way::Old,
        _ => Way::Agi,
    };
    let settings = CallSettings::load(places);
    let listen = match &settings.listen {
        Listen::Tcp(address) => address.to_string(),
        Listen::Unix(_) | Listen::Off => String::new(),
    };
    ui.raw(&dialplan::text(way, places, &settings.time_zone, &listen))?;
    Ok(0)
}
