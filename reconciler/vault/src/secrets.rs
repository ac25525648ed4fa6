//! The secret store: fields of KV v2 secrets, with one message for each reason why there is none.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use holdfast_core::kind::{BoxFuture, TargetError};
use holdfast_core::secret::{SecretDocument, SecretStore};
use secrecy::SecretString;
use serde_json::Value;

use crate::client::{Answer, Ask, Client};

/// Reads KV v2 secrets by the path that `vault kv get` takes.
pub(crate) struct KvStore {
    client: Arc<Client>,
    /// The engines found so far, by the path of their mount with a slash at its end.
    mounts: Mutex<BTreeMap<String, Engine>>,
}

/// What is mounted where a path begins.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Engine {
    KvTwo,
    KvOne,
    Other(String),
}

/// Where a secret is to be read.
struct Located {
    /// With a slash at its end.
    mount: String,
    rest: String,
    /// Vault told nothing of the mount, so it is taken to be the first part of the path.
    guessed: bool,
}

impl KvStore {
    pub(crate) fn new(client: Arc<Client>) -> Self {
        Self { client, mounts: Mutex::default() }
    }

    async fn read_document(&self, path: &str) -> Result<SecretDocument, TargetError> {
        let doing = format!("reading the secret `{path}`");
        if let Err(why) = check_path(path) {
            return Err(TargetError::rejected(doing, why));
        }
        let located = self.locate(path, &doing).await?;
        let ask = Ask::get(format!("{}data/{}", located.mount, located.rest), &doing);
        let answer = self.client.call(&ask).await?;
        if answer.status == 200 {
            return document(answer.data()).map_err(|why| TargetError::rejected(doing, why));
        }
        self.forget(&located.mount);
        Err(absence(&answer, &located, path, &ask.path, &doing))
    }

    /// Where a path is to be read, if that is in a KV v2 engine.
    async fn locate(&self, path: &str, doing: &str) -> Result<Located, TargetError> {
        let Some((mount, engine)) = self.mount_of(path, doing).await? else {
            return guess(path).map_err(|why| TargetError::rejected(doing, why));
        };
        let why = match engine {
            Engine::KvTwo => {
                return Ok(Located { rest: path[mount.len()..].to_owned(), mount, guessed: false });
            }
            Engine::KvOne => format!(
                "the secrets engine `{mount}` is KV version 1; turn on versions with `vault kv enable-versioning {mount}`"
            ),
            Engine::Other(kind) => {
                format!("the secrets engine `{mount}` is of the type `{kind}`, and only KV version 2 is read")
            }
        };
        self.forget(&mount);
        Err(TargetError::rejected(doing, why))
    }

    /// Finds the mount that a path is in (`sys/internal/ui/mounts`, which a token may read for every path that
    /// it has some right on). `None` where Vault does not tell: no such mount, or no right at all.
    async fn mount_of(&self, path: &str, doing: &str) -> Result<Option<(String, Engine)>, TargetError> {
        if let Some(known) = self.known(path) {
            return Ok(Some(known));
        }
        let ask = Ask::get(format!("sys/internal/ui/mounts/{path}"), doing);
        let found = read_mount(&self.client.call(&ask).await?);
        let found = found.filter(|(mount, _)| path.starts_with(mount.as_str()));
        if let Some((mount, engine)) = &found {
            self.mounts().insert(mount.clone(), engine.clone());
        }
        Ok(found)
    }

