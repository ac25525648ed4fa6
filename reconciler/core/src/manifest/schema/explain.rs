//! Turns the errors of a validator into faults that a person can act on.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use super::Written;
use super::describe::{
    about, allowed, alternatives, example, is_secret, is_what, types, wanted, wants_only_secret,
};
use super::fault::{At, Fault, Found, name_of, together};
use super::limits::limits;
use crate::manifest::words;
use crate::manifest::yaml::token;

/// The most errors of one document that are explained.
const MOST: usize = 200;

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
    together(explainer.found)
}

struct Explainer<'e, 'a> {
    schema: &'e Value,
    value: &'e Value,
    written: &'e dyn Fn(&str) -> Option<Written<'a>>,
    found: Vec<Found>,
}

impl Explainer<'_, '_> {
    fn error(&mut self, error: &ValidationError<'_>) {
        let pointer = error.instance_path().as_str().to_owned();
        let secret = self.within_secret(error);
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let fields = self.fields(error);
                for field in unexpected.iter().take(MOST) {
                    let meant = words::closest(field, fields.iter().map(String::as_str)).map(str::to_owned);
                    // A misspelt `password` is followed by a password.
                    let secret =
                        secret || meant.as_ref().is_some_and(|meant| self.takes_secret(error, meant));
                    let (object, field) = (pointer.clone(), field.clone());
                    self.found.push(Found::Unknown { object, field, meant, fields: fields.clone(), secret });
                }
            }
            ValidationErrorKind::Required { property } => {
                let field = property.as_str().unwrap_or_default().to_owned();
                let schema = self.subschema(error).get("properties").and_then(|fields| fields.get(&field));
                let example = schema.and_then(|schema| example(self.schema, schema));
                let help = match (example, schema.and_then(about)) {
                    (Some(example), _) => format!("add it, for example `{field}: {example}`"),
                    (None, Some(about)) => format!("add it: {about}"),
                    (None, None) => "add it".to_owned(),
                };
                self.found.push(Found::Missing { object: pointer, field, help });
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
        let hide = secret.then(|| pointer.clone());
        self.found.push(Found::Fault(Fault { pointer, at, title, label: label.into(), help, hide }));
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

    /// Whether a field of the object of an error takes nothing but a reference to a secret.
    fn takes_secret(&self, error: &ValidationError<'_>, field: &str) -> bool {
        let schema = self.subschema(error).get("properties").and_then(|fields| fields.get(field));
        schema.is_some_and(|schema| wants_only_secret(self.schema, schema))
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
        let secret = wants_only_secret(self.schema, schema);
        self.fault(pointer.to_owned(), At::Value, title, format!("expected {wanted}"), help, secret);
    }

    fn type_help(&self, pointer: &str, name: &str, value: &Value, schema: &Value) -> Vec<String> {
        if let Some(object) = value.as_object() {
            let has = |one: &str, other: &str| object.contains_key(one) && object.contains_key(other);
            if has("vault", "key") {
                return vec!["no secret may stand here: write the value".to_owned()];
            }
            if has("ref", "output") {
                return vec!["no reference may stand here: write the value".to_owned()];
            }
        }
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
            if bare.parse::<i64>().is_ok() {
                let what = if plain { "without `_`" } else { "without quotes" };
                return vec![format!("write the number {what}: {}", assign(&bare))];
            }
        }
        if let Some(example) = self.typed_example(value, schema) {
            let what = match types(alternatives[0]).first() {
                Some(&("integer" | "number")) => "write a number, for example ",
                Some(&"array") => "write a list, for example ",
                _ => "for example ",
            };
            return vec![format!("{what}{}", assign(&example))];
        }
        if let Some(fields) = alternatives.first().and_then(|schema| schema.get("properties")?.as_object())
            && alternatives.len() == 1
        {
            let names: Vec<&String> = fields.keys().collect();
            return vec![format!("its fields are {}", words::list(&names, "and"))];
        }
        Vec::new()
    }

    /// What might stand in the place of a value of a wrong type.
    fn typed_example(&self, value: &Value, schema: &Value) -> Option<String> {
        let first = *alternatives(self.schema, schema).first()?;
        if first.get("properties").is_some() && !is_secret(first) {
            return None;
        }
        match value {
            Value::String(text) if types(first).contains(&"array") && text.len() <= 40 => {
                Some(format!("[{}]", words::safe(text)))
            }
            _ => example(self.schema, schema),
        }
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
        let text = value.as_str().unwrap_or_default();
        let near = words::did_you_mean(text, words.iter().map(String::as_str));
        let help = near.into_iter().chain([format!("write {}", words::list(&words, "or"))]).collect();
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
        if let Some((at, allowed)) = self.tags(context) {
            return self.value_fault(&at, &allowed);
        }
        let nested_fits =
            |errors: &&Vec<ValidationError<'static>>| !errors.is_empty() && of_this_type(errors);
        let best = context.iter().filter(nested_fits).min_by_key(|errors| self.cost(errors, depth));
        match best {
            Some(errors) => errors.iter().for_each(|error| self.error(error)),
            None => self.type_fault(pointer, &schema),
        }
    }

    /// Where every alternative has a tag at the same place and none is the one that is written: that place,
    /// and all tags.
    fn tags(&self, context: &[Vec<ValidationError<'static>>]) -> Option<(String, Vec<Value>)> {
        let mut found: Option<(String, Vec<Value>)> = None;
        for errors in context {
            let tag =
                errors.iter().find(|error| matches!(error.kind(), ValidationErrorKind::Constant { .. }))?;
            let pointer = tag.instance_path().as_str().to_owned();
            let values = allowed(self.schema, self.subschema(tag))?;
            match &mut found {
                None => found = Some((pointer, values)),
                Some((at, all)) if *at == pointer => all.extend(values),
                Some(_) => return None,
            }
        }
        found
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
}
