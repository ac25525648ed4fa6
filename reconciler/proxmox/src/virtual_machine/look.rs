//! Looking: which guests there are, whose they are, and what a wanted one that is not listed really means.
//!
//! A look in scope `All` at N wanted or marked guests costs N+3 requests: the list, the token's rights, the
//! cluster's options, and one a guest, be it there (its configuration) or not (whether its number is free).
//! Only a guest with something open costs more: a power state that the list does not know yet, a host key
//! that is not pinned yet, an address from DHCP, a start within the last minutes (one request each). So does a
//! guest of others that does not run (one request): a clone of ours has no tag before its first configuration.
//! A look in scope `Only` at one guest costs five: the list, the options, its configuration, its exact power,
//! its running tasks; three where it is not there, of which the last one tells that its number is free.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use futures_util::future::{FutureExt as _, try_join, try_join3};
use futures_util::stream::{StreamExt as _, iter};
use holdfast_core::ident::{Name, ResourceId};
use holdfast_core::kind::{Kind as _, Look, Owner, Scope, Seen, TargetError};
use holdfast_core::mark::{Mark, Realm};

use super::configure::OUR_TAG;
use super::spec::Spec;
use super::state::{AgentAnswer, Power, SeenMark, State};
use super::whose::{HOST_KEY_FILE, copied, declared_twice, host_key, whose};
use super::{VirtualMachine, preflight};
use crate::client::Client;
use crate::client::cluster::{Cluster, Guest, Rights};
use crate::client::guests::{AgentError, Place};
use crate::names::Vmid;

/// Reads what is wanted and, in scope `All`, everything else that carries our tag.
pub(super) async fn look(
    client: &Client,
    realm: &Realm,
    scope: Scope,
    wanted: &BTreeMap<Name, Spec>,
) -> Look<State> {
    match View::take(client, realm, scope).await {
        Err(error) => Look::failed(wanted.keys(), &error),
        Ok(view) => view.look(wanted).await,
    }
}

/// The cluster at one moment, and who looks at it.
struct View<'a> {
    client: &'a Client,
    realm: &'a Realm,
    scope: Scope,
    cluster: Cluster,
    /// Read in scope `All` alone, which tells by them whether it is complete.
    rights: Option<Rights>,
    tags_have_case: bool,
    /// Nodes that did not answer within this look: their other guests are not asked for any more.
    dark: Mutex<BTreeMap<String, TargetError>>,
}

/// Guests that are read at once. Each waits for the answer of one node.
const AT_ONCE: usize = 8;

/// One guest as it was read.
struct Read {
    state: State,
    owner: Owner,
    /// The mark that decided.
    mark: Option<Mark>,
}

type Reading = Result<Read, TargetError>;

/// For so long after a start the agent is asked whether the guest has booted, in seconds. One that is silent for
/// longer is no reason to call a guest down.
const YOUNG: u64 = 300;

/// Whether it may be a clone of ours that was never configured. The API gives a clone the template's tags, and
/// it is configured, with our tag, before it is first started.
fn may_be_half_made(guest: &Guest) -> bool {
    guest.status != "running" && !guest.template
}

/// Whether its tag says that it may be ours.
fn is_tagged(guest: &Guest) -> bool {
    guest.tags.iter().any(|tag| tag.eq_ignore_ascii_case(OUR_TAG))
}

impl<'a> View<'a> {
    async fn take(client: &'a Client, realm: &'a Realm, scope: Scope) -> Result<Self, TargetError> {
        let doing = "listing the guests of the cluster";
        let taken = match scope {
            Scope::All => try_join3(client.cluster(), client.tags_have_case(), client.rights())
                .await
                .map(|(cluster, case, rights)| (cluster, case, Some(rights))),
            Scope::Only => try_join(client.cluster(), client.tags_have_case())
                .await
                .map(|(cluster, case)| (cluster, case, None)),
        };
        let (cluster, tags_have_case, rights) = taken.map_err(|error| error.during(doing))?;
        Ok(Self { client, realm, scope, cluster, rights, tags_have_case, dark: Mutex::default() })
    }

