//! Man pages, one a command. What clap's definition says is taken from there; what it does not say
//! (more than one sentence, files, environment) is in `texts`.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use clap::{Arg, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::texts::{self, About};
use super::{commands, is_common, is_own, takes_only_data};
use crate::cli::EXIT_CODES;
use crate::deployment::places::Places;
use crate::host::files;

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// `ooy-backup-create`.
    pub name: String,
    /// What `man` formats.
    pub roff: String,
}

impl Page {
    /// `ooy-backup-create.1`.
    pub fn file_name(&self) -> String {
        format!("{}.1", self.name)
    }
}

/// The pages of all commands that are shown, the one about the whole first.
pub fn pages(mut definition: Command) -> Vec<Page> {
    definition.build();
    let mut pages = Vec::new();
    add(&definition, &[], &mut pages);
    pages
}

/// Writes the pages into a folder, where everybody can read them: each is there whole or not at all.
pub fn write(pages: &[Page], folder: &Path) -> io::Result<()> {
    const MODE: u32 = 0o644;
    std::fs::create_dir_all(folder)?;
    for page in pages {
        let path = folder.join(page.file_name());
        files::write_if_changed(&path, page.roff.as_bytes(), MODE)?;
        // The umask of whoever runs this may have taken bits away.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(MODE))?;
    }
    Ok(())
}

/// The page of this command, below those of `above`, and the pages of the commands below it.
fn add(command: &Command, above: &[&Command], pages: &mut Vec<Page>) {
    let line = [above, &[command]].concat();
    pages.push(page(&line));
    for below in commands(command) {
        add(below, &line, pages);
    }
}

/// The names of the commands, the program's first: `ooy-backup-create` with a dash between them.
fn names(line: &[&Command], between: &str) -> String {
    let names: Vec<&str> = line.iter().map(|it| it.get_name()).collect();
    names.join(between)
}

/// The page of the last command of this line.
fn page(line: &[&Command]) -> Page {
    let (program, command) = (line[0], line[line.len() - 1]);
    let name = names(line, "-");
    let words = names(&line[1..], " ");
    let about = texts::about(&words);
    let said = command.get_about().map(ToString::to_string);
    let said = said.unwrap_or_default();

    let mut roff = Roff::new();
    let of = format!("ooy {}", program.get_version().unwrap_or_default());
    // An empty argument has to be seen.
    let date = match env!("OOY_DATE") {
        "" => "\"\"",
        date => date,
    };
    let title = name.to_uppercase();
    roff.control("TH", [&title, "1", date, of.trim(), "One 2 One Youth"]);
    heading(&mut roff, "NAME");
    roff.text([roman(format!("{name} - {}", in_a_sentence(&said)))]);
    heading(&mut roff, "SYNOPSIS");
    synopsis(&mut roff, line);
    heading(&mut roff, "DESCRIPTION");
    roff.text([roman(format!("{said}."))]);
    for text in about.description {
        paragraph(&mut roff, text);
    }
    let begin = roff.render();

    let mut roff = Roff::new();
    if line.len() > 1 && !takes_only_data(command) {
        common_options(&mut roff, line);
    }
    below(&mut roff, line);
    heading(&mut roff, "EXIT STATUS");
    exit_status(&mut roff);
    if let Some(examples) = examples(command) {
        heading(&mut roff, "EXAMPLES");
        literal(&mut roff, &examples);
    }
    environment(&mut roff, line);
    places(&mut roff, &words);
    heading(&mut roff, "SEE ALSO");
    see_also(&mut roff, line, about);
    let end = without_preamble(&roff.render());

    Page {
        name,
        roff: begin + &options(line) + &end,
    }
}

/// Each piece that roff renders begins with the same definitions; a page needs them once.
fn without_preamble(rendered: &str) -> String {
    let preamble = Roff::new().render();
    rendered
        .strip_prefix(&preamble)
        .unwrap_or(rendered)
        .to_owned()
}

fn heading(roff: &mut Roff, title: &str) {
    roff.control("SH", [title]);
}

fn paragraph(roff: &mut Roff, text: &str) {
    roff.control("PP", []);
    roff.text([roman(text)]);
}

/// A term and what is said about it.
fn entry(roff: &mut Roff, term: Inline, text: &str) {
    roff.control("TP", []);
    roff.text([term]);
    roff.text([roman(text)]);
}

/// Lines as they are.
fn literal(roff: &mut Roff, lines: &[String]) {
    roff.control("RS", ["4"]);
    roff.control("nf", []);
    for line in lines {
        roff.text([roman(line.as_str())]);
    }
    roff.control("fi", []);
    roff.control("RE", []);
}

/// "Start all" behind a dash is "start all"; a name keeps its capital letters.
fn in_a_sentence(about: &str) -> String {
    let mut letters = about.chars();
    match letters.next() {
        Some(first) if !letters.clone().next().is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => about.to_owned(),
    }
}

/// As clap shows it.
fn synopsis(roff: &mut Roff, line: &[&Command]) {
    let usage = line[line.len() - 1].clone().render_usage().to_string();
    let usage = usage.strip_prefix("Usage:").unwrap_or(&usage);
    let command = names(line, " ");
    for (number, usage) in usage.trim().lines().enumerate() {
        if number > 0 {
            roff.control("br", []);
        }
        let usage = usage.trim();
        match usage.strip_prefix(&command) {
            Some(rest) => roff.text([bold(&command), roman(rest)]),
            None => roff.text([roman(usage)]),
        };
    }
}

