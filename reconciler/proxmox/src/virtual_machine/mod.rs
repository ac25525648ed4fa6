//! The kind `VirtualMachine`: a guest of Proxmox VE, known by its VMID, cloned from a template, never replaced.

mod apply;
mod cloud_init;
mod configure;
mod look;
pub mod notes;
mod plan;
mod preflight;
mod read;
pub mod spec;
pub mod state;
pub mod step;
#[cfg(test)]
mod tests;
mod whose;

use std::collections::BTreeMap;

use holdfast_core::ident::{KindName, Name};
use holdfast_core::kind::{Health, Kind, Look, Next, Scope, StepResult};
use holdfast_core::mark::Realm;
use holdfast_core::reference::Outputs;
use holdfast_core::secret::Secrets;

use crate::client::Client;

pub use spec::Spec;
pub use state::State;
pub use step::Step;

/// Virtual machines of one cluster, for one environment.
pub struct VirtualMachine {
    client: Client,
    realm: Realm,
}

impl VirtualMachine {
    pub(crate) fn new(client: Client, realm: Realm) -> Self {
        Self { client, realm }
    }
}

impl Kind for VirtualMachine {
    const NAME: KindName = KindName::fixed("VirtualMachine");
    const OUTPUTS: &'static [&'static str] = &["address", "hostKey", "node", "vmid"];
    type Spec = Spec;
    type State = State;
    type Step = Step;

    fn plan(name: &Name, want: Option<&Spec>, seen: Option<&State>) -> Next<Step> {
        plan::plan(name, want, seen)
    }

    fn health(seen: &State) -> Health {
        state::health(seen)
    }

    fn outputs(seen: &State) -> Outputs {
        state::outputs(seen)
    }

    /// Its disks hold data, whatever else is known of it.
    fn protected(_seen: &State) -> bool {
        true
    }

    async fn observe(&self, scope: Scope, wanted: &BTreeMap<Name, Spec>) -> Look<State> {
        look::look(&self.client, &self.realm, scope, wanted).await
    }

    async fn apply(&self, name: &Name, steps: &[Step], secrets: &Secrets) -> Vec<StepResult> {
        apply::apply(&self.client, &self.realm, name, steps, secrets).await
    }
}
