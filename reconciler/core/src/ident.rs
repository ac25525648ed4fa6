//! Identities: every name is a newtype that is checked in its one constructor.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a text is not a valid identity. Displays as a phrase that can follow "`x` ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentError {
    #[error("is empty")]
    Empty,
    #[error("is longer than {limit} characters")]
    TooLong { limit: usize },
    #[error("must consist of `a-z`, `0-9` and `-`, and start and end with a letter or digit")]
    NotALabel,
    #[error("must consist of `a-z`, `0-9`, `-` and `.`, and start and end with a letter or digit")]
    NotAName,
    #[error("is reserved")]
    Reserved,
    #[error("must be written `Kind/name` or `environment/Kind/name`")]
    NotAnId,
    #[error("must be a kind's name such as `VirtualMachine`")]
    NotAKind,
    #[error("is not a full commit id of 40 hexadecimal digits")]
    NotACommit,
}

fn edges_alphanumeric(text: &str) -> bool {
    let alphanumeric = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    alphanumeric(text.bytes().next()) && alphanumeric(text.bytes().last())
}

/// A DNS label (RFC 1123): at most 63 characters.
fn check_label(text: &str) -> Result<(), IdentError> {
    match text {
        "" => Err(IdentError::Empty),
        _ if text.len() > 63 => Err(IdentError::TooLong { limit: 63 }),
        _ if !edges_alphanumeric(text)
            || !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') =>
        {
            Err(IdentError::NotALabel)
        }
        _ => Ok(()),
    }
}

/// A DNS subdomain (RFC 1123), as Kubernetes uses it for object names: at most 253 characters.
fn check_name(text: &str) -> Result<(), IdentError> {
    match text {
        "" => Err(IdentError::Empty),
        _ if text.len() > 253 => Err(IdentError::TooLong { limit: 253 }),
        _ if !edges_alphanumeric(text)
            || !text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.') =>
        {
            Err(IdentError::NotAName)
        }
        _ => Ok(()),
    }
}

/// `validate` and `plan` are words of the status contexts, so no environment may be called so.
fn check_environment(text: &str) -> Result<(), IdentError> {
    check_label(text)?;
    if matches!(text, "validate" | "plan") { Err(IdentError::Reserved) } else { Ok(()) }
}

