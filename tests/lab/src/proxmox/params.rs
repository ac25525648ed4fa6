//! Reads the parameters of a request as a Proxmox server does: its form decoding, and JSON bodies.

use std::collections::BTreeMap;

use serde_json::Value;

/// One parameter as it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Given {
    One(String),
    Many(Vec<String>),
    /// A JSON object, which no parameter takes.
    Hash,
}

/// The parameters of one request, of its path, query and body.
#[derive(Debug, Clone, Default)]
pub(super) struct Params(pub(super) BTreeMap<String, Given>);

impl Params {
    /// Reads `a=1&b=2`. Pairs end at `&` and `;`, what follows a second `=` is dropped, `+` is a space.
    pub(super) fn from_form(text: &str) -> Self {
        let mut params = Self::default();
        for pair in text.split(['&', ';']).filter(|pair| !pair.is_empty()) {
            let mut parts = pair.split('=');
            let key = unescape(parts.next().unwrap_or_default());
            params.add(key, unescape(parts.next().unwrap_or_default()));
        }
        params
    }

    /// Reads a JSON object; `None` if it is none.
    pub(super) fn from_json(text: &str) -> Option<Self> {
        let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else { return None };
        let given = fields.into_iter().filter_map(|(key, value)| Some((key, json_given(value)?)));
        Some(Self(given.collect()))
    }

    /// Repeated keys make an array.
    fn add(&mut self, key: String, value: String) {
        let given = match self.0.remove(&key) {
            None => Given::One(value),
            Some(Given::One(first)) => Given::Many(vec![first, value]),
            Some(Given::Many(mut all)) => {
                all.push(value);
                Given::Many(all)
            }
            Some(Given::Hash) => Given::Hash,
        };
        self.0.insert(key, given);
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        match self.0.get(key) {
            Some(Given::One(text)) => Some(text),
            _ => None,
        }
    }

    pub(super) fn list(&self, key: &str) -> Vec<String> {
        match self.0.get(key) {
            Some(Given::Many(all)) => all.clone(),
            Some(Given::One(one)) => vec![one.clone()],
            _ => Vec::new(),
        }
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.get(key) == Some("1")
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(|text| text.parse().ok())
    }
}

fn json_given(value: Value) -> Option<Given> {
    Some(match value {
        Value::Null => return None,
        Value::Object(_) => Given::Hash,
        Value::Array(all) => Given::Many(all.iter().map(json_text).collect()),
        other => Given::One(json_text(&other)),
    })
}

/// Booleans come as 0 and 1, as everywhere else.
fn json_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(flag) => u8::from(*flag).to_string(),
        other => other.to_string(),
    }
}

fn unescape(text: &str) -> String {
    percent_encoding::percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}
