//! Users, tokens, roles and the access control list, evaluated as Proxmox does.

use std::collections::{BTreeMap, BTreeSet};

use super::error::ApiError;

/// Every privilege of Proxmox VE 9, which `Administrator` has.
pub const PRIVILEGES: &[&str] = &[
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Datastore.Audit",
    "Group.Allocate",
    "Mapping.Audit",
    "Mapping.Modify",
    "Mapping.Use",
    "Permissions.Modify",
    "Pool.Allocate",
    "Pool.Audit",
    "Realm.Allocate",
    "Realm.AllocateUser",
    "SDN.Allocate",
    "SDN.Audit",
    "SDN.Use",
    "Sys.AccessNetwork",
    "Sys.Audit",
    "Sys.Console",
    "Sys.Incoming",
    "Sys.Modify",
    "Sys.PowerMgmt",
    "Sys.Syslog",
    "User.Modify",
    "VM.Allocate",
    "VM.Audit",
    "VM.Backup",
    "VM.Clone",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.Console",
    "VM.GuestAgent.Audit",
    "VM.GuestAgent.FileRead",
    "VM.GuestAgent.FileSystemMgmt",
    "VM.GuestAgent.FileWrite",
    "VM.GuestAgent.Unrestricted",
    "VM.Migrate",
    "VM.PowerMgmt",
    "VM.Replicate",
    "VM.Snapshot",
    "VM.Snapshot.Rollback",
];

/// What converging virtual machines needs, on `/`.
pub const CONVERGE_GUESTS: &[&str] = &[
    "Datastore.AllocateSpace",
    "Datastore.Audit",
    "SDN.Use",
    "Sys.Audit",
    "VM.Allocate",
    "VM.Audit",
    "VM.Clone",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Cloudinit",
    "VM.Config.Disk",
    "VM.Config.HWType",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.Options",
    "VM.GuestAgent.Audit",
    "VM.GuestAgent.FileRead",
    "VM.Migrate",
    "VM.PowerMgmt",
];

/// Privilege to whether it passes down.
pub(super) type Rights = BTreeMap<String, bool>;

pub(super) struct Token {
    pub(super) secret: String,
    /// Whether the token's rights are cut to its own entries.
    pub(super) privsep: bool,
}

pub(super) struct Entry {
    pub(super) path: String,
    /// `user@realm`, `user@realm!token` or `@group`.
    pub(super) who: String,
    pub(super) role: String,
    pub(super) propagate: bool,
}

/// What a pool gives to its members' paths.
pub(super) type Pools = BTreeMap<String, Pool>;

#[derive(Debug, Clone, Default)]
pub(super) struct Pool {
    pub(super) comment: String,
    pub(super) guests: BTreeSet<u32>,
    pub(super) storages: BTreeSet<String>,
}

#[derive(Default)]
pub(super) struct Access {
    /// User to groups.
    pub(super) users: BTreeMap<String, BTreeSet<String>>,
    pub(super) tokens: BTreeMap<String, Token>,
    pub(super) roles: BTreeMap<String, BTreeSet<String>>,
    pub(super) entries: Vec<Entry>,
}

impl Access {
    /// With the built-in roles that matter here.
    pub(super) fn new() -> Self {
        let mut access = Self::default();
        let all = || PRIVILEGES.iter().map(|it| (*it).to_owned());
        access.roles.insert("Administrator".into(), all().collect());
        let audit = |it: &String| it.ends_with(".Audit");
        access.roles.insert("PVEAuditor".into(), all().filter(audit).collect());
        let guests = |it: &String| it.starts_with("VM.");
        access.roles.insert("PVEVMAdmin".into(), all().filter(guests).collect());
        access.roles.insert("NoAccess".into(), BTreeSet::new());
        access.users.insert("root@pam".into(), BTreeSet::new());
        access
    }

