//! The simulated KV version 2 engine: secrets in versions, rotated, deleted, destroyed, behind a seal.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::kind::TargetError;
use holdfast_core::secret::SecretDocument;
use rand::RngExt as _;
use rand::rngs::SmallRng;
use secrecy::{ExposeSecret as _, SecretString};

use super::vault::sealed;
use crate::model::Meddling;

/// So many versions are kept of each secret.
const KEPT: usize = 10;

/// The secrets under one mount. The frame puts a wire before [`Kv::read`], and has a `SecretStore`.
#[derive(Debug, Clone, Default)]
pub struct Kv {
    secrets: BTreeMap<String, Secret>,
    /// Every value that was ever written: none of them may show anywhere.
    values: BTreeSet<Value>,
    sealed: bool,
    /// Makes new values differ.
    rotations: u64,
}

/// Ordered by what it hides, and shown as nothing.
#[derive(Debug, Clone)]
struct Value(SecretString);

#[derive(Debug, Clone, Default)]
struct Secret {
    versions: BTreeMap<u64, Version>,
    current: u64,
}

#[derive(Debug, Clone)]
struct Version {
    fields: BTreeMap<String, Value>,
    deleted: bool,
    destroyed: bool,
}

impl Kv {
    /// The newest version, as the real store gives it: a version that is deleted or destroyed is none.
    ///
    /// # Errors
    /// `Unavailable` while it is sealed; `Rejected` where there is no live version.
    pub fn read(&self, path: &str) -> Result<SecretDocument, TargetError> {
        let doing = format!("reading the secret `{path}`");
        if self.sealed {
            return Err(sealed(&doing));
        }
        let Some((version, live)) = self.newest(path) else {
            let why = format!("nothing is stored there; write it with `vault kv put {path} ...`");
            return Err(TargetError::rejected(doing, why));
        };
        if live.destroyed {
            let why = format!("its version {version} was destroyed; write it anew");
            return Err(TargetError::rejected(doing, why));
        }
        if live.deleted {
            let why = format!("its version {version} was deleted; bring it back, or write it anew");
            return Err(TargetError::rejected(doing, why));
        }
        let values = live.fields.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect();
        Ok(SecretDocument { version, values })
    }

    /// Writes a new version with these fields alone. Gives its number.
    pub fn put<K: Into<String>, V: Into<String>>(
        &mut self,
        path: &str,
        fields: impl IntoIterator<Item = (K, V)>,
    ) -> u64 {
        let fields: BTreeMap<String, Value> = fields
            .into_iter()
            .map(|(key, value)| (key.into(), Value(SecretString::from(value.into()))))
            .collect();
        self.values.extend(fields.values().cloned());
        let secret = self.secrets.entry(path.to_owned()).or_default();
        secret.current += 1;
        secret.versions.insert(secret.current, Version { fields, deleted: false, destroyed: false });
        while secret.versions.len() > KEPT {
            secret.versions.pop_first();
        }
        secret.current
    }

    /// Writes a new version in which one field has another value, `value`, and the rest is as it was.
    pub fn rotate(&mut self, path: &str, key: &str, value: impl Into<String>) -> u64 {
        let mut fields: BTreeMap<String, String> = self
            .newest(path)
            .map(|(_, version)| {
                let text = |value: &Value| value.0.expose_secret().to_owned();
                version.fields.iter().map(|(key, value)| (key.clone(), text(value))).collect()
            })
            .unwrap_or_default();
        fields.insert(key.to_owned(), value.into());
        self.put(path, fields)
    }

    /// Soft: it can be brought back.
    pub fn delete(&mut self, path: &str) {
        self.change(path, |version| version.deleted = true);
    }

    /// Brings a deleted version back.
    pub fn undelete(&mut self, path: &str) {
        self.change(path, |version| version.deleted = false);
    }

    /// For good.
    pub fn destroy(&mut self, path: &str) {
        self.change(path, |version| {
            version.destroyed = true;
            version.fields.clear();
        });
    }

    /// While it is sealed it answers nothing but that.
    pub fn seal(&mut self, sealed: bool) {
        self.sealed = sealed;
    }

    /// A person brings back what was deleted.
    pub fn mend(&mut self) {
        self.sealed = false;
        let paths: Vec<String> = self.paths().map(str::to_owned).collect();
        for path in paths {
            self.undelete(&path);
        }
    }

    /// The number of the newest version, live or not.
    pub fn version(&self, path: &str) -> Option<u64> {
        self.secrets.get(path).map(|secret| secret.current)
    }

