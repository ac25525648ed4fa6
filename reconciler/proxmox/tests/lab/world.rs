//! A simulated cluster, the real kind as the engine holds it, and the engine's loop for one guest.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::any_kind::AnyKind;
use holdfast_core::desired::Farewell;
use holdfast_core::ident::{EnvironmentName, Name, ResourceId, SiteName};
use holdfast_core::kind::{Look, NoFence, Scope, Seen, StepResult, TargetError};
use holdfast_core::mark::Realm;
use holdfast_core::plan::{Action, Hold, decide};
use holdfast_lab::http::Wire;
use holdfast_lab::proxmox::{
    Builder, CONVERGE_GUESTS, Event, GuestView, MachineSeed, Proxmox as Cluster, StorageSeed,
};
use holdfast_proxmox::{Proxmox, Settings};
use secrecy::SecretString;
use serde_json::Value;

use crate::manifests::{DESCRIPTION, secrets};

pub(crate) const TOKEN: &str = "holdfast@pve!main";
pub(crate) const SECRET: &str = "0123-4567";
pub(crate) const NAME: &str = "kube01";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The cluster, and a client of it that lives until it crashes.
pub(crate) struct Lab {
    pub(crate) pve: Cluster,
    pub(crate) wire: Wire,
    pub(crate) kind: Arc<dyn AnyKind>,
    environment: &'static str,
    token: String,
}

/// Where a guest comes to rest.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Rest {
    Settled,
    Waits(String),
    Held(Hold),
    Failed(TargetError),
}

impl Rest {
    #[track_caller]
    pub(crate) fn why(&self) -> String {
        match self {
            Self::Settled => panic!("it is settled"),
            Self::Waits(what) => what.clone(),
            Self::Held(Hold::Unseen(error)) | Self::Failed(error) => error.to_string(),
            Self::Held(Hold::Refused(refusal) | Hold::TooRisky(refusal)) => refusal.why.clone(),
            Self::Held(Hold::NotNow(why)) => why.clone(),
            Self::Held(Hold::Blocked(by)) => panic!("blocked by {by}"),
        }
    }

    /// Whether it would come right by itself, without a person.
    pub(crate) fn is_tried_again(&self) -> bool {
        match self {
            Self::Waits(_) => true,
            Self::Held(Hold::Unseen(error)) | Self::Failed(error) => error.is_unavailable(),
            Self::Settled | Self::Held(_) => false,
        }
    }
}

/// Two nodes, a template with notes and tags of its own, storages of both sorts.
pub(crate) fn furnished() -> Builder {
    Cluster::builder()
        .node("pve1")
        .node("pve2")
        .storage(StorageSeed::new("local-lvm", "lvmthin", 500))
        .storage(StorageSeed::new("ceph", "rbd", 1000).shared())
        .machine(
            MachineSeed::new(9000, "debian-12", "pve1", 8)
                .template()
                .set("tags", "debian;packer")
                .set("description", "made by packer"),
        )
        .task_time(Duration::from_millis(2))
        .token(TOKEN, SECRET, CONVERGE_GUESTS)
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn realm(environment: &str) -> Realm {
    Realm { site: SiteName::new("home").unwrap(), environment: EnvironmentName::new(environment).unwrap() }
}

fn kind(url: &str, environment: &str, token: &str) -> Arc<dyn AnyKind> {
    // Another test may have been first.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let settings = Settings {
        url: url.to_owned(),
        token_id: token.to_owned(),
        token: SecretString::from(SECRET),
        ca_pem: None,
        fingerprints: Vec::new(),
    };
    Proxmox::new(settings).unwrap().kinds(&realm(environment)).remove(0)
}

impl Lab {
    pub(crate) async fn start() -> Self {
        Self::with(furnished()).await
    }

    pub(crate) async fn with(builder: Builder) -> Self {
        let wire = Wire::default();
        let pve = builder.start(&wire).await.expect("a loopback port is free");
        let kind = kind(&pve.url(), "core", TOKEN);
        Self { pve, wire, kind, environment: "core", token: TOKEN.to_owned() }
    }

    /// The same cluster, seen by another environment's kind.
    pub(crate) fn of(&self, environment: &'static str) -> Self {
        self.seen_by(environment, &self.token)
    }

    /// The same cluster, seen through another token with the same secret.
    pub(crate) fn through(&self, token: &str) -> Self {
        self.seen_by(self.environment, token)
    }

    fn seen_by(&self, environment: &'static str, token: &str) -> Self {
        Self {
            pve: self.pve.clone(),
            wire: self.wire.clone(),
            kind: kind(&self.pve.url(), environment, token),
            environment,
            token: token.to_owned(),
        }
    }

    /// A process that died and came again: it knows nothing of what the one before it did.
    pub(crate) fn reborn(&self) -> Self {
        self.through(&self.token)
    }

