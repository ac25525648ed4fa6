//! The kind against a small cluster in memory that speaks real HTTP: what a look costs, how a guest comes up.

mod cluster;
mod life;
mod looks;

use super::VirtualMachine;

#[test]
fn cases() {
    holdfast_cases::run::<VirtualMachine>(concat!(env!("CARGO_MANIFEST_DIR"), "/src/virtual_machine/cases"));
}

#[test]
fn the_schema_has_a_pattern_for_every_text() {
    let info = holdfast_core::any_kind::KindInfo::of::<VirtualMachine>();
    let schema = (info.schema)();
    let properties = &schema.as_value()["properties"];
    assert_eq!(properties["vmid"]["minimum"], 100);
    assert!(properties["memory"]["pattern"].as_str().is_some_and(|pattern| pattern.contains("GiB")));
    assert!(properties["memory"]["description"].is_string());
    assert_eq!(schema.as_value()["additionalProperties"], false);
    let required = schema.as_value()["required"].as_array().cloned().unwrap_or_default();
    assert_eq!(required, ["vmid", "node", "cores", "memory"]);
    let text = schema.as_value().to_string();
    assert!(!text.contains("null"), "a blank is not an absence: {text}");
}
