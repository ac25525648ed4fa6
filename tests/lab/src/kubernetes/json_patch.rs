//! RFC 6902 JSON patches.

use serde_json::Value;

/// Applies a list of operations; the first that cannot be done ends it, and says why.
pub(super) fn apply(target: &mut Value, operations: &Value) -> Result<(), String> {
    let operations =
        operations.as_array().ok_or("json: cannot unmarshal object into Go value of type jsonpatch.Patch")?;
    for step in operations {
        let path = step["path"].as_str().ok_or("operation has no path")?;
        let value = || step.get("value").cloned().ok_or_else(|| "operation has no value".to_owned());
        match step["op"].as_str().unwrap_or_default() {
            "add" => add(target, path, value()?)?,
            "remove" => drop(take(target, path)?),
            "replace" => {
                let value = value()?;
                let place = target
                    .pointer_mut(path)
                    .ok_or_else(|| format!("replace operation does not apply: doc is missing key: {path}"))?;
                *place = value;
            }
            "test" => {
                if target.pointer(path).unwrap_or(&Value::Null) != step.get("value").unwrap_or(&Value::Null) {
                    return Err(format!("testing value {path} failed: test failed"));
                }
            }
            "copy" | "move" => {
                let from = step["from"].as_str().ok_or("operation has no from")?;
                let value = if step["op"] == "move" {
                    take(target, from)?
                } else {
                    target.pointer(from).cloned().ok_or_else(|| missing("copy", from))?
                };
                add(target, path, value)?;
            }
            other => return Err(format!("Unexpected kind: {other}")),
        }
    }
    Ok(())
}

fn missing(operation: &str, path: &str) -> String {
    format!("{operation} operation does not apply: doc is missing path: {path:?}: missing value")
}

fn split(path: &str) -> Result<(&str, String), String> {
    let (parent, last) = path.rsplit_once('/').ok_or_else(|| missing("add", path))?;
    Ok((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent) {
        Some(Value::Object(entries)) => {
            entries.insert(last, value);
            Ok(())
        }
        Some(Value::Array(items)) if last == "-" => {
            items.push(value);
            Ok(())
        }
        Some(Value::Array(items)) => {
            let at = last.parse::<usize>().ok().filter(|at| *at <= items.len());
            items.insert(at.ok_or_else(|| format!("invalid array index: {last}"))?, value);
            Ok(())
        }
        _ => Err(missing("add", path)),
    }
}

fn take(target: &mut Value, path: &str) -> Result<Value, String> {
    let (parent, last) = split(path)?;
    let taken = match target.pointer_mut(parent) {
        Some(Value::Object(entries)) => entries.remove(&last),
        Some(Value::Array(items)) => {
            let at = last.parse::<usize>().ok().filter(|at| *at < items.len());
            at.map(|at| items.remove(at))
        }
        _ => None,
    };
    taken.ok_or_else(|| missing("remove", path))
}
