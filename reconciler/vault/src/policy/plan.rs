//! Deciding about a policy.

use std::collections::BTreeMap;
use std::fmt;

use holdfast_core::ident::Name;
use holdfast_core::kind::{Change, Next, Refusal, Risk};
use holdfast_core::secret::SecretRef;
use serde::{Deserialize, Serialize};

use super::spec::Spec;
use super::state::State;

/// Policies of Vault itself.
const BUILT_IN: [&str; 4] = ["root", "default", "default-ceiling", "response-wrapping"];
/// So many changed lines are shown of a text that is not in our own form.
const LINES_SHOWN: usize = 12;

/// One call to `sys/policies/acl/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Writes a policy that is not there.
    Create { name: String, text: String },
    /// Writes over the text that was seen, and over that version alone where the server counts them.
    Update {
        name: String,
        text: String,
        /// What was seen.
        from: String,
        version: Option<u64>,
        changes: Vec<Change>,
    },
    /// Deletes it while it carries our mark.
    Delete { name: String },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Update { name, text, from, .. } if text == from => {
                write!(f, "mark policy {name} as managed by Holdfast")
            }
            Self::Create { name, .. } | Self::Update { name, .. } => write!(f, "write policy {name}"),
            Self::Delete { name } => write!(f, "delete policy {name}"),
        }
    }
}

impl holdfast_core::kind::Step for Step {
    /// Who has a policy that goes is locked out.
    fn risk(&self) -> Risk {
        match self {
            Self::Create { .. } | Self::Update { .. } => Risk::Quiet,
            Self::Delete { .. } => Risk::Disruptive,
        }
    }

    fn secrets(&self) -> Vec<SecretRef> {
        Vec::new()
    }

    fn changes(&self) -> Vec<Change> {
        match self {
            Self::Update { changes, .. } => changes.clone(),
            Self::Create { .. } | Self::Delete { .. } => Vec::new(),
        }
    }
}

pub(super) fn plan(name: &Name, want: Option<&Spec>, seen: Option<&State>) -> Next<Step> {
    match (want, seen) {
        (None, None) => Next::Settled,
        (Some(_), _) if BUILT_IN.contains(&name.as_str()) => Next::Refuse(Refusal::new(
            format!("`{name}` is a policy of Vault itself"),
            "give the policy another name",
        )),
        (Some(want), None) => Next::Do(vec![Step::Create { name: name.to_string(), text: want.render() }]),
        (Some(want), Some(seen)) => update(want, seen),
        (None, Some(seen)) if seen.own => {
            Next::Refuse(own(&seen.name, "deleting it would cut off Holdfast itself"))
        }
        (None, Some(seen)) => Next::Do(vec![Step::Delete { name: seen.name.clone() }]),
    }
}

/// Holdfast does not change its own rights: who can push would else have all of Vault.
fn update(want: &Spec, seen: &State) -> Next<Step> {
    let text = want.render();
    // What is wanted and carries no mark would stay, unseen, once it leaves the repository. Holdfast's own policies it
    // does not remove either.
    if text == seen.text && (seen.own || !seen.unmarked) {
        return Next::Settled;
    }
    if seen.own {
        return Next::Refuse(own(&seen.name, "changing it would change what Holdfast itself may do"));
    }
    let changes = if text == seen.text { Vec::new() } else { changes(&seen.text, &text) };
    let (name, from) = (seen.name.clone(), seen.text.clone());
    Next::Do(vec![Step::Update { name, text, from, version: seen.version, changes }])
}

fn own(name: &str, what: &str) -> Refusal {
    Refusal {
        why: format!("`{name}` is a policy of Holdfast's own token, and {what}"),
        ways_out: vec![
            "change it by hand, with another token".to_owned(),
            "give the policy of this manifest another name".to_owned(),
        ],
    }
}

/// What differs, for people: by path where both texts have the form that we render, else by line.
fn changes(old: &str, new: &str) -> Vec<Change> {
    let (Some(old_rules), Some(new_rules)) = (rules(old), rules(new)) else {
        return changed_lines(old, new);
    };
    let paths: std::collections::BTreeSet<&str> = old_rules.keys().chain(new_rules.keys()).copied().collect();
    let side = |rules: &BTreeMap<&str, &str>, path: &str| rules.get(path).map(|list| list.replace('"', ""));
    let changes: Vec<Change> = paths
        .into_iter()
        .map(|path| Change {
            field: path.to_owned(),
            from: side(&old_rules, path),
            to: side(&new_rules, path),
        })
        .filter(|change| change.from != change.to)
        .collect();
    // Texts that differ only in what is not shown of their rules, such as an empty line, differ all the same.
    if changes.is_empty() { changed_lines(old, new) } else { changes }
}

/// Reads a text of exactly the form that [`Spec::render`] gives.
fn rules(text: &str) -> Option<BTreeMap<&str, &str>> {
    let mut found = BTreeMap::new();
    let mut lines = text.lines().filter(|line| !line.is_empty());
    while let Some(line) = lines.next() {
        let path = line.strip_prefix("path \"")?.strip_suffix("\" {")?;
        let list = lines.next()?.strip_prefix("  capabilities = [")?.strip_suffix(']')?;
        (lines.next()? == "}" && found.insert(path, list).is_none()).then_some(())?;
    }
    Some(found)
}

fn changed_lines(old: &str, new: &str) -> Vec<Change> {
    let mut count: BTreeMap<&str, i64> = BTreeMap::new();
    for (text, one) in [(old, -1), (new, 1)] {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            *count.entry(line).or_default() += one;
        }
    }
    let line = |text: &str| Some(text.chars().take(120).collect::<String>());
    let gone = old.lines().map(str::trim).filter(|text| count.get(text).is_some_and(|n| *n < 0));
    let come = new.lines().map(str::trim).filter(|text| count.get(text).is_some_and(|n| *n > 0));
    let mut changes: Vec<Change> = gone
        .map(|text| Change { field: "line".to_owned(), from: line(text), to: None })
        .chain(come.map(|text| Change { field: "line".to_owned(), from: None, to: line(text) }))
        .collect();
    if changes.is_empty() {
        changes.push(Change::new("text", "other spacing or order", "as in the repository"));
    }
    let more = changes.len().saturating_sub(LINES_SHOWN);
    if more > 0 {
        changes.truncate(LINES_SHOWN);
        changes.push(Change::new("lines", "", format!("{more} more differ")));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(old: &str, new: &str) -> Vec<String> {
        changes(old, new).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn changes_are_told_by_path_or_by_line() {
        let old =
            "path \"a\" {\n  capabilities = [\"read\"]\n}\n\npath \"b\" {\n  capabilities = [\"read\"]\n}\n";
        let new = "path \"a\" {\n  capabilities = [\"read\", \"list\"]\n}\n\npath \"c\" {\n  capabilities = [\"sudo\"]\n}\n";
        assert_eq!(shown(old, new), ["a: read -> read, list", "b: read -> (none)", "c: (none) -> sudo"]);
        assert_eq!(
            shown(&format!("\n{new}"), new),
            ["text: other spacing or order -> as in the repository"],
            "an empty line more is a change that is told"
        );
        let raw = "path \"a\" { capabilities = [\"read\"] }\n# end\n";
        assert_eq!(shown(raw, "# end\n"), ["line: path \"a\" { capabilities = [\"read\"] } -> (none)"]);
        assert_eq!(shown("x\n\n", "x\n"), ["text: other spacing or order -> as in the repository"]);
        assert_eq!(changes(&"a\n".repeat(50), "b").len(), LINES_SHOWN + 1);
    }
}
