//! What follows from an answer. Pure.

use std::time::Duration;

use crate::rapidpro::Trouble;

/// Why nothing is delivered at all until something is put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stop {
    /// Address, token or flow are missing or wrong in the settings.
    Settings,
    /// RapidPro does not accept the token.
    Token,
    /// RapidPro does not know the flow.
    Flow,
    /// The workspace is flagged or suspended.
    Workspace,
    /// Whatever answers there is not RapidPro's API.
    Address,
    /// Call after call is refused: what is wrong is not the calls.
    Refusals,
}

/// Its name for machines, as it stands in state.json and `ooy calls list --json`.
pub fn code(stop: Stop) -> &'static str {
    match stop {
        Stop::Settings => "settings-incomplete",
        Stop::Token => "token-refused",
        Stop::Flow => "flow-unknown",
        Stop::Workspace => "workspace-blocked",
        Stop::Address => "not-rapidpro",
        Stop::Refusals => "all-refused",
    }
}

/// What becomes of a call after an attempt that failed, and of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// This contact's calls wait and are tried again; others go on.
    Later,
    /// RapidPro cannot be reached: all wait.
    AllLater,
    /// RapidPro asks for a pause; where it does not say how long, as after a failure.
    Pause(Option<Duration>),
    /// Nothing goes on until somebody puts something right.
    Stop(Stop),
    /// This call will never succeed.
    Dead,
}

/// Longest pause that RapidPro may ask for: its limits count by the hour.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// What follows from an attempt that failed so.
pub fn verdict(trouble: &Trouble) -> Verdict {
    match trouble {
        Trouble::NotSent(_) => Verdict::AllLater,
        Trouble::Lost(_) | Trouble::ServerError(..) => Verdict::Later,
        Trouble::Throttled(wait) => Verdict::Pause(wait.map(|wait| wait.min(LONGEST_PAUSE))),
        Trouble::Unauthorized(_) => Verdict::Stop(Stop::Token),
        Trouble::NoSuchFlow(_) => Verdict::Stop(Stop::Flow),
        Trouble::Blocked(_) => Verdict::Stop(Stop::Workspace),
        Trouble::NotRapidPro(_) => Verdict::Stop(Stop::Address),
        Trouble::Refused(_) | Trouble::UrnTaken(_) | Trouble::NoSuchContact => Verdict::Dead,
    }
}

/// So many different contacts in a row whose calls failed mean that the server is at fault.
pub const CONTACTS_FOR_DOWN: usize = 3;

/// So many refusals in a row, of different contacts, mean that it is not the calls.
pub const REFUSALS_FOR_STOP: usize = 5;

/// The shortest pause before another attempt.
const SHORTEST: Duration = Duration::from_secs(1);

/// The pause after so many failures in a row: doubled each time up to `longest`, and shortened by
/// up to a half, so that many PBXes do not come back at the same moment. `dice`: 0 up to 1.
pub fn pause(failures: u32, longest: Duration, dice: f64) -> Duration {
    let doubled = SHORTEST
        .checked_mul(2u32.saturating_pow(failures.saturating_sub(1)))
        .unwrap_or(longest);
    let whole = doubled.min(longest.max(SHORTEST));
    whole.mul_f64(1.0 - dice.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_answer_means_for_this_call_and_the_others() {
        let words = String::new;
        for (trouble, expected) in [
            (Trouble::NotSent(words()), Verdict::AllLater),
            (Trouble::Lost(words()), Verdict::Later),
            (Trouble::ServerError(500, words()), Verdict::Later),
            (Trouble::Throttled(None), Verdict::Pause(None)),
            (
                Trouble::Throttled(Some(Duration::from_secs(7))),
                Verdict::Pause(Some(Duration::from_secs(7))),
            ),
            (
                Trouble::Throttled(Some(Duration::from_secs(999_999))),
                Verdict::Pause(Some(Duration::from_secs(3600))),
            ),
            (Trouble::Unauthorized(words()), Verdict::Stop(Stop::Token)),
            (Trouble::NoSuchFlow(words()), Verdict::Stop(Stop::Flow)),
            (Trouble::Blocked(words()), Verdict::Stop(Stop::Workspace)),
            (Trouble::NotRapidPro(words()), Verdict::Stop(Stop::Address)),
            (Trouble::Refused(words()), Verdict::Dead),
        ] {
            assert_eq!(verdict(&trouble), expected, "{trouble:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_spread() {
        let longest = Duration::from_secs(300);
        let seconds = |failures, dice| pause(failures, longest, dice).as_secs_f64();
        assert_eq!(seconds(1, 0.0), 1.0);
        assert_eq!(seconds(2, 0.0), 2.0);
        assert_eq!(seconds(2, 1.0), 1.0);
        assert_eq!(seconds(9, 0.0), 256.0);
        assert_eq!(seconds(10, 0.0), 300.0);
        assert_eq!(seconds(4_000_000_000, 0.0), 300.0);
        assert_eq!(pause(5, Duration::ZERO, 0.0), SHORTEST);
    }
}
