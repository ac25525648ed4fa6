//! What a commit wants of the whole site, as values that are easily changed, and what becomes of it.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::desired::{Desired, Drift, DriftMode, Group, Place, Resource, Site};
use holdfast_core::graph;
use holdfast_core::ident::{CommitId, EnvironmentName, KindName, Name, ResourceId};
use holdfast_core::schedule::Window;
use serde_json::{Value, json};

pub const GUEST: KindName = KindName::fixed("VirtualMachine");
pub const HOST: KindName = KindName::fixed("Host");
pub const POLICY: KindName = KindName::fixed("VaultPolicy");
pub const APPLICATION: KindName = KindName::fixed("Application");

/// The template that there is.
pub const TEMPLATE: u32 = 9000;
/// One that there is not.
pub const NO_TEMPLATE: u32 = 9999;
/// The secret of guests' consoles, and that of hosts' files.
pub const CONSOLE: (&str, &str) = ("kv/guests", "console");
pub const TOKEN: (&str, &str) = ("kv/app", "token");

/// A name that the simulation itself makes.
pub fn name(text: &str) -> Name {
    Name::new(text).expect("the simulation makes valid names")
}

/// What a commit wants.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sketch {
    pub rooms: BTreeMap<EnvironmentName, Room>,
    pub pause: Option<String>,
    pub rewind: BTreeSet<CommitId>,
}

/// What it wants of one environment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Room {
    pub guests: BTreeMap<Name, Guest>,
    pub hosts: BTreeMap<Name, Host>,
    pub policies: BTreeMap<Name, Policy>,
    pub applications: BTreeMap<Name, Application>,
    pub retire: BTreeSet<(KindName, Name)>,
    pub protect: BTreeSet<(KindName, Name)>,
    pub moved: BTreeMap<(KindName, Name), Name>,
    /// Groups by name: the kind of their members.
    pub groups: BTreeMap<Name, (KindName, BTreeSet<Name>)>,
    pub drift: DriftMode,
    pub maintenance: Option<Window>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guest {
    pub vmid: u32,
    pub template: u32,
    pub cores: u32,
    pub memory: u32,
    /// In GiB.
    pub disk: u32,
    /// The third and fourth part of its address.
    pub address: (u32, u32),
    pub description: String,
    pub tags: BTreeSet<String>,
    /// Its console has a password, from Vault.
    pub password: bool,
    pub reboots: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The guest that it is.
    pub guest: Name,
    pub files: BTreeMap<String, String>,
    /// A file whose text is a secret.
    pub secret: bool,
    pub packages: BTreeSet<String>,
    /// A service that reads the files.
    pub service: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub path: String,
    pub writes: bool,
    pub needs: BTreeSet<(Option<EnvironmentName>, KindName, Name)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    pub path: String,
    pub revision: String,
    pub needs: BTreeSet<Name>,
}

impl Guest {
    fn spec(&self) -> Value {
        let (third, fourth) = self.address;
        let mut cloud_init = json!({
            "user": "ops",
            "sshKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1jPEr1dtB4NpJYHGhFQZsWmTPfTDQVdDmnjbZ2o3Ds ops@laptop"],
            "address": format!("10.78.{third}.{fourth}/24"),
            "gateway": format!("10.78.{third}.1"),
        });
        if self.password {
            cloud_init["password"] = json!({ "vault": CONSOLE.0, "key": CONSOLE.1 });
        }
        json!({
            "vmid": self.vmid, "node": "pve1", "template": self.template,
            "cores": self.cores, "memory": format!("{}MiB", self.memory),
            "disk": { "slot": "scsi0", "size": format!("{}GiB", self.disk) },
            "network": { "bridge": "vmbr0" },
            "cloudInit": cloud_init, "agent": true, "onBoot": true, "running": true,
            "restart": if self.reboots { "allowed" } else { "never" },
            "tags": self.tags, "description": self.description,
        })
    }
}

impl Host {
    fn spec(&self) -> Value {
        let guest = format!("VirtualMachine/{}", self.guest);
        let mut files: Vec<Value> =
            self.files.iter().map(|(path, content)| json!({ "path": path, "content": content })).collect();
        if self.secret {
            files.push(json!({
                "path": "/etc/app/token", "mode": "0600", "content": { "vault": TOKEN.0, "key": TOKEN.1 },
            }));
        }
        let mut services = Vec::new();
        if self.service {
            files.push(json!({
                "path": "/etc/systemd/system/app.service",
                "content": "[Service]\nExecStart=/usr/bin/app\n[Install]\nWantedBy=multi-user.target\n",
            }));
            let reads: Vec<&String> = self.files.keys().collect();
            services
                .push(json!({ "name": "app.service", "enabled": true, "running": true, "restartOn": reads }));
        }
        json!({
            "connection": {
                "address": { "ref": guest, "output": "address" },
                "hostKey": { "ref": guest, "output": "hostKey" },
            },
            "directories": [{ "path": "/etc/app" }],
            "files": files, "packages": self.packages, "services": services,
        })
    }
}

