//! The schema files for editors: whole manifests, valid by themselves, the same bytes each time.

use holdfast_core::manifest::schema_files;
use serde_json::{Value, json};

use crate::kinds::kinds;

#[test]
fn every_kind_of_ours_has_a_file_that_accepts_a_whole_manifest() {
    let files = schema_files(&kinds());
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["Environment.json", "Machine.json", "Policy.json", "Site.json"]);
    assert_eq!(files, schema_files(&kinds()));
    assert!(files.values().all(|file| file.ends_with("}\n")));

    let schema: Value = serde_json::from_str(&files["Machine.json"]).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let mut manifest = json!({
        "apiVersion": "holdfast/v1",
        "kind": "Machine",
        "metadata": { "name": "a", "dependsOn": ["Machine/b"] },
        "spec": {
            "cores": 2,
            "memory": "4GiB",
            "node": "pve1",
            "address": { "ref": "Machine/b", "output": "address" },
            "files": [{ "path": "/etc/motd", "content": { "file": "files/motd" } }],
        },
    });
    assert!(validator.is_valid(&manifest));
    manifest["spec"]["coers"] = json!(2);
    assert!(!validator.is_valid(&manifest));
    let site: Value = serde_json::from_str(&files["Site.json"]).unwrap();
    assert_eq!(site["properties"]["kind"]["const"], "Site");
    assert_eq!(site["$id"], "urn:holdfast:schema:v1:Site");
}
