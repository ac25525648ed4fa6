//! The Proxmox VE target: its client, and the kinds of resources that live there.

mod address;
mod client;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod names;
mod settings;
mod size;
pub mod virtual_machine;

use std::sync::Arc;

use holdfast_core::any_kind::{AnyKind, KindInfo};
use holdfast_core::mark::Realm;

pub use address::Address;
pub use names::{
    Bridge, Description, DiskSlot, Domain, HostKey, Mac, NodeName, SshKey, StorageName, Tag, UserName, Vmid,
    WrongText,
};
pub use settings::{Settings, SettingsError};
pub use size::{Bytes, Size};
pub use virtual_machine::VirtualMachine;

/// The kinds of this target, known without a connection.
pub fn kinds() -> Vec<KindInfo> {
    vec![KindInfo::of::<VirtualMachine>()]
}

/// A cluster. All environments share its connections and limits.
pub struct Proxmox {
    client: client::Client,
}

impl Proxmox {
    /// Checks the settings. Nothing is asked yet, so that a cluster that is down does not keep the service
    /// from starting. The process must have a rustls crypto provider installed.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "the token's secret is wiped here, with its last owner"
    )]
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        Ok(Self { client: client::Client::new(&settings)? })
    }

    /// The kinds, bound to one environment.
    pub fn kinds(&self, realm: &Realm) -> Vec<Arc<dyn AnyKind>> {
        vec![Arc::new(VirtualMachine::new(self.client.clone(), realm.clone()))]
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::ident::{EnvironmentName, SiteName};

    use super::*;

    #[test]
    fn what_is_bound_is_what_the_table_lists() {
        let cluster = Proxmox::new(client::testing::settings("https://pve1.lan:8006")).unwrap();
        let site = SiteName::new("home").unwrap();
        let realm = Realm { site, environment: EnvironmentName::new("core").unwrap() };
        let bound: Vec<_> = cluster.kinds(&realm).iter().map(|kind| kind.info().name).collect();
        let listed: Vec<_> = kinds().into_iter().map(|kind| kind.name).collect();
        assert_eq!(bound, listed);
    }
}
