//! A running operation on the screen: lines that settle in place on a terminal, plain lines
//! elsewhere, one JSON object a line for machines.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Paint, Ui, human};
use crate::operation::{Event, Kind, Reporter};

/// Shows what the reporter tells.
pub fn attach(ui: &Ui, reporter: &Reporter, width: usize) {
    let mut screen = Screen::new(ui.clone(), width);
    reporter.listen(move |event| screen.show(event));
}

struct Screen {
    ui: Ui,
    /// Width of the names' column.
    width: usize,
    /// The lines in motion, on a terminal.
    live: Option<MultiProgress>,
    bars: BTreeMap<String, ProgressBar>,
    /// What release tasks have done.
    released: BTreeMap<String, String>,
    /// When a plain line about a service was printed last.
    told: BTreeMap<String, Instant>,
}

/// How often a plain progress line may come: enough to see that it lives.
const PLAIN_EVERY: Duration = Duration::from_secs(10);

impl Screen {
    fn new(ui: Ui, width: usize) -> Self {
        let live = (ui.live && !ui.quiet)
            .then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(12)));
        Self {
            ui,
            width,
            live,
            bars: BTreeMap::new(),
            released: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    fn show(&mut self, event: &Event) {
        if self.ui.json {
            // A reader that went away must not stop the operation.
            let _ = self.ui.json(event);
            let _ = self.ui.flush();
            return;
        }
        if self.ui.quiet || event.step == "operation" {
            return;
        }
        let name = event
            .service
            .clone()
            .or_else(|| event.call.clone())
            .unwrap_or_else(|| event.step.to_owned());
        let took = event
            .took_ms
            .map(|ms| human::took(Duration::from_millis(ms)))
            .unwrap_or_default();
        let detail = event.detail.as_str();
        let text = match (event.step, event.event) {
            (_, Kind::Progress) if detail.starts_with("warning: ") => {
                let line = self.line(
                    Paint::Warn,
                    "!",
                    &name,
                    detail.trim_start_matches("warning: "),
                    "",
                );
                return self.settle(None, &line);
            }
            (_, Kind::Progress) => return self.progress(event, &name, detail, &took),
            ("stop", Kind::Started) => {
                return self.motion(&name, "→", &format!("stopping   {detail}"));
            }
            // A repair's plan is shown as a whole.
            ("plan", _) => return,
            // Told in its four parts in a moment.
            ("preflight", Kind::Failed) => return self.settle(Some(&name), ""),
            (_, Kind::Undone) => self.line(Paint::Dim, "·", &name, detail, ""),
            ("start", Kind::Started) => return self.motion(&name, "→", "starting"),
            ("release", Kind::Started) => return self.motion(&name, "→", "preparing"),
            (_, Kind::Started) => return self.motion(&name, "→", detail),
            // While it runs: what a service waits for. Without a terminal, only a plan is worth it.
            ("start", Kind::Planned) if detail.starts_with("waits") => {
                return if self.live.is_some() {
                    self.motion(&name, "·", detail)
                };
            }
            (_, Kind::Planned) => self.line(Paint::Dim, "·", &name, detail, ""),
            ("release", Kind::Done) => {
                // Told with the service itself, which comes next.
                self.released.insert(name.clone(), detail.to_owned());
                return self.motion(&name, "→", detail);
            }
            ("start", Kind::Ready) => {
                let line = self.line(Paint::Good, "✓", &name, "ready", &took);
                match self.released.remove(&name) {
                    Some(released) => format!("{line}   {released}"),
                    None => line,
                }
            }
            ("stop", Kind::Done) => {
                let word = if detail.is_empty() {
                    "stopped".to_owned()
                } else {
                    format!("stopped   {detail}")
                };
                self.line(Paint::Good, "✓", &name, &word, &took)
            }
            (_, Kind::Failed) => self.line(
                Paint::Bad,
                "✗",
                &name,
                detail.trim_start_matches(&format!("{name}: ")),
                "",
            ),
            (_, Kind::Skipped) if detail == "unchanged" || detail == "not running" => {
                if !self.ui.verbose {
                    return self.settle(Some(&name), "");
                }
                self.line(Paint::Dim, "·", &name, detail, "")
            }
            (_, Kind::Skipped) => self.line(Paint::Warn, "·", &name, detail, ""),
            _ => self.line(Paint::Good, "✓", &name, detail, &took),
        };
        self.settle(Some(&name), &text);
    }

    fn line(&self, paint: Paint, sign: &str, name: &str, detail: &str, took: &str) -> String {
        let line = format!(
            "{} {name:<width$}  {detail}",
            self.ui.paint(paint, sign),
            width = self.width
        );
        if took.is_empty() {
            line
        } else {
            format!("{line}   {took}")
        }
    }

    /// A line that does not change any more.
    fn settle(&mut self, name: Option<&str>, line: &str) {
        if let Some(bar) = name.and_then(|name| self.bars.remove(name)) {
            bar.finish_and_clear();
        }
        if line.is_empty() {
            return;
        }
        match &self.live {
            Some(live) => {
                let _ = live.println(self.ui.signs(line));
            }
            None => self.ui.say(line),
        }
    }

    /// A line that will change.
    fn motion(&mut self, name: &str, sign: &str, detail: &str) {
        let Some(live) = &self.live else { return };
        let bar = self.bars.entry(name.to_owned()).or_insert_with(|| {
            let bar = live.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{msg}") {
                bar.set_style(style);
            }
            bar
        });
        let line = format!(
            "{} {name:<width$}  {detail}",
            self.ui.paint(Paint::Warn, sign),
            width = self.width
        );
        bar.set_message(self.ui.signs(&line));
    }

    fn progress(&mut self, event: &Event, name: &str, detail: &str, took: &str) {
        if self.live.is_some() {
            return self.motion(name, "→", &format!("{detail}   {took}"));
        }
        let now = Instant::now();
        let first = *self.told.entry(name.to_owned()).or_insert(now);
        // A notice without a time is said at once; what repeats, now and then.
        if event.took_ms.is_none() || now.duration_since(first) >= PLAIN_EVERY {
            self.told.insert(name.to_owned(), now);
            let line = self.line(Paint::Dim, "→", name, detail, took);
            self.ui.say(&line);
        }
    }
}
