//! A problem of a commit, in words that stand alone, and all problems of a commit together.

use std::fmt;
use std::ops::Range;

use super::tree::Tree;
use super::{render, words};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The commit is refused.
    Error,
    /// Somebody should know.
    Warning,
}

/// One problem of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// One line that stands alone: a commit status may show it without anything else.
    pub title: String,
    /// The file; empty where the problem is of the repository as a whole.
    pub path: String,
    /// The bytes of the file that are meant. Absent where the file as a whole is.
    pub span: Option<Range<usize>>,
    /// What is said beside the marked bytes.
    pub label: String,
    /// What to write or do instead, the best first.
    pub help: Vec<String>,
    /// Other places that have a part in it.
    pub also: Vec<Also>,
    /// Bytes of the file that nobody may read: a secret that stands there by mistake.
    pub hidden: Vec<Range<usize>>,
}

/// Another place that has a part in a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Also {
    pub path: String,
    pub span: Range<usize>,
    pub label: String,
}

/// The most characters of a title, a label or a help.
const LONGEST: usize = 400;

impl Diagnostic {
    pub fn new(severity: Severity, title: impl AsRef<str>) -> Self {
        Self {
            severity,
            title: fit(title.as_ref()),
            path: String::new(),
            span: None,
            label: String::new(),
            help: Vec::new(),
            also: Vec::new(),
            hidden: Vec::new(),
        }
    }

    pub fn error(title: impl AsRef<str>) -> Self {
        Self::new(Severity::Error, title)
    }

    pub fn warning(title: impl AsRef<str>) -> Self {
        Self::new(Severity::Warning, title)
    }

    /// Says where it is.
    #[must_use]
    pub fn at(mut self, path: impl Into<String>, span: Range<usize>) -> Self {
        self.path = path.into();
        self.span = Some(span);
        self
    }

    /// Says in which file it is, where no part of it is meant.
    #[must_use]
    pub fn in_file(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    #[must_use]
    pub fn label(mut self, label: impl AsRef<str>) -> Self {
        self.label = fit(label.as_ref());
        self
    }

    #[must_use]
    pub fn help(mut self, help: impl AsRef<str>) -> Self {
        self.help.push(fit(help.as_ref()));
        self
    }

    /// Several helps, or none.
    #[must_use]
    pub fn helps<S: AsRef<str>>(self, helps: impl IntoIterator<Item = S>) -> Self {
        helps.into_iter().fold(self, Self::help)
    }

    #[must_use]
    pub fn also(mut self, path: impl Into<String>, span: Range<usize>, label: impl AsRef<str>) -> Self {
        self.also.push(Also { path: path.into(), span, label: fit(label.as_ref()) });
        self
    }

    #[must_use]
    pub fn hidden(mut self, span: Range<usize>) -> Self {
        self.hidden.push(span);
        self
    }

    /// By path and then by place: the order in which a reader goes through files.
    fn order(&self) -> (&str, usize, &str) {
        (&self.path, self.span.as_ref().map_or(0, |span| span.start), &self.title)
    }
}

fn fit(text: &str) -> String {
    words::clip(&words::safe(text), LONGEST)
}

/// What was found while a commit was read. The first thousand are kept, all are counted.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    kept: Vec<Diagnostic>,
    errors: usize,
}

impl Findings {
    const MOST: usize = 1_000;

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.errors += usize::from(diagnostic.severity == Severity::Error);
        if self.kept.len() < Self::MOST {
            self.kept.push(diagnostic);
        }
    }

    /// The errors that were found so far.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// Everything kept, in the order of files.
    pub(crate) fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.kept.sort_by(|a, b| a.order().cmp(&b.order()));
        self.kept
    }
}

/// Everything that is wrong with a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    diagnostics: Vec<Diagnostic>,
    errors: usize,
    headline: String,
}

impl Problems {
    pub(crate) fn new(findings: Findings, tree: &Tree) -> Self {
        let errors = findings.errors();
        let diagnostics = findings.into_sorted();
        let headline = headline(&diagnostics, errors, tree);
        Self { diagnostics, errors, headline }
    }

    /// In the order of files. The first thousand, where there are more.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        &self.diagnostics
    }

    /// How many errors there are in all.
    pub fn count(&self) -> usize {
        self.errors
    }

    /// One line of at most 140 characters, which is what GitHub shows of a commit status: the first
    /// error, its place, and how many more there are.
    pub fn headline(&self) -> &str {
        &self.headline
    }

    /// All of it as plain text, with the lines of the files that are meant. `tree` is the one that was read.
    pub fn render(&self, tree: &Tree) -> String {
        render::render_all(&self.diagnostics, self.errors, tree)
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline)
    }
}

impl std::error::Error for Problems {}

/// The characters of a commit status that every forge shows.
const HEADLINE: usize = 140;

fn headline(diagnostics: &[Diagnostic], errors: usize, tree: &Tree) -> String {
    let Some(first) = diagnostics.iter().find(|diagnostic| diagnostic.severity == Severity::Error) else {
        return "no problem".to_owned();
    };
    let place = match (first.path.as_str(), &first.span) {
        ("", _) => String::new(),
        (path, None) => format!(" ({})", words::safe(path)),
        (path, Some(span)) => {
            format!(" ({}:{})", words::safe(path), render::line_of(tree, path, span.start))
        }
    };
    // The end of a path tells more than its beginning.
    let mut place = place;
    if place.chars().count() > HEADLINE / 2 {
        let kept: Vec<char> = place.chars().rev().take(HEADLINE / 2 - 3).collect();
        place = [' ', '(', '…'].into_iter().chain(kept.into_iter().rev()).collect();
    }
    let more = if errors > 1 { format!(" (+{})", errors - 1) } else { String::new() };
    let room = HEADLINE.saturating_sub(place.chars().count() + more.chars().count());
    format!("{}{place}{more}", words::clip(&first.title, room))
}
