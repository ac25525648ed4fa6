//! The words for what the schema finds, one small schema a case.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::reference::OrRef;
use crate::secret::SecretRef;
use crate::text::Text;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Spec {
    password: Option<SecretRef>,
    address: OrRef<String>,
    motd: Option<Text>,
    ports: Vec<u16>,
}

fn compiled() -> Compiled {
    Compiled::new(files::schema_of::<Spec>())
}

fn titles(value: &Value) -> Vec<String> {
    compiled().faults(value, &|_| None).into_iter().map(|fault| fault.title).collect()
}

#[test]
fn of_several_alternatives_the_likely_one_is_explained() {
    assert_eq!(titles(&json!({ "address": "10.0.0.1", "ports": [80] })), Vec::<String>::new());
    assert_eq!(
        titles(&json!({ "address": 5, "ports": [] })),
        ["`address` is a number, but a reference to an output or a string is needed"],
    );
    assert_eq!(
        titles(&json!({ "address": { "ref": "A/b" }, "ports": [] })),
        ["`output` is missing in `address`"]
    );
    assert_eq!(
        titles(&json!({ "address": "a", "motd": { "file": "x", "vars": {} }, "ports": [] })),
        ["unknown field `vars` in `motd`"],
    );
    assert_eq!(
        titles(&json!({ "address": "a", "ports": [80, "x", 70_000] })),
        ["`ports[1]` is a string, but a whole number is needed", "`ports[2]` must be at most 65535"],
    );
}

#[test]
fn what_may_be_a_secret_is_known_and_hidden() {
    let compiled = compiled();
    assert!(compiled.may_be_secret("/password"));
    assert!(compiled.may_be_secret("/motd"));
    assert!(!compiled.may_be_secret("/ports/0"));
    let faults = compiled.faults(&json!({ "address": "a", "ports": [], "password": "hunter2" }), &|_| None);
    assert_eq!(faults[0].hide.as_deref(), Some("/password"));
    assert!(!format!("{faults:?}").contains("hunter2"));
    let faults = compiled.faults(&json!({ "address": "a", "ports": [], "pasword": "hunter2" }), &|_| None);
    assert_eq!(faults[0].hide.as_deref(), Some("/pasword"));
}
