//! The kind `Host`: a Linux machine's directories, files, packages and services.

mod apply;
#[cfg(any(test, fuzzing))]
#[path = "../fuzzing.rs"]
pub mod fuzzing;
pub mod ledger;
pub mod mode;
pub mod names;
mod parts;
mod plan;
mod probe;
mod read;
mod report;
mod script;
pub mod spec;
pub mod state;
pub mod step;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::ident::{KindName, Name};
use holdfast_core::kind::{Fence, Health, Kind, Look, Next, Owner, Scope, Seen, StepResult, TargetError};
use holdfast_core::mark::Realm;
use holdfast_core::reference::Outputs;
use holdfast_core::secret::Secrets;
use secrecy::SecretString;
use tokio::task::JoinSet;

pub use spec::HostSpec;
pub use state::HostState;
pub use step::HostStep;

use crate::HostAlias;
use crate::ssh::{Answer, Endpoint, Limits, Ssh, SshError};
use probe::Query;
use read::Found;
use spec::Connection;

const LOOK: Limits =
    Limits { deadline: Duration::from_secs(90), silence: Duration::from_mins(1), output: 4 << 20 };
/// Packages may be large and mirrors slow, and apt-get says nothing meanwhile.
const CHANGE: Limits =
    Limits { deadline: Duration::from_mins(30), silence: Duration::from_mins(20), output: 4 << 20 };

/// What all environments share: the connections, and where addresses are really reached.
pub struct Shared {
    ssh: Ssh,
    aliases: BTreeMap<String, HostAlias>,
}

impl Shared {
    pub fn new(ssh: Ssh, aliases: BTreeMap<String, HostAlias>) -> Self {
        Self { ssh, aliases }
    }

    /// Where a host is, from its manifest and the service's configuration.
    fn endpoint(&self, connection: &Connection) -> Result<Endpoint, TargetError> {
        let (Some(address), Some(host_key)) = (connection.address.value(), connection.host_key.value())
        else {
            let why = "what its manifest refers to is not known yet";
            return Err(TargetError::unavailable("reaching the host", why));
        };
        let host_key = spec::read_host_key(host_key)
            .map_err(|error| SshError::PinnedKey(error).into_target("reaching the host"))?;
        let alias = self.aliases.get(address);
        Ok(Endpoint {
            address: address.clone(),
            hostname: alias.map_or(address, |alias| &alias.hostname).clone(),
            port: alias.and_then(|alias| alias.port).unwrap_or(connection.port),
            user: connection.user.to_string(),
            host_key,
        })
    }

    /// Looks at one host: one script.
    async fn look(&self, spec: &HostSpec) -> Result<Found, TargetError> {
        let at = self.endpoint(&spec.connection)?;
        let doing = format!("looking at {}", at.address);
        let query = Query::of(spec);
        let script = SecretString::from(query.script());
        let answer = self.ssh.run(&at, &script, LOOK).await.map_err(|error| error.into_target(&doing))?;
        let Answer { stdout, stderr, status, trouble } = answer;
        match (trouble, status) {
            (Some(trouble), _) => Err(trouble.into_target(&doing)),
            (None, Some(status)) if stdout.is_empty() => {
                Err(report::not_begun(&doing, status, &String::from_utf8_lossy(&stderr)))
            }
            (None, Some(0)) => read::read(&query, &stdout).map_err(|error| error.into_target(&doing)),
            (None, _) => Err(SshError::Lost.into_target(&doing)),
        }
    }
}

/// The kind, bound to one environment.
pub struct Host {
    shared: Arc<Shared>,
    realm: Realm,
}

impl Host {
    pub fn new(shared: Arc<Shared>, realm: Realm) -> Self {
        Self { shared, realm }
    }
}

