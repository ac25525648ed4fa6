//! Policies against a real `OpenBao`: what came between a look and what was planned from it.

use std::collections::BTreeMap;

use holdfast_core::any_kind::{AnyKind, PlannedStep};
use holdfast_core::kind::StepResult;
use holdfast_core::plan::Action;
use serde_json::json;

use crate::policies::{action, apply, converge, kind_as_root, look, read_web, wanted};
use crate::support::{Bao, Proxy};

/// What a step is refused with, where a new look helps.
async fn refused(kind: &dyn AnyKind, steps: &[PlannedStep]) -> String {
    let results = apply(kind, "web", steps).await;
    let [StepResult::Failed(error)] = &results[..] else { panic!("{results:?}") };
    assert!(error.is_unavailable(), "a new look helps: {error}");
    error.to_string()
}

#[tokio::test]
async fn what_changed_since_the_look_is_not_written_over() {
    let Some(bao) = Bao::start().await else { return };
    let kind = kind_as_root(&bao.url);
    let want = wanted(&[("web", read_web())]);
    let Action::Create(create) = action(&*kind, &look(&*kind, &want).await, &want, "web") else { panic!() };
    bao.write_policy("web", "path \"a\" {}").await;
    let Action::Adopt(adopt) = action(&*kind, &look(&*kind, &want).await, &want, "web") else { panic!() };
    bao.write_policy("web", "path \"b\" {}").await;
    for steps in [&create, &adopt] {
        assert_eq!(
            refused(&*kind, steps).await,
            "writing policy web: somebody changed it since it was looked at"
        );
    }
    assert_eq!(bao.policy("web").await.as_deref(), Some("path \"b\" {}"));

    let bad = wanted(&[("bad", json!({ "text": "path \"a\" { capabilities = [\"readd\"] }" }))]);
    let Action::Create(steps) = action(&*kind, &look(&*kind, &bad).await, &bad, "bad") else { panic!() };
    let [StepResult::Failed(error)] = &apply(&*kind, "bad", &steps).await[..] else { panic!() };
    assert!(!error.is_unavailable() && error.to_string().contains("invalid capability \"readd\""), "{error}");
}

#[tokio::test]
async fn what_somebody_made_anew_since_the_look_is_not_written_over_or_deleted() {
    let Some(bao) = Bao::start().await else { return };
    let kind = kind_as_root(&bao.url);
    let want = wanted(&[("web", read_web())]);
    let ours = "# holdfast: home/core/VaultPolicy/web@web\npath \"a\" {}\n";
    bao.write_policy("web", ours).await;
    let Action::Update(update) = action(&*kind, &look(&*kind, &want).await, &want, "web") else { panic!() };
    let nothing = BTreeMap::new();
    let Action::Delete(delete) = action(&*kind, &look(&*kind, &nothing).await, &nothing, "web") else {
        panic!()
    };

    for theirs in [
        // The same text, and by the count of a new policy the same version.
        "# holdfast: cabin/core/VaultPolicy/web@web\npath \"a\" {}\n",
        "# holdfast: home/core/VaultPolicy/api@api\npath \"a\" {}\n",
        "path \"theirs\" {}\n",
    ] {
        bao.delete_policy("web").await;
        bao.write_policy("web", theirs).await;
        let (_, answer) = bao.root("GET", "sys/policies/acl/web", None).await;
        assert_eq!(answer["data"]["version"], 1, "versions start anew");
        for (steps, doing) in [(&update, "writing"), (&delete, "deleting")] {
            let expected = format!("{doing} policy web: somebody changed it since it was looked at");
            assert_eq!(refused(&*kind, steps).await, expected);
        }
        assert_eq!(bao.policy("web").await.as_deref(), Some(theirs));
    }
    bao.delete_policy("web").await;
    refused(&*kind, &update).await;
    assert_eq!(apply(&*kind, "web", &delete).await, [StepResult::DONE], "gone is done");
    assert_eq!(bao.policy("web").await, None);
}

/// `HashiCorp`'s Vault has no versions and takes any write.
#[tokio::test]
async fn without_versions_what_changed_since_the_look_is_not_written_over() {
    let Some(bao) = Bao::start().await else { return };
    let proxy = Proxy::before(&bao).await;
    proxy.forget_versions();
    let kind = kind_as_root(&proxy.url);
    let want = wanted(&[("web", read_web())]);
    let Action::Create(create) = action(&*kind, &look(&*kind, &want).await, &want, "web") else { panic!() };
    bao.write_policy("web", "path \"a\" {}").await;
    refused(&*kind, &create).await;
    let Action::Adopt(adopt) = action(&*kind, &look(&*kind, &want).await, &want, "web") else { panic!() };
    bao.write_policy("web", "path \"b\" {}").await;
    refused(&*kind, &adopt).await;
    assert_eq!(bao.policy("web").await.as_deref(), Some("path \"b\" {}"));
    proxy.take();
    assert!(matches!(converge(&*kind, &want, "web").await, Action::Adopt(_)));
    assert_eq!(
        proxy.take(),
        ["LIST sys/policies/detailed/acl", "GET sys/policies/acl/web", "POST sys/policies/acl/web"],
        "one read more a write"
    );
    assert_eq!(converge(&*kind, &want, "web").await, Action::Keep);
    assert_eq!(proxy.take(), ["LIST sys/policies/detailed/acl"]);
}
