//! Performing steps: one match, one call an arm, nothing decided; every wait has an end.

use std::time::Duration;

use holdfast_core::ident::Name;
use holdfast_core::kind::{Fence, Kind as _, Owner, TargetError};
use holdfast_core::mark::{Mark, Realm};
use holdfast_core::secret::Secrets;
use secrecy::ExposeSecret as _;

use super::notes::Notes;
use super::state::State;
use super::step::{Clone, Configure, Step};
use super::whose::whose;
use super::{VirtualMachine, preflight, read};
use crate::client::Client;
use crate::client::errors::ApiError;
use crate::client::guests::{Config, Place};
use crate::client::property::boolean;
use crate::names::Vmid;

/// A full clone copies disks.
const CLONE: Duration = Duration::from_mins(10);
/// Everything else.
const TASK: Duration = Duration::from_mins(2);
/// What a guest gets to shut down by itself, in seconds; within [`TASK`].
const SHUTDOWN: &str = "60";
/// Allocations on one storage at once: each locks it.
const ALLOCATIONS: usize = 2;

/// Performs one resource's steps.
pub(super) struct Actor<'a> {
    pub(super) client: &'a Client,
    pub(super) realm: &'a Realm,
    pub(super) name: &'a Name,
    pub(super) secrets: &'a Secrets,
    /// Asked once more where a step waits for others before it writes.
    pub(super) fence: &'a dyn Fence,
}

/// The warning of what was done, or why it was not.
type Done = Result<Option<String>, TargetError>;

