//! Shows problems as text: the line of the file that is meant, what is wrong with it, what to write instead.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use annotate_snippets::{Annotation, AnnotationKind, Element, Level, Origin, Renderer, Snippet};

use super::diagnostic::{Diagnostic, Severity};
use super::tree::Tree;
use super::words;

/// The most problems that are shown; the rest is counted.
const SHOWN: usize = 100;
/// A longer line (in bytes) is named and not shown.
const LONGEST_LINE: usize = 600;
/// Two places of a file that are at most so many lines apart are shown together.
const TOGETHER: usize = 60;
/// The most other places that one problem shows.
const PLACES: usize = 12;

/// Shows problems with the lines of the files that they are about, and counts them at the end.
pub fn render(diagnostics: &[Diagnostic], tree: &Tree) -> String {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    render_all(diagnostics, errors, tree)
}

/// Like [`render`], where more errors were found than were kept.
pub(crate) fn render_all(diagnostics: &[Diagnostic], errors: usize, tree: &Tree) -> String {
    let files = Files::new(diagnostics, tree);
    let mut text = String::new();
    for diagnostic in diagnostics.iter().take(SHOWN) {
        text.push_str(&files.one(diagnostic));
        text.push_str("\n\n");
    }
    text.push_str(&count(diagnostics, errors));
    text.push('\n');
    text
}

fn count(diagnostics: &[Diagnostic], errors: usize) -> String {
    let several = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let warnings = diagnostics.iter().filter(|d| d.severity == Severity::Warning).count();
    let paths: BTreeSet<&str> =
        diagnostics.iter().map(|d| d.path.as_str()).filter(|path| !path.is_empty()).collect();
    let counted = match (errors, warnings) {
        (errors, 0) => several(errors, "problem"),
        (0, warnings) => several(warnings, "warning"),
        (errors, warnings) => format!("{} and {}", several(errors, "problem"), several(warnings, "warning")),
    };
    let places =
        if paths.is_empty() { String::new() } else { format!(" in {}", several(paths.len(), "file")) };
    let rest = (errors + warnings).saturating_sub(SHOWN);
    if rest == 0 { format!("{counted}{places}") } else { format!("{counted}{places}; {rest} are not shown") }
}

/// The line, from 1, of a byte of a file.
pub(crate) fn line_of(tree: &Tree, path: &str, byte: usize) -> usize {
    let bytes = tree.files.get(path).map_or(&[][..], Vec::as_slice);
    1 + bytes.iter().take(byte).filter(|byte| **byte == b'\n').count()
}

/// The files that problems are about: their text, where their lines begin, and what nobody may read.
struct Files<'a>(BTreeMap<&'a str, File<'a>>);

struct File<'a> {
    text: &'a str,
    /// The first byte of each line.
    lines: Vec<usize>,
    hidden: Vec<Range<usize>>,
}

impl<'a> Files<'a> {
    fn new(diagnostics: &'a [Diagnostic], tree: &'a Tree) -> Self {
        let mut files: BTreeMap<&str, File<'_>> = BTreeMap::new();
        for diagnostic in diagnostics {
            let also = diagnostic.also.iter().take(PLACES).map(|also| also.path.as_str());
            for path in also.chain([diagnostic.path.as_str()]) {
                if let Some(bytes) = tree.files.get(path) {
                    files.entry(path).or_insert_with(|| File::new(bytes));
                }
            }
        }
        for diagnostic in diagnostics {
            if let Some(file) = files.get_mut(diagnostic.path.as_str()) {
                file.hidden.extend(diagnostic.hidden.iter().cloned());
            }
        }
        Self(files)
    }

    fn one(&self, diagnostic: &'a Diagnostic) -> String {
        let level = match diagnostic.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut elements: Vec<Element<'_>> = Vec::new();
        for (path, marks) in places(diagnostic) {
            match self.0.get(path) {
                Some(file) if !marks.is_empty() => file.show(path, &marks, &mut elements),
                _ => elements.push(Origin::path(words::safe(path)).into()),
            }
        }
        elements.extend(diagnostic.help.iter().map(|help| Level::HELP.message(help.as_str()).into()));
        let report = [level.primary_title(diagnostic.title.as_str()).elements(elements)];
        Renderer::plain().render(&report)
    }
}

