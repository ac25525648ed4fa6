//! Packages: all that are missing come in one transaction. None is ever upgraded or removed.

use holdfast_core::kind::Refusal;

use crate::host::plan::Draft;
use crate::host::spec::HostSpec;
use crate::host::state::HostState;
use crate::host::step::Act;

pub(crate) fn plan(want: &HostSpec, seen: &HostState, draft: &mut Draft) {
    let mut missing = Vec::new();
    for name in &want.packages {
        match seen.packages.get(name) {
            None => draft.unseen.push(format!("package `{name}`")),
            Some(Some(package)) if package.is_installed() => {}
            Some(Some(package)) if package.is_held() => draft.refusals.push(Refusal::new(
                format!("package `{name}` is held on the host, and not installed"),
                format!("run `apt-mark unhold {name}` on the host, or drop the package from the manifest"),
            )),
            Some(_) => missing.push(name.clone()),
        }
    }
    if !missing.is_empty() {
        draft.packages.push(Act::InstallPackages { packages: missing });
    }
}
