//! Fuzz targets of Argo CD: answers of a Kubernetes API and objects of which every field may be anything.
//! `tests/fuzz` runs them for long, the test below for a second.

use std::time::Duration;

use holdfast_core::ident::Name;
use holdfast_core::kind::{Kind as _, Next};
use serde_json::Value;

use crate::application::{Application, Spec, State};
use crate::client::Answer;

/// A status, a warning and a body: what is said of it is one bounded line.
pub fn argocd_answers(data: &[u8]) {
    let mut parts = data.splitn(3, |byte| *byte == b'\n');
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (status, warning) = (text().parse().unwrap_or(200), text());
    let body = parts.next().unwrap_or_default();
    match Answer::read("asking", status, Some(Duration::from_secs(7)), Some(warning), body) {
        Ok(answer) => {
            let warning = answer.warning().unwrap_or_default();
            assert!(warning.chars().count() <= 404 && !warning.contains(char::is_control), "{warning:?}");
            assert!(!answer.is_success() || (200..300).contains(&status));
            let text = answer.error("asking").to_string();
            assert!(text.starts_with("asking: ") && !text.contains(char::is_control), "{text:?}");
        }
        Err(error) => {
            let text = error.to_string();
            assert!(error.is_unavailable() && !text.contains(char::is_control), "{text:?}");
            assert!(text.chars().count() < 500, "{text}");
        }
    }
}

/// A live Application as JSON: it is read and judged whatever stands in it, and never taken for settled without the
/// signs of it.
pub fn argocd_object(data: &[u8]) {
    let Ok(mut object) = serde_json::from_slice::<Value>(data) else { return };
    let Ok(state) = State::read(&object) else { return };
    let stored = serde_json::to_value(&state).expect("a state is plain data");
    assert_eq!(serde_json::from_value::<State>(stored).ok().as_ref(), Some(&state), "a state reads back");
    Application::health(&state);
    let name = Name::new("a").expect("`a` is a name");
    if let Next::Do(steps) = Application::plan(&name, None, Some(&state)) {
        assert!(!steps.is_empty(), "no steps are a wait");
    }
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|key, _| matches!(key.as_str(), "metadata" | "spec"));
    }
    let Ok(want) = serde_json::from_value::<Spec>(object) else { return };
    if Application::plan(&name, Some(&want), Some(&state)) == Next::Settled {
        let is = |status: Option<&String>, wanted: &str| status.is_some_and(|status| status == wanted);
        assert!(is(state.sync.as_ref().map(|sync| &sync.status), "Synced"), "settled is synced");
        assert!(is(state.health.as_ref().map(|health| &health.status), "Healthy"), "settled is healthy");
        assert!(state.deleting.is_none() && !state.operation && state.errors.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use holdfast_cases::fuzz::briefly;

    #[test]
    fn argocd_answers() {
        briefly("argocd_answers", 10_000, super::argocd_answers);
    }

    #[test]
    fn argocd_object() {
        briefly("argocd_object", 5_000, super::argocd_object);
    }
}
