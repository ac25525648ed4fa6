//! The one reader of `cases/*.yaml` (a spec and a state in, steps or a refusal out), and the short run of fuzz targets.

pub mod fuzz;

use std::path::Path;

use holdfast_core::ident::Name;
use holdfast_core::kind::{Kind, Next};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// One case. Exactly one of `settled`, `steps`, `wait` and `refusal` says what is expected.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, bound = "Spec: DeserializeOwned, State: DeserializeOwned")]
struct Case<Spec, State> {
    /// The resource's name; `a` where it does not matter.
    #[serde(default)]
    name: Option<Name>,
    /// Absent: nothing declares it.
    want: Option<Spec>,
    /// Absent: nothing is there.
    seen: Option<State>,
    #[serde(default)]
    settled: bool,
    /// The lines of the steps, as a plan shows them.
    steps: Option<Vec<String>>,
    wait: Option<String>,
    refusal: Option<String>,
}

/// Runs every case of a folder against the kind's `plan`.
///
/// # Panics
/// Where a case cannot be read, or the plan is another than the case says: all of them together.
pub fn run<K: Kind>(folder: impl AsRef<Path>) {
    let folder = folder.as_ref();
    let mut failures = Vec::new();
    let mut count = 0;
    let entries = std::fs::read_dir(folder).expect("the folder of cases can be read");
    for entry in entries {
        let path = entry.expect("a case can be listed").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        count += 1;
        if let Err(failure) = run_one::<K>(&path) {
            failures.push(format!("{}: {failure}", path.display()));
        }
    }
    assert!(count > 0, "{} holds no case", folder.display());
    failures.sort();
    assert!(failures.is_empty(), "{} of {count} cases fail\n\n{}", failures.len(), failures.join("\n\n"));
}

fn run_one<K: Kind>(path: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let case: Case<K::Spec, K::State> = serde_yaml::from_str(&text).map_err(|error| error.to_string())?;
    let expected = match (case.settled, case.steps, case.wait, case.refusal) {
        (true, None, None, None) => Next::Settled,
        (false, Some(steps), None, None) => Next::Do(steps),
        (false, None, Some(what), None) => Next::Wait(what),
        (false, None, None, Some(why)) => {
            return match plan::<K>(case.name, case.want.as_ref(), case.seen.as_ref()) {
                Next::Refuse(refusal) if refusal.why == why => Ok(()),
                other => Err(format!("expected a refusal: {why}\n  got: {other:?}")),
            };
        }
        _ => return Err("a case expects one of `settled`, `steps`, `wait` and `refusal`".to_owned()),
    };
    let got = plan::<K>(case.name, case.want.as_ref(), case.seen.as_ref());
    if got == expected { Ok(()) } else { Err(format!("expected: {expected:?}\n  got: {got:?}")) }
}

fn plan<K: Kind>(name: Option<Name>, want: Option<&K::Spec>, seen: Option<&K::State>) -> Next<String> {
    let name = name.unwrap_or_else(|| Name::new("a").expect("`a` is a name"));
    match K::plan(&name, want, seen) {
        Next::Settled => Next::Settled,
        Next::Do(steps) => Next::Do(steps.iter().map(ToString::to_string).collect()),
        Next::Wait(what) => Next::Wait(what),
        Next::Refuse(refusal) => Next::Refuse(refusal),
    }
}
