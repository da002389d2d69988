//! What a repair has said, and what tests ask of it.

use crate::harness::{Home, Ran};

impl Home {
    /// `ooy --yes fix ...`.
    pub fn fix(&self, arguments: &[&str]) -> Ran {
        self.ooy(&[&["--yes", "fix"], arguments].concat())
    }

    /// Repairs, with success; what it said for people.
    #[track_caller]
    pub fn fixes(&self, arguments: &[&str]) -> String {
        self.fix(arguments).expect(0).stderr
    }

    /// The repair finds nothing to do, and does nothing: harmless.
    #[track_caller]
    pub fn has_nothing_to_fix(&self, arguments: &[&str]) {
        let said = self.fixes(arguments);
        assert!(said.contains("nothing to fix"), "{said}");
        assert!(!said.contains("will do"), "{said}");
    }
}