    fn dark(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, TargetError>> {
        self.dark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(&self, wanted: &BTreeMap<Name, Spec>) -> Look<State> {
        let numbers: BTreeMap<Vmid, &Spec> = wanted.values().map(|spec| (spec.vmid, spec)).collect();
        let guests: Vec<&Guest> =
            self.cluster.guests.values().filter(|guest| self.is_read(guest, &numbers, wanted)).collect();
        let mut reads = Vec::with_capacity(guests.len());
        for guest in guests {
            let spec = numbers.get(&guest.vmid).copied();
            reads.push(self.read(guest, spec).map(|reading| (guest.vmid, reading)));
        }
        let readings: BTreeMap<Vmid, Reading> = iter(reads).buffer_unordered(AT_ONCE).collect().await;
        let mut look =
            Look { seen: BTreeMap::new(), incomplete: self.incomplete(), failed: None, notices: Vec::new() };
        let twice = declared_twice(wanted);
        for (name, spec) in wanted {
            let seen = match twice.get(&spec.vmid) {
                Some(names) => Seen::Unknown(TargetError::rejected(
                    format!("looking at vm {}", spec.vmid),
                    format_args!("it is declared by {names}: a guest has one name"),
                )),
                None => self.wanted(name, spec, &readings).await,
            };
            look.seen.insert(name.clone(), seen);
        }
        for (vmid, reading) in readings.into_iter().filter(|(vmid, _)| !numbers.contains_key(vmid)) {
            self.unwanted(&mut look, vmid, reading);
        }
        look.notices.extend(look.seen.values().filter_map(|seen| match seen {
            Seen::Present { state, owner: Owner::Copied } => Some(copied(state.vmid)),
            _ => None,
        }));
        look
    }

    /// Whether a guest's configuration is read: it is wanted by its number; or it bears a wanted name, since ours of that
    /// name with another number, tagged or not, keeps a second one from being made; or, in a look at all, its tag says
    /// that it may be ours, or it may be a clone of ours that has no tag yet.
    fn is_read(&self, guest: &Guest, numbers: &BTreeMap<Vmid, &Spec>, wanted: &BTreeMap<Name, Spec>) -> bool {
        let reachable = !guest.is_container && !self.cluster.is_offline(&guest.node);
        let named = || wanted.keys().any(|name| guest.name.as_deref() == Some(name.as_str()));
        reachable
            && (numbers.contains_key(&guest.vmid)
                || named()
                || (self.scope == Scope::All && (is_tagged(guest) || may_be_half_made(guest))))
    }

    /// Why something of ours may be out of sight.
    fn incomplete(&self) -> Option<String> {
        let rights = self.rights.as_ref()?;
        if !rights.allow_below("VM.Audit", "/vms") {
            return Some("the token lacks `VM.Audit` on `/vms`, passed on to all guests, so some may be out of its sight".to_owned());
        }
        let mut tagged = self.cluster.guests.values().filter(|guest| is_tagged(guest));
        let dark = tagged.find(|guest| self.cluster.is_offline(&guest.node));
        dark.map(|guest| format!("vm {} is on node `{}`, which is offline", guest.vmid, guest.node))
    }

    async fn read(&self, guest: &Guest, spec: Option<&Spec>) -> Reading {
        let at = Place { node: guest.node.clone(), vmid: guest.vmid };
        let doing = format!("reading vm {}", guest.vmid);
        if let Some(error) = self.dark().get(&guest.node) {
            return Err(error.clone());
        }
        let config = self.client.config(&at).await.map_err(|error| {
            let told = error.during(&doing);
            if error.is_of_a_dark_node() {
                self.dark().insert(guest.node.clone(), told.clone());
            }
            told
        })?;
        let (mut state, marks) = State::read(guest, &config, self.tags_have_case);
        let mut uptime = guest.uptime;
        if self.scope == Scope::Only || state.running == Power::Unknown {
            let current = self.client.current(&at).await.map_err(|error| error.during(&doing))?;
            state.running = Power::read(&current.status);
            state.template |= current.template;
            uptime = current.uptime;
        }
        if self.scope == Scope::Only {
            let tasks = self.client.running_tasks(&at).await.map_err(|error| error.during(&doing))?;
            state.task = tasks.into_iter().next();
        }
        let (owner, mark) = whose(self.realm, &marks, state.vmid, state.uuid.as_deref());
        if let (Owner::Ours(id), Some(mark)) = (&owner, &mark) {
            let half_made = mark.object == State::new_object(state.vmid);
            state.mark = Some(SeenMark { name: id.name.clone(), half_made });
        } else {
            state.notes = state.notes.without_ours();
        }
        if let Some(spec) = spec {
            self.ask_agent(&at, spec, &mut state, uptime < YOUNG).await;
        }
        Ok(Read { state, owner, mark })
    }

    /// Asks the guest itself only for what is needed and stands nowhere else.
    async fn ask_agent(&self, at: &Place, spec: &Spec, state: &mut State, is_young: bool) {
        if !state.agent || state.running != Power::Running {
            return;
        }
        let is_pinned = state.notes.host_key.is_some();
        // One that was just switched on answers after the next restart.
        let may_boot = is_young && !state.pending.contains("agent");
        if spec.agent == Some(true) && (may_boot || !is_pinned) {
            let answer = match self.client.agent_file(at, HOST_KEY_FILE).await {
                Ok(content) => host_key(&content),
                Err(AgentError::Silent(why)) => {
                    // An agent that does not find the file has answered.
                    state.boots = (may_boot && !why.contains("Agent error")).then(|| why.clone());
                    AgentAnswer::Silent(why)
                }
                Err(AgentError::Refused(why)) => AgentAnswer::Refused(why),
            };
            state.agent_host_key = (!is_pinned).then_some(answer);
        }
        if state.cloud_init.address.as_deref() == Some("dhcp") {
            let addresses = self.client.agent_addresses(at).await.unwrap_or_default();
            let mac = state.network.as_ref().and_then(|card| card.mac.as_ref());
            let own =
                addresses.iter().find(|(of, _)| Some(of.as_str()) == mac.map(crate::names::Mac::as_str));
            state.agent_address = own.or(addresses.first()).map(|(_, address)| *address);
        }
    }

    /// What a wanted name is, given what was read. A guest that has the name's mark is it, even where the
    /// manifest has come to declare another number: a second one is never made nor adopted.
    async fn wanted(&self, name: &Name, spec: &Spec, readings: &BTreeMap<Vmid, Reading>) -> Seen<State> {
        let vmid = spec.vmid;
        let ours = Owner::Ours(self.id(name));
        let is_ours = |reading: &&Reading| matches!(reading, Ok(read) if read.owner == ours);
        let there = readings.get(&vmid);
        let marked = there.filter(is_ours).or_else(|| readings.values().find(is_ours));
        let doing = format!("looking at vm {vmid}");
        // What is nobody's must not be adopted while the one that is ours may be out of sight.
        if let Some(Ok(Read { owner: Owner::Nobody, .. })) = marked.or(there)
            && let Some(error) = self.namesake_in_the_dark(name, &doing, readings)
        {
            return Seen::Unknown(error);
        }
        if let Some(reading) = marked.or(there) {
            return match reading {
                Ok(Read { state, owner, .. }) => Seen::Present { state: state.clone(), owner: owner.clone() },
                Err(error) => Seen::Unknown(error.clone()),
            };
        }
        match self.cluster.guests.get(&vmid) {
            Some(guest) if guest.is_container => {
                let called = guest.name.as_deref().unwrap_or("without a name");
                let why = format!("{vmid} is a container ({called}): declare a number that is free");
                Seen::Unknown(TargetError::rejected(doing, why))
            }
            Some(guest) => {
                let why = format!("it is on node `{}`, which is offline", guest.node);
                Seen::Unknown(TargetError::unavailable(doing, why))
            }
            None => self.missing(name, spec, readings).await,
        }
    }

    /// A number that is not listed: free, out of sight, or left behind by a manifest that changed it.
    async fn missing(&self, name: &Name, spec: &Spec, readings: &BTreeMap<Vmid, Reading>) -> Seen<State> {
        let vmid = spec.vmid;
        let doing = format!("looking for vm {vmid}");
        if let Some(error) = self.namesake_in_the_dark(name, &doing, readings) {
            return Seen::Unknown(error);
        }
        if let Err(error) = self.is_free(vmid, &doing).await {
            return Seen::Unknown(error);
        }
        // It would have to be made, which a wrong node makes impossible.
        match preflight::node(&self.cluster, &format!("making vm {vmid}"), &spec.node) {
            Ok(()) => Seen::Absent,
            Err(error) => Seen::Unknown(error),
        }
    }

    /// A guest of that name that may be ours, and cannot be read.
    fn namesake_in_the_dark(
        &self,
        name: &Name,
        doing: &str,
        readings: &BTreeMap<Vmid, Reading>,
    ) -> Option<TargetError> {
        let namesake = self.cluster.guests.values().find(|guest| {
            !guest.is_container
                && (is_tagged(guest) || may_be_half_made(guest))
                && guest.name.as_deref() == Some(name.as_str())
                && !matches!(readings.get(&guest.vmid), Some(Ok(_)))
        })?;
        let why = format!("vm {} of the same name cannot be read, and may be it", namesake.vmid);
        Some(TargetError::unavailable(doing, why))
    }

    /// Whether a number that is not listed is free: nobody has it, not even out of the token's sight.
    async fn is_free(&self, vmid: Vmid, doing: &str) -> Result<(), TargetError> {
        let sees = |rights: &Rights| {
            if rights.allow("VM.Audit", &format!("/vms/{vmid}")) {
                return Ok(());
            }
            let why = format!(
                "the token lacks `VM.Audit` on `/vms/{vmid}`, so it cannot tell what is there: grant it on `/vms` to the token and to its user, passed on to all guests"
            );
            Err(TargetError::rejected(doing, why))
        };
        self.rights.as_ref().map_or(Ok(()), sees)?;
        if !self.client.is_taken(vmid).await.map_err(|error| error.during(doing))? {
            return Ok(());
        }
        if self.rights.is_none() {
            sees(&self.client.rights().await.map_err(|error| error.during(doing))?)?;
        }
        // Made since the list was, or missing in a list that is not whole.
        Err(TargetError::unavailable(doing, "the number is taken, by a guest that was not listed"))
    }

    /// What may be ours and has no wanted number: ours under another name, somebody else's, or a copy.
    fn unwanted(&self, look: &mut Look<State>, vmid: Vmid, reading: Reading) {
        let Read { state, owner, mark } = match reading {
            Ok(read) => read,
            Err(error) if self.scope == Scope::All => {
                look.incomplete.get_or_insert_with(|| error.to_string());
                return;
            }
            Err(_) => return,
        };
        let is_tagged = self.cluster.guests.get(&vmid).is_some_and(is_tagged);
        match &owner {
            Owner::Copied => look.notices.push(copied(vmid)),
            Owner::Ours(id) if id.kind == VirtualMachine::NAME && self.scope == Scope::All => {
                match look.seen.get(&id.name) {
                    None => drop(look.seen.insert(id.name.clone(), Seen::Present { state, owner })),
                    Some(Seen::Present { state: other, .. }) if other.vmid == vmid => {}
                    Some(_) => look.notices.push(format!("vm {vmid} is marked as `{}` too", id.name)),
                }
            }
            Owner::Nobody if mark.is_none() && self.scope == Scope::All && is_tagged => {
                look.notices
                    .push(format!("vm {vmid} has the tag `{OUR_TAG}`, and no mark of Holdfast in its notes"));
            }
            Owner::Ours(_) | Owner::Other(_) | Owner::Nobody => {}
        }
    }

    fn id(&self, name: &Name) -> ResourceId {
        ResourceId {
            environment: self.realm.environment.clone(),
            kind: VirtualMachine::NAME,
            name: name.clone(),
        }
    }
}
