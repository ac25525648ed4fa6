//! Fuzz targets of what reads a commit: YAML, templates, and how problems are shown.

use std::ops::Range;

use serde_json::Value;

use super::NEXT;
use crate::manifest::diagnostic::Findings;
use crate::manifest::template::Templates;
use crate::manifest::words::is_hostile;
use crate::manifest::yaml::{self, Budget, Document, MAX_DEPTH, MAX_NODES};
use crate::manifest::{Diagnostic, Tree, render};
use crate::text::{Piece, Text};

/// A file of YAML: budgets hold, what is refused is said, and everything stands where it is said to.
pub fn yaml(data: &[u8]) {
    let mut findings = Findings::default();
    let documents = yaml::load("a.yaml", data, &mut Budget::default(), &mut findings);
    let is_broken = documents.iter().any(|document| document.broken);
    assert_eq!(is_broken, findings.errors() > 0, "what is refused is said");
    said_well(&findings.into_sorted(), &tree(&[("a.yaml", data)]));
    let Ok(text) = std::str::from_utf8(data) else { return };
    let nodes: usize = documents
        .iter()
        .filter(|document| !document.broken)
        .map(|document| placed(text, document, &document.value, &mut String::new(), 0))
        .sum();
    assert!(nodes <= MAX_NODES, "{nodes} nodes");
}

/// Checks that a value and what is in it stand where their nodes say. Gives the number of them.
fn placed(text: &str, document: &Document, value: &Value, pointer: &mut String, depth: usize) -> usize {
    assert!(depth <= MAX_DEPTH, "{depth} deep at {pointer}");
    let node = document.find(pointer).expect("each value has its node");
    let written = fits(text, &node.value);
    let shown = [document.value_span(pointer), document.key_span(pointer)];
    for span in node.key.iter().chain(&shown) {
        fits(text, span);
    }
    let length = pointer.len();
    let mut below = |token: &str, inner: &Value| {
        pointer.push('/');
        pointer.push_str(token);
        let nodes = placed(text, document, inner, pointer, depth + 1);
        pointer.truncate(length);
        nodes
    };
    match value {
        Value::Object(fields) => {
            1 + fields.iter().map(|(key, inner)| 1 + below(&yaml::token(key), inner)).sum::<usize>()
        }
        Value::Array(items) => {
            1 + items.iter().enumerate().map(|(at, inner)| below(&at.to_string(), inner)).sum::<usize>()
        }
        Value::String(word) if node.plain && !written.contains(['\n', '\r']) => {
            assert_eq!(written, word, "a word stands as it is written");
            1
        }
        _ => 1,
    }
}

/// The text at a span, which lies within it and cuts no character.
fn fits<'t>(text: &'t str, span: &Range<usize>) -> &'t str {
    text.get(span.clone()).expect("a span lies within the text")
}

fn tree(files: &[(&str, &[u8])]) -> Tree {
    let files = files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.to_vec()));
    Tree { files: files.collect(), ..Tree::default() }
}

/// Checks that problems lie within their files, and that what is shown of them is bounded and safe to show.
fn said_well(diagnostics: &[Diagnostic], tree: &Tree) -> String {
    for diagnostic in diagnostics {
        assert!(!diagnostic.title.is_empty() && diagnostic.title.chars().count() <= 400);
        let spans = diagnostic.span.iter().map(|span| (&diagnostic.path, span));
        for (path, span) in spans.chain(diagnostic.also.iter().map(|also| (&also.path, &also.span))) {
            let bytes = tree.files.get(path).expect("a problem is of a file that was read");
            assert!(span.start <= span.end && span.end <= bytes.len(), "{span:?} of {path}");
            if let Ok(text) = std::str::from_utf8(bytes) {
                fits(text, span);
            }
        }
    }
    let shown = render(diagnostics, tree);
    assert!(!shown.contains(|c| c != '\n' && is_hostile(c)), "{shown:?}");
    assert!(shown.len() < 2_000_000, "{} bytes", shown.len());
    shown
}

/// Variables as JSON, and a template: rendering it is bounded and gives the same again.
pub fn template(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (vars, source) = text.split_once(NEXT).unwrap_or(("{}", text));
    let Ok(vars) = serde_json::from_str::<Value>(vars) else { return };
    let used = "{ template: t }";
    let rendered = || Templates::new().render("t", source, &vars, ("a.yaml", 2..10));
    match (rendered(), rendered()) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one.text, other.text, "the same again");
            assert!(one.bytes <= 64 * 500_000, "{} bytes of fuel were spent", one.bytes);
            let pieces = match &one.text {
                Text::Pieces { pieces } => pieces.as_slice(),
                Text::Plain(text) => &[Piece::Plain(text.clone())],
                Text::Secret(_) => &[],
            };
            let marked = |piece: &Piece| matches!(piece, Piece::Plain(text) if text.contains('\u{10fffd}'));
            assert!(!pieces.iter().any(marked), "no place of a secret is left as text");
        }
        (Err(one), Err(other)) => {
            assert_eq!(one, other, "the same again");
            let problems: Vec<Diagnostic> = one.into_iter().map(|problem| *problem).collect();
            assert_eq!(problems.len(), 1, "a first use says what is wrong");
            said_well(&problems, &tree(&[("t", source.as_bytes()), ("a.yaml", used.as_bytes())]));
        }
        _ => unreachable!("rendering is a function of its arguments"),
    }
}

/// Spans in bytes, and a file: whatever problems say of it is shown, and what is hidden is not.
pub fn diagnostics(data: &[u8]) {
    /// The bytes that tell one problem: four numbers below 65536.
    const ONE: usize = 8;
    let Some((count, rest)) = data.split_first() else { return };
    let (problems, file) = rest.split_at(rest.len().min(usize::from(count % 8) * ONE));
    let text = String::from_utf8_lossy(file);
    let number = |bytes: &[u8]| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % (text.len() + 3);
    let mut diagnostics = Vec::new();
    let mut hidden = Vec::new();
    for bytes in problems.chunks_exact(ONE) {
        let [a, b, c, d] = [0, 2, 4, 6].map(|at| number(&bytes[at..]));
        let secret = text.floor_char_boundary(c.min(d))..text.floor_char_boundary(c.max(d));
        hidden.extend(text[secret.clone()].lines().map(str::trim).filter(|line| line.len() >= 8));
        diagnostics.push(
            Diagnostic::error("wrong")
                .at("a.yaml", a.min(b)..a.max(b))
                .label("here")
                .also("a.yaml", c.min(d)..c.max(d), "there")
                .help("mend it")
                .hidden(secret),
        );
    }
    let shown = render(&diagnostics, &tree(&[("a.yaml", text.as_bytes())]));
    assert!(!shown.contains(|c| c != '\n' && is_hostile(c)), "{shown:?}");
    assert!(shown.len() <= 4_000 + 8 * (40_000 + 12 * text.len()), "{} bytes", shown.len());
    for secret in hidden {
        // What stands elsewhere too was not hidden there, and what replaces characters may look like it.
        let is_hidden =
            text.matches(secret).count() == 1 && secret.bytes().all(|b| b.is_ascii_alphanumeric());
        assert!(!is_hidden || !shown.contains(secret), "`{secret}` is shown:\n{shown}");
    }
}
