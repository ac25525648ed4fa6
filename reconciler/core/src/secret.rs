//! Secrets: references that manifests hold, stamps that plans see, and values that only `apply` touches.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::kind::{BoxFuture, TargetError};
use crate::text::hex;

/// A reference to one value of a KV v2 secret: `{ vault: kv/web, key: password }`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretRef {
    /// The secret's path, mount first, as `vault kv get` takes it.
    #[schemars(length(min = 1))]
    pub vault: String,
    /// The field of the secret.
    #[schemars(length(min = 1))]
    pub key: String,
    /// What the engine found there, filled in before anything is planned. Manifests never write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(skip)]
    pub stamp: Option<Stamp>,
}

impl SecretRef {
    /// The reference itself, without what was found there.
    #[must_use]
    pub fn bare(&self) -> Self {
        Self { stamp: None, ..self.clone() }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.vault, self.key)
    }
}

/// What may be known of a secret's value without knowing it: two equal digests, equal values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// The KV v2 version that was read.
    pub version: u64,
    /// The first 16 hexadecimal digits of the value's keyed hash.
    pub digest: String,
}

/// The key of all stamps of a site. Without it a digest says nothing about a value, however short.
#[derive(Clone)]
pub struct StampKey([u8; 32]);

impl StampKey {
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Stamps one value of a secret.
    pub fn stamp(&self, version: u64, value: &SecretString) -> Stamp {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length (RFC 2104)");
        mac.update(value.expose_secret().as_bytes());
        let bytes = mac.finalize().into_bytes();
        Stamp { version, digest: hex(&bytes[..8]) }
    }
}

impl Drop for StampKey {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.0);
    }
}

/// One version of a KV v2 secret.
pub struct SecretDocument {
    pub version: u64,
    pub values: BTreeMap<String, SecretString>,
}

/// Where secrets are read. The Vault client implements it; targets never see it.
pub trait SecretStore: Send + Sync {
    /// The system that it is part of ([`Kind::TARGET`](crate::kind::Kind::TARGET)): who asks for a pause there asks for
    /// it here as well.
    fn target(&self) -> &'static str;

    /// Reads the newest version at `path`. A path without a live version is `Rejected`: a person must
    /// write it.
    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<SecretDocument, TargetError>>;
}

/// The values that one `apply` may use: exactly those that its steps name.
#[derive(Default)]
pub struct Secrets(BTreeMap<(String, String), SecretString>);

impl Secrets {
    pub fn insert(&mut self, reference: &SecretRef, value: SecretString) {
        self.0.insert((reference.vault.clone(), reference.key.clone()), value);
    }

    /// The value of a reference. Absent only where a step did not name it in `secrets()`.
    pub fn get(&self, reference: &SecretRef) -> Result<&SecretString, TargetError> {
        self.0.get(&(reference.vault.clone(), reference.key.clone())).ok_or_else(|| {
            TargetError::rejected(
                format!("reading the secret {reference}"),
                "it was not resolved for this step",
            )
        })
    }
}

/// All secret references in a spec, wherever they stand: objects with exactly `vault` and `key`.
pub fn references_in(spec: &serde_json::Value) -> BTreeSet<SecretRef> {
    let mut found = BTreeSet::new();
    crate::reference::visit_objects(spec, &mut |object| {
        if let Some(reference) = as_reference(object) {
            found.insert(reference.bare());
        }
    });
    found
}

/// Replaces every reference in a spec by the same one with its stamp.
pub fn stamp_all(spec: &mut serde_json::Value, stamps: &BTreeMap<SecretRef, Stamp>) {
    crate::reference::replace_objects(spec, &mut |object| {
        let reference = as_reference(object)?;
        let stamp = stamps.get(&reference.bare())?;
        let stamped = SecretRef { stamp: Some(stamp.clone()), ..reference };
        Some(serde_json::to_value(stamped).expect("a reference is plain data"))
    });
}

fn as_reference(object: &serde_json::Map<String, serde_json::Value>) -> Option<SecretRef> {
    let fits = object.contains_key("vault")
        && object.contains_key("key")
        && object.keys().all(|key| matches!(key.as_str(), "vault" | "key" | "stamp"));
    fits.then(|| serde_json::from_value(serde_json::Value::Object(object.clone())).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reference(key: &str) -> SecretRef {
        SecretRef { vault: "kv/web".to_owned(), key: key.to_owned(), stamp: None }
    }

    #[test]
    fn references_are_found_wherever_they_stand_and_stamped_in_place() {
        let mut spec = json!({
            "password": { "vault": "kv/web", "key": "a" },
            "files": [{ "content": { "pieces": ["x", { "vault": "kv/web", "key": "b" }] } }],
            "other": { "vault": "kv/web", "key": "c", "more": 1 },
        });
        let found = references_in(&spec);
        assert_eq!(found, BTreeSet::from([reference("a"), reference("b")]));
        let stamp = Stamp { version: 3, digest: "00ff".to_owned() };
        stamp_all(&mut spec, &BTreeMap::from([(reference("b"), stamp)]));
        assert_eq!(spec["files"][0]["content"]["pieces"][1]["stamp"]["version"], 3);
        assert_eq!(spec["password"].get("stamp"), None);
        assert_eq!(references_in(&spec), found, "a stamped reference is still the same reference");
    }

    #[test]
    fn a_stamp_depends_on_key_and_value_only() {
        let key = StampKey::new([7; 32]);
        let value = SecretString::from("hunter2");
        assert_eq!(key.stamp(1, &value).digest, key.stamp(2, &value).digest);
        assert_ne!(key.stamp(1, &value).digest, StampKey::new([8; 32]).stamp(1, &value).digest);
        assert_ne!(key.stamp(1, &value).digest, key.stamp(1, &SecretString::from("hunter3")).digest);
        assert_eq!(key.stamp(1, &value).digest.len(), 16);
    }
}