    pub(crate) fn id(&self, of: &str) -> ResourceId {
        ResourceId {
            environment: EnvironmentName::new(self.environment).unwrap(),
            kind: self.kind.info().name,
            name: name(of),
        }
    }

    pub(crate) async fn look(&self, scope: Scope, wanted: &[(&str, Value)]) -> Look<Value> {
        let wanted: BTreeMap<Name, Value> =
            wanted.iter().map(|(of, spec)| (name(of), spec.clone())).collect();
        self.kind.observe(scope, wanted).await
    }

    /// What a fresh look at one leads to.
    pub(crate) async fn next(&self, of: &str, spec: &Value) -> Action {
        let mut look = self.look(Scope::Only, &[(of, spec.clone())]).await;
        let seen = look.seen.remove(&name(of)).expect("a look answers for what is wanted");
        decide(&self.kind.info(), &self.id(of), Some(spec), &seen, Farewell::AsKind)
    }

    /// What a full look makes of a guest that nothing declares any more.
    pub(crate) async fn farewell(&self, of: &str, retired: bool) -> Action {
        let mut look = self.look(Scope::All, &[]).await;
        assert_eq!(look.incomplete, None);
        let seen = look.seen.remove(&name(of)).unwrap_or(Seen::Absent);
        let told = if retired { Farewell::Named } else { Farewell::AsKind };
        decide(&self.kind.info(), &self.id(of), None, &seen, told)
    }

    pub(crate) async fn apply(&self, of: &str, action: &Action) -> Vec<StepResult> {
        match action {
            Action::Create(steps) | Action::Adopt(steps) | Action::Update(steps) | Action::Delete(steps) => {
                self.kind.apply(&name(of), steps, &secrets(), &NoFence).await
            }
            other => panic!("nothing to apply: {other:?}"),
        }
    }

    /// One turn: the steps that were done, or where it rests.
    pub(crate) async fn turn(&self, of: &str, spec: &Value) -> Result<Vec<String>, Rest> {
        let action = self.next(of, spec).await;
        let steps = match &action {
            Action::Keep => return Err(Rest::Settled),
            Action::Wait(what) => return Err(Rest::Waits(what.clone())),
            Action::Hold(hold) => return Err(Rest::Held(hold.clone())),
            Action::Create(steps) | Action::Adopt(steps) | Action::Update(steps) => steps.clone(),
            other => panic!("what is wanted is not removed: {other:?}"),
        };
        let results = self.apply(of, &action).await;
        let failed = results.iter().find_map(|result| match result {
            StepResult::Failed(error) => Some(Rest::Failed(error.clone())),
            _ => None,
        });
        failed.map_or_else(|| Ok(steps.into_iter().map(|step| step.text).collect()), Err)
    }

    /// Turns until there is nothing to do at once: what was done, and where it rests.
    pub(crate) async fn go(&self, of: &str, spec: &Value) -> (Vec<String>, Rest) {
        let mut done = Vec::new();
        for _ in 0..20 {
            match self.turn(of, spec).await {
                Ok(steps) => done.extend(steps),
                Err(rest) => return (done, rest),
            }
        }
        panic!("it never comes to rest: {done:#?}");
    }