/// A checked name whose schema is any text: the manifest layer says what is wrong with one.
macro_rules! checked_name {
    ($(#[$doc:meta])* $type:ident, $check:path) => {
        crate::checked_text!(
            $(#[$doc])*
            #[derive(JsonSchema)]
            #[schemars(with = "String")]
            $type, IdentError, $check
        );
    };
}

checked_name!(
    /// The site: one infra repository and everything that it describes. It stands in every mark and
    /// status context.
    SiteName,
    check_label
);
checked_name!(
    /// An environment: a folder below `environments/`, with its own lane, lock and statuses.
    EnvironmentName,
    check_environment
);
checked_name!(
    /// A resource's `metadata.name`, unique within its environment and kind.
    Name,
    check_name
);

/// A kind's name as manifests write it, such as `VirtualMachine`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KindName(Cow<'static, str>);

impl KindName {
    /// For the constants of kinds; a wrong one is found by every kind's first test.
    pub const fn fixed(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }

    pub fn new(text: impl Into<String>) -> Result<Self, IdentError> {
        let text = text.into();
        let upper_first = text.bytes().next().is_some_and(|b| b.is_ascii_uppercase());
        if upper_first && text.len() <= 63 && text.bytes().all(|b| b.is_ascii_alphanumeric()) {
            Ok(Self(Cow::Owned(text)))
        } else {
            Err(IdentError::NotAKind)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KindName {
    type Error = IdentError;
    fn try_from(text: String) -> Result<Self, IdentError> {
        Self::new(text)
    }
}

impl From<KindName> for String {
    fn from(kind: KindName) -> Self {
        kind.0.into_owned()
    }
}

impl fmt::Display for KindName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One resource of the site: `kubernetes/VirtualMachine/kube01`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId {
    pub environment: EnvironmentName,
    pub kind: KindName,
    pub name: Name,
}

impl ResourceId {
    /// Reads a reference as manifests write it: `Kind/name` means the environment `home`.
    pub fn parse_in(home: &EnvironmentName, text: &str) -> Result<Self, IdentError> {
        let parts: Vec<&str> = text.split('/').collect();
        let (environment, kind, name) = match parts.as_slice() {
            [kind, name] => (home.clone(), *kind, *name),
            [environment, kind, name] => (EnvironmentName::new(*environment)?, *kind, *name),
            _ => return Err(IdentError::NotAnId),
        };
        Ok(Self { environment, kind: KindName::new(kind)?, name: Name::new(name)? })
    }

    /// How people call it where the environment is clear: `VirtualMachine/kube01`.
    pub fn short(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// How it is called from within `home`: short there, in full elsewhere.
    pub fn seen_from(&self, home: &EnvironmentName) -> String {
        if self.environment == *home { self.short() } else { self.to_string() }
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.environment, self.kind, self.name)
    }
}

impl TryFrom<String> for ResourceId {
    type Error = IdentError;
    fn try_from(text: String) -> Result<Self, IdentError> {
        match text.split('/').collect::<Vec<_>>().as_slice() {
            [environment, kind, name] => Ok(Self {
                environment: EnvironmentName::new(*environment)?,
                kind: KindName::new(*kind)?,
                name: Name::new(*name)?,
            }),
            _ => Err(IdentError::NotAnId),
        }
    }
}

impl From<ResourceId> for String {
    fn from(id: ResourceId) -> Self {
        id.to_string()
    }
}

/// A full SHA-1 commit id, lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CommitId(Arc<str>);

impl CommitId {
    pub fn new(text: impl Into<String>) -> Result<Self, IdentError> {
        let text = text.into().to_ascii_lowercase();
        if text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(text.into()))
        } else {
            Err(IdentError::NotACommit)
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first seven digits, as people and forges write it.
    pub fn short(&self) -> &str {
        &self.0[..7]
    }
}

impl TryFrom<String> for CommitId {
    type Error = IdentError;
    fn try_from(text: String) -> Result<Self, IdentError> {
        Self::new(text)
    }
}

impl From<CommitId> for String {
    fn from(commit: CommitId) -> Self {
        commit.as_str().to_owned()
    }
}

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> EnvironmentName {
        EnvironmentName::new("kubernetes").unwrap()
    }

    #[test]
    fn a_reference_without_environment_means_the_home() {
        let id = ResourceId::parse_in(&home(), "VirtualMachine/kube01").unwrap();
        assert_eq!(id.to_string(), "kubernetes/VirtualMachine/kube01");
        let id = ResourceId::parse_in(&home(), "core/Host/nas").unwrap();
        assert_eq!(id.to_string(), "core/Host/nas");
        assert_eq!(id.seen_from(&home()), "core/Host/nas");
    }

    #[test]
    fn wrong_names_are_refused_with_the_reason() {
        assert_eq!(Name::new("Kube01"), Err(IdentError::NotAName));
        assert_eq!(Name::new("-x"), Err(IdentError::NotAName));
        assert_eq!(EnvironmentName::new("plan"), Err(IdentError::Reserved));
        assert_eq!(EnvironmentName::new("a.b"), Err(IdentError::NotALabel));
        assert_eq!(SiteName::new(""), Err(IdentError::Empty));
        assert_eq!(KindName::new("virtualMachine"), Err(IdentError::NotAKind));
        assert_eq!(ResourceId::parse_in(&home(), "kube01"), Err(IdentError::NotAnId));
        assert_eq!(CommitId::new("4f2c91b"), Err(IdentError::NotACommit));
    }

    #[test]
    fn ids_survive_json() {
        let id = ResourceId::parse_in(&home(), "Host/a").unwrap();
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, "\"kubernetes/Host/a\"");
        assert_eq!(serde_json::from_str::<ResourceId>(&json).unwrap(), id);
    }
}
