//! What the parser of YAML says of a broken file, in words that tell what to write instead.

use granit_parser::{ErrorKind, ScanError};

use super::MAX_DEPTH;
use crate::manifest::diagnostic::Diagnostic;

/// Explains a syntax error at a byte of the text.
pub(crate) fn explain(error: &ScanError, path: &str, text: &str, at: usize) -> Diagnostic {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let end = at + text[at..].chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
    let why = error.info().replace('\n', " ").replace('\'', "`");
    let why = why.rsplit(", ").next().unwrap_or(&why).trim().to_owned();
    let title = match error.kind() {
        ErrorKind::RecursionLimitExceeded => too_deep(),
        _ => format!("the file is not valid YAML: {why}"),
    };
    Diagnostic::error(title).at(path, at..end).label("reading stopped here").help(help(error.kind(), &why))
}

pub(crate) fn too_deep() -> String {
    format!("objects and lists are nested more than {MAX_DEPTH} deep")
}

fn help(kind: &ErrorKind, why: &str) -> &'static str {
    match kind {
        _ if why.contains("tab") => "indent with spaces",
        _ if why.contains("mapping values") => {
            "put quotes around text that contains `: `, and let the fields of an object begin in the same column"
        }
        ErrorKind::UnclosedQuotedScalar | ErrorKind::DocumentIndicatorInQuotedScalar => {
            "close the quotes that are opened above"
        }
        ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::MismatchedFlowCollectionEnd { .. }
        | ErrorKind::MisplacedFlowCollectionEnd => "give every `[` its `]` and every `{` its `}`",
        ErrorKind::InvalidColonPlacement
        | ErrorKind::SimpleKeyExpected
        | ErrorKind::InvalidSimpleKey
        | ErrorKind::UnexpectedEndOfPlainScalar => {
            "put quotes around text that contains `: ` or ` #`; or a `[` or `{` above is not closed"
        }
        ErrorKind::InvalidIndentation | ErrorKind::ExpectedBlockSequenceEntry => {
            "let all fields of an object, and all items of a list, begin in the same column"
        }
        ErrorKind::RecursionLimitExceeded => "no manifest needs such depth",
        _ => "look at this line and the one above it: quotes, brackets, colons and indentation",
    }
}
