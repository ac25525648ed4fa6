//! Which capabilities a token has on a path.

use std::collections::{BTreeMap, BTreeSet};

use super::hcl::Rule;

/// All rules of one token's policies; equal paths are one, with the capabilities of all.
#[derive(Debug, Default)]
pub(super) struct Acl {
    root: bool,
    rules: BTreeMap<String, BTreeSet<String>>,
}

impl Acl {
    pub(super) fn new(root: bool, rules: impl IntoIterator<Item = Rule>) -> Self {
        let mut merged: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for rule in rules {
            merged.entry(rule.path).or_default().extend(rule.capabilities);
        }
        Self { root, rules: merged }
    }

    /// The capabilities on a path: an exact rule wins, else the most specific pattern. `deny` denies all.
    pub(super) fn capabilities(&self, path: &str) -> BTreeSet<String> {
        if self.root {
            return BTreeSet::from(["root".to_owned()]);
        }
        let rule = self.rules.get(path).or_else(|| {
            let matching = self.rules.iter().filter(|(pattern, _)| fits(pattern, path));
            matching.max_by_key(|(pattern, _)| rank(pattern)).map(|(_, capabilities)| capabilities)
        });
        match rule {
            Some(set) if set.contains("deny") => BTreeSet::from(["deny".to_owned()]),
            Some(set) if !set.is_empty() => set.clone(),
            _ => BTreeSet::from(["deny".to_owned()]),
        }
    }

    pub(super) fn allows(&self, capability: &str, path: &str) -> bool {
        let has = |path: &str| {
            let set = self.capabilities(path);
            set.contains("root") || set.contains(capability)
        };
        // A list may be allowed with or without the slash at its end.
        has(path) || (capability == "list" && !path.ends_with('/') && has(&format!("{path}/")))
    }

    /// Whether any rule lets the token see something at or below a mount.
    pub(super) fn reaches(&self, mount: &str) -> bool {
        self.root
            || self.rules.iter().any(|(pattern, set)| {
                let fixed = pattern.split(['*', '+']).next().unwrap_or_default();
                !set.contains("deny")
                    && !set.is_empty()
                    && (pattern.starts_with(mount)
                        || (pattern.contains(['*', '+']) && mount.starts_with(fixed)))
            })
    }
}

/// `*` stands at the end for anything, `+` for one segment.
fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, glob) = match pattern.strip_suffix('*') {
        Some(pattern) => (pattern, true),
        None => (pattern, false),
    };
    let mut parts = path.split('/');
    let wanted: Vec<&str> = pattern.split('/').collect();
    for (at, segment) in wanted.iter().enumerate() {
        let Some(part) = parts.next() else { return false };
        let is_last = at + 1 == wanted.len();
        let matches = match *segment {
            "+" => true,
            text if is_last && glob => part.starts_with(text),
            text => part == text,
        };
        if !matches {
            return false;
        }
    }
    glob || parts.next().is_none()
}

/// The more specific pattern ranks higher: later first wildcard, no glob at the end, fewer `+`, longer, later.
fn rank(pattern: &str) -> (usize, bool, std::cmp::Reverse<usize>, usize, &str) {
    let first = pattern.find(['*', '+']).unwrap_or(pattern.len());
    let pluses = pattern.split('/').filter(|segment| *segment == "+").count();
    (first, !pattern.ends_with('*'), std::cmp::Reverse(pluses), pattern.len(), pattern)
}
