//! Turns the errors of a validator into faults that a person can act on.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::Written;
use super::describe::{allowed, alternatives, example, is_secret, is_what, types, wanted, wants_only_secret};
use crate::manifest::words;
use crate::manifest::yaml::token;

/// The most errors of one document that are explained.
const MOST: usize = 200;

/// Which part of a field is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum At {
    Key,
    Value,
}

/// One thing that does not fit the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) pointer: String,
    pub(crate) at: At,
    pub(crate) title: String,
    pub(crate) label: String,
    pub(crate) help: Vec<String>,
    /// The value at the pointer may be a secret: it is not to be shown.
    pub(crate) secret: bool,
}

/// What was found, before what belongs together is brought together.
enum Found {
    Fault(Fault),
    Unknown { object: String, field: String, meant: Option<String>, fields: Vec<String>, secret: bool },
    Missing { object: String, field: String, example: Option<String>, secret: bool },
}

pub(super) fn explain<'a>(
    schema: &Value,
    validator: &Validator,
    value: &Value,
    written: &dyn Fn(&str) -> Option<Written<'a>>,
) -> Vec<Fault> {
    let mut explainer = Explainer { schema, value, written, found: Vec::new() };
    for error in validator.iter_errors(value).take(MOST) {
        explainer.error(&error);
    }
    explainer.faults()
}

struct Explainer<'e, 'a> {
    schema: &'e Value,
    value: &'e Value,
    written: &'e dyn Fn(&str) -> Option<Written<'a>>,
    found: Vec<Found>,
}

