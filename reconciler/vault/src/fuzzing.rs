//! Fuzz targets of Vault: answers that may say anything, and the texts of policies. `tests/fuzz` runs them for long,
//! the test below for a second.

use std::time::Duration;

use holdfast_core::ident::{EnvironmentName, KindName, Name, SiteName};
use holdfast_core::kind::{Kind as _, Next, Owner, Step as _};
use holdfast_core::mark::Realm;

use crate::client::Answer;
use crate::policy::state::{Stored, marked};
use crate::policy::{Spec, State, VaultPolicy};
use crate::secrets::{check_path, document, read_mount};

/// Between the parts of an input.
const NEXT: &str = "\n%%\n";

/// A status and a body: what is said of it is one bounded line, and what is read of it is whole.
pub fn vault_answers(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (status, body) = data.split_at(end);
    let status = std::str::from_utf8(status).ok().and_then(|text| text.parse().ok()).unwrap_or(200);
    let answer = match Answer::read("asking", status, Some(Duration::from_secs(7)), body) {
        Ok(answer) => answer,
        Err(error) => {
            let text = error.to_string();
            assert!(text.chars().count() < 500 && !text.contains(char::is_control), "{text:?}");
            return;
        }
    };
    assert!(answer.words().chars().count() < 500 && !answer.words().contains(char::is_control));
    assert!(!answer.says_dead_token() || status == 403);
    if let Some((mount, _)) = read_mount(&answer) {
        assert!(mount.len() > 1 && mount.ends_with('/'), "{mount:?}");
    }
    match document(answer.data()) {
        Ok(document) => assert!(
            answer.data()["data"].as_object().map(serde_json::Map::len) == Some(document.values.len())
        ),
        Err(why) => assert!(!why.is_empty()),
    }
    if let Some(stored) = Stored::read(answer.data()) {
        whose(&stored.text);
    }
}

/// A marked text is split where the mark was put, and a text without one stays whole.
fn whose(text: &str) {
    let realm = Realm {
        site: SiteName::new("home").expect("`home` is a name"),
        environment: EnvironmentName::new("core").expect("`core` is a name"),
    };
    let stored = Stored { text: text.to_owned(), version: None };
    let (rest, owner) = stored.split(&realm, "web");
    assert!(text.ends_with(rest), "the mark is a beginning");
    assert_eq!(owner == Owner::Nobody, rest == text, "only a mark is taken off");
    let name = Name::new("web").expect("`web` is a name");
    let mark = realm.mark(KindName::fixed("VaultPolicy"), &name, "web");
    let again = Stored { text: marked(&mark, text), version: None };
    assert_eq!(again.split(&realm, "web"), (text, Owner::Ours(mark.id)), "what is marked reads back");
}

/// A spec as JSON, and the text of a policy as it is stored: they are compared, and only ever written.
pub fn vault_policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (spec, stored) = text.split_once(NEXT).unwrap_or((text, ""));
    assert!(check_path(text).is_err() || !text.split('/').any(|part| matches!(part, "" | "." | "..")));
    let Ok(spec) = serde_json::from_str::<Spec>(spec) else { return };
    let again = serde_json::to_value(&spec).and_then(serde_json::from_value::<Spec>);
    assert_eq!(again.ok().as_ref(), Some(&spec), "a spec survives being stored");
    let name = Name::new("web").expect("`web` is a name");
    let plan = |text: &str| {
        let seen = State {
            name: "web".to_owned(),
            text: text.to_owned(),
            version: Some(1),
            unmarked: false,
            own: false,
        };
        VaultPolicy::plan(&name, Some(&spec), Some(&seen))
    };
    assert_eq!(plan(&spec.render()), Next::Settled, "what was written is as wanted");
    whose(&spec.render());
    if let Next::Do(steps) = plan(stored) {
        let changes: usize = steps.iter().map(|step| step.changes().len()).sum();
        assert!(changes > 0, "what is written differs");
    }
}

#[cfg(test)]
mod tests {
    use holdfast_cases::fuzz::briefly;

    #[test]
    fn vault_answers() {
        briefly("vault_answers", 10_000, super::vault_answers);
    }

    #[test]
    fn vault_policy() {
        briefly("vault_policy", 10_000, super::vault_policy);
    }
}
