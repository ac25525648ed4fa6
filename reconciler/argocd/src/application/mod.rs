//! The kind `Application` of Argo CD: applied as it stands in the repository, settled when Argo CD says so.

mod apply;
mod difference;
mod normal;
mod observe;
mod owned;
mod plan;
mod settled;
mod spec;
pub mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_core::ident::{KindName, Name};
use holdfast_core::kind::{Fence, Health, Kind, Look, Next, Scope, StepResult, one_by_one};
use holdfast_core::mark::Realm;
use holdfast_core::reference::Outputs;
use holdfast_core::secret::Secrets;

pub use plan::Step;
pub use spec::{Metadata, Spec};
pub use state::State;

use crate::client::Client;

/// Where the mark stands on an object.
const MARK: &str = "holdfast/mark";

/// The Applications of one namespace, for one environment.
pub struct Application {
    client: Arc<Client>,
    realm: Realm,
}

impl Application {
    pub(crate) fn new(client: Arc<Client>, realm: Realm) -> Self {
        Self { client, realm }
    }

    /// The very thing that a mark stands on.
    fn object(&self, name: &str) -> String {
        format!("{}/{name}", self.client.namespace())
    }
}

impl Kind for Application {
    const NAME: KindName = KindName::fixed("Application");
    const API_VERSION: &'static str = "argoproj.io/v1alpha1";
    const OUTPUTS: &'static [&'static str] = &[];
    const TARGET: &'static str = "kubernetes";

    type Spec = Spec;
    type State = State;
    type Step = Step;

    fn plan(name: &Name, want: Option<&Spec>, seen: Option<&State>) -> Next<Step> {
        plan::plan(name, want, seen)
    }

    fn health(seen: &State) -> Health {
        match settled::unhealthy(seen) {
            None => Health::Healthy,
            Some(why) => Health::Unhealthy(why),
        }
    }

    fn outputs(_seen: &State) -> Outputs {
        Outputs::new()
    }

    /// It goes without cascade, so everything that it deployed stays.
    fn protected(_seen: &State) -> bool {
        false
    }

    async fn observe(&self, scope: Scope, wanted: &BTreeMap<Name, Spec>) -> Look<State> {
        self.look(scope, wanted).await
    }

    async fn apply(
        &self,
        name: &Name,
        steps: &[Step],
        _secrets: &Secrets,
        fence: &dyn Fence,
    ) -> Vec<StepResult> {
        one_by_one(steps, fence, |step| self.perform(name, step)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_planned_as_it_says() {
        holdfast_cases::run::<Application>(concat!(env!("CARGO_MANIFEST_DIR"), "/src/application/cases"));
    }
}