impl Actor<'_> {
    pub(super) async fn perform(&self, step: &Step) -> Done {
        let doing = &doing(step);
        match step {
            Step::Clone(clone) => self.clone_template(doing, clone).await,
            Step::Configure(configure) => self.configure(doing, configure).await,
            Step::RegenerateCloudInit { at } => self.regenerate(doing, at).await,
            Step::SeedWritten { at, due } => self.seed_written(doing, at, due).await,
            Step::Resize { at, slot, size, digest, .. } => {
                let _place =
                    self.client.gates().enter(format!("resize on node {}", at.node), ALLOCATIONS).await?;
                let size = format!("{}M", size.as_mebibytes());
                let form = [("disk", slot.as_str()), ("size", &size), ("digest", digest)];
                self.fence.check().await?;
                self.finish(doing, self.client.resize(at, &form).await, TASK).await
            }
            Step::Start { at } => {
                self.is_ours(doing, at).await?;
                match self.power(doing, at, "start", &[]).await {
                    // Somebody else was faster, or we were before a crash.
                    Err(TargetError::Rejected { why, .. }) if why.contains("already running") => Ok(None),
                    result => result,
                }
            }
            Step::Shutdown { at, force } => {
                if *force {
                    self.is_to_go(doing, at).await?;
                } else {
                    self.is_ours(doing, at).await?;
                }
                let force = if *force { "1" } else { "0" };
                self.power(doing, at, "shutdown", &[("timeout", SHUTDOWN), ("forceStop", force)]).await
            }
            Step::Reboot { at, .. } => {
                self.is_ours(doing, at).await?;
                self.power(doing, at, "reboot", &[("timeout", SHUTDOWN)]).await
            }
            Step::Destroy { at } => {
                self.is_to_go(doing, at).await?;
                self.finish(doing, self.client.destroy(at).await, TASK).await
            }
        }
    }

    /// Whether what is at the number now is the guest that was seen, and ours. The API takes no digest with what
    /// is no write of the configuration, so a step that comes late would reach whoever took the number since.
    async fn is_ours(&self, doing: &str, at: &Place) -> Result<Config, TargetError> {
        let config = self.client.config(at).await.map_err(|error| error.during(doing))?;
        let value = |key: &str| config.values.get(key).map(String::as_str).unwrap_or_default();
        let (_, marks) = Notes::parse(value("description"));
        let (owner, _) = whose(self.realm, &marks, at.vmid, read::uuid(&config).as_deref());
        if !matches!(owner, Owner::Ours(id) if id.kind == VirtualMachine::NAME && id.name == *self.name) {
            let why = "it does not carry its mark any more; another guest may have taken its place";
            return Err(TargetError::unavailable(doing, why));
        }
        Ok(config)
    }

    /// Whether it still is ours, and without protection: others may have been removed for minutes before it.
    async fn is_to_go(&self, doing: &str, at: &Place) -> Result<(), TargetError> {
        let config = self.is_ours(doing, at).await?;
        if config.values.get("protection").is_some_and(|value| boolean(value)) {
            return Err(TargetError::unavailable(doing, "somebody protected it from removal meanwhile"));
        }
        Ok(())
    }

    async fn clone_template(&self, doing: &str, clone: &Clone) -> Done {
        let gates = self.client.gates();
        let _template = gates.enter(format!("clone of template {}", clone.template), 1).await?;
        let target = clone.storage.as_ref().map_or("its own storage", |storage| storage.as_str());
        let _storage = gates.enter(format!("allocation on {target}"), ALLOCATIONS).await?;
        // After the wait for those before us, since they may have filled the storage.
        let cluster = self.client.cluster().await.map_err(|error| error.during(doing))?;
        let template = preflight::clone(&cluster, doing, clone)?;
        let config = self.client.config(&template).await.map_err(|error| error.during(doing))?;
        let (state, _) = State::read(&cluster.guests[&template.vmid], &config, true);
        preflight::template(&state, doing, clone)?;
        let vmid = clone.vmid.to_string();
        // Without a description the template's notes would be copied, with whatever mark is in them.
        let description = clone.notes.render(&self.mark(&State::new_object(clone.vmid)));
        let mut form = vec![
            ("newid", vmid.as_str()),
            ("name", self.name.as_str()),
            ("full", "1"),
            ("description", &description),
        ];
        form.extend(clone.storage.iter().map(|storage| ("storage", storage.as_str())));
        if clone.node.as_str() != template.node {
            form.push(("target", clone.node.as_str()));
        }
        self.fence.check().await?;
        self.finish(doing, self.client.clone_guest(&template, &form).await, CLONE).await
    }

    async fn configure(&self, doing: &str, configure: &Configure) -> Done {
        let Configure {
            at,
            uuid,
            digest,
            set,
            delete,
            password,
            notes,
            pins: _,
            disruptive: _,
            owes: _,
            restart: _,
            changes: _,
        } = configure;
        let description = self.description(at.vmid, uuid.as_deref(), notes);
        let delete: Vec<&str> = delete.iter().map(String::as_str).collect();
        let delete = delete.join(",");
        let mut form: Vec<(&str, &str)> =
            set.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        form.push(("description", &description));
        if !delete.is_empty() {
            form.push(("delete", &delete));
        }
        if let Some(reference) = password {
            form.push(("cipassword", self.secrets.get(reference)?.expose_secret()));
        }
        if !digest.is_empty() {
            form.push(("digest", digest));
        }
        self.finish(doing, self.client.set_config(at, &form).await, TASK).await
    }

    async fn regenerate(&self, doing: &str, at: &Place) -> Done {
        self.is_ours(doing, at).await?;
        let warning = self.finish(doing, self.client.regenerate_cloud_init(at).await, TASK).await?;
        Ok(Some(
            warning.unwrap_or_else(|| format!("cloud-init takes this at the next boot of vm {}", at.vmid)),
        ))
    }

    /// Reads the notes right before it writes them: making the image anew has changed the digest, and what people wrote
    /// meanwhile stays.
    async fn seed_written(&self, doing: &str, at: &Place, due: &str) -> Done {
        let config = self.is_ours(doing, at).await?;
        let (mut notes, _) =
            Notes::parse(config.values.get("description").map(String::as_str).unwrap_or_default());
        match notes.seed_due.take() {
            None => return Ok(None),
            Some(other) if other != due => {
                return Err(TargetError::unavailable(doing, "its settings were written again meanwhile"));
            }
            Some(_) => {}
        }
        let description = self.description(at.vmid, read::uuid(&config).as_deref(), &notes);
        let mut form = vec![("description", description.as_str())];
        if !config.digest.is_empty() {
            form.push(("digest", &config.digest));
        }
        self.finish(doing, self.client.set_config(at, &form).await, TASK).await
    }

    async fn power(&self, doing: &str, at: &Place, what: &str, form: &[(&str, &str)]) -> Done {
        self.finish(doing, self.client.power(at, what, form).await, TASK).await
    }

    async fn finish(
        &self,
        doing: &str,
        answer: Result<serde_json::Value, ApiError>,
        limit: Duration,
    ) -> Done {
        self.client.finish(doing, answer.map_err(|error| error.during(doing))?, limit).await
    }

    fn mark(&self, object: &str) -> Mark {
        self.realm.mark(VirtualMachine::NAME, self.name, object)
    }

    fn description(&self, vmid: Vmid, uuid: Option<&str>, notes: &Notes) -> String {
        notes.render(&self.mark(&State::object(vmid, uuid)))
    }
}

/// What is being done, as a phrase in front of what went wrong.
fn doing(step: &Step) -> String {
    match step {
        Step::Clone(clone) => format!("cloning template {} to vm {}", clone.template, clone.vmid),
        Step::Configure(configure) => format!("configuring vm {}", configure.at.vmid),
        Step::RegenerateCloudInit { at } => format!("writing the cloud-init drive of vm {}", at.vmid),
        Step::SeedWritten { at, .. } => format!("writing the notes of vm {}", at.vmid),
        Step::Resize { at, slot, .. } => format!("growing {slot} of vm {}", at.vmid),
        Step::Start { at } => format!("starting vm {}", at.vmid),
        Step::Shutdown { at, .. } => format!("shutting down vm {}", at.vmid),
        Step::Reboot { at, .. } => format!("rebooting vm {}", at.vmid),
        Step::Destroy { at } => format!("destroying vm {}", at.vmid),
    }
}