/// Its own options. Those of every command are told once, on the page about the whole.
fn options(line: &[&Command]) -> String {
    let command = line[line.len() - 1];
    let is_shown = |it: &Arg| match line.len() {
        1 => !it.is_hide_set(),
        _ => is_own(it),
    };
    if takes_only_data(command) || !command.get_arguments().any(is_shown) {
        return String::new();
    }
    let shown = command.clone().mut_args(|it| {
        if !is_shown(&it) {
            return it.hide(true);
        }
        // As in the help: in a line with the rest.
        let values = it.get_possible_values();
        if values.is_empty() || it.is_hide_possible_values_set() {
            return it;
        }
        let values: Vec<&str> = values.iter().map(|value| value.get_name()).collect();
        let help = it.get_help().map(ToString::to_string).unwrap_or_default();
        it.help(format!("{help} [possible values: {}]", values.join(", ")))
            .hide_possible_values(true)
    });
    let mut text = Vec::new();
    // Into memory: nothing that could fail.
    let _ = Man::new(shown).render_options_section(&mut text);
    let text = without_preamble(&String::from_utf8_lossy(&text));
    // Blanks at the end of lines, and empty lines, are mistakes in a page.
    text.lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .map(|line| format!("{line}\n"))
        .collect()
}

fn common_options(roff: &mut Roff, line: &[&Command]) {
    let command = line[line.len() - 1];
    if !command.get_arguments().any(is_own) {
        heading(roff, "OPTIONS");
    }
    let mut text = vec![roman("Options of every command: ")];
    let common = command.get_arguments().filter(|it| is_common(it));
    for (number, option) in common.enumerate() {
        if number > 0 {
            text.push(roman(", "));
        }
        text.push(bold(format!("--{}", option.get_long().unwrap_or_default())));
    }
    text.push(roman("; see "));
    text.push(bold(line[0].get_name()));
    text.push(roman("(1)."));
    if command.get_arguments().any(is_own) {
        roff.control("PP", []);
    }
    roff.text(text);
}

/// The commands below it, each with its page.
fn below(roff: &mut Roff, line: &[&Command]) {
    let command = line[line.len() - 1];
    if commands(command).next().is_none() {
        return;
    }
    heading(roff, "COMMANDS");
    for below in commands(command) {
        let line = [line, &[below]].concat();
        let about = below.get_about().map(ToString::to_string);
        roff.control("TP", []);
        roff.text([bold(names(&line, "-")), roman("(1)")]);
        roff.text([roman(about.unwrap_or_default())]);
    }
}

/// The codes as the help has them: "Exit codes: 0 fine · 1 a problem was found".
fn exit_status(roff: &mut Roff) {
    let codes = EXIT_CODES.split_once(": ").map_or(EXIT_CODES, |it| it.1);
    for code in codes.split(" · ") {
        if let Some((number, meaning)) = code.split_once(' ') {
            entry(roff, bold(number), meaning);
        }
    }
}

/// The lines below "Examples:" in its help.
fn examples(command: &Command) -> Option<Vec<String>> {
    let help = command.get_after_help()?.to_string();
    let lines: Vec<String> = help
        .lines()
        .skip_while(|line| *line != "Examples:")
        .skip(1)
        .take_while(|line| line.starts_with(' '))
        .map(|line| line.trim().to_owned())
        .collect();
    (!lines.is_empty()).then_some(lines)
}

fn environment(roff: &mut Roff, line: &[&Command]) {
    heading(roff, "ENVIRONMENT");
    if line.len() > 1 {
        let (home, page) = (bold("OOY_HOME"), bold(line[0].get_name()));
        roff.text([home, roman(" and others: see "), page, roman("(1).")]);
        return;
    }
    for (name, meaning) in texts::ENVIRONMENT {
        entry(roff, bold(*name), meaning);
    }
}

/// The files that the command reads or writes, where they are without `--home`.
fn places(roff: &mut Roff, words: &str) {
    let first = words.split(' ').next().unwrap_or_default();
    let system = Places::new(None);
    let used = texts::FILES
        .iter()
        .filter(|it| first.is_empty() || it.used_by.contains(&first));
    for (number, file) in used.enumerate() {
        if number == 0 {
            heading(roff, "FILES");
        }
        let path = (file.place)(&system).display().to_string();
        entry(roff, italic(path), file.about);
    }
}

/// The page about the whole, those above and beside it, and related ones.
fn see_also(roff: &mut Roff, line: &[&Command], about: &About) {
    let own = names(line, "-");
    let mut pages: Vec<String> = (1..line.len()).map(|to| names(&line[..to], "-")).collect();
    if line.len() > 2 {
        let above = &line[..line.len() - 1];
        pages.extend(
            commands(above[above.len() - 1]).map(|it| names(&[above, &[it]].concat(), "-")),
        );
    }
    pages.extend(
        about
            .see_also
            .iter()
            .map(|it| format!("{}-{it}", line[0].get_name())),
    );
    pages.retain(|it| *it != own);
    let mut text = Vec::new();
    for (number, page) in pages.iter().enumerate() {
        if number > 0 {
            text.push(roman(", "));
        }
        text.extend([bold(page), roman("(1)")]);
    }
    if pages.is_empty() {
        text.extend([
            bold("docker"),
            roman("(1), "),
            bold("systemctl"),
            roman("(1)"),
        ]);
    }
    roff.text(text);
}