    /// The user or token that the `Authorization` header proves.
    pub(super) fn authenticate(&self, header: Option<&str>) -> Result<String, &'static str> {
        let header = header.ok_or("No ticket")?;
        let value = header.strip_prefix("PVEAPIToken").and_then(|rest| rest.strip_prefix(['=', ' ']));
        let value = percent_encoding::percent_decode_str(value.ok_or("No ticket")?).decode_utf8_lossy();
        let (id, secret) = value.rsplit_once('=').ok_or("Authentication failed!")?;
        match self.tokens.get(id) {
            Some(token) if token.secret == secret => Ok(id.to_owned()),
            _ => Err("Authentication failed!"),
        }
    }

    /// The roles of one principal on `path`, each with whether it passes down.
    fn roles_of(&self, who: &str, path: &str) -> BTreeMap<String, bool> {
        let groups = self.users.get(who).cloned().unwrap_or_default();
        let mut roles = BTreeMap::new();
        for level in levels(path) {
            let here = level == path;
            let at = |who: &dyn Fn(&str) -> bool| -> BTreeMap<String, bool> {
                let fits =
                    |entry: &&Entry| entry.path == level && who(&entry.who) && (entry.propagate || here);
                self.entries.iter().filter(fits).map(|entry| (entry.role.clone(), entry.propagate)).collect()
            };
            let own = at(&|entry| entry == who);
            let found = if own.is_empty() {
                at(&|entry| entry.strip_prefix('@').is_some_and(|group| groups.contains(group)))
            } else {
                own
            };
            if !found.is_empty() {
                roles = found;
            }
        }
        if roles.contains_key("NoAccess") { BTreeMap::new() } else { roles }
    }

    fn rights_of(&self, who: &str, path: &str, pools: &Pools) -> Rights {
        if who == "root@pam" {
            return PRIVILEGES.iter().map(|it| ((*it).to_owned(), true)).collect();
        }
        let mut roles = self.roles_of(who, path);
        if let Some(pool) = pool_of(path, pools) {
            for (role, propagate) in self.roles_of(who, &format!("/pool/{pool}")) {
                roles.entry(role).or_insert(propagate);
            }
        }
        let mut rights = Rights::new();
        for (role, propagate) in roles {
            for privilege in self.roles.get(&role).into_iter().flatten() {
                *rights.entry(privilege.clone()).or_insert(false) |= propagate;
            }
        }
        rights
    }

    /// What the user or token may do on `path`: a token with privilege separation no more than its user.
    pub(super) fn rights(&self, who: &str, path: &str, pools: &Pools) -> Rights {
        let Some((user, _)) = who.split_once('!') else { return self.rights_of(who, path, pools) };
        let of_user = self.rights_of(user, path, pools);
        if !self.tokens.get(who).is_some_and(|token| token.privsep) {
            return of_user;
        }
        let mut own = self.rights_of(who, path, pools);
        own.retain(|privilege, _| of_user.contains_key(privilege));
        for (privilege, propagate) in &mut own {
            *propagate &= of_user[privilege];
        }
        own
    }

    /// Refuses unless all privileges are there.
    pub(super) fn all(&self, who: &str, path: &str, needed: &[&str], pools: &Pools) -> Result<(), ApiError> {
        let rights = self.rights(who, path, pools);
        match needed.iter().find(|privilege| !rights.contains_key(**privilege)) {
            Some(missing) => Err(ApiError::denied(&format!("{path}, {missing}"))),
            None => Ok(()),
        }
    }

    /// Refuses unless one of the privileges is there.
    pub(super) fn any(&self, who: &str, path: &str, needed: &[&str], pools: &Pools) -> Result<(), ApiError> {
        let rights = self.rights(who, path, pools);
        if needed.iter().any(|privilege| rights.contains_key(*privilege)) {
            return Ok(());
        }
        Err(ApiError::denied(&format!("{path}, {}", needed.join("|"))))
    }
}

/// `/`, `/vms`, `/vms/100`.
fn levels(path: &str) -> Vec<&str> {
    let mut all = vec!["/"];
    all.extend(path.match_indices('/').skip(1).map(|(at, _)| &path[..at]));
    if path != "/" {
        all.push(path);
    }
    all
}

fn pool_of<'a>(path: &str, pools: &'a Pools) -> Option<&'a String> {
    let guest = path.strip_prefix("/vms/").and_then(|vmid| vmid.parse::<u32>().ok());
    let storage = path.strip_prefix("/storage/");
    let member = |pool: &Pool| {
        guest.is_some_and(|vmid| pool.guests.contains(&vmid))
            || storage.is_some_and(|storage| pool.storages.contains(storage))
    };
    pools.iter().find(|(_, pool)| member(pool)).map(|(name, _)| name)
}