    fn mounts(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Engine>> {
        self.mounts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Mounts are never inside one another, so the one that fits is the only one.
    fn known(&self, path: &str) -> Option<(String, Engine)> {
        let mounts = self.mounts();
        let (mount, engine) = mounts.iter().find(|(mount, _)| path.starts_with(mount.as_str()))?;
        Some((mount.clone(), engine.clone()))
    }

    fn forget(&self, mount: &str) {
        self.mounts().remove(mount);
    }
}

impl SecretStore for KvStore {
    fn target(&self) -> &'static str {
        crate::TARGET
    }

    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<SecretDocument, TargetError>> {
        Box::pin(self.read_document(path))
    }
}

/// A path is the mount and something in it; it never climbs or holds what would be another request.
pub(crate) fn check_path(path: &str) -> Result<(), String> {
    let example = "write it as `vault kv get` takes it, for example `kv/web`";
    let wrong = |part: &str| matches!(part, "" | "." | "..") || part.chars().any(char::is_control);
    if path.split('/').any(wrong) {
        return Err(format!("`{}` is no path of a secret; {example}", path.escape_debug()));
    }
    if path.contains('/') { Ok(()) } else { Err(format!("`{path}` names a mount alone; {example}")) }
}

fn guess(path: &str) -> Result<Located, String> {
    let (first, rest) = path.split_once('/').ok_or("a path has a mount and a name")?;
    Ok(Located { mount: format!("{first}/"), rest: rest.to_owned(), guessed: true })
}

pub(crate) fn read_mount(answer: &Answer) -> Option<(String, Engine)> {
    if answer.status != 200 {
        return None;
    }
    let data = answer.data();
    let mount = data["path"].as_str().filter(|mount| mount.len() > 1 && mount.ends_with('/'))?;
    let engine = match (data["type"].as_str()?, data["options"]["version"].as_str()) {
        ("kv", Some("2")) => Engine::KvTwo,
        ("kv", _) => Engine::KvOne,
        (other, _) => Engine::Other(other.to_owned()),
    };
    Some((mount.to_owned(), engine))
}

/// The live version in an answer of `data/`. Error texts never hold a value.
pub(crate) fn document(data: &Value) -> Result<SecretDocument, String> {
    let version = data["metadata"]["version"].as_u64();
    let (Some(version), Some(fields)) = (version, data["data"].as_object()) else {
        return Err("the answer is not that of a KV version 2 engine".to_owned());
    };
    let mut values = BTreeMap::new();
    for (key, value) in fields {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => flag.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                let what = match value {
                    Value::Null => "null",
                    Value::Array(_) => "a list",
                    _ => "an object",
                };
                return Err(format!(
                    "its field `{key}` is {what}; store it as text, or in a secret of its own"
                ));
            }
        };
        values.insert(key.clone(), SecretString::from(text));
    }
    Ok(SecretDocument { version, values })
}

/// Why there is no live version: the meanings of 404, and of the other refusals, kept apart.
fn absence(answer: &Answer, located: &Located, path: &str, api_path: &str, doing: &str) -> TargetError {
    let Located { mount, rest, guessed } = located;
    let metadata = &answer.data()["metadata"];
    let why = if let Some(version) = metadata["version"].as_u64() {
        let when = metadata["deletion_time"].as_str().unwrap_or_default();
        if metadata["destroyed"] == true {
            format!("its version {version} was destroyed; write it anew with `vault kv put {path} ...`")
        } else {
            format!(
                "its version {version} was deleted at {when}; bring it back with `vault kv undelete -versions={version} {path}`, or write it anew"
            )
        }
    } else if answer.status == 404 && answer.errors().iter().any(|text| text.contains("no handler")) {
        format!("no secrets engine is mounted at `{mount}`; enable KV version 2 there, or correct the path")
    } else if answer.status == 404 {
        match rest.strip_prefix("data/") {
            Some(name) => format!("nothing is stored there; leave `data/` out: write `{mount}{name}`"),
            None => format!("nothing is stored there; write it with `vault kv put {path} ...`"),
        }
    } else if answer.status == 403 && *guessed {
        format!(
            "permission denied: the token of Holdfast needs the capability `read` on `{api_path}`, if a secrets engine is mounted at `{mount}` at all"
        )
    } else if answer.status == 403 {
        return Answer::denied(doing, api_path, "read");
    } else {
        answer.words()
    };
    TargetError::rejected(doing, why)
}
