//! Takes secrets out of text that an operator will see.

use std::rc::Rc;

/// What stands in the place of a secret.
pub const MASK: &str = "********";

/// Knows the secrets of one deployment and replaces them wherever they occur.
#[derive(Clone, Default)]
pub struct Mask {
    /// Longest first, so that a secret containing another is replaced whole.
    secrets: Vec<String>,
    /// In the place of all that: what somebody else takes out.
    other: Option<Other>,
}

type Other = Rc<dyn Fn(&str) -> String>;

impl Mask {
    /// A mask that hides by other means: for texts that leave the host.
    pub fn by(hide: impl Fn(&str) -> String + 'static) -> Self {
        Self {
            secrets: Vec::new(),
            other: Some(Rc::new(hide)),
        }
    }

    /// A mask for these values. Short ones (under 4 characters) are left out: replacing every
    /// "on" or "1" would make the text unreadable and hide nothing.
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let mut secrets: Vec<String> = secrets
            .into_iter()
            .filter(|secret| secret.len() >= 4)
            .collect();
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then(a.cmp(b)));
        secrets.dedup();
        Self {
            secrets,
            other: None,
        }
    }

    /// The text without the secrets.
    pub fn apply(&self, text: &str) -> String {
        if let Some(hide) = &self.other {
            return hide(text);
        }
        let mut masked = text.to_owned();
        for secret in &self.secrets {
            if masked.contains(secret.as_str()) {
                masked = masked.replace(secret.as_str(), MASK);
            }
        }
        masked
    }
}

impl std::fmt::Debug for Mask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mask({} secrets)", self.secrets.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_inside_another_leaves_no_remainder() {
        let mask = Mask::new(["pass".to_owned(), "passphrase".to_owned()]);
        assert_eq!(mask.apply("passphrase pass"), "******** ********");
    }

    #[test]
    fn short_values_are_left_alone() {
        let mask = Mask::new(["on".to_owned(), String::new()]);
        assert_eq!(mask.apply("on and on"), "on and on");
    }
}
