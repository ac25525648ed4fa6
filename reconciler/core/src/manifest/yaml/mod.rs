//! Reads untrusted YAML 1.2 within budgets, and remembers where everything stands.

mod build;
mod node;
mod scalar;
mod syntax;

use std::ops::Range;

use granit_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::Value;

use build::{Builder, Key};
pub(crate) use node::{Document, Node, token};

use super::diagnostic::{Diagnostic, Findings};
use super::tree::MAX_FILE;
use super::words;

/// The most nodes (keys and values) of one file.
pub(crate) const MAX_NODES: usize = 20_000;
/// The most nodes of all manifests of a commit.
pub(crate) const MAX_NODES_OF_COMMIT: usize = 300_000;
/// The most objects and lists within each other.
pub(crate) const MAX_DEPTH: usize = 32;
/// The most documents of one file.
const MAX_DOCUMENTS: usize = 1_000;
/// The longest key, in bytes.
const MAX_KEY: usize = 1_024;

/// What reading the manifests of one commit may still use.
#[derive(Debug)]
pub(crate) struct Budget {
    nodes: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self { nodes: MAX_NODES_OF_COMMIT }
    }
}

/// Reads every document of a file. What is wrong goes to `findings`; a document in which something is wrong
/// is given as far as it could be read, and says so.
pub(crate) fn load(path: &str, bytes: &[u8], budget: &mut Budget, findings: &mut Findings) -> Vec<Document> {
    let broken = |findings: &mut Findings, diagnostic: Diagnostic| {
        findings.push(diagnostic);
        vec![Document::unreadable()]
    };
    if bytes.len() > MAX_FILE {
        let title = format!("the file has {} bytes, more than the {MAX_FILE} that are read", bytes.len());
        return broken(findings, Diagnostic::error(title).in_file(path).help("split it into several files"));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Loader::new(path, text, budget, findings).run(),
        Err(error) => {
            let at = error.valid_up_to();
            let diagnostic = Diagnostic::error("the file is not UTF-8 text")
                .at(path, at..at)
                .label("the first byte that is not UTF-8 comes here")
                .help("save it as UTF-8");
            broken(findings, diagnostic)
        }
    }
}

/// What follows an event.
enum Flow {
    Go,
    /// The rest of the document cannot be told apart.
    NextDocument,
    Stop,
}

struct Loader<'s, 'f> {
    path: &'s str,
    text: &'s str,
    builder: Builder,
    /// Something is wrong in the document at hand.
    broken: bool,
    open: bool,
    documents: Vec<Document>,
    nodes: usize,
    budget: &'f mut Budget,
    findings: &'f mut Findings,
}

impl<'s, 'f> Loader<'s, 'f> {
    fn new(path: &'s str, text: &'s str, budget: &'f mut Budget, findings: &'f mut Findings) -> Self {
        Self {
            path,
            text,
            builder: Builder::default(),
            broken: false,
            open: false,
            documents: Vec::new(),
            nodes: 0,
            budget,
            findings,
        }
    }

    fn run(mut self) -> Vec<Document> {
        let mut options = granit_parser::options! {
            emit_unresolved_aliases: true,
            flow_nesting_limit: 2 * MAX_DEPTH,
            block_nesting_limit: 2 * MAX_DEPTH,
        };
        options.set_emit_comments(false);
        let mut parser = Parser::new_from_str_with_options(self.text, options);
        loop {
            let flow = match parser.next_event() {
                None => break,
                Some(Ok((event, span))) => self.take(event, span),
                Some(Err(error)) => {
                    let at = error.marker().byte_offset().unwrap_or(self.text.len());
                    let diagnostic = syntax::explain(&error, self.path, self.text, at);
                    self.refuse(diagnostic);
                    Flow::NextDocument
                }
            };
            match flow {
                Flow::Go => {}
                Flow::Stop => {
                    self.finish();
                    break;
                }
                Flow::NextDocument => {
                    self.finish();
                    if !matches!(parser.proceed_next_document(), Ok(true)) {
                        break;
                    }
                }
            }
        }
        if self.open || self.broken {
            self.finish();
        }
        self.documents
    }