impl Kind for Host {
    const NAME: KindName = KindName::fixed("Host");
    const OUTPUTS: &'static [&'static str] = &[];
    const TARGET: &'static str = "hosts";
    const EACH_APART: bool = true;

    type Spec = HostSpec;
    type State = HostState;
    type Step = HostStep;

    fn plan(_: &Name, want: Option<&HostSpec>, seen: Option<&HostState>) -> Next<HostStep> {
        plan::plan(want, seen)
    }

    /// A host that answers is up, unless a service that it is asked about is not.
    fn health(seen: &HostState) -> Health {
        let ill: Vec<String> = seen
            .services
            .iter()
            .filter(|(_, unit)| matches!(unit.active.as_str(), "failed" | "activating"))
            .map(|(name, unit)| format!("`{name}` is {} ({})", unit.active, unit.sub))
            .collect();
        if ill.is_empty() { Health::Healthy } else { Health::Unhealthy(ill.join(", ")) }
    }

    fn outputs(_: &HostState) -> Outputs {
        Outputs::new()
    }

    /// A host's disks are nothing that this kind could destroy.
    fn protected(_: &HostState) -> bool {
        false
    }

    async fn observe(&self, _: Scope, wanted: &BTreeMap<Name, HostSpec>) -> Look<HostState> {
        let mut looks = JoinSet::new();
        for (name, spec) in wanted {
            let (shared, name, spec) = (Arc::clone(&self.shared), name.clone(), spec.clone());
            looks.spawn(async move { (name, shared.look(&spec).await) });
        }
        let died = TargetError::unavailable("looking at the host", "the look ended by a fault of Holdfast");
        let mut seen: BTreeMap<Name, Seen<HostState>> =
            wanted.keys().map(|name| (name.clone(), Seen::Unknown(died.clone()))).collect();
        let mut notices = Vec::new();
        while let Some(look) = looks.join_next().await {
            let Ok((name, look)) = look else { continue };
            let one = match look {
                Err(error) => Seen::Unknown(error),
                Ok(Found { state, mark }) => {
                    let owner = self.realm.owner(mark.as_ref(), &state.machine_id);
                    if let (Owner::Copied, Some(mark)) = (&owner, &mark) {
                        notices.push(format!(
                            "`Host/{name}` carries the ledger of another machine (`{mark}`): if it was cloned from \
                             that one, delete /var/lib/holdfast/ledger on it"
                        ));
                    }
                    Seen::Present { state, owner }
                }
            };
            seen.insert(name, one);
        }
        notices.sort();
        // A host that no manifest declares any more is never looked at, in either scope: nothing says where it is. So
        // none is ever an orphan, and that need not be told again with every commit.
        Look { seen, incomplete: None, failed: None, notices }
    }

    async fn apply(
        &self,
        name: &Name,
        steps: &[HostStep],
        secrets: &Secrets,
        fence: &dyn Fence,
    ) -> Vec<StepResult> {
        let Some(first) = steps.first() else { return Vec::new() };
        let failed_at = |at: usize, error: TargetError| {
            let mut results = vec![StepResult::NotRun; steps.len()];
            results[at] = StepResult::Failed(error);
            results
        };
        if let Some(at) = steps.iter().position(|step| step.at != first.at) {
            return failed_at(at, TargetError::rejected(steps[at].to_string(), "it is of another plan"));
        }
        let endpoint = match self.shared.endpoint(&first.at.connection) {
            Ok(endpoint) => endpoint,
            Err(error) => return failed_at(0, error),
        };
        let mark = self.realm.mark(Self::NAME, name, &first.at.machine_id);
        let change = match apply::compose(&mark, steps, secrets) {
            Ok(change) => change,
            Err((at, error)) => return failed_at(at, error),
        };
        // All steps run there as one script, which does not come back to ask.
        if let Err(error) = fence.check().await {
            return failed_at(0, error);
        }
        match self.shared.ssh.run(&endpoint, &change.script, CHANGE).await {
            Ok(answer) => report::results(steps, answer, &change.veil),
            Err(error) => failed_at(0, error.into_target(&first.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases() {
        holdfast_cases::run::<Host>(concat!(env!("CARGO_MANIFEST_DIR"), "/src/host/cases"));
    }
}
