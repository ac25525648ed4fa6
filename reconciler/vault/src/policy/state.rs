//! What was seen of a policy, and the pure reader from Vault's answers to it.

use holdfast_core::kind::Owner;
use holdfast_core::mark::{Mark, Realm};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What the first line of a marked policy starts with.
pub(super) const MARK_LINE: &str = "# holdfast: ";

/// A policy as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    pub name: String,
    /// Without the line of the mark.
    pub text: String,
    /// How often it was written, where the server counts (`OpenBao`): what a write is checked against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// It carries no mark of anybody.
    #[serde(default)]
    pub unmarked: bool,
    /// The token of Holdfast itself has this policy.
    #[serde(default)]
    pub own: bool,
}

/// One policy as the API gives it: `GET sys/policies/acl/<name>`, or one of `LIST sys/policies/detailed/acl`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) text: String,
    pub(crate) version: Option<u64>,
}

impl Stored {
    pub(crate) fn read(data: &Value) -> Option<Self> {
        Some(Self { text: data["policy"].as_str()?.to_owned(), version: data["version"].as_u64() })
    }

    /// The text and whose it is.
    pub(crate) fn split(&self, realm: &Realm, name: &str) -> (&str, Owner) {
        let (mark, text) = split_mark(&self.text);
        (text, realm.owner(mark.as_ref(), name))
    }
}

/// Takes the mark off a text. A first line that is no mark belongs to the text.
fn split_mark(text: &str) -> (Option<Mark>, &str) {
    let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
    match line.strip_prefix(MARK_LINE).and_then(Mark::parse) {
        Some(mark) => (Some(mark), rest),
        None => (None, text),
    }
}

/// The text as it is written: with the mark in its first line.
pub(crate) fn marked(mark: &Mark, text: &str) -> String {
    format!("{MARK_LINE}{mark}\n{text}")
}

#[cfg(test)]
mod tests {
    use holdfast_core::ident::{EnvironmentName, KindName, Name, SiteName};

    use super::*;

    #[test]
    fn a_marked_text_reads_back_and_foreign_comments_stay() {
        let realm = Realm {
            site: SiteName::new("home").unwrap(),
            environment: EnvironmentName::new("core").unwrap(),
        };
        let mark = realm.mark(KindName::fixed("VaultPolicy"), &Name::new("web").unwrap(), "web");
        let text = "path \"a\" {}\r\n";
        let stored = Stored { text: marked(&mark, text), version: None };
        let (read, owner) = stored.split(&realm, "web");
        assert_eq!(read, text);
        assert_eq!(owner, Owner::Ours(mark.id.clone()));
        assert_eq!(stored.split(&realm, "api").1, Owner::Copied);
        let comment = Stored { text: "# holdfast: not a mark\nx".to_owned(), version: None };
        assert_eq!(comment.split(&realm, "web"), ("# holdfast: not a mark\nx", Owner::Nobody));
    }
}