    fn take(&mut self, event: Event<'s>, span: Span) -> Flow {
        let range = self.range(span);
        match event {
            Event::DocumentStart(..) => {
                self.open = true;
                if self.documents.len() >= MAX_DOCUMENTS {
                    let title = format!("the file has more than {MAX_DOCUMENTS} documents");
                    self.refuse_at(title, range, "the next one begins here", "split it into several files");
                    return Flow::Stop;
                }
                Flow::Go
            }
            Event::DocumentEnd => {
                self.finish();
                Flow::Go
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let help = "write the value out; a manifest says everything where it stands";
                self.refuse_at("aliases are not allowed", range.clone(), "an alias", help);
                if self.builder.at_key() {
                    return Flow::NextDocument;
                }
                self.builder.put(Value::Null, Node::scalar(range, span.start.line(), true));
                Flow::Go
            }
            Event::Scalar(text, style, _, tag) => {
                self.refuse_tag(tag.is_some(), span, &range);
                if let Some(flow) = self.over_budget(&range) {
                    return flow;
                }
                let plain = style == ScalarStyle::Plain;
                if self.builder.at_key() {
                    self.key(&text, plain, range);
                } else {
                    let value = if plain { scalar::resolve(&text) } else { Value::String(text.into_owned()) };
                    self.builder.put(value, Node::scalar(range, span.start.line(), plain));
                }
                Flow::Go
            }
            Event::SequenceStart(_, _, tag) => self.begin(false, tag.is_some(), span, &range),
            Event::MappingStart(_, _, tag) => self.begin(true, tag.is_some(), span, &range),
            Event::SequenceEnd | Event::MappingEnd => {
                self.builder.end(range.end);
                Flow::Go
            }
            _ => Flow::Go,
        }
    }

    fn range(&self, span: Span) -> Range<usize> {
        let range = span.byte_range().unwrap_or(0..0);
        range.start.min(self.text.len())..range.end.min(self.text.len())
    }

    fn refuse(&mut self, diagnostic: Diagnostic) {
        self.broken = true;
        self.findings.push(diagnostic);
    }

    fn refuse_at(&mut self, title: impl AsRef<str>, span: Range<usize>, label: &str, help: &str) {
        self.refuse(Diagnostic::error(title).at(self.path, span).label(label).help(help));
    }

    fn refuse_tag(&mut self, tagged: bool, span: Span, range: &Range<usize>) {
        if tagged {
            let start = span.tag_start().and_then(|mark| mark.byte_offset()).unwrap_or(range.start);
            let span = start.min(range.start)..range.start.max(start);
            let help = "leave the tag out; put quotes around what must be text";
            self.refuse_at("YAML tags are not allowed", span, "a tag", help);
        }
    }

    /// Counts a node, and says so where there are too many.
    fn over_budget(&mut self, range: &Range<usize>) -> Option<Flow> {
        self.nodes += 1;
        let title = if self.nodes > MAX_NODES {
            format!("the file has more than {MAX_NODES} keys and values")
        } else if self.budget.nodes == 0 {
            format!("the manifests of this commit have more than {MAX_NODES_OF_COMMIT} keys and values")
        } else {
            self.budget.nodes -= 1;
            return None;
        };
        self.refuse_at(title, range.clone(), "reading stopped here", "split it, or say less in it");
        Some(Flow::Stop)
    }

    fn key(&mut self, text: &str, plain: bool, range: Range<usize>) {
        let diagnostic = if let Some(first) = self.builder.key_before(text) {
            Diagnostic::error(format!("{} is written twice in the same object", words::tick(text)))
                .at(self.path, range.clone())
                .label("here again")
                .also(self.path, first, "first here")
                .help("keep one of them")
        } else if plain && text == "<<" {
            Diagnostic::error("merge keys (`<<`) are not allowed")
                .at(self.path, range.clone())
                .label("a merge key")
                .help("write the fields out; a manifest says everything where it stands")
        } else if text.len() > MAX_KEY {
            Diagnostic::error(format!("a key is longer than {MAX_KEY} bytes"))
                .at(self.path, range.clone())
                .label("this key")
        } else {
            self.builder.set_key(Key::Named(text.to_owned(), range));
            return;
        };
        self.refuse(diagnostic);
        self.builder.set_key(Key::Refused);
    }

    fn begin(&mut self, map: bool, tagged: bool, span: Span, range: &Range<usize>) -> Flow {
        self.refuse_tag(tagged, span, range);
        if let Some(flow) = self.over_budget(range) {
            return flow;
        }
        if self.builder.at_key() {
            let help = "a key is a word; text with `{` or `[` in it needs quotes";
            self.refuse_at("an object or a list cannot be a key", range.clone(), "used as a key", help);
            return Flow::NextDocument;
        }
        if self.builder.depth() >= MAX_DEPTH {
            self.refuse_at(
                syntax::too_deep(),
                range.clone(),
                "too deep here",
                "no manifest needs such depth",
            );
            return Flow::NextDocument;
        }
        if map {
            self.builder.begin_map(range.start, span.start.line());
        } else {
            self.builder.begin_list(range.start, span.start.line());
        }
        Flow::Go
    }

    /// Ends the document at hand, whole or not.
    fn finish(&mut self) {
        let broken = std::mem::take(&mut self.broken);
        self.open = false;
        self.documents.push(self.builder.finish(broken));
    }
}

#[cfg(test)]
mod tests;
