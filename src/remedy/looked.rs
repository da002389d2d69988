//! What a repair says where it could not look.

use super::Job;
use crate::diagnosis::{Code, Halt};
use crate::engine::Error;
use crate::fault::Fault;

/// Something that the repair has to know could not be seen: why, and what to do first.
pub fn unseen(job: &Job, title: &str, halt: Halt) -> Fault {
    let (by, why) = match halt {
        Halt::Unused(why) | Halt::Unknown(why) => (None, why),
        Halt::Blocked { by, why } => (Some(by), why),
    };
    let mut fault = Fault::problem(title, "what the repair has to know could not be looked at")
        .evidence(job.context.mask.apply(&why))
        .why("a repair without a look may do harm");
    if let Some(first) = by.and_then(first_aid) {
        fault = fault.next(job.command(first));
    }
    fault.next(job.command("diagnose")).next(job.again.clone())
}

/// What to try first where something else has to work before.
fn first_aid(by: Code) -> Option<&'static str> {
    match by {
        Code::ServiceMissing | Code::ServiceExited | Code::ServicePaused => Some("start"),
        Code::PostgresUnreachable => Some("fix postgres-access"),
        Code::RedisUnreachable => Some("fix redis-access"),
        _ => None,
    }
}

/// The same with an error of Docker's.
pub fn refused(job: &Job, error: &Error) -> Fault {
    let mut fault = error.fault(&job.again);
    for text in fault.evidence.iter_mut().chain([&mut fault.what]) {
        *text = job.context.mask.apply(text);
    }
    fault
}
