//! Structural schemas: what a custom resource definition says of its objects, and how the API enforces it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::status::FieldError;

/// The shape of a value. Fields that an object does not list are unknown, and pruned.
#[derive(Debug, Clone)]
pub(super) enum Schema {
    Text,
    /// An RFC 3339 moment.
    Moment,
    Bool,
    Int,
    IntOrText,
    /// An object whose insides are kept as they are (`x-kubernetes-preserve-unknown-fields`), or anything.
    Any,
    /// An object as `Any`, but certainly an object.
    Open,
    Map(Box<Self>),
    List(Box<Self>),
    Object {
        fields: BTreeMap<&'static str, Self>,
        required: &'static [&'static str],
    },
}

pub(super) fn any() -> Schema {
    Schema::Any
}

pub(super) fn object<const N: usize>(fields: [(&'static str, Schema); N]) -> Schema {
    Schema::Object { fields: fields.into_iter().collect(), required: &[] }
}

pub(super) fn list(of: Schema) -> Schema {
    Schema::List(Box::new(of))
}

pub(super) fn map(of: Schema) -> Schema {
    Schema::Map(Box::new(of))
}

pub(super) fn required(names: &'static [&'static str], schema: Schema) -> Schema {
    match schema {
        Schema::Object { fields, .. } => Schema::Object { fields, required: names },
        other => other,
    }
}

impl Schema {
    fn type_name(&self) -> &'static str {
        match self {
            Self::Text | Self::Moment => "string",
            Self::Bool => "boolean",
            Self::Int => "integer",
            Self::IntOrText => "integer,string",
            Self::List(_) => "array",
            Self::Any | Self::Open | Self::Map(_) | Self::Object { .. } => "object",
        }
    }

    fn fits(&self, value: &Value) -> bool {
        match self {
            Self::Text | Self::Moment => value.is_string(),
            Self::Bool => value.is_boolean(),
            Self::Int => value.is_i64() || value.is_u64(),
            Self::IntOrText => value.is_i64() || value.is_u64() || value.is_string(),
            Self::Any => true,
            Self::Open | Self::Map(_) | Self::Object { .. } => value.is_object(),
            Self::List(_) => value.is_array(),
        }
    }

    /// The parts of a value with their names and schemas; a part without a schema is unknown.
    fn parts<'a>(&'a self, value: &'a Value) -> Vec<(String, Option<&'a Self>, &'a Value)> {
        match (self, value) {
            (Self::Map(of), Value::Object(entries)) => {
                entries.iter().map(|(key, value)| (format!(".{key}"), Some(&**of), value)).collect()
            }
            (Self::List(of), Value::Array(items)) => {
                items.iter().enumerate().map(|(at, value)| (format!("[{at}]"), Some(&**of), value)).collect()
            }
            (Self::Object { fields, .. }, Value::Object(entries)) => entries
                .iter()
                .map(|(key, value)| (format!(".{key}"), fields.get(key.as_str()), value))
                .collect(),
            _ => Vec::new(),
        }
    }

    /// What validation says when an object is to be stored.
    pub(super) fn errors(&self, value: &Value, path: &str) -> Vec<FieldError> {
        let field = path.trim_start_matches('.').to_owned();
        if !self.fits(value) {
            let (found, wanted) = (json_type(value), self.type_name());
            let detail = format!("{field} in body must be of type {wanted}: {found:?}");
            let mut error = FieldError::invalid(field, &format!("{found:?}"), &detail);
            error.reason = "FieldValueTypeInvalid";
            return vec![error];
        }
        if matches!(self, Self::Moment)
            && value.as_str().is_some_and(|text| text.parse::<jiff::Timestamp>().is_err())
        {
            let detail = format!("{field} in body must be of type date-time: {value}");
            return vec![FieldError::invalid(field, &value.to_string(), &detail)];
        }
        let mut errors = Vec::new();
        if let Self::Object { required, .. } = self {
            let missing = required.iter().filter(|name| value.get(**name).is_none());
            errors.extend(missing.map(|name| {
                let field = format!("{path}.{name}");
                FieldError::required(field.trim_start_matches('.'), "")
            }));
        }
        for (step, schema, part) in self.parts(value) {
            if let Some(schema) = schema {
                errors.extend(schema.errors(part, &format!("{path}{step}")));
            }
        }
        errors
    }

    /// What apply says when it reads a configuration by the schema: neither a wrong type nor an unknown field
    /// passes.
    pub(super) fn apply_errors(&self, value: &Value, path: &str) -> Vec<String> {
        if value.is_null() {
            return Vec::new();
        }
        if !self.fits(value) {
            let shown = match value {
                Value::Object(_) | Value::Array(_) => json_type(value).to_owned(),
                scalar => scalar.to_string(),
            };
            let got = format!("&value.valueUnstructured{{Value:{shown}}}");
            let expected = match self {
                Self::Int => "expected numeric (int or float)",
                Self::Bool => "expected boolean",
                Self::List(_) => "expected list",
                Self::Open | Self::Map(_) | Self::Object { .. } => "expected map",
                Self::Text | Self::Moment | Self::IntOrText | Self::Any => "expected string",
            };
            return vec![format!("{path}: {expected}, got {got}")];
        }
        let mut errors = Vec::new();
        for (step, schema, part) in self.parts(value) {
            match schema {
                Some(schema) => errors.extend(schema.apply_errors(part, &format!("{path}{step}"))),
                None => errors.push(format!("{path}{step}: field not declared in schema")),
            }
        }
        errors
    }

    /// The unknown fields in a value, such as `spec.sorce`.
    pub(super) fn unknown(&self, value: &Value, path: &str) -> Vec<String> {
        let mut names = Vec::new();
        for (step, schema, part) in self.parts(value) {
            match schema {
                Some(schema) => names.extend(schema.unknown(part, &format!("{path}{step}"))),
                None => names.push(format!("{path}{step}").trim_start_matches('.').to_owned()),
            }
        }
        names
    }

    /// Drops unknown fields and nulls, as the API does before it stores an object.
    pub(super) fn prune(&self, value: &mut Value) {
        match (self, value) {
            (Self::Object { fields, .. }, Value::Object(entries)) => {
                entries.retain(|key, value| fields.contains_key(key.as_str()) && !value.is_null());
                for (key, value) in entries.iter_mut() {
                    if let Some(schema) = fields.get(key.as_str()) {
                        schema.prune(value);
                    }
                }
            }
            (Self::Map(of), Value::Object(entries)) => entries.values_mut().for_each(|value| of.prune(value)),
            (Self::List(of), Value::Array(items)) => items.iter_mut().for_each(|value| of.prune(value)),
            _ => {}
        }
    }
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
