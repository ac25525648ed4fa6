//! The kind `VaultPolicy`: an ACL policy, rendered to one canonical text and compared by its bytes.

mod apply;
mod observe;
mod plan;
mod spec;
pub(crate) mod state;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use holdfast_core::ident::{KindName, Name};
use holdfast_core::kind::{Fence, Health, Kind, Look, Next, Scope, StepResult, one_by_one};
use holdfast_core::mark::Realm;
use holdfast_core::reference::Outputs;
use holdfast_core::secret::Secrets;

pub use plan::Step;
pub use spec::{Capabilities, Capability, PolicyPath, Rule, Spec};
pub use state::State;

use crate::client::Client;

/// ACL policies of one Vault, for one environment.
pub struct VaultPolicy {
    client: Arc<Client>,
    realm: Realm,
    /// This server has no bulk listing (it is not `OpenBao`), so it is not asked for again.
    no_bulk: AtomicBool,
}

impl VaultPolicy {
    pub(crate) fn new(client: Arc<Client>, realm: Realm) -> Self {
        Self { client, realm, no_bulk: AtomicBool::new(false) }
    }
}

impl Kind for VaultPolicy {
    const NAME: KindName = KindName::fixed("VaultPolicy");
    const OUTPUTS: &'static [&'static str] = &["name"];
    const TARGET: &'static str = crate::TARGET;

    type Spec = Spec;
    type State = State;
    type Step = Step;

    fn plan(name: &Name, want: Option<&Spec>, seen: Option<&State>) -> Next<Step> {
        plan::plan(name, want, seen)
    }

    /// A policy that is there works.
    fn health(_seen: &State) -> Health {
        Health::Healthy
    }

    fn outputs(seen: &State) -> Outputs {
        Outputs::from([("name".to_owned(), seen.name.clone())])
    }

    /// It holds no data: it can be written again from the repository.
    fn protected(_seen: &State) -> bool {
        false
    }

    async fn observe(&self, scope: Scope, wanted: &BTreeMap<Name, Spec>) -> Look<State> {
        self.look(scope, wanted).await
    }

    async fn apply(
        &self,
        name: &Name,
        steps: &[Step],
        _secrets: &Secrets,
        fence: &dyn Fence,
    ) -> Vec<StepResult> {
        one_by_one(steps, fence, |step| self.perform(name, step)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_planned_as_it_says() {
        holdfast_cases::run::<VaultPolicy>(concat!(env!("CARGO_MANIFEST_DIR"), "/src/policy/cases"));
    }
}
