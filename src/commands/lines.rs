//! Lines of a command that runs for months: for the journal, or for whoever looks.

use crate::fault::Fault;
use crate::host::text;
use crate::ui::Ui;

/// Where they go. The journal has the time itself; elsewhere they begin with it.
#[derive(Clone)]
pub struct Log(pub Ui);

impl Log {
    fn stamped(line: &str) -> String {
        let line = text::sanitize(line);
        if std::env::var_os("JOURNAL_STREAM").is_some() {
            return line;
        }
        let now = jiff::Zoned::now();
        format!("{} {line}", now.strftime("%H:%M:%S"))
    }

    /// Something happened; not said when quiet.
    pub fn say(&self, line: &str) {
        self.0.say(&Self::stamped(line));
    }

    /// Said only with `-v`.
    pub fn detail(&self, line: &str) {
        if self.0.verbose {
            self.say(line);
        }
    }

    /// Something is wrong: said also when quiet.
    pub fn tell(&self, line: &str) {
        self.0.tell(&Self::stamped(line));
    }

    /// The same, of something that goes on all the same.
    pub fn warn(&self, line: &str) {
        self.tell(&format!("warning: {line}"));
    }

    /// A fault in its four parts below a line that says what comes of it.
    pub fn fault(&self, line: &str, fault: &Fault) {
        self.tell(line);
        self.0.fault(fault);
    }
}