impl Policy {
    fn spec(&self) -> Value {
        let capabilities = if self.writes { json!(["read", "update"]) } else { json!(["read"]) };
        json!({ "rules": [{ "path": self.path, "capabilities": capabilities }] })
    }
}

impl Application {
    fn spec(&self, environment: &EnvironmentName) -> Value {
        json!({
            "metadata": { "labels": { "room": environment } },
            "spec": {
                "project": "default",
                "source": {
                    "repoURL": "https://git.lan/apps.git", "path": self.path, "targetRevision": self.revision,
                },
                "destination": { "server": "https://kubernetes.default.svc", "namespace": environment },
                "syncPolicy": { "automated": { "prune": true, "selfHeal": true } },
            },
        })
    }
}

impl Room {
    /// Whether it wants nothing at all.
    pub fn is_empty(&self) -> bool {
        self.guests.is_empty()
            && self.hosts.is_empty()
            && self.policies.is_empty()
            && self.applications.is_empty()
    }

    /// The other environments of which it needs something.
    pub fn borrowed_from(&self) -> BTreeSet<&EnvironmentName> {
        self.policies
            .values()
            .flat_map(|policy| &policy.needs)
            .filter_map(|(other, _, _)| other.as_ref())
            .collect()
    }

    fn resources(&self, environment: &EnvironmentName) -> Vec<Resource> {
        let id = |kind: &KindName, name: &Name| ResourceId {
            environment: environment.clone(),
            kind: kind.clone(),
            name: name.clone(),
        };
        let resource = |id: ResourceId, spec: Value, needs: BTreeSet<ResourceId>| {
            let path = format!("environments/{environment}/all.yaml");
            let declared = Place { path, line: 1 };
            Resource { id, spec, needs, borrowed: false, declared }
        };
        let mut all = Vec::new();
        for (name, guest) in &self.guests {
            all.push(resource(id(&GUEST, name), guest.spec(), BTreeSet::new()));
        }
        for (name, host) in &self.hosts {
            all.push(resource(id(&HOST, name), host.spec(), BTreeSet::from([id(&GUEST, &host.guest)])));
        }
        for (name, policy) in &self.policies {
            let needs = policy
                .needs
                .iter()
                .map(|(elsewhere, kind, name)| ResourceId {
                    environment: elsewhere.clone().unwrap_or_else(|| environment.clone()),
                    ..id(kind, name)
                })
                .collect();
            all.push(resource(id(&POLICY, name), policy.spec(), needs));
        }
        for (name, application) in &self.applications {
            let needs = application.needs.iter().map(|host| id(&HOST, host)).collect();
            all.push(resource(id(&APPLICATION, name), application.spec(environment), needs));
        }
        all
    }
}

impl Sketch {
    /// The typed site, as reading the commit would give it.
    pub fn site(&self) -> Site {
        let all: BTreeMap<ResourceId, Resource> = self
            .rooms
            .iter()
            .flat_map(|(environment, room)| room.resources(environment))
            .map(|resource| (resource.id.clone(), resource))
            .collect();
        let environments =
            self.rooms.iter().map(|(name, room)| (name.clone(), self.desired(name, room, &all))).collect();
        Site { environments, rewind: self.rewind.clone() }
    }

    fn desired(
        &self,
        environment: &EnvironmentName,
        room: &Room,
        all: &BTreeMap<ResourceId, Resource>,
    ) -> Desired {
        let id = |kind: &KindName, name: &Name| ResourceId {
            environment: environment.clone(),
            kind: kind.clone(),
            name: name.clone(),
        };
        let mut resources = BTreeMap::new();
        let mut open: Vec<&Resource> =
            all.values().filter(|resource| resource.id.environment == *environment).collect();
        while let Some(resource) = open.pop() {
            if resources.contains_key(&resource.id) {
                continue;
            }
            open.extend(resource.needs.iter().filter_map(|need| all.get(need)));
            let borrowed = resource.id.environment != *environment;
            resources.insert(resource.id.clone(), Resource { borrowed, ..resource.clone() });
        }
        let groups = room
            .groups
            .iter()
            .map(|(name, (kind, members))| Group {
                name: name.clone(),
                members: members.iter().map(|member| id(kind, member)).collect(),
                max_unavailable: 1,
                max_failures: 1,
            })
            .collect();
        let mut desired = Desired {
            resources,
            retire: room.retire.iter().map(|(kind, name)| id(kind, name)).collect(),
            protect: room.protect.iter().map(|(kind, name)| id(kind, name)).collect(),
            drift: Drift { schedule: None, mode: room.drift },
            maintenance: room.maintenance.clone(),
            moved: room.moved.iter().map(|((kind, old), new)| (id(kind, old), id(kind, new))).collect(),
            groups,
            pause: self.pause.clone(),
            ..Desired::default()
        };
        desired.order = graph::order(&desired.needs()).expect("no needs of a sketch go round");
        desired
    }
}
