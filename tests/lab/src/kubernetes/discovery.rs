//! Discovery: which versions, groups and resources there are.

use serde_json::{Value, json};

use super::resources::TABLE;

/// The answer for a path that is not a resource's, or nothing if there is no such path.
pub(super) fn answer(path: &str, installed: impl Fn(&str) -> bool) -> Option<Value> {
    match path.trim_end_matches('/') {
        "/version" => Some(json!({
            "major": "1", "minor": "36", "gitVersion": "v1.36.0+lab", "gitCommit": "", "gitTreeState": "clean",
            "buildDate": "2026-04-22T00:00:00Z", "goVersion": "go1.26", "compiler": "gc", "platform": "linux/amd64",
        })),
        "/api" => Some(json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443" }],
        })),
        "/apis" => Some(json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": [group()] })),
        "/apis/argoproj.io" => {
            let mut body = group();
            body["kind"] = json!("APIGroup");
            body["apiVersion"] = json!("v1");
            Some(body)
        }
        "/api/v1" => Some(resources("", "v1", installed)),
        "/apis/argoproj.io/v1alpha1" => Some(resources("argoproj.io", "argoproj.io/v1alpha1", installed)),
        _ => None,
    }
}

fn group() -> Value {
    let version = json!({ "groupVersion": "argoproj.io/v1alpha1", "version": "v1alpha1" });
    json!({ "name": "argoproj.io", "versions": [version], "preferredVersion": version })
}

fn resources(group: &str, version: &str, installed: impl Fn(&str) -> bool) -> Value {
    let list: Vec<Value> = TABLE
        .iter()
        .filter(|resource| resource.group == group && installed(resource.plural))
        .map(|resource| {
            json!({
                "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
                "kind": resource.kind, "verbs": resource.verbs, "shortNames": resource.short,
                "storageVersionHash": "",
            })
        })
        .collect();
    json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": list })
}