impl<'a> Explainer<'_, 'a> {
    fn error(&mut self, error: &ValidationError<'_>) {
        let pointer = error.instance_path().as_str().to_owned();
        let secret = self.within_secret(error);
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let fields = self.fields(error);
                for field in unexpected {
                    let meant = words::closest(field, fields.iter().map(String::as_str)).map(str::to_owned);
                    let (object, field) = (pointer.clone(), field.clone());
                    self.found.push(Found::Unknown { object, field, meant, fields: fields.clone(), secret });
                }
            }
            ValidationErrorKind::Required { property } => {
                let field = property.as_str().unwrap_or_default().to_owned();
                let example = self
                    .subschema(error)
                    .get("properties")
                    .and_then(|fields| fields.get(&field))
                    .and_then(|schema| example(self.schema, schema));
                self.found.push(Found::Missing { object: pointer, field, example, secret });
            }
            ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
                self.alternatives(error, context);
            }
            ValidationErrorKind::Type { .. } => self.wrong_type(error),
            ValidationErrorKind::Enum { .. } | ValidationErrorKind::Constant { .. } => {
                self.wrong_value(error);
            }
            ValidationErrorKind::PropertyNames { error: inner } => {
                let (phrase, help) = limits(inner, self.subschema(inner));
                let key = inner.instance().as_str().unwrap_or_default().to_owned();
                let pointer = format!("{pointer}/{}", token(&key));
                self.fault(
                    pointer,
                    At::Key,
                    format!("the key {} {phrase}", words::tick(&key)),
                    "this key",
                    help,
                    secret,
                );
            }
            _ => {
                let (phrase, help) = limits(error, self.subschema(error));
                let title = format!("{} {phrase}", words::tick(&name_of(&pointer)));
                self.fault(pointer, At::Value, title, "", help, secret);
            }
        }
    }

    fn fault(
        &mut self,
        pointer: String,
        at: At,
        title: String,
        label: impl Into<String>,
        help: Vec<String>,
        secret: bool,
    ) {
        self.found.push(Found::Fault(Fault { pointer, at, title, label: label.into(), help, secret }));
    }

    /// The schema whose keyword was broken.
    fn subschema(&self, error: &ValidationError<'_>) -> &Value {
        let path = error.schema_path().as_str();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        self.schema.pointer(parent).unwrap_or(&Value::Null)
    }

    /// Whether an error is about a reference to a secret, or something inside one.
    fn within_secret(&self, error: &ValidationError<'_>) -> bool {
        let path = error.schema_path().as_str();
        path.match_indices('/').filter_map(|(end, _)| self.schema.pointer(&path[..end])).any(is_secret)
    }

    /// The fields that the object of an error may have.
    fn fields(&self, error: &ValidationError<'_>) -> Vec<String> {
        let fields = self.subschema(error).get("properties").and_then(Value::as_object);
        fields.map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
    }

    fn at(&self, pointer: &str) -> &Value {
        self.value.pointer(pointer).unwrap_or(&Value::Null)
    }

    fn wrong_type(&mut self, error: &ValidationError<'_>) {
        let pointer = error.instance_path().as_str();
        let schema = self.subschema(error).clone();
        self.type_fault(pointer, &schema);
    }

    fn type_fault(&mut self, pointer: &str, schema: &Value) {
        let name = name_of(pointer);
        let value = self.at(pointer).clone();
        if wants_only_secret(self.schema, schema) && (value.is_string() || value.is_number()) {
            let title =
                format!("{} is written out, but it must be a reference to a secret", words::tick(&name));
            let help = vec![
                format!("put the value into Vault and write `{name}: {{ vault: <path>, key: <key> }}`"),
                "whoever can read this repository has seen the value: choose another one".to_owned(),
            ];
            self.fault(pointer.to_owned(), At::Value, title, "a secret may not stand here", help, true);
            return;
        }
        let wanted = wanted(self.schema, schema);
        let title = format!("{} is {}, but {wanted} is needed", words::tick(&name), is_what(&value));
        let help = self.type_help(pointer, &name, &value, schema);
        let secret = alternatives(self.schema, schema).into_iter().any(is_secret);
        self.fault(pointer.to_owned(), At::Value, title, format!("expected {wanted}"), help, secret);
    }

    fn type_help(&self, pointer: &str, name: &str, value: &Value, schema: &Value) -> Vec<String> {
        let written = (self.written)(pointer);
        let (text, plain) = written.as_ref().map_or(("", false), |written| (written.text, written.plain));
        let alternatives = alternatives(self.schema, schema);
        let wants = |name: &str| alternatives.iter().any(|schema| types(schema).contains(&name));
        let short = text.len() <= 60 && !text.contains(['\n', '"', '\\']);
        // In a list there is no key to repeat.
        let assign = |value: &str| {
            if name.ends_with(']') { format!("`{value}`") } else { format!("`{name}: {value}`") }
        };
        if wants("string") && (value.is_number() || value.is_boolean()) && short {
            return vec![format!("put quotes around it: {}", assign(&format!("\"{text}\"")))];
        }
        if wants("boolean") && plain && value.is_string() {
            let meant = match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" => Some("true"),
                "no" | "off" | "n" => Some("false"),
                _ => None,
            };
            if let Some(meant) = meant {
                return vec![format!("`{text}` is text in YAML 1.2: write {}", assign(meant))];
            }
        }
        if (wants("integer") || wants("number"))
            && let Value::String(digits) = value
        {
            let bare = digits.replace('_', "");
            if bare.parse::<i64>().is_ok() && short {
                let what = if plain { "without `_`" } else { "without quotes" };
                return vec![format!("write the number {what}: {}", assign(&bare))];
            }
            let example = example(self.schema, schema).unwrap_or_default();
            return vec![format!("write a number, for example {}", assign(&example))];
        }
        if let Some(fields) = alternatives.first().and_then(|schema| schema.get("properties")?.as_object())
            && alternatives.len() == 1
        {
            let names: Vec<&String> = fields.keys().collect();
            return vec![format!("its fields are {}", words::list(&names, "and"))];
        }
        let example = example(self.schema, schema);
        example.map(|example| format!("for example {}", assign(&example))).into_iter().collect()
    }

    fn wrong_value(&mut self, error: &ValidationError<'_>) {
        let pointer = error.instance_path().as_str();
        let schema = self.subschema(error).clone();
        self.value_fault(pointer, &allowed(self.schema, &schema).unwrap_or_default());
    }

    fn value_fault(&mut self, pointer: &str, allowed: &[Value]) {
        let words: Vec<String> = allowed
            .iter()
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
            .collect();
        let value = self.at(pointer);
        let title = match value {
            Value::String(text) => {
                format!("{} cannot be {}", words::tick(&name_of(pointer)), words::tick(text))
            }
            other => {
                format!("{} is {}, which is not allowed", words::tick(&name_of(pointer)), is_what(other))
            }
        };
        let mut help = vec![format!("write {}", words::list(&words, "or"))];
        let text = value.as_str().unwrap_or_default();
        help.extend(words::did_you_mean(text, words.iter().map(String::as_str)));
        help.reverse();
        self.fault(pointer.to_owned(), At::Value, title, "not one of the allowed values", help, false);
    }

    /// Of several alternatives, explains the one that was most likely meant.
    fn alternatives(&mut self, error: &ValidationError<'_>, context: &[Vec<ValidationError<'static>>]) {
        let pointer = error.instance_path().as_str();
        let schema = self.subschema(error).clone();
        if let Some(allowed) = allowed(self.schema, &schema) {
            return self.value_fault(pointer, &allowed);
        }
        let depth = pointer.len();
        let of_this_type = |errors: &&Vec<ValidationError<'static>>| {
            !errors.iter().any(|error| {
                error.instance_path().as_str().len() == depth
                    && matches!(
                        error.kind(),
                        ValidationErrorKind::Type { .. }
                            | ValidationErrorKind::Constant { .. }
                            | ValidationErrorKind::Enum { .. }
                    )
            })
        };
        let nested_fits =
            |errors: &&Vec<ValidationError<'static>>| !errors.is_empty() && of_this_type(errors);
        let best = context.iter().filter(nested_fits).min_by_key(|errors| self.cost(errors, depth));
        match best {
            Some(errors) => errors.iter().for_each(|error| self.error(error)),
            None => self.type_fault(pointer, &schema),
        }
    }

    /// How far a value is from an alternative.
    fn cost(&self, errors: &[ValidationError<'static>], depth: usize) -> usize {
        errors
            .iter()
            .map(|error| match error.kind() {
                ValidationErrorKind::AdditionalProperties { unexpected } => {
                    let fields = self.fields(error);
                    let near =
                        |field: &String| words::closest(field, fields.iter().map(String::as_str)).is_some();
                    unexpected.iter().map(|field| if near(field) { 1 } else { 4 }).sum()
                }
                ValidationErrorKind::Required { .. } => 3,
                // A tag that says it is another one.
                ValidationErrorKind::Constant { .. } if error.instance_path().as_str().len() > depth => 20,
                _ => 1,
            })
            .sum()
    }

    /// Brings together what belongs together: a misspelt field is not also missing, and the missing fields
    /// of one object are one fault.
    fn faults(self) -> Vec<Fault> {
        let meant: Vec<(String, String)> = self
            .found
            .iter()
            .filter_map(|found| match found {
                Found::Unknown { object, meant: Some(meant), .. } => Some((object.clone(), meant.clone())),
                _ => None,
            })
            .collect();
        let mut faults: Vec<Fault> = Vec::new();
        let mut missing: Vec<Lacking> = Vec::new();
        for found in self.found {
            match found {
                Found::Fault(fault) => faults.push(fault),
                Found::Unknown { object, field, meant, fields, secret } => {
                    faults.push(unknown(&object, &field, meant.as_deref(), &fields, secret));
                }
                Found::Missing { object, field, example, secret } => {
                    if meant.contains(&(object.clone(), field.clone())) {
                        continue;
                    }
                    match missing.iter_mut().find(|lacking| lacking.object == object) {
                        Some(lacking) if !lacking.fields.contains(&field) => lacking.fields.push(field),
                        Some(_) => {}
                        None => missing.push(Lacking { object, fields: vec![field], example, secret }),
                    }
                }
            }
        }
        faults.extend(missing.into_iter().map(Lacking::fault));
        faults.sort_by(|a, b| (&a.pointer, a.at, &a.title).cmp(&(&b.pointer, b.at, &b.title)));
        faults.dedup();
        faults
    }
}

