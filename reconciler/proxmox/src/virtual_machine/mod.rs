//! The kind `VirtualMachine`: a guest of Proxmox VE, known by its VMID, cloned from a template, never replaced.
//!
//! # Who is known by what
//! The guest is its VMID; its node is a fact, since it may migrate, and its name is given once, with the clone.
//! A guest of nobody is adopted only if it bears the resource's name already: a wrong number, or one that
//! somebody else was faster to take, must not make another's guest ours.
//! The mark is the line `holdfast: …` in its notes and names VMID and SMBIOS uuid; the tag `holdfast` is how a
//! look finds it. A clone is marked with its VMID alone until its uuid is known. More lines in the notes keep
//! what reads back nowhere else: the pinned SSH host key, the stamp of the password that was set, and the tags
//! that a manifest declared. To have a new host key pinned, a person removes the line of the old one.
//!
//! # What the token needs
//! `VM.Audit` on `/vms`, passed on: without it nothing that is not listed counts as absent. `Sys.Audit` on
//! `/nodes` and `Datastore.Audit` on the storages, to tell wrong names and full storages before the API does.
//! `VM.Clone` on the template; `VM.Allocate`, `VM.PowerMgmt`, `VM.Config.*` (`CPU`, `Memory`, `Disk`, `Network`,
//! `Cloudinit`, `CDROM`, `Options`) and `VM.GuestAgent.FileRead` on `/vms`; `Datastore.AllocateSpace` on the
//! storage; `SDN.Use` on the bridges. The API names what is missing, and so do we.
//!
//! # What a change of `cloudInit` means
//! A guest that runs takes it at its next boot, and then runs anew what cloud-init does once an instance; many
//! images make new SSH host keys then. Nothing is rebooted for it.

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
use holdfast_core::kind::{Fence, Health, Kind, Look, Next, Scope, StepResult, one_by_one};
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
    const TARGET: &'static str = "proxmox";
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

    async fn apply(
        &self,
        name: &Name,
        steps: &[Step],
        secrets: &Secrets,
        fence: &dyn Fence,
    ) -> Vec<StepResult> {
        let actor = apply::Actor { client: &self.client, realm: &self.realm, name, secrets, fence };
        one_by_one(steps, fence, |step| actor.perform(step)).await
    }
}
