//! What an operator is told when nothing is delivered.

use super::decide::Stop;
use crate::deployment::places::Places;
use crate::fault::Fault;

/// The fault of a stop; `words` are RapidPro's.
pub fn of(stop: Stop, words: &str, waiting: usize, places: &Places) -> Fault {
    let file = places.env_file.display();
    let (title, what) = match stop {
        Stop::Settings => (
            "calls: settings are not complete",
            "RapidPro's address, token or flow is not known",
        ),
        Stop::Token => (
            "calls: RapidPro refuses the token",
            "RapidPro does not accept the token in RAPIDPRO_TOKEN for starting flows",
        ),
        Stop::Flow => (
            "calls: RapidPro does not know the flow",
            "the flow in RAPIDPRO_FLOW does not exist in the workspace of the token, or is archived",
        ),
        Stop::Workspace => (
            "calls: the workspace is blocked",
            "RapidPro has blocked the workspace and starts no flow for it",
        ),
        Stop::Address => (
            "calls: this is not RapidPro",
            "what answers at RAPIDPRO_URL is not RapidPro's API",
        ),
        Stop::Refusals => (
            "calls: RapidPro refuses every call",
            "calls of several contacts were refused one after the other, so it is not the calls",
        ),
    };
    let waiting = match waiting {
        1 => "1 call waits and is".to_owned(),
        n => format!("{n} calls wait and are"),
    };
    let fault = Fault::problem(title, what).evidence(words).why(format!(
        "{waiting} delivered once this is put right; none is lost"
    ));
    let deliver = places.command("calls deliver");
    match stop {
        Stop::Settings | Stop::Token | Stop::Flow => {
            fault.next(format!("nano {file}")).next(deliver)
        }
        Stop::Workspace => fault
            .next("in RapidPro, as staff: Workspaces, this workspace, Verify")
            .next(deliver),
        Stop::Address => fault
            .next(format!("grep RAPIDPRO_URL {file}"))
            .next(deliver),
        Stop::Refusals => fault
            .next(places.command("calls list --dead"))
            .next(places.command("calls retry --dead")),
    }
}