struct Mark<'a> {
    span: Range<usize>,
    label: &'a str,
    primary: bool,
}

/// The places of a problem by file, the file of the problem itself first.
fn places(diagnostic: &Diagnostic) -> Vec<(&str, Vec<Mark<'_>>)> {
    let mut files: Vec<(&str, Vec<Mark<'_>>)> = Vec::new();
    if !diagnostic.path.is_empty() {
        let first = diagnostic.span.iter().map(|span| Mark {
            span: span.clone(),
            label: &diagnostic.label,
            primary: true,
        });
        files.push((&diagnostic.path, first.collect()));
    }
    for also in diagnostic.also.iter().take(PLACES) {
        let mark = Mark { span: also.span.clone(), label: &also.label, primary: false };
        match files.iter_mut().find(|(path, _)| *path == also.path) {
            Some((_, marks)) => marks.push(mark),
            None => files.push((&also.path, vec![mark])),
        }
    }
    files
}

impl<'a> File<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        // What is not UTF-8 ends the text; the reader says so in a problem of its own.
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default(),
        };
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self { text, lines: [0].into_iter().chain(starts).collect(), hidden: Vec::new() }
    }

    /// The index of the line in which a byte is.
    fn line(&self, byte: usize) -> usize {
        self.lines.partition_point(|start| *start <= byte) - 1
    }

    /// The bytes of a line, without its end.
    fn bounds(&self, line: usize) -> Range<usize> {
        let start = self.lines[line];
        let end = self.lines.get(line + 1).map_or(self.text.len(), |next| next - 1);
        let end = if self.text[start..end].ends_with('\r') { end - 1 } else { end };
        start..end
    }

    /// Shows the marked lines: those that are near each other in one piece.
    fn show<'b>(&self, path: &str, marks: &[Mark<'b>], elements: &mut Vec<Element<'b>>) {
        let mut sorted: Vec<(usize, &Mark<'_>)> =
            marks.iter().map(|mark| (self.line(mark.span.start.min(self.text.len())), mark)).collect();
        sorted.sort_by_key(|(line, _)| *line);
        let mut pieces: Vec<Vec<(usize, &Mark<'_>)>> = Vec::new();
        for (line, mark) in sorted {
            match pieces.last_mut() {
                Some(piece) if piece.last().is_some_and(|(last, _)| line - last <= TOGETHER) => {
                    piece.push((line, mark));
                }
                _ => pieces.push(vec![(line, mark)]),
            }
        }
        // The piece with the problem itself stands first.
        pieces.sort_by_key(|piece| !piece.iter().any(|(_, mark)| mark.primary));
        for piece in pieces {
            self.show_piece(path, &piece, elements);
        }
    }

    fn show_piece<'b>(&self, path: &str, piece: &[(usize, &Mark<'b>)], elements: &mut Vec<Element<'b>>) {
        let (Some((first, _)), Some((last, _))) = (piece.first(), piece.last()) else { return };
        if piece.iter().any(|(line, _)| self.bounds(*line).len() > LONGEST_LINE) {
            let (line, mark) = piece.iter().find(|(_, mark)| mark.primary).unwrap_or(&piece[0]);
            let start = self.bounds(*line).start;
            let before = self.text[start..].char_indices().take_while(|(at, _)| start + at < mark.span.start);
            let column = 1 + before.count();
            elements.push(Origin::path(words::safe(path)).line(line + 1).char_column(column).into());
            return;
        }
        let mut source = String::new();
        let mut annotations: Vec<Annotation<'b>> = Vec::new();
        for line in *first..=*last {
            let here: Vec<&Mark<'b>> =
                piece.iter().filter(|(at, _)| *at == line).map(|(_, mark)| *mark).collect();
            let bounds = self.bounds(line);
            let shown =
                if bounds.len() > LONGEST_LINE { Shown::default() } else { self.shown(bounds.clone()) };
            for mark in here {
                let start = source.len() + shown.position(mark.span.start.clamp(bounds.start, bounds.end));
                let end = source.len() + shown.position(mark.span.end.clamp(bounds.start, bounds.end));
                let kind = if mark.primary { AnnotationKind::Primary } else { AnnotationKind::Context };
                let annotation = kind.span(start..end.max(start));
                let label = (!mark.label.is_empty()).then_some(mark.label);
                annotations.push(annotation.label(label));
            }
            source.push_str(&shown.text);
            source.push('\n');
        }
        let snippet = Snippet::source(source).line_start(first + 1).path(words::safe(path));
        elements.push(snippet.annotations(annotations).into());
    }

    /// A line as it may be shown: hostile characters replaced one by one, secrets by stars.
    fn shown(&self, bounds: Range<usize>) -> Shown {
        let line = &self.text[bounds.clone()];
        let mut hidden: Vec<Range<usize>> = self
            .hidden
            .iter()
            .filter(|span| span.start < bounds.end && bounds.start < span.end)
            .map(|span| span.start.max(bounds.start) - bounds.start..span.end.min(bounds.end) - bounds.start)
            .collect();
        hidden.extend(looks_secret(line));
        let mut shown = Shown { start: bounds.start, ..Shown::default() };
        let mut stars_until = 0;
        for (at, c) in line.char_indices() {
            shown.positions.push((at, shown.text.len()));
            if at < stars_until {
                continue;
            }
            if let Some(span) = hidden.iter().find(|span| span.contains(&at)) {
                shown.text.push_str("********");
                stars_until = span.end;
            } else if c != '\t' && words::is_hostile(c) {
                shown.text.push('\u{fffd}');
            } else {
                shown.text.push(c);
            }
        }
        shown.positions.push((line.len(), shown.text.len()));
        shown
    }
}