    /// Where anything was ever written.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.secrets.keys().map(String::as_str)
    }

    /// Every value that was ever written, in clear: what must be found nowhere else.
    pub fn values(&self) -> BTreeSet<String> {
        self.values.iter().map(|value| value.0.expose_secret().to_owned()).collect()
    }

    /// Somebody rotates a value, writes the same once more, or deletes a secret (which they have to bring back).
    pub fn meddle(&mut self, chance: &mut SmallRng) -> Option<Meddling> {
        let paths: Vec<String> = self.paths().map(str::to_owned).collect();
        let path = paths.get(chance.random_range(0..paths.len().max(1)))?.clone();
        let (_, live) = self.newest(&path)?;
        let keys: Vec<String> = live.fields.keys().cloned().collect();
        let gone = live.deleted || live.destroyed;
        let what = match chance.random_range(0..6_u8) {
            _ if gone => {
                self.undelete(&path);
                format!("somebody brings secret {path} back")
            }
            0 => {
                self.delete(&path);
                let what = format!("somebody deletes secret {path}");
                return Some(Meddling { what, key: path, needs_a_person: true });
            }
            1 => {
                let same = self.newest(&path).map(|(_, version)| version.fields.clone()).unwrap_or_default();
                self.put(&path, same.iter().map(|(key, value)| (key.as_str(), value.0.expose_secret())));
                format!("somebody writes secret {path} as it is")
            }
            _ => {
                let key = keys.get(chance.random_range(0..keys.len().max(1)))?.clone();
                self.rotations += 1;
                let value = format!("rotated-{:016x}-{}", chance.random::<u64>(), self.rotations);
                self.rotate(&path, &key, value);
                format!("somebody rotates {key} of secret {path}")
            }
        };
        Some(Meddling { what, key: path, needs_a_person: false })
    }

    fn newest(&self, path: &str) -> Option<(u64, &Version)> {
        let secret = self.secrets.get(path)?;
        secret.versions.get(&secret.current).map(|version| (secret.current, version))
    }

    fn change(&mut self, path: &str, change: impl FnOnce(&mut Version)) {
        if let Some(secret) = self.secrets.get_mut(path)
            && let Some(version) = secret.versions.get_mut(&secret.current)
        {
            change(version);
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Value {}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.expose_secret().cmp(other.0.expose_secret())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    fn field(kv: &Kv, path: &str, key: &str) -> Result<String, TargetError> {
        kv.read(path).map(|document| document.values[key].expose_secret().to_owned())
    }

    #[test]
    fn the_newest_version_is_read_and_the_rest_stays_in_a_rotation() {
        let mut kv = Kv::default();
        assert!(!kv.read("kv/web").err().unwrap().is_unavailable());
        assert_eq!(kv.put("kv/web", [("user", "u"), ("password", "one")]), 1);
        assert_eq!(kv.rotate("kv/web", "password", "two"), 2);
        assert_eq!(field(&kv, "kv/web", "password").unwrap(), "two");
        assert_eq!(field(&kv, "kv/web", "user").unwrap(), "u");
        assert_eq!(kv.read("kv/web").unwrap().version, 2);
        assert_eq!(kv.values(), BTreeSet::from(["u".to_owned(), "one".to_owned(), "two".to_owned()]));
        assert!(!format!("{kv:?}").contains("two"));
    }

    #[test]
    fn deleted_is_not_never_written_and_a_new_version_heals_it() {
        let mut kv = Kv::default();
        kv.put("kv/web", [("a", "1")]);
        kv.delete("kv/web");
        let error = kv.read("kv/web").err().unwrap();
        assert!(error.to_string().contains("version 1 was deleted") && !error.is_unavailable(), "{error}");
        kv.undelete("kv/web");
        assert_eq!(field(&kv, "kv/web", "a").unwrap(), "1");
        kv.destroy("kv/web");
        kv.undelete("kv/web");
        assert!(kv.read("kv/web").err().unwrap().to_string().contains("destroyed"));
        assert_eq!(kv.put("kv/web", [("a", "2")]), 2);
        assert_eq!(field(&kv, "kv/web", "a").unwrap(), "2");
    }

    #[test]
    fn a_seal_passes() {
        let mut kv = Kv::default();
        kv.put("kv/web", [("a", "1")]);
        kv.seal(true);
        assert!(kv.read("kv/web").err().unwrap().is_unavailable());
        kv.seal(false);
        assert!(kv.read("kv/web").is_ok());
    }

    #[test]
    fn meddling_is_the_same_for_the_same_seed() {
        let run = |seed| {
            let mut chance = SmallRng::seed_from_u64(seed);
            let mut kv = Kv::default();
            kv.put("kv/web", [("a", "1")]);
            let done: Vec<_> = (0..50).map(|_| kv.meddle(&mut chance)).collect();
            (done, kv.values(), kv.version("kv/web"))
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        assert_eq!(Kv::default().meddle(&mut SmallRng::seed_from_u64(1)), None);
    }
}
