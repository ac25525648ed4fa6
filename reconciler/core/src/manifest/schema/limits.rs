//! What a keyword that limits a value asks for, in words.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind;
use serde_json::Value;

use super::describe::about;
use crate::manifest::words;

/// What a keyword that limits a value asks for: a phrase that follows the value's name, and help.
pub(super) fn limits(error: &ValidationError<'_>, schema: &Value) -> (String, Vec<String>) {
    use ValidationErrorKind as Kind;
    let several = |n: u64, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let none = Vec::new;
    match error.kind() {
        Kind::Minimum { limit } => (format!("must be at least {limit}"), none()),
        Kind::Maximum { limit } => (format!("must be at most {limit}"), none()),
        Kind::ExclusiveMinimum { limit } => (format!("must be more than {limit}"), none()),
        Kind::ExclusiveMaximum { limit } => (format!("must be less than {limit}"), none()),
        Kind::MultipleOf { multiple_of } => (format!("must be a multiple of {multiple_of}"), none()),
        Kind::MinLength { limit: 1 } => ("is empty".to_owned(), none()),
        Kind::MinLength { limit } => (format!("must have at least {}", several(*limit, "character")), none()),
        Kind::MaxLength { limit } => (format!("must have at most {}", several(*limit, "character")), none()),
        Kind::MinItems { limit: 1 } => (
            "is an empty list".to_owned(),
            about(schema).map(|what| format!("write {what}")).into_iter().collect(),
        ),
        Kind::MinItems { limit } => (format!("must have at least {}", several(*limit, "item")), none()),
        Kind::MaxItems { limit } => (format!("must have at most {}", several(*limit, "item")), none()),
        Kind::MinProperties { limit } => (format!("must have at least {}", several(*limit, "field")), none()),
        Kind::MaxProperties { limit } => (format!("must have at most {}", several(*limit, "field")), none()),
        Kind::UniqueItems => ("has the same item twice".to_owned(), none()),
        Kind::Pattern { pattern } => {
            (format!("does not match `{}`", words::clip(pattern, 80)), about(schema).into_iter().collect())
        }
        Kind::Format { format } => (format!("is no valid {format}"), none()),
        Kind::FalseSchema => ("may not stand here".to_owned(), none()),
        other => (format!("does not fit (`{}`)", other.keyword()), none()),
    }
}
