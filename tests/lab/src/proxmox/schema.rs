//! What parameters a method takes, and the exact words with which a wrong one is refused.

use std::collections::BTreeMap;

use super::error::ApiError;
use super::params::{Given, Params};

/// The texts of `value ... format` checks: `Err` holds what follows `invalid format - `.
pub(super) type Check = fn(&str) -> Result<(), String>;
/// The same for property strings, which are told their key.
pub(super) type ShapeCheck = fn(&str, &str) -> Result<(), String>;

/// The type of one parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Type {
    Text,
    Bool,
    Int(Option<i64>, Option<i64>),
    Number(Option<f64>, Option<f64>),
    List,
}

/// One parameter of a method.
#[derive(Clone)]
pub(super) struct Param {
    pub(super) name: &'static str,
    /// The highest index, of keys such as `net[n]`.
    pub(super) last: Option<u32>,
    pub(super) kind: Type,
    pub(super) optional: bool,
    pub(super) longest: Option<usize>,
    pub(super) one_of: &'static [&'static str],
    pub(super) pattern: Option<fn(&str) -> bool>,
    pub(super) format: Option<Check>,
    pub(super) shape: Option<ShapeCheck>,
    pub(super) requires: Option<&'static str>,
}

impl Param {
    fn new(name: &'static str, kind: Type) -> Self {
        Self {
            name,
            last: None,
            kind,
            optional: true,
            longest: None,
            one_of: &[],
            pattern: None,
            format: None,
            shape: None,
            requires: None,
        }
    }

    pub(super) fn text(name: &'static str) -> Self {
        Self::new(name, Type::Text)
    }

    pub(super) fn flag(name: &'static str) -> Self {
        Self::new(name, Type::Bool)
    }

    pub(super) fn int(name: &'static str, least: Option<i64>, most: Option<i64>) -> Self {
        Self::new(name, Type::Int(least, most))
    }

    pub(super) fn float(name: &'static str, least: Option<f64>, most: Option<f64>) -> Self {
        Self::new(name, Type::Number(least, most))
    }

    pub(super) fn list(name: &'static str) -> Self {
        Self::new(name, Type::List)
    }

    pub(super) fn required(mut self) -> Self {
        self.optional = false;
        self
    }

    pub(super) fn upto(mut self, last: u32) -> Self {
        self.last = Some(last);
        self
    }

    pub(super) fn longest(mut self, longest: usize) -> Self {
        self.longest = Some(longest);
        self
    }

    pub(super) fn one_of(mut self, values: &'static [&'static str]) -> Self {
        self.one_of = values;
        self
    }

    pub(super) fn pattern(mut self, pattern: fn(&str) -> bool) -> Self {
        self.pattern = Some(pattern);
        self
    }

    pub(super) fn format(mut self, check: Check) -> Self {
        self.format = Some(check);
        self
    }

    pub(super) fn shape(mut self, shape: ShapeCheck) -> Self {
        self.shape = Some(shape);
        self
    }

    pub(super) fn requires(mut self, other: &'static str) -> Self {
        self.requires = Some(other);
        self
    }

    /// Whether this is the parameter that `key` names.
    pub(super) fn is(&self, key: &str) -> bool {
        let Some(last) = self.last else { return self.name == key };
        let Some(index) = key.strip_prefix(self.name) else { return false };
        let canonical = index == "0" || !index.starts_with('0');
        canonical && index.parse::<u32>().is_ok_and(|index| index <= last)
    }

    /// What is wrong with `value`, if anything.
    fn complaint(&self, key: &str, value: &Given) -> Option<String> {
        let name = match self.kind {
            Type::Text => "string",
            Type::Bool => "boolean",
            Type::Int(..) => "integer",
            Type::Number(..) => "number",
            Type::List => "array",
        };
        let text = match (self.kind, value) {
            // A single value of a form is taken as a list of one.
            (Type::List, Given::Many(_) | Given::One(_)) => return None,
            (Type::List, Given::Hash) => return Some("type check ('array') failed".into()),
            (_, Given::Many(_)) => return Some(format!("type check ('{name}') failed - got ARRAY")),
            (_, Given::Hash) => return Some(format!("type check ('{name}') failed - got HASH")),
            (_, Given::One(text)) => text.as_str(),
        };
        let typed = match self.kind {
            Type::Text | Type::List => true,
            Type::Bool => matches!(text, "0" | "1"),
            Type::Int(..) => is_integer(text),
            Type::Number(..) => text.parse::<f64>().is_ok_and(f64::is_finite),
        };
        if !typed {
            return Some(format!("type check ('{name}') failed - got '{text}'"));
        }
        self.out_of_limits(text).or_else(|| self.malformed(key, text))
    }

    fn out_of_limits(&self, text: &str) -> Option<String> {
        let (least, most) = match self.kind {
            Type::Int(least, most) => {
                let number = text.parse::<i64>().ok()?;
                (
                    least.filter(|least| number < *least).map(|it| it.to_string()),
                    most.filter(|most| number > *most).map(|it| it.to_string()),
                )
            }
            Type::Number(least, most) => {
                let number = text.parse::<f64>().ok()?;
                (
                    least.filter(|least| number < *least).map(|it| it.to_string()),
                    most.filter(|most| number > *most).map(|it| it.to_string()),
                )
            }
            _ => (None, None),
        };
        if let Some(least) = least {
            return Some(format!("value must have a minimum value of {least}"));
        }
        if let Some(most) = most {
            return Some(format!("value must have a maximum value of {most}"));
        }
        let longest = self.longest.filter(|longest| text.chars().count() > *longest)?;
        Some(format!("value may only be {longest} characters long"))
    }

    fn malformed(&self, key: &str, text: &str) -> Option<String> {
        if self.pattern.is_some_and(|fits| !fits(text)) {
            return Some("value does not match the regex pattern".into());
        }
        if !self.one_of.is_empty() && !self.one_of.contains(&text) {
            let all = self.one_of.join(", ");
            return Some(format!("value '{text}' does not have a value in the enumeration '{all}'"));
        }
        let format = self.format.and_then(|check| check(text).err());
        let shape = self.shape.and_then(|check| check(key, text).err());
        format.or(shape).map(|why| format!("invalid format - {why}\n"))
    }
}

/// Digits with an optional sign, as Perl's check of an integer.
fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Checks all parameters, and reports all that is wrong with them at once.
pub(super) fn validate(given: &Params, takes: &[Param]) -> Result<(), ApiError> {
    let mut errors = BTreeMap::new();
    for (key, value) in &given.0 {
        let Some(param) = takes.iter().find(|param| param.is(key)) else {
            let text =
                "property is not defined in schema and the schema does not allow additional properties";
            errors.insert(key.clone(), text.to_owned());
            continue;
        };
        if let Some(complaint) = param.complaint(key, value) {
            errors.insert(key.clone(), complaint);
        }
        if let Some(other) = param.requires.filter(|other| !given.0.contains_key(*other)) {
            errors.insert(other.to_owned(), format!("missing property required by '{key}'"));
        }
    }
    for param in takes.iter().filter(|param| !param.optional && !given.0.contains_key(param.name)) {
        errors.insert(param.name.to_owned(), "property is missing and it is not optional".to_owned());
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::params(errors)) }
}
