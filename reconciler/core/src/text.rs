//! Text that may contain secrets: what files and templates become before anything is planned.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::kind::TargetError;
use crate::secret::{SecretRef, Secrets};

/// A text, in the pieces that the manifest layer made of it.
///
/// A manifest writes a string, `{ file: files/motd }`, `{ template: files/app.conf, vars: { … } }`, or
/// `{ vault: kv/web, key: password }`. Files are read and templates rendered once, from the commit, so that
/// what remains is literal text and references to secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Text {
    Plain(String),
    Secret(SecretRef),
    Pieces { pieces: Vec<Piece> },
}

/// One piece of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Piece {
    Plain(String),
    Secret(SecretRef),
}

impl Text {
    /// The references in it, in order.
    pub fn secrets(&self) -> Vec<SecretRef> {
        match self {
            Self::Plain(_) => Vec::new(),
            Self::Secret(reference) => vec![reference.clone()],
            Self::Pieces { pieces } => pieces
                .iter()
                .filter_map(|piece| match piece {
                    Piece::Secret(reference) => Some(reference.clone()),
                    Piece::Plain(_) => None,
                })
                .collect(),
        }
    }

    /// The text itself where no secret is in it.
    pub fn plain(&self) -> Option<String> {
        match self {
            Self::Plain(text) => Some(text.clone()),
            Self::Secret(_) => None,
            Self::Pieces { pieces } => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Plain(text) => Some(text.as_str()),
                    Piece::Secret(_) => None,
                })
                .collect(),
        }
    }

    /// A digest of the text that is known without the secrets in it: of the text where it is plain, else of
    /// its pieces with the stamps in place of the values. Two equal digests, equal texts.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        if let Some(text) = self.plain() {
            hash.update(text.as_bytes());
        } else {
            let stamped = serde_json::to_vec(&self.stamped_pieces()).expect("pieces are plain data");
            hash.update(b"holdfast pieces\0");
            hash.update(stamped);
        }
        hex(&hash.finalize())
    }

    /// Plain pieces as they are, secrets as the digest of their value (a new version with the same value is
    /// the same text).
    fn stamped_pieces(&self) -> Vec<(&'static str, String)> {
        let secret = |reference: &SecretRef| {
            let digest = reference.stamp.as_ref().map_or("", |stamp| stamp.digest.as_str());
            ("secret", format!("{}={digest}", reference.bare()))
        };
        match self {
            Self::Plain(text) => vec![("plain", text.clone())],
            Self::Secret(reference) => vec![secret(reference)],
            Self::Pieces { pieces } => pieces
                .iter()
                .map(|piece| match piece {
                    Piece::Plain(text) => ("plain", text.clone()),
                    Piece::Secret(reference) => secret(reference),
                })
                .collect(),
        }
    }

    /// The text with the values in their places.
    pub fn reveal(&self, secrets: &Secrets) -> Result<SecretString, TargetError> {
        let mut text = String::new();
        match self {
            Self::Plain(plain) => text.push_str(plain),
            Self::Secret(reference) => text.push_str(secrets.get(reference)?.expose_secret()),
            Self::Pieces { pieces } => {
                for piece in pieces {
                    match piece {
                        Piece::Plain(plain) => text.push_str(plain),
                        Piece::Secret(reference) => text.push_str(secrets.get(reference)?.expose_secret()),
                    }
                }
            }
        }
        Ok(SecretString::from(text))
    }
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The schema is of what a manifest writes, not of the pieces that it becomes.
impl JsonSchema for Text {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Text".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let secret = generator.subschema_for::<SecretRef>();
        json_schema!({
            "description": "A text: written here, read from a file of the repository, rendered from a template, or taken from Vault.",
            "anyOf": [
                { "type": "string" },
                {
                    "type": "object",
                    "properties": { "file": { "type": "string", "minLength": 1, "description": "Path of a file of the repository, from its root." } },
                    "required": ["file"],
                    "additionalProperties": false
                },
                {
                    "type": "object",
                    "properties": {
                        "template": { "type": "string", "minLength": 1, "description": "Path of a template of the repository (Jinja), from its root." },
                        "vars": { "type": "object", "description": "What the template may use." }
                    },
                    "required": ["template"],
                    "additionalProperties": false
                },
                secret
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Stamp;

    fn secret(digest: &str, version: u64) -> SecretRef {
        let stamp = Some(Stamp { version, digest: digest.to_owned() });
        SecretRef { vault: "kv/web".to_owned(), key: "password".to_owned(), stamp }
    }

    #[test]
    fn a_digest_follows_the_value_and_not_the_version() {
        let text = |digest: &str, version| Text::Pieces {
            pieces: vec![Piece::Plain("p=".to_owned()), Piece::Secret(secret(digest, version))],
        };
        assert_eq!(text("aa", 1).digest(), text("aa", 2).digest());
        assert_ne!(text("aa", 1).digest(), text("bb", 1).digest());
        assert_eq!(
            Text::Plain("abc".to_owned()).digest(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "a plain text's digest is its sha256, so that it compares with what a host says",
        );
    }

    #[test]
    fn revealing_puts_the_values_in_their_places() {
        let text =
            Text::Pieces { pieces: vec![Piece::Plain("p=".to_owned()), Piece::Secret(secret("aa", 1))] };
        let mut secrets = Secrets::default();
        assert!(
            text.reveal(&secrets).is_err(),
            "a value that was not resolved is an error, not an empty text"
        );
        secrets.insert(&secret("aa", 1), SecretString::from("hunter2"));
        assert_eq!(text.reveal(&secrets).unwrap().expose_secret(), "p=hunter2");
        assert_eq!(text.plain(), None);
    }
}
