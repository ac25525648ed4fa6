//! Against a simulated cluster with Argo CD in it: what somebody does between a look and what was planned from it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_argocd::{ArgoCd, Settings};
use holdfast_core::any_kind::{AnyKind, PlannedStep};
use holdfast_core::desired::Farewell;
use holdfast_core::kind::{NoFence, Scope, StepResult, TargetError};
use holdfast_core::plan::{Action, decide};
use holdfast_core::secret::Secrets;
use holdfast_lab::kubernetes::{ADMIN_TOKEN, Behaviour, Cluster, Settings as Lab};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::server::{id, name, realm, wanted};

const CASCADE: &str = "resources-finalizer.argocd.argoproj.io";

/// One Application `media` in one cluster, and the kind that converges it.
struct Home {
    cluster: Cluster,
    kind: Arc<dyn AnyKind>,
}

impl Home {
    async fn start() -> Self {
        let cluster = Cluster::start(Lab::default()).await.unwrap();
        let settings = Settings {
            url: cluster.url(),
            token: SecretString::from(ADMIN_TOKEN),
            ca_pem: None,
            namespace: "argocd".to_owned(),
        };
        let kind = ArgoCd::new(settings).unwrap().kinds(&realm()).remove(0);
        Self { cluster, kind }
    }

    async fn action(&self, want: Option<&Value>) -> Action {
        let wanted: BTreeMap<_, _> = want.map(|want| (name("media"), want.clone())).into_iter().collect();
        let look = self.kind.observe(Scope::All, wanted).await;
        let absent = holdfast_core::kind::Seen::Absent;
        let seen = look.seen.get(&name("media")).unwrap_or(&absent);
        decide(&self.kind.info(), &id("media"), want, seen, Farewell::AsKind)
    }

    async fn steps(&self, want: Option<&Value>) -> Vec<PlannedStep> {
        match self.action(want).await {
            Action::Create(steps) | Action::Adopt(steps) | Action::Update(steps) | Action::Delete(steps) => {
                steps
            }
            other => panic!("{other:?}"),
        }
    }

    async fn apply(&self, steps: &[PlannedStep]) -> Vec<StepResult> {
        self.kind.apply(&name("media"), steps, &Secrets::default(), &NoFence).await
    }

    async fn refused(&self, steps: &[PlannedStep]) -> TargetError {
        match &self.apply(steps).await[..] {
            [StepResult::Failed(error)] => error.clone(),
            other => panic!("{other:?}"),
        }
    }

    async fn settle(&self, want: &Value) {
        self.apply(&self.steps(Some(want)).await).await;
        for _ in 0..10 {
            if self.action(Some(want)).await == Action::Keep {
                return;
            }
            self.cluster.tick_after(Duration::from_secs(10));
        }
        panic!("{:?}", self.action(Some(want)).await);
    }

    fn edit(&self, change: impl FnOnce(&mut Value)) {
        self.cluster.edit("kubectl-edit", "applications", "argocd", "media", change).unwrap();
    }

    fn live(&self) -> Option<Value> {
        self.cluster.object("applications", "argocd", "media")
    }
}

#[tokio::test]
async fn a_cascade_that_came_since_the_look_is_not_set_off() {
    let home = Home::start().await;
    home.settle(&wanted()).await;
    let delete = home.steps(None).await;
    home.edit(|app| app["metadata"]["finalizers"] = json!([CASCADE]));
    let error = home.refused(&delete).await;
    assert!(
        error.is_unavailable() && error.to_string().contains("it changed since it was looked at"),
        "{error}"
    );
    assert!(home.live().unwrap()["metadata"]["deletionTimestamp"].is_null());

    let keep = home.steps(None).await;
    assert_eq!(keep.len(), 1, "first it is looked at without the cascade: {keep:?}");
    assert_eq!(home.apply(&keep).await, [StepResult::DONE]);
    home.edit(|app| app["metadata"]["finalizers"] = json!([CASCADE]));
    assert!(home.refused(&delete).await.is_unavailable(), "nor by a deletion that comes late");
    assert_eq!(home.apply(&home.steps(None).await).await, [StepResult::DONE]);
    assert_eq!(home.apply(&home.steps(None).await).await, [StepResult::DONE]);
    assert_eq!(home.live(), None);
    assert_eq!(home.cluster.cascaded(), Vec::<String>::new());
    assert_eq!(home.action(None).await, Action::Keep);
}

#[tokio::test]
async fn an_application_that_somebody_made_anew_is_not_marked() {
    let home = Home::start().await;
    home.settle(&wanted()).await;
    let mut other = wanted();
    other["metadata"]["labels"]["team"] = json!("home");
    let update = home.steps(Some(&other)).await;
    home.cluster.delete("applications", "argocd", "media").unwrap();
    assert!(home.refused(&update).await.is_unavailable(), "it is gone, and not made in passing");
    assert_eq!(home.live(), None);
    home.edit(|app| {
        app["metadata"]["labels"] = other["metadata"]["labels"].clone();
        app["spec"] = other["spec"].clone();
    });
    let theirs = home.live();
    let error = home.refused(&update).await;
    assert!(error.is_unavailable() && error.to_string().contains("another one of its name"), "{error}");
    assert_eq!(home.live(), theirs);
}

#[tokio::test]
async fn a_revert_recovers_from_a_sync_that_failed_for_good() {
    let home = Home::start().await;
    home.settle(&wanted()).await;
    let mut bad = wanted();
    bad["spec"]["source"]["path"] = json!("apps/typo");
    home.cluster.behave("media", Behaviour::SyncError("the path does not exist".to_owned()));
    assert_eq!(home.apply(&home.steps(Some(&bad)).await).await, [StepResult::DONE]);
    for _ in 0..10 {
        home.cluster.tick_after(Duration::from_secs(10));
    }
    let Action::Hold(_) = home.action(Some(&bad)).await else {
        panic!("{:?}", home.action(Some(&bad)).await)
    };
    // Nothing of what failed was deployed, so that Argo CD finds nothing to sync.
    home.settle(&wanted()).await;
    assert_eq!(home.live().unwrap()["status"]["operationState"]["phase"], "Failed");
}
