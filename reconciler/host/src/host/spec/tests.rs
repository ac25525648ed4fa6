//! What a manifest may say, and what it is told where it may not.

use serde_json::{Value, json};

use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPf+IuJYOEeLE8Np0c0jEHrnYfqXNt6T4XZcLEqmGKUo";

fn read(more: &Value) -> Result<HostSpec, String> {
    let mut spec = json!({ "connection": { "address": "10.0.0.1", "hostKey": KEY } });
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    serde_json::from_value(spec).map_err(|error| error.to_string())
}

#[test]
fn what_is_left_out_has_the_usual_values() {
    let spec = read(&json!({
        "files": [{ "path": "/etc/motd", "content": "hello\n" }],
        "services": [{ "name": "web.service", "restartOn": ["/etc/motd"] }],
    }))
    .unwrap();
    assert_eq!((spec.connection.user.as_str(), spec.connection.port), ("root", 22));
    assert_eq!((spec.files[0].mode.to_string(), spec.files[0].owner.as_str()), ("0644".to_owned(), "root"));
    assert!(spec.services[0].enabled && spec.services[0].running);
}

#[test]
fn what_does_not_fit_together_is_refused_with_the_reason() {
    let file = |path: &str| json!({ "path": path, "content": "" });
    let refused = |more: Value, why: &str| {
        let error = read(&more).unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    refused(json!({ "files": [file("/a"), file("/a")] }), "`/a` is declared twice");
    refused(json!({ "files": [file("/a")], "directories": [{ "path": "/a" }] }), "`/a` is declared twice");
    refused(json!({ "files": [file("/a"), file("/a/b/c")] }), "`/a/b/c` cannot be in `/a`");
    refused(json!({ "packages": ["curl", "curl"] }), "`curl` is declared twice");
    refused(
        json!({ "services": [{ "name": "a.service", "restartOn": ["/x"] }] }),
        "none of this host's `files`",
    );
    refused(json!({ "files": [{ "path": "/a", "content": "a\u{0}b" }] }), "NUL");
    refused(json!({ "connection": { "address": "a", "hostKey": "10.0.0.1 ssh-ed25519 AAAA" } }), "hostKey");
    refused(json!({ "connection": { "address": "a b", "hostKey": KEY } }), "`a b`");
    refused(json!({ "files": [{ "path": "/a", "content": "", "mode": "rw" }] }), "octal");
    refused(json!({ "fils": [] }), "unknown field `fils`");
}

#[test]
fn references_stand_where_a_guest_tells_its_address() {
    let reference = |output: &str| json!({ "ref": "VirtualMachine/a", "output": output });
    let connection = json!({ "address": reference("address"), "hostKey": reference("hostKey") });
    let spec = read(&json!({ "connection": connection })).unwrap();
    assert_eq!(spec.connection.address.value(), None);
}

#[test]
fn the_schema_is_of_what_a_manifest_writes() {
    let schema = schemars::generate::SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<HostSpec>();
    let schema = schema.to_value();
    assert_eq!(schema["required"], json!(["connection"]));
    assert_eq!(schema["additionalProperties"], false);
}
