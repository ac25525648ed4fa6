//! What a schema asks for, in words and as an example.

use serde_json::Value;

use crate::manifest::words;

/// Follows local references.
pub(crate) fn deref<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    for _ in 0..8 {
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix('#'))
            .and_then(|pointer| root.pointer(pointer));
        match target {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

/// The alternatives of a schema: itself where there are none. Nothing (`null`) is no alternative.
pub(crate) fn alternatives<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let schema = deref(root, schema);
    match branches(schema) {
        Some(branches) => branches
            .iter()
            .flat_map(|branch| alternatives(root, branch))
            .filter(|branch| branch.get("type").and_then(Value::as_str) != Some("null"))
            .collect(),
        None => vec![schema],
    }
}

pub(crate) fn branches(schema: &Value) -> Option<&Vec<Value>> {
    schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array)
}

/// A reference to a secret: an object with `vault` and `key`.
pub(crate) fn is_secret(schema: &Value) -> bool {
    has_fields(schema, "vault", "key")
}

fn has_fields(schema: &Value, one: &str, other: &str) -> bool {
    let fields = schema.get("properties").and_then(Value::as_object);
    fields.is_some_and(|fields| fields.contains_key(one) && fields.contains_key(other))
}

/// Whether it takes a reference to a secret and no text: whatever text stands there is the secret itself.
pub(crate) fn wants_only_secret(root: &Value, schema: &Value) -> bool {
    let alternatives = alternatives(root, schema);
    alternatives.iter().any(|schema| is_secret(schema))
        && !alternatives.iter().any(|schema| types(schema).contains(&"string"))
}

/// The types that a schema names, `null` aside.
pub(crate) fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect()
        }
        _ => Vec::new(),
    }
}

/// The values that a schema allows, where it lists them.
pub(crate) fn allowed(root: &Value, schema: &Value) -> Option<Vec<Value>> {
    let mut values = Vec::new();
    for alternative in alternatives(root, schema) {
        match (alternative.get("const"), alternative.get("enum").and_then(Value::as_array)) {
            (Some(value), _) => values.push(value.clone()),
            (None, Some(listed)) => values.extend(listed.iter().filter(|value| !value.is_null()).cloned()),
            (None, None) => return None,
        }
    }
    (!values.is_empty()).then_some(values)
}

/// `a whole number`, `a reference to a secret`, `a list`.
pub(crate) fn wanted(root: &Value, schema: &Value) -> String {
    let mut names: Vec<String> = Vec::new();
    for alternative in alternatives(root, schema) {
        for name in wanted_one(alternative) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    match names.as_slice() {
        [] => "something else".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn wanted_one(schema: &Value) -> Vec<String> {
    if is_secret(schema) {
        return vec!["a reference to a secret".to_owned()];
    }
    if has_fields(schema, "ref", "output") {
        return vec!["a reference to an output".to_owned()];
    }
    if has_fields(schema, "template", "vars") {
        return vec!["a template".to_owned()];
    }
    if let Some(fields) = schema.get("properties").and_then(Value::as_object)
        && fields.len() == 1
        && fields.contains_key("file")
    {
        return vec!["a file".to_owned()];
    }
    if let Some(value) = schema.get("const").and_then(Value::as_str) {
        return vec![words::tick(value)];
    }
    types(schema).into_iter().map(|name| type_in_words(name).to_owned()).collect()
}

pub(crate) fn type_in_words(name: &str) -> &str {
    match name {
        "string" => "a string",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        "array" => "a list",
        "object" => "an object",
        other => other,
    }
}

/// What a value is, in words.
pub(crate) fn is_what(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "`true` or `false`",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What a field is, as its type says: the first sentence, as a phrase.
pub(crate) fn about(schema: &Value) -> Option<String> {
    let text = schema.get("description")?.as_str()?.lines().next()?;
    let text = first_sentence(text);
    let mut letters = text.chars();
    let first = letters.next()?;
    // `DNS servers` stays as it is.
    let is_word = letters.clone().next().is_some_and(char::is_lowercase) || letters.as_str().starts_with(' ');
    let first = if is_word { first.to_lowercase().to_string() } else { first.to_string() };
    Some(words::clip(&format!("{first}{}", letters.as_str()), 200))
}

/// Without its full stop. A stop in backticks ends nothing.
fn first_sentence(text: &str) -> &str {
    let mut quoted = false;
    for (at, letter) in text.char_indices() {
        quoted ^= letter == '`';
        if !quoted && text[at..].starts_with(". ") {
            return &text[..at];
        }
    }
    text.trim_end_matches('.')
}

/// A value as a manifest might write it, where one can be made up.
pub(crate) fn example(root: &Value, schema: &Value) -> Option<String> {
    let schema = *alternatives(root, schema).first()?;
    let given = schema.get("examples").and_then(|examples| examples.get(0));
    if let Some(value) = given {
        return Some(value.to_string()).filter(|text| text.len() <= 60);
    }
    if let Some(Value::String(first)) = allowed(root, schema).and_then(|values| values.first().cloned()) {
        return Some(first);
    }
    if is_secret(schema) {
        return Some("{ vault: kv/some/path, key: password }".to_owned());
    }
    if has_fields(schema, "ref", "output") {
        return Some("{ ref: Kind/name, output: address }".to_owned());
    }
    match types(schema).first().copied()? {
        "integer" | "number" => Some(number_within(schema).to_string()),
        "boolean" => Some("true".to_owned()),
        "array" => {
            let item = schema.get("items").and_then(|items| example(root, items));
            Some(item.map_or_else(|| "[…]".to_owned(), |item| format!("[{item}]")))
        }
        _ => None,
    }
}

fn number_within(schema: &Value) -> i64 {
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
    #[expect(clippy::cast_possible_truncation, reason = "an example need not be exact")]
    let bound = |number: f64| number as i64;
    let least = limit("minimum").map_or(i64::MIN, bound);
    let most = limit("maximum").map_or(i64::MAX, bound);
    2.clamp(least, most.max(least))
}

/// Whether a secret may stand at a pointer, by the schema.
pub(crate) fn may_be_secret(root: &Value, pointer: &str) -> bool {
    let mut here = vec![deref(root, root)];
    for token in pointer.split('/').skip(1) {
        let key = token.replace("~1", "/").replace("~0", "~");
        let next: Vec<&Value> = here
            .iter()
            .flat_map(|schema| alternatives(root, schema))
            .filter_map(|schema| {
                let field = schema.get("properties").and_then(|fields| fields.get(&key));
                field.or_else(|| schema.get("items")).or_else(|| schema.get("additionalProperties"))
            })
            .collect();
        if next.is_empty() {
            return true;
        }
        here = next;
    }
    here.iter().flat_map(|schema| alternatives(root, schema)).any(is_secret)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_told_by_its_first_sentence() {
        let told = |text: &str| about(&json!({ "description": text })).unwrap();
        assert_eq!(told("The node. It never moves."), "the node");
        assert_eq!(
            told("It must be one line such as `ssh-ed25519 AAAA... me@laptop`."),
            "it must be one line such as `ssh-ed25519 AAAA... me@laptop`"
        );
        assert_eq!(told("DNS servers."), "DNS servers");
    }
}