    /// As [`Lab::go`], and what is tried again is tried again, as long as it takes.
    pub(crate) async fn converge(&self, of: &str, spec: &Value) -> (Vec<String>, Rest) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut done = Vec::new();
        loop {
            let (steps, rest) = self.go(of, spec).await;
            done.extend(steps);
            if !rest.is_tried_again() {
                return (done, rest);
            }
            assert!(tokio::time::Instant::now() < deadline, "it does not come to rest: {rest:?}, {done:#?}");
            // The pause of a loop that waits for a condition.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Writes keys as somebody else would, through the API.
    pub(crate) async fn write(&self, vmid: u32, form: &[(&str, &str)]) {
        let url = format!("{}/api2/json/nodes/pve1/qemu/{vmid}/config", self.pve.url());
        let mut body: BTreeMap<&str, &str> = form.iter().copied().collect();
        body.insert("background_delay", "10");
        let token = format!("PVEAPIToken={TOKEN}={SECRET}");
        let request = reqwest::Client::new().post(url).header("authorization", token).json(&body);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
    }

    #[track_caller]
    pub(crate) fn guest(&self, vmid: u32) -> GuestView {
        self.pve.guest(vmid).expect("the guest is there")
    }

    /// Guests that are no templates.
    pub(crate) fn guests(&self) -> Vec<u32> {
        self.pve.world().guests.values().filter(|guest| !guest.template).map(|guest| guest.vmid).collect()
    }

    /// Nothing that held data is gone.
    #[track_caller]
    pub(crate) fn nothing_was_destroyed(&self) {
        let gone = |event: &Event| matches!(event, Event::Destroyed { .. } | Event::DiskDestroyed { .. });
        let history = self.pve.world().history;
        assert!(!history.iter().any(gone), "{history:#?}");
    }

    /// Guest 101 is there once, as [`whole`] wants it, with the right mark, and nothing lies about.
    #[track_caller]
    pub(crate) fn is_whole(&self) {
        let world = self.pve.world();
        assert_eq!(world.guests.keys().copied().collect::<Vec<_>>(), [101, 9000]);
        let volumes: BTreeSet<&str> = world.volumes.keys().map(String::as_str).collect();
        let expected = ["base-9000-disk-0", "vm-101-cloudinit", "vm-101-disk-0", "vm-9000-cloudinit"];
        let expected: BTreeSet<String> = expected.iter().map(|id| format!("local-lvm:{id}")).collect();
        assert_eq!(volumes, expected.iter().map(String::as_str).collect());
        self.nothing_was_destroyed();
        let guest = &world.guests[&101];
        let config = |key: &str| guest.config.get(key).map_or("", String::as_str);
        assert_eq!((guest.name.as_str(), guest.node.as_str(), guest.running), (NAME, "pve1", true));
        assert_eq!((config("cores"), config("memory"), config("onboot")), ("2", "2048", "1"));
        assert_eq!((guest.pending.len(), guest.deleting.len(), &guest.lock), (0, 0, &None));
        assert_eq!(guest.disks["scsi0"].bytes, 16 << 30);
        assert_eq!(guest.disks["scsi0"].from, Some(world.guests[&9000].disks["scsi0"].birth));
        assert_eq!(guest.disks.len(), 2, "no disk is left unused: {:?}", guest.disks);
        assert!(config("net0").contains("bridge=vmbr1") && config("net0").contains("tag=20"));
        assert_eq!(tags(guest), ["holdfast", "kubernetes"], "the template's tags stay with it");
        let (notes, uuid) = (config("description"), uuid(guest));
        let head = format!("{DESCRIPTION}\n\nholdfast: home/core/VirtualMachine/{NAME}@101/{uuid}\n");
        let rest = notes.strip_prefix(&head).unwrap_or_else(|| panic!("{notes} begins with {head}"));
        assert!(rest.starts_with("holdfast-host-key: ssh-ed25519 AAAA"), "{rest}");
        assert!(rest.ends_with("\nholdfast-password: 00ff\nholdfast-tags: kubernetes"), "{rest}");
        let seed = guest.seed.clone().expect("there is a cloud-init drive");
        for line in
            ["user: ops", "  - ssh-ed25519 AAAAC3Nz+a/b== mé@laptop; 100 %", "  - ssh-rsa AAAAB3Nz x&y=z"]
        {
            assert!(seed.user_data.lines().any(|it| it == line), "{}", seed.user_data);
        }
        assert!(seed.user_data.contains("password: $"), "it is hashed: {}", seed.user_data);
        assert!(seed.network_config.contains("'10.78.0.11'"), "{}", seed.network_config);
    }

    /// A second look, full and at one, writes nothing and finds nothing to do.
    pub(crate) async fn is_settled(&self, of: &str, spec: &Value) {
        self.wire.reset();
        let look = self.look(Scope::All, &[(of, spec.clone())]).await;
        assert_eq!((look.incomplete, look.notices), (None, Vec::<String>::new()));
        let action =
            decide(&self.kind.info(), &self.id(of), Some(spec), &look.seen[&name(of)], Farewell::AsKind);
        assert_eq!(action, Action::Keep);
        assert_eq!(self.go(of, spec).await, (Vec::new(), Rest::Settled));
        assert_eq!(self.wire.writes(), []);
    }
}

pub(crate) fn tags(guest: &GuestView) -> Vec<&str> {
    let mut tags: Vec<&str> = guest
        .config
        .get("tags")
        .map_or("", String::as_str)
        .split(';')
        .filter(|tag| !tag.is_empty())
        .collect();
    tags.sort_unstable();
    tags
}

pub(crate) fn uuid(guest: &GuestView) -> &str {
    guest.config["smbios1"].split(',').find_map(|part| part.strip_prefix("uuid=")).expect("it has one")
}

pub(crate) fn mac(guest: &GuestView) -> String {
    let net = &guest.config["net0"];
    let is_mac = |text: &&str| text.len() == 17 && text.split(':').count() == 6;
    net.split([',', '=']).find(is_mac).expect("a card has a MAC").to_owned()
}

/// The mark on a guest, as it stands there.
pub(crate) fn mark(guest: &GuestView) -> Option<&str> {
    guest.config.get("description")?.lines().find_map(|line| line.strip_prefix("holdfast: "))
}
