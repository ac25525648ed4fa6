//! What a manifest asks of a policy, and the one text that it becomes.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use holdfast_core::text::Text;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A policy's text may be this large; Vault itself takes a request of 32 MiB.
const TEXT_LIMIT: usize = 256 * 1024;

/// An ACL policy of Vault: typed rules, or its text as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Written", into = "Written")]
#[schemars(with = "Written", title = "VaultPolicy")]
pub enum Spec {
    Rules(Vec<Rule>),
    /// HCL or JSON, which Vault reads and Holdfast does not.
    Text(String),
}

/// An ACL policy of Vault. It has either `rules` or `text`.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "VaultPolicy", extend("oneOf" = [{ "required": ["rules"] }, { "required": ["text"] }]))]
struct Written {
    /// Who has this policy may do this. Paths that are not named are denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Vec<Rule>", length(min = 1))]
    rules: Option<Vec<Rule>>,
    /// The policy itself in Vault's language, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Text")]
    text: Option<Text>,
}

/// What may be done on one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub path: PolicyPath,
    #[schemars(with = "Vec<Capability>", length(min = 1))]
    pub capabilities: Capabilities,
}

/// A path of Vault's API without `v1/`, such as `kv/data/web/*`. `+` stands for one part, `*` at the end for
/// everything that follows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct PolicyPath(String);

impl PolicyPath {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for PolicyPath {
    type Error = String;

    /// Refuses what Vault would take silently and read otherwise than it looks.
    fn try_from(path: String) -> Result<Self, String> {
        let shown = path.escape_debug().to_string();
        if path.is_empty() {
            return Err("a path is empty; `*` alone means everything".to_owned());
        }
        if path.starts_with('/') || path.starts_with("v1/") {
            return Err(format!("the path `{shown}` starts at the API's root; leave `/` and `v1/` out"));
        }
        if path.contains(['"', '\\']) || path.chars().any(char::is_control) {
            return Err(format!("the path `{shown}` holds a quote, a backslash or a control character"));
        }
        if path.trim_end_matches('*').len() + 1 < path.len() || path.trim_end_matches('*').contains('*') {
            return Err(format!(
                "`*` stands for the rest only at the end, not within `{shown}`; use `+` for one part"
            ));
        }
        if path.ends_with("+*") {
            return Err(format!(
                "the path `{shown}` ends with `+*`, which Vault refuses; write `+/*` or `*`"
            ));
        }
        Ok(Self(path))
    }
}

impl From<PolicyPath> for String {
    fn from(path: PolicyPath) -> Self {
        path.0
    }
}

/// One thing that may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Capability {
    Create,
    Read,
    Update,
    Patch,
    Delete,
    List,
    /// `OpenBao` only: list with everything below.
    Scan,
    Sudo,
    /// Nothing at all, whatever other policies say.
    Deny,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Scan => "scan",
            Self::Sudo => "sudo",
            Self::Deny => "deny",
        })
    }
}

/// At least one capability; `deny` stands alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<Capability>", into = "Vec<Capability>")]
#[schemars(with = "Vec<Capability>")]
pub struct Capabilities(BTreeSet<Capability>);

impl TryFrom<Vec<Capability>> for Capabilities {
    type Error = &'static str;

    fn try_from(list: Vec<Capability>) -> Result<Self, &'static str> {
        let set: BTreeSet<Capability> = list.into_iter().collect();
        match set.len() {
            0 => Err("a rule without capabilities allows nothing; name some, or `deny`"),
            2.. if set.contains(&Capability::Deny) => Err("`deny` outweighs all others; let it stand alone"),
            _ => Ok(Self(set)),
        }
    }
}

impl From<Capabilities> for Vec<Capability> {
    fn from(capabilities: Capabilities) -> Self {
        capabilities.0.into_iter().collect()
    }
}

impl TryFrom<Written> for Spec {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        match (written.rules, written.text) {
            (Some(rules), None) => check_rules(&rules).map(|()| Self::Rules(rules)),
            (None, Some(text)) => check_text(&text).map(Self::Text),
            (Some(_), Some(_)) => Err("`rules` and `text` exclude each other; keep one".to_owned()),
            (None, None) => Err("a policy needs `rules`, or its `text`".to_owned()),
        }
    }
}

impl From<Spec> for Written {
    fn from(spec: Spec) -> Self {
        match spec {
            Spec::Rules(rules) => Self { rules: Some(rules), text: None },
            Spec::Text(text) => Self { rules: None, text: Some(Text::Plain(text)) },
        }
    }
}

fn check_rules(rules: &[Rule]) -> Result<(), String> {
    if rules.is_empty() {
        return Err("`rules` is empty; a policy needs at least one".to_owned());
    }
    let mut paths = BTreeSet::new();
    match rules.iter().find(|rule| !paths.insert(&rule.path)) {
        Some(twice) => {
            Err(format!("the path `{}` has two rules; join their capabilities in one", twice.path.0))
        }
        None => Ok(()),
    }
}

