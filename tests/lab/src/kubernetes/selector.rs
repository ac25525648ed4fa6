//! Label and field selectors.

use serde_json::Value;

use super::resources::Resource;
use super::status::{Answer, Failure};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Test {
    Equals(String),
    Differs(String),
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Missing,
}

/// What a list or a watch is limited to.
#[derive(Debug, Clone, Default)]
pub(super) struct Selector {
    labels: Vec<(String, Test)>,
    fields: Vec<(String, Test)>,
}

impl Selector {
    pub(super) fn parse(resource: &Resource, labels: &str, fields: &str) -> Answer<Self> {
        let labels = split(labels).iter().map(|term| label_test(term)).collect::<Answer<Vec<_>>>()?;
        let fields =
            split(fields).iter().map(|term| field_test(resource, term)).collect::<Answer<Vec<_>>>()?;
        Ok(Self { labels, fields })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let metadata = &object["metadata"];
        let label = |name: &String| metadata["labels"][name].as_str();
        let field = |path: &String| metadata[path.trim_start_matches("metadata.")].as_str();
        self.labels.iter().all(|(name, test)| test.holds(label(name)))
            && self.fields.iter().all(|(path, test)| test.holds(field(path)))
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        match self {
            Self::Equals(wanted) => value == Some(wanted),
            Self::Differs(unwanted) => value != Some(unwanted),
            Self::In(list) => value.is_some_and(|value| list.iter().any(|item| item == value)),
            Self::NotIn(list) => value.is_none_or(|value| list.iter().all(|item| item != value)),
            Self::Exists => value.is_some(),
            Self::Missing => value.is_none(),
        }
    }
}

/// Splits at commas that stand outside of parentheses.
fn split(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut depth = 0_usize;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if c == ',' && depth == 0 {
            terms.push(String::new());
        } else if let Some(term) = terms.last_mut() {
            term.push(c);
        }
    }
    terms.into_iter().map(|term| term.trim().to_owned()).filter(|term| !term.is_empty()).collect()
}

fn comparison(term: &str) -> Option<(String, Test)> {
    let owned = |text: &str| text.trim().to_owned();
    if let Some((name, value)) = term.split_once("!=") {
        return Some((owned(name), Test::Differs(owned(value))));
    }
    let (name, value) = term.split_once("==").or_else(|| term.split_once('='))?;
    Some((owned(name), Test::Equals(owned(value))))
}

fn label_test(term: &str) -> Answer<(String, Test)> {
    if let Some(found) = comparison(term) {
        return Ok(found);
    }
    if let Some((head, list)) = term.split_once('(') {
        let values = list.trim_end_matches(')').split(',').map(|value| value.trim().to_owned()).collect();
        return match head.split_whitespace().collect::<Vec<_>>().as_slice() {
            [name, "in"] => Ok(((*name).to_owned(), Test::In(values))),
            [name, "notin"] => Ok(((*name).to_owned(), Test::NotIn(values))),
            _ => Err(unreadable(term)),
        };
    }
    match term.strip_prefix('!') {
        Some(name) => Ok((name.trim().to_owned(), Test::Missing)),
        None if term.contains(char::is_whitespace) => Err(unreadable(term)),
        None => Ok((term.to_owned(), Test::Exists)),
    }
}

fn unreadable(term: &str) -> Failure {
    Failure::bad_request(format!(
        "unable to parse requirement: found '{term}', expected: in, notin, =, ==, !="
    ))
}

/// Custom resources can be selected by name and namespace only.
fn field_test(resource: &Resource, term: &str) -> Answer<(String, Test)> {
    let (path, test) = comparison(term).ok_or_else(|| {
        Failure::bad_request(format!("invalid selector: '{term}'; can't understand '{term}'"))
    })?;
    if path == "metadata.name" || (path == "metadata.namespace" && resource.namespaced) {
        return Ok((path, test));
    }
    Err(Failure::bad_request(format!("field label not supported: {path}")))
}