fn unknown(object: &str, field: &str, meant: Option<&str>, fields: &[String], secret: bool) -> Fault {
    let help = match meant {
        Some(meant) => vec![format!("did you mean {}?", words::tick(meant))],
        None if fields.is_empty() => vec!["leave it out".to_owned()],
        None => vec![format!("the fields here are {}", words::list(fields, "and"))],
    };
    Fault {
        pointer: format!("{object}/{}", token(field)),
        at: At::Key,
        title: format!("unknown field {} in {}", words::tick(field), words::tick(&name_of(object))),
        label: "there is no such field".to_owned(),
        help,
        secret,
    }
}

/// The fields that an object must have and has not.
struct Lacking {
    object: String,
    fields: Vec<String>,
    /// How the first of them might be written.
    example: Option<String>,
    secret: bool,
}

impl Lacking {
    fn fault(self) -> Fault {
        let listed = words::list(&self.fields, "and");
        let verb = if self.fields.len() == 1 { "is" } else { "are" };
        let help = match (self.fields.as_slice(), self.example) {
            ([field], Some(example)) => format!("add it, for example `{field}: {example}`"),
            ([_], None) => "add it".to_owned(),
            _ => "add them".to_owned(),
        };
        Fault {
            title: format!("{listed} {verb} missing in {}", words::tick(&name_of(&self.object))),
            pointer: self.object,
            at: At::Key,
            label: format!("without {listed}"),
            help: vec![help],
            secret: self.secret,
        }
    }
}