fn check_text(text: &Text) -> Result<String, String> {
    let Some(text) = text.plain() else {
        return Err("`text` holds a secret, and everybody who may list policies can read them".to_owned());
    };
    if text.trim().is_empty() {
        return Err("`text` is empty; a policy needs at least one rule".to_owned());
    }
    if text.len() > TEXT_LIMIT {
        return Err(format!("`text` is larger than {} KiB", TEXT_LIMIT / 1024));
    }
    if text.contains('\0') {
        return Err("`text` holds a NUL character".to_owned());
    }
    if text.starts_with(super::state::MARK_LINE) {
        return Err("`text` starts with a mark of Holdfast; leave that line out".to_owned());
    }
    Ok(text)
}

impl Spec {
    /// The policy's text without the mark. Rules come in the order of their paths, so that their order in the
    /// manifest is no difference.
    pub fn render(&self) -> String {
        let mut rules = match self {
            Self::Text(text) => return text.clone(),
            Self::Rules(rules) => rules.clone(),
        };
        rules.sort_by(|a, b| a.path.cmp(&b.path));
        let mut text = String::new();
        for rule in &rules {
            if !text.is_empty() {
                text.push('\n');
            }
            let capabilities: Vec<String> =
                rule.capabilities.0.iter().map(|capability| format!("\"{capability}\"")).collect();
            write!(text, "path \"{}\" {{\n  capabilities = [{}]\n}}\n", rule.path.0, capabilities.join(", "))
                .expect("a String takes every text");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Result<Spec, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn rules_have_one_text_whatever_their_order() {
        let one = json!({ "rules": [
            { "path": "kv/data/web/*", "capabilities": ["list", "read", "read"] },
            { "path": "auth/token/lookup-self", "capabilities": ["read"] },
        ]});
        let other = json!({ "rules": [
            { "path": "auth/token/lookup-self", "capabilities": ["read"] },
            { "path": "kv/data/web/*", "capabilities": ["read", "list"] },
        ]});
        let text = read(one).unwrap().render();
        assert_eq!(text, read(other).unwrap().render());
        assert_eq!(
            text,
            "path \"auth/token/lookup-self\" {\n  capabilities = [\"read\"]\n}\n\npath \"kv/data/web/*\" {\n  capabilities = [\"read\", \"list\"]\n}\n"
        );
    }

    #[test]
    fn what_vault_would_misread_is_refused() {
        let rule = |path: &str| read(json!({ "rules": [{ "path": path, "capabilities": ["read"] }] }));
        for path in ["", "/kv/x", "v1/kv/x", "kv/\"x", "kv/*/x", "kv/**", "kv/+*", "kv/\n", "kv/*/é"] {
            assert!(rule(path).is_err(), "{path:?}");
        }
        for path in ["*", "kv/*", "kv/+/x", "kv/+/*", "kv/data/{{identity.entity.name}}/*", "kv/a*", "kv/é"]
        {
            assert!(rule(path).is_ok(), "{path:?}: {:?}", rule(path));
        }
        let capabilities = |list| read(json!({ "rules": [{ "path": "a", "capabilities": list }] }));
        assert!(capabilities(json!([])).is_err());
        assert!(capabilities(json!(["deny", "read"])).is_err());
        assert!(capabilities(json!(["readd"])).is_err());
        let twice =
            json!([{ "path": "a", "capabilities": ["read"] }, { "path": "a", "capabilities": ["list"] }]);
        assert!(read(json!({ "rules": twice })).unwrap_err().contains("two rules"));
    }

    #[test]
    fn a_text_stands_as_it_is_but_holds_no_secret_and_no_mark() {
        let text = "path \"a\" { capabilities = [\"read\"] }";
        assert_eq!(read(json!({ "text": text })).unwrap().render(), text);
        let secret = json!({ "text": { "pieces": ["x", { "vault": "kv/a", "key": "b" }] } });
        assert!(read(secret).unwrap_err().contains("holds a secret"));
        assert!(read(json!({ "text": "# holdfast: home/core/VaultPolicy/a@a\n" })).is_err());
        assert!(read(json!({ "text": " \n" })).is_err());
        assert!(read(json!({})).is_err());
        assert!(read(json!({ "text": "x", "rules": [{ "path": "a", "capabilities": ["read"] }] })).is_err());
    }

    #[test]
    fn a_spec_survives_json() {
        let spec = read(json!({ "rules": [{ "path": "a", "capabilities": ["list", "read"] }] })).unwrap();
        let json = serde_json::to_value(&spec).unwrap();
        assert_eq!(json["rules"][0]["capabilities"], json!(["read", "list"]));
        assert_eq!(read(json).unwrap(), spec);
    }
}