/// A line as it is shown, and where its bytes went.
#[derive(Default)]
struct Shown {
    text: String,
    start: usize,
    /// Offset in the line, offset in `text`; ascending.
    positions: Vec<(usize, usize)>,
}

impl Shown {
    fn position(&self, byte: usize) -> usize {
        let offset = byte.saturating_sub(self.start);
        let index = self.positions.partition_point(|(at, _)| *at < offset);
        self.positions.get(index).map_or(self.text.len(), |(_, to)| *to)
    }
}

/// Values beside keys that are called like secrets. A file that cannot be read has no schema that would
/// tell, so the name must do.
fn looks_secret(line: &str) -> Vec<Range<usize>> {
    const NAMES: [&str; 8] =
        ["password", "passwd", "passphrase", "secret", "token", "apikey", "api_key", "private_key"];
    let lower = line.to_ascii_lowercase();
    let mut found = Vec::new();
    for (colon, _) in line.match_indices(':') {
        let key = lower[..colon].trim_end_matches(['"', '\'', ' ']);
        let value = &line[colon + 1..];
        let trimmed = value.trim_start();
        let start = colon + 1 + (value.len() - trimmed.len());
        let is_secret = NAMES.iter().any(|name| key.ends_with(name)) || key.ends_with("privatekey");
        let apart = value.starts_with([' ', '\t']) || line[..colon].ends_with('"');
        if is_secret && apart && !trimmed.is_empty() && !trimmed.starts_with(['{', '#']) {
            let in_flow = line[..colon].contains('{');
            let quoted = trimmed.chars().next().filter(|c| matches!(c, '"' | '\''));
            let length = match quoted {
                Some(quote) => trimmed[1..].find(quote).map_or(trimmed.len(), |end| end + 2),
                None if in_flow => {
                    let end = trimmed.find([',', '}']).unwrap_or(trimmed.len());
                    trimmed[..end].trim_end().len()
                }
                None => trimmed.find(" #").unwrap_or(trimmed.len()),
            };
            found.push(start..start + length);
        }
    }
    found
}