/// What a keyword that limits a value asks for: a phrase that follows the value's name, and help.
fn limits(error: &ValidationError<'_>, schema: &Value) -> (String, Vec<String>) {
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
        Kind::MinItems { limit: 1 } => ("is an empty list".to_owned(), none()),
        Kind::MinItems { limit } => (format!("must have at least {}", several(*limit, "item")), none()),
        Kind::MaxItems { limit } => (format!("must have at most {}", several(*limit, "item")), none()),
        Kind::MinProperties { limit } => (format!("must have at least {}", several(*limit, "field")), none()),
        Kind::MaxProperties { limit } => (format!("must have at most {}", several(*limit, "field")), none()),
        Kind::UniqueItems => ("has the same item twice".to_owned(), none()),
        Kind::Pattern { pattern } => {
            let about = schema.get("description").and_then(Value::as_str);
            let about = about.map(|text| words::clip(text.lines().next().unwrap_or_default(), 200));
            (
                "is not written as it must be".to_owned(),
                vec![about.unwrap_or_else(|| format!("it must match `{pattern}`"))],
            )
        }
        Kind::Format { format } => (format!("is no valid {format}"), none()),
        Kind::FalseSchema => ("may not stand here".to_owned(), none()),
        other => (format!("does not fit (`{}`)", other.keyword()), none()),
    }
}

/// How people call the value at a pointer: `cores`, `files[0]`, and `spec` for the whole.
pub(crate) fn name_of(pointer: &str) -> String {
    let mut name = String::new();
    for part in pointer.split('/').skip(1) {
        let part = part.replace("~1", "/").replace("~0", "~");
        if !name.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) {
            name = format!("{name}[{part}]");
        } else {
            name = part;
        }
    }
    if name.is_empty() { "spec".to_owned() } else { name }
}
