//! One simulated home: all systems, all stores, and what outlives every process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_core::any_kind::AnyKind;
use holdfast_core::ident::{EnvironmentName, SiteName};
use holdfast_core::kind::{BoxFuture, TargetError};
use holdfast_core::mark::Realm;
use holdfast_core::plan::Kinds;
use holdfast_core::secret::{SecretDocument, SecretStore, StampKey};
use holdfast_engine::ports::Targets;

use crate::checks::{CANARIES, Checks};
use crate::place::{Place, Stands};
use crate::ports::clock::{SimClock, SimHalt};
use crate::ports::forge::Forge;
use crate::ports::journal::Store;
use crate::ports::manifests::{Catalogue, Checker};
use crate::ports::repository::{Mirror, Remote};
use crate::remembered::info;
use crate::simulated::Simulated;
use crate::wire::{Call, Port, Verdict, Wire};
use crate::workload::sketch::{CONSOLE, TEMPLATE, TOKEN};
use crate::world::hosts::Hosts;
use crate::world::kubernetes::Cluster;
use crate::world::proxmox::Proxmox;
use crate::world::secrets::Kv;
use crate::world::vault::{Flavour, Vault};

/// The site that every world is.
pub fn site() -> SiteName {
    SiteName::new("home").expect("it is a valid name")
}

/// The kinds of all targets, by name.
pub fn kinds() -> Kinds {
    [
        info::<Simulated<Proxmox>>(),
        info::<Simulated<Hosts>>(),
        info::<Simulated<Vault>>(),
        info::<Simulated<Cluster>>(),
    ]
    .into_iter()
    .map(|kind| (kind.name.clone(), kind))
    .collect()
}

/// The key of every stamp. It is in the state folder, and survives what that survives.
pub(crate) fn stamp_key() -> StampKey {
    StampKey::new([7; 32])
}

/// A machine on which the service may run.
#[derive(Clone)]
pub struct Machine {
    pub mirror: Mirror,
    pub clock: SimClock,
    pub halt: SimHalt,
}

/// Everything that outlives processes. Its clones are the same home.
#[derive(Clone)]
pub struct Home {
    pub wire: Wire,
    pub checks: Checks,
    pub proxmox: Place<Proxmox>,
    pub hosts: Place<Hosts>,
    pub vault: Place<Vault>,
    pub kubernetes: Place<Cluster>,
    pub secrets: Arc<Mutex<Kv>>,
    pub remote: Remote,
    pub catalogue: Catalogue,
    pub checker: Option<Arc<Checker>>,
    pub journal: Store,
    pub forge: Forge,
    pub machines: [Machine; 2],
}

impl Home {
    /// A home in which nothing stands yet but templates, and what somebody else made.
    pub fn new(seed: u64, wire: &Wire, checks: &Checks) -> Self {
        let mut proxmox = Proxmox::new(["pve1", "pve2"]);
        proxmox.add_template(TEMPLATE, "pve1", "scsi0", 4 << 10);
        proxmox.add_guest(777, "pve1", "somebody-elses", "scsi0", 8 << 10);
        let proxmox = Place::new(Port::Proxmox, proxmox, wire, checks);
        let guests = proxmox.clone();
        let hosts = Place::new(Port::Hosts, Hosts::new(), wire, checks)
            .linked(move |hosts: &mut Hosts| hosts.set_machines(guests.read(Proxmox::machines)));
        let flavour = if seed.is_multiple_of(3) { Flavour::Vault } else { Flavour::OpenBao };
        let mut vault = Vault::new(flavour);
        vault.put("by-hand", "path \"kv/data/by-hand\" {\n  capabilities = [\"read\"]\n}\n");
        let machine =
            || Machine { mirror: Mirror::default(), clock: SimClock::new(wire), halt: SimHalt::default() };
        let home = Self {
            wire: wire.clone(),
            checks: checks.clone(),
            proxmox,
            hosts,
            vault: Place::new(Port::Vault, vault, wire, checks),
            kubernetes: Place::new(Port::Kubernetes, Cluster::new(), wire, checks),
            secrets: Arc::default(),
            remote: Remote::new(seed),
            catalogue: Catalogue::default(),
            checker: None,
            journal: Store::default(),
            forge: Forge::default(),
            machines: [machine(), machine()],
        };
        for (path, key) in [CONSOLE, TOKEN] {
            home.rotate(path, key, 0);
        }
        home
    }

    pub fn secrets(&self) -> MutexGuard<'_, Kv> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A secret gets another value: a canary.
    pub fn rotate(&self, path: &str, key: &str, count: usize) {
        let mut value = format!("{}{count:04}", CANARIES[0]);
        // A console's password is one line.
        if path == TOKEN.0 {
            value = format!("{value}\n{}{count:04}\n", CANARIES[1]);
        }
        self.secrets().rotate(path, key, value);
    }

    /// All systems that are converged.
    pub fn stands(&self) -> [&dyn Stands; 4] {
        [&self.proxmox, &self.hosts, &self.vault, &self.kubernetes]
    }

    /// The systems as one process reaches them; `None` for the truth.
    pub fn targets(&self, process: Option<u8>) -> SimTargets {
        let through = process.map(|process| (self.wire.clone(), process));
        SimTargets { home: self.clone(), through }
    }
}

/// The systems, as somebody reaches them.
pub struct SimTargets {
    home: Home,
    through: Option<(Wire, u8)>,
}

impl Targets for SimTargets {
    fn kinds(&self, environment: &EnvironmentName) -> Vec<Arc<dyn AnyKind>> {
        let realm = Realm { site: site(), environment: environment.clone() };
        let Home { proxmox, hosts, vault, kubernetes, .. } = &self.home;
        let (realm, through) = (&realm, self.through.as_ref());
        vec![
            Arc::new(simulated(proxmox, realm, through)),
            Arc::new(simulated(hosts, realm, through)),
            Arc::new(simulated(vault, realm, through)),
            Arc::new(simulated(kubernetes, realm, through)),
        ]
    }

    fn secrets(&self) -> Arc<dyn SecretStore> {
        Arc::new(SimSecrets { home: self.home.clone(), through: self.through.clone() })
    }
}

fn simulated<M: crate::model::Model>(
    place: &Place<M>,
    realm: &Realm,
    through: Option<&(Wire, u8)>,
) -> Simulated<M> {
    Simulated { place: place.clone(), realm: realm.clone(), through: through.cloned() }
}

/// The secrets, as somebody reads them.
struct SimSecrets {
    home: Home,
    through: Option<(Wire, u8)>,
}

impl SecretStore for SimSecrets {
    fn target(&self) -> &'static str {
        "vault"
    }

    fn read<'a>(&'a self, path: &'a str) -> BoxFuture<'a, Result<SecretDocument, TargetError>> {
        Box::pin(async move {
            if let Some((wire, process)) = &self.through {
                let what = format!("secret {path}");
                let call = Call { port: Port::Secrets, process: *process, write: false, what };
                match wire.decide(&call).await {
                    Verdict::ErrorBefore(error)
                    | Verdict::ErrorAfter(error)
                    | Verdict::Zombie { error, .. } => return Err(error),
                    _ => {}
                }
            }
            self.home.secrets().read(path)
        })
    }
}
