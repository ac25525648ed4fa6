//! Policies against a real `OpenBao`: create, drift, adopt, prune, and what is left alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_core::any_kind::{AnyKind, PlannedStep};
use holdfast_core::desired::Farewell;
use holdfast_core::ident::{EnvironmentName, Name, ResourceId, SiteName};
use holdfast_core::kind::{Look, NoFence, Scope, Seen, StepResult};
use holdfast_core::mark::Realm;
use holdfast_core::plan::{Action, Hold, decide};
use holdfast_core::secret::Secrets;
use holdfast_vault::{Auth, Settings, Vault};
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::support::{Bao, Proxy};

fn realm() -> Realm {
    Realm { site: SiteName::new("home").unwrap(), environment: EnvironmentName::new("core").unwrap() }
}

fn kind_with(url: &str, auth: Auth) -> Arc<dyn AnyKind> {
    let vault = Vault::new(Settings { url: url.to_owned(), auth, ca_pem: None }).unwrap();
    vault.kinds(&realm()).remove(0)
}

pub(crate) fn kind_as_root(url: &str) -> Arc<dyn AnyKind> {
    kind_with(url, Auth::Token(SecretString::from("root\n")))
}

fn app_role() -> Auth {
    Auth::AppRole { role_id: "holdfast".to_owned(), secret_id: SecretString::from("the-secret-id") }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn wanted(specs: &[(&str, Value)]) -> BTreeMap<Name, Value> {
    specs.iter().map(|(text, spec)| (name(text), spec.clone())).collect()
}

pub(crate) fn read_web() -> Value {
    json!({ "rules": [{ "path": "secret/data/web/*", "capabilities": ["read", "list"] }] })
}

const READ_WEB: &str = "path \"secret/data/web/*\" {\n  capabilities = [\"read\", \"list\"]\n}\n";

pub(crate) fn action(
    kind: &dyn AnyKind,
    look: &Look<Value>,
    wanted: &BTreeMap<Name, Value>,
    text: &str,
) -> Action {
    let info = kind.info();
    let id = ResourceId { environment: realm().environment, kind: info.name.clone(), name: name(text) };
    decide(&info, &id, wanted.get(&id.name), &look.seen[&id.name], Farewell::AsKind)
}

pub(crate) async fn look(kind: &dyn AnyKind, wanted: &BTreeMap<Name, Value>) -> Look<Value> {
    kind.observe(Scope::All, wanted.clone()).await
}

pub(crate) async fn apply(kind: &dyn AnyKind, text: &str, steps: &[PlannedStep]) -> Vec<StepResult> {
    kind.apply(&name(text), steps, &Secrets::default(), &NoFence).await
}

/// Looks, decides, and does it. Gives the action as it was decided.
pub(crate) async fn converge(kind: &dyn AnyKind, wanted: &BTreeMap<Name, Value>, text: &str) -> Action {
    let look = look(kind, wanted).await;
    let action = action(kind, &look, wanted, text);
    if let Action::Create(steps) | Action::Update(steps) | Action::Adopt(steps) | Action::Delete(steps) =
        &action
    {
        assert_eq!(apply(kind, text, steps).await, [StepResult::DONE]);
    }
    action
}

#[tokio::test]
async fn a_policy_is_made_kept_repaired_and_pruned() {
    let Some(bao) = Bao::start().await else { return };
    let proxy = Proxy::before(&bao).await;
    let kind = kind_as_root(&proxy.url);
    let want = wanted(&[("web", read_web())]);

    let Action::Create(steps) = converge(&*kind, &want, "web").await else { panic!() };
    assert_eq!(steps[0].text, "write policy web");
    let text = format!("# holdfast: home/core/VaultPolicy/web@web\n{READ_WEB}");
    assert_eq!(bao.policy("web").await.as_deref(), Some(text.as_str()));

    proxy.take();
    assert_eq!(converge(&*kind, &want, "web").await, Action::Keep);
    assert_eq!(proxy.take(), ["LIST sys/policies/detailed/acl"], "a look costs one read and no write");

    let drifted = text.replace("\"read\", \"list\"", "\"read\"");
    bao.set("POST", "sys/policies/acl/web", json!({ "policy": drifted, "cas_required": true, "cas": 1 }))
        .await;
    let Action::Update(steps) = converge(&*kind, &want, "web").await else { panic!() };
    let changes: Vec<String> = steps[0].changes.iter().map(ToString::to_string).collect();
    assert_eq!(changes, ["secret/data/web/*: read -> read, list"]);
    assert_eq!(bao.policy("web").await, Some(text));
    let (_, answer) = bao.root("GET", "sys/policies/acl/web", None).await;
    assert_eq!(answer["data"]["cas_required"], true, "what others set beside the text stays");
    assert_eq!(converge(&*kind, &want, "web").await, Action::Keep);

    let nothing = BTreeMap::new();
    let Action::Delete(_) = converge(&*kind, &nothing, "web").await else { panic!() };
    assert_eq!(bao.policy("web").await, None);
    let look = look(&*kind, &nothing).await;
    assert!(look.seen.is_empty() && look.incomplete.is_none() && look.notices.is_empty(), "{look:?}");
}

#[tokio::test]
async fn an_equal_policy_of_nobody_is_marked_and_a_different_one_is_adopted() {
    let Some(bao) = Bao::start().await else { return };
    let kind = kind_as_root(&bao.url);
    bao.write_policy("same", READ_WEB).await;
    bao.write_policy("other", "path \"*\" { capabilities = [\"sudo\"] }").await;
    let want = wanted(&[("same", read_web()), ("other", read_web())]);
    let Action::Adopt(steps) = converge(&*kind, &want, "same").await else { panic!() };
    assert_eq!(steps[0].text, "mark policy same as managed by Holdfast");
    let marked = format!("# holdfast: home/core/VaultPolicy/same@same\n{READ_WEB}");
    assert_eq!(bao.policy("same").await, Some(marked));
    assert_eq!(converge(&*kind, &want, "same").await, Action::Keep);
    assert!(matches!(converge(&*kind, &want, "other").await, Action::Adopt(_)));
    assert!(
        bao.policy("other").await.unwrap().starts_with("# holdfast: home/core/VaultPolicy/other@other\n")
    );
    assert_eq!(converge(&*kind, &want, "other").await, Action::Keep);
    let look = look(&*kind, &BTreeMap::new()).await;
    assert_eq!(
        look.seen.keys().map(Name::as_str).collect::<Vec<_>>(),
        ["other", "same"],
        "only marked ones are ours"
    );
}

#[tokio::test]
async fn marks_of_others_and_copied_marks_are_left_alone() {
    let Some(bao) = Bao::start().await else { return };
    let kind = kind_as_root(&bao.url);
    bao.write_policy("copy", "# holdfast: home/core/VaultPolicy/web@web\npath \"a\" {}\n").await;
    bao.write_policy("theirs", "# holdfast: cabin/core/VaultPolicy/theirs@theirs\npath \"a\" {}\n").await;
    let want = wanted(&[("copy", read_web()), ("theirs", read_web())]);
    let look_all = look(&*kind, &want).await;
    for (text, reason) in [
        ("copy", "it carries a mark that was copied from another object"),
        ("theirs", "it is managed by `cabin/core/VaultPolicy/theirs`"),
    ] {
        let Action::Hold(Hold::Refused(refusal)) = action(&*kind, &look_all, &want, text) else { panic!() };
        assert_eq!(refusal.why, reason);
    }
    let unwanted = look(&*kind, &BTreeMap::new()).await;
    assert!(unwanted.seen.is_empty(), "neither is an orphan of ours");
    assert_eq!(unwanted.notices, ["policy `copy` carries a mark that was copied from another one"]);
}

#[tokio::test]
async fn five_hundred_policies_cost_one_request() {
    let Some(bao) = Bao::start().await else { return };
    let mut want = BTreeMap::new();
    for number in 0..500 {
        let marked = format!("# holdfast: home/core/VaultPolicy/p{number}@p{number}\n{READ_WEB}");
        bao.write_policy(&format!("p{number}"), &marked).await;
        want.insert(name(&format!("p{number}")), read_web());
    }
    let proxy = Proxy::before(&bao).await;
    let kind = kind_as_root(&proxy.url);
    for expected in [
        vec!["GET auth/token/lookup-self", "LIST sys/policies/detailed/acl"],
        vec!["LIST sys/policies/detailed/acl"],
    ] {
        let look = look(&*kind, &want).await;
        assert!(want.keys().all(|name| action(&*kind, &look, &want, name.as_str()) == Action::Keep));
        assert_eq!(proxy.take(), expected);
    }
    let few = want.into_iter().take(2).collect();
    let look = kind.observe(Scope::Only, few).await;
    assert_eq!(look.seen.len(), 2);
    assert_eq!(proxy.take().len(), 2, "a look at a few reads just these");
}

#[tokio::test]
async fn without_the_bulk_listing_policies_are_read_one_by_one() {
    let Some(bao) = Bao::start().await else { return };
    let proxy = Proxy::before(&bao).await;
    let kind = kind_as_root(&proxy.url);
    let want = wanted(&[("web", read_web()), ("none", read_web())]);
    converge(&*kind, &want, "web").await;
    let stranger = kind_as_root(&proxy.url);
    proxy.hide("sys/policies/detailed/acl");
    let orphans = look(&*stranger, &BTreeMap::new()).await;
    assert_eq!(orphans.seen.len(), 1, "the mark is found by reading each: {orphans:?}");
    assert!(orphans.incomplete.is_none());
    proxy.take();
    let look = look(&*stranger, &want).await;
    assert_eq!(action(&*stranger, &look, &want, "web"), Action::Keep);
    assert!(matches!(look.seen[&name("none")], Seen::Absent));
    let asked = proxy.take();
    assert!(
        !asked.contains(&"LIST sys/policies/detailed/acl".to_owned()),
        "it is not asked for again: {asked:?}"
    );
}

#[tokio::test]
async fn a_server_without_patch_gets_the_whole_policy() {
    let Some(bao) = Bao::start().await else { return };
    let proxy = Proxy::before(&bao).await;
    proxy.hide("PATCH");
    let kind = kind_as_root(&proxy.url);
    bao.write_policy("web", "path \"a\" {}").await;
    let want = wanted(&[("web", read_web())]);
    assert!(matches!(converge(&*kind, &want, "web").await, Action::Adopt(_)));
    assert_eq!(converge(&*kind, &want, "web").await, Action::Keep);
}

#[tokio::test]
async fn rights_on_single_policies_are_enough_to_converge_and_too_few_to_prune() {
    let Some(bao) = Bao::start().await else { return };
    let rights = "path \"sys/policies/acl/app-*\" { capabilities = [\"create\", \"read\", \"update\", \"patch\", \"delete\"] }";
    bao.app_role(rights, "1h", "2h").await;
    let kind = kind_with(&bao.url, app_role());
    let want = wanted(&[("app-web", read_web()), ("web", read_web())]);
    assert!(matches!(converge(&*kind, &want, "app-web").await, Action::Create(_)));
    let look = look(&*kind, &want).await;
    assert_eq!(action(&*kind, &look, &want, "app-web"), Action::Keep);
    assert_eq!(
        look.incomplete.as_deref(),
        Some(
            "listing the policies of vault: permission denied: the token of Holdfast needs the capability `list` on `sys/policies/acl`"
        )
    );
    let Seen::Unknown(error) = &look.seen[&name("web")] else { panic!("no right is not absence") };
    assert_eq!(
        error.to_string(),
        "reading policy web: permission denied: the token of Holdfast needs the capability `read` on `sys/policies/acl/web`"
    );
}

#[tokio::test]
async fn holdfast_changes_no_rights_of_its_own() {
    let Some(bao) = Bao::start().await else { return };
    let rights = "# holdfast: home/core/VaultPolicy/holdfast@holdfast\npath \"sys/policies/*\" { capabilities = [\"create\", \"read\", \"update\", \"patch\", \"delete\", \"list\"] }";
    bao.app_role(rights, "1h", "2h").await;
    let role = json!({ "token_policies": ["holdfast", "extra"], "token_ttl": "1h" });
    bao.set("POST", "auth/approle/role/holdfast", role).await;
    let kind = kind_with(&bao.url, app_role());
    let everything = json!({ "text": "path \"*\" { capabilities = [\"sudo\", \"read\"] }" });
    let want = wanted(&[("holdfast", everything.clone()), ("extra", everything)]);
    let look_all = look(&*kind, &want).await;
    let Action::Hold(Hold::Refused(refusal)) = action(&*kind, &look_all, &want, "holdfast") else { panic!() };
    assert!(refusal.why.contains("changing it would change what Holdfast itself may do"));
    let Action::Create(steps) = action(&*kind, &look_all, &want, "extra") else { panic!() };
    let [StepResult::Failed(error)] = &apply(&*kind, "extra", &steps).await[..] else { panic!() };
    assert!(error.to_string().contains("Holdfast does not give itself rights"), "{error}");
    assert_eq!(bao.policy("extra").await, None);
    let unwanted = look(&*kind, &BTreeMap::new()).await;
    let Action::Hold(Hold::Refused(refusal)) = action(&*kind, &unwanted, &BTreeMap::new(), "holdfast") else {
        panic!()
    };
    assert!(refusal.why.contains("would cut off Holdfast itself"), "{}", refusal.why);
}

#[tokio::test]
async fn a_sealed_vault_is_unknown_and_nothing_is_concluded() {
    let Some(bao) = Bao::start().await else { return };
    let kind = kind_as_root(&bao.url);
    let want = wanted(&[("web", read_web())]);
    converge(&*kind, &want, "web").await;
    bao.set("PUT", "sys/seal", json!({})).await;
    for kind in [kind, kind_as_root(&bao.url), kind_with(&bao.url, app_role())] {
        let look = look(&*kind, &want).await;
        assert!(look.incomplete.is_some());
        let Seen::Unknown(error) = &look.seen[&name("web")] else { panic!("{look:?}") };
        assert!(error.is_unavailable() && error.to_string().contains("vault is sealed"), "{error}");
    }
}
