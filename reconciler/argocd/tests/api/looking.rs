//! Looking: one request for any number, and what each live object says.

use std::collections::BTreeMap;

use holdfast_argocd::{ArgoCd, Settings, SettingsError};
use holdfast_core::any_kind::AnyKind;
use holdfast_core::desired::Farewell;
use holdfast_core::ident::Name;
use holdfast_core::kind::{Look, Owner, Scope, Seen, TargetError};
use holdfast_core::plan::{Action, decide};
use serde_json::{Value, json};

use crate::server::{Says, Server, id, kind, list, live, name, not_found, ours, settings, status, wanted};

fn want(names: &[&str]) -> BTreeMap<Name, Value> {
    names.iter().map(|text| (name(text), wanted())).collect()
}

async fn look(kind: &dyn AnyKind, names: &[&str]) -> Look<Value> {
    kind.observe(Scope::All, want(names)).await
}

fn owner(look: &Look<Value>, text: &str) -> Owner {
    match &look.seen[&name(text)] {
        Seen::Present { owner, .. } => owner.clone(),
        other => panic!("{text}: {other:?}"),
    }
}

fn unknown(look: &Look<Value>, text: &str) -> TargetError {
    match &look.seen[&name(text)] {
        Seen::Unknown(error) => error.clone(),
        other => panic!("{text}: {other:?}"),
    }
}

#[tokio::test]
async fn five_hundred_applications_cost_one_request_and_no_write() {
    let server = Server::start().await;
    let names: Vec<String> = (0..500).map(|number| format!("app-{number}")).collect();
    let items: Vec<Value> = names.iter().map(|name| ours(name)).collect();
    server.says(200, &list(&items, ""));
    let kind = server.kind();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let look = look(&*kind, &names).await;
    let want = wanted();
    for text in names {
        let action = decide(&kind.info(), &id(text), Some(&want), &look.seen[&name(text)], Farewell::AsKind);
        assert_eq!(action, Action::Keep);
    }
    let asked = server.take();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, "GET /apis/argoproj.io/v1alpha1/namespaces/argocd/applications?&limit=500");
    assert_eq!(asked[0].authorization, "Bearer the-token");
}

#[tokio::test]
async fn a_long_list_is_read_page_by_page() {
    let server = Server::start().await;
    server.says(200, &list(&[ours("a")], "next/page")).says(200, &list(&[ours("b")], ""));
    let look = look(&*server.kind(), &[]).await;
    assert_eq!(look.seen.len(), 2);
    assert!(look.incomplete.is_none());
    assert!(server.lines()[1].ends_with("?&limit=500&continue=next%2Fpage"));
}

#[tokio::test]
async fn pages_that_expired_are_read_again_once() {
    let server = Server::start().await;
    let gone = status("The provided continue parameter is too old");
    server.says(200, &list(&[ours("a")], "x")).says(410, &gone).says(200, &list(&[ours("b")], ""));
    let kind = server.kind();
    let again = look(&*kind, &[]).await;
    assert_eq!(
        again.seen.keys().map(Name::as_str).collect::<Vec<_>>(),
        ["b"],
        "nothing of the old pages is left"
    );
    server.says(410, &gone).says(410, &gone);
    let failed = look(&*kind, &["a"]).await;
    assert!(unknown(&failed, "a").is_unavailable());
    assert!(failed.incomplete.is_some());
}

#[tokio::test]
async fn only_its_own_mark_makes_an_object_ours() {
    let server = Server::start().await;
    let items = [
        ours("ours"),
        live("nobody", None),
        live("copied", Some("home/core/Application/ours@argocd/ours")),
        live("other", Some("cabin/core/Application/other@argocd/other")),
        live("neighbour", Some("home/kubernetes/Application/neighbour@argocd/neighbour")),
        live("odd-mark", Some("written by hand")),
        live("renamed", Some("home/core/Application/before@argocd/renamed")),
    ];
    server.says(200, &list(&items, "")).says(200, &list(&items, "")).says(200, &list(&items, ""));
    let kind = server.kind();
    let names = ["ours", "nobody", "copied", "other", "neighbour", "odd-mark", "renamed"];
    let seen = look(&*kind, &names).await;
    assert_eq!(owner(&seen, "ours"), Owner::Ours(id("ours")));
    assert_eq!(owner(&seen, "nobody"), Owner::Nobody);
    assert_eq!(owner(&seen, "copied"), Owner::Copied);
    assert_eq!(owner(&seen, "other"), Owner::Other("cabin/core/Application/other".to_owned()));
    assert_eq!(owner(&seen, "neighbour"), Owner::Other("home/kubernetes/Application/neighbour".to_owned()));
    assert_eq!(owner(&seen, "odd-mark"), Owner::Other("written by hand".to_owned()));
    assert_eq!(owner(&seen, "renamed"), Owner::Ours(id("before")));
    assert_eq!(seen.notices, ["application `copied` carries a mark that was copied from another one"]);
    let unwanted = look(&*kind, &[]).await;
    assert_eq!(unwanted.seen.keys().map(Name::as_str).collect::<Vec<_>>(), ["ours"]);
    let one = kind.observe(Scope::Only, want(&["nobody"])).await;
    assert_eq!(one.seen.keys().map(Name::as_str).collect::<Vec<_>>(), ["nobody"]);
}

#[tokio::test]
async fn what_the_list_lacks_is_asked_for_by_name() {
    let server = Server::start().await;
    let kind = server.kind();
    for scope in [Scope::All, Scope::Only] {
        let theirs = live("theirs", Some("cabin/core/Application/theirs@argocd/theirs"));
        server.says_of("absent", 404, not_found("absent")).says_of("theirs", 200, theirs);
        server.says_of("hidden", 200, ours("hidden")).says(200, &list(&[ours("listed")], ""));
        let seen = kind.observe(scope, want(&["absent", "hidden", "listed", "theirs"])).await;
        assert_eq!(seen.seen[&name("absent")], Seen::Absent);
        assert_eq!(owner(&seen, "hidden"), Owner::Ours(id("hidden")));
        assert_eq!(owner(&seen, "listed"), Owner::Ours(id("listed")));
        assert_eq!(owner(&seen, "theirs"), Owner::Other("cabin/core/Application/theirs".to_owned()));
        assert_eq!(
            seen.incomplete.as_deref(),
            Some(
                "listing the applications in namespace argocd: the list lacks `hidden`, `theirs`, though asking by name finds it"
            ),
            "so that nothing is concluded from what else it lacks"
        );
        let mut asked = server.lines();
        asked.sort();
        assert_eq!(asked.len(), 4, "one each, and none for what is listed: {asked:?}");
        assert_eq!(asked[0], "GET /apis/argoproj.io/v1alpha1/namespaces/argocd/applications/absent");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_for_by_name_is_unknown() {
    let server = Server::start().await;
    let kind = server.kind();
    let forbidden = "applications.argoproj.io \"a\" is forbidden: User \"x\" cannot get resource";
    for (code, body, unavailable) in [
        (403, status(forbidden), false),
        (404, json!("404 page not found"), false),
        (200, ours("another"), false),
        (500, status("etcdserver: leader changed"), true),
    ] {
        server.says(200, &list(&[], "")).says(code, &body);
        let look = look(&*kind, &["a"]).await;
        let error = unknown(&look, "a");
        assert_eq!(error.is_unavailable(), unavailable, "{error}");
        assert!(error.to_string().starts_with("looking for application a: "), "{error}");
        assert_eq!(server.take().len(), 2);
    }
    // Where the API is away, no more are asked for than at once.
    server.says(200, &list(&[], ""));
    let names: Vec<String> = (0..30).map(|number| format!("app-{number}")).collect();
    let look = look(&*kind, &names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(look.seen.values().all(|seen| matches!(seen, Seen::Unknown(_))));
    assert_eq!(server.take().len(), 1 + 8);
}

#[tokio::test]
async fn one_odd_object_does_not_hide_the_others() {
    let server = Server::start().await;
    let mut without_spec = ours("odd");
    without_spec["spec"] = json!("what");
    let mut odd_status = ours("fine");
    odd_status["status"] = json!({ "sync": [], "health": 3, "conditions": "x", "resources": { "a": 1 } });
    server.says(200, &list(&[json!(7), without_spec, odd_status, json!({ "metadata": [] })], ""));
    server.says(404, &not_found("absent"));
    let kind = server.kind();
    let look = look(&*kind, &["odd", "fine", "absent"]).await;
    assert_eq!(unknown(&look, "odd").to_string(), "reading application odd: it has no spec");
    assert_eq!(look.seen[&name("absent")], Seen::Absent);
    let action =
        decide(&kind.info(), &id("fine"), Some(&wanted()), &look.seen[&name("fine")], Farewell::AsKind);
    assert_eq!(action, Action::Wait("argo cd has not compared it yet".to_owned()));
}

#[tokio::test]
async fn a_manifest_of_another_namespace_is_refused() {
    let server = Server::start().await;
    server.says(200, &list(&[ours("a")], ""));
    let mut elsewhere = wanted();
    elsewhere["metadata"]["namespace"] = json!("other");
    let look = server.kind().observe(Scope::All, BTreeMap::from([(name("a"), elsewhere)])).await;
    assert_eq!(
        unknown(&look, "a").to_string(),
        "looking for application a: its manifest names the namespace `other`, and Holdfast is configured for `argocd`; leave `metadata.namespace` out, or write `argocd`"
    );
}

#[tokio::test]
async fn applications_below_applications_are_waited_for() {
    let server = Server::start().await;
    let child = |name: &str| json!({ "group": "argoproj.io", "kind": "Application", "namespace": "argocd", "name": name });
    let mut root = ours("root");
    root["status"]["resources"] = json!([child("middle")]);
    let mut middle = live("middle", None);
    middle["status"]["resources"] = json!([child("leaf"), child("root")]);
    let mut leaf = live("leaf", None);
    leaf["status"]["health"] = json!({ "status": "Degraded", "message": "no pods" });
    server.says(200, &list(&[root, middle, leaf], ""));
    let kind = server.kind();
    let look = look(&*kind, &["root"]).await;
    let action =
        decide(&kind.info(), &id("root"), Some(&wanted()), &look.seen[&name("root")], Farewell::AsKind);
    assert_eq!(action, Action::Wait("application leaf: health is Degraded: no pods".to_owned()));
}

#[tokio::test]
async fn what_cannot_be_listed_is_unknown_with_the_reason() {
    let server = Server::start().await;
    let kind = server.kind();
    let not_installed = format!(
        "argo cd is not installed on {}: the cluster does not know `applications.argoproj.io`",
        server.url
    );
    let forbidden = "applications.argoproj.io is forbidden: User \"system:serviceaccount:argocd:holdfast\" cannot list resource";
    for (code, message, unavailable, shown) in [
        (404, "the server could not find the requested resource", false, not_installed.as_str()),
        (401, "Unauthorized", false, "does not know the token (401)"),
        (403, forbidden, false, forbidden),
        (500, "etcdserver: leader changed", true, "answered 500: etcdserver: leader changed"),
        (302, "", true, "a redirect, which is not followed"),
    ] {
        server.says(code, &status(message));
        let look = look(&*kind, &["a"]).await;
        let error = unknown(&look, "a");
        assert_eq!(error.is_unavailable(), unavailable, "{error}");
        assert!(error.to_string().contains(shown), "{error}");
        assert!(look.incomplete.is_some());
        assert_eq!(server.take().len(), 1, "it is asked once: trying again is the engine's");
    }
    server.says_raw(Says(429, Some("11"), status("too many requests").to_string()));
    let busy = look(&*kind, &["a"]).await;
    let TargetError::Unavailable { retry_after, .. } = unknown(&busy, "a") else { panic!() };
    assert_eq!(retry_after.unwrap().as_secs(), 11);
    server.says_raw(Says(200, None, "<html>".to_owned()));
    assert!(unknown(&look(&*kind, &["a"]).await, "a").is_unavailable());
    server.says_raw(Says(200, None, "x".repeat(65 * 1024 * 1024)));
    assert!(unknown(&look(&*kind, &["a"]).await, "a").to_string().contains("larger than 64 MiB"));
}

#[tokio::test]
async fn a_cluster_that_is_not_there_is_unavailable() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let error = unknown(&look(&*kind(&closed), &["a"]).await, "a");
    assert!(error.is_unavailable());
    assert!(error.to_string().contains("refused") && !error.to_string().contains("the-token"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let error = unknown(&look(&*kind(&url), &["a"]).await, "a");
    assert!(error.is_unavailable(), "{error}");
}

#[tokio::test]
async fn wrong_settings_are_told_before_anything_is_sent() {
    let wrong = |settings: Settings| ArgoCd::new(settings).err().unwrap().to_string();
    for url in ["kube.lan", "ftp://kube.lan", "https://kube.lan/api", "https://me@kube.lan", ""] {
        assert!(wrong(settings(url)).starts_with("the url of the kubernetes api must be like"), "{url}");
    }
    let fine = "https://kube.lan:6443";
    let token = Settings { token: secrecy::SecretString::from("a\nb"), ..settings(fine) };
    assert!(matches!(ArgoCd::new(token), Err(SettingsError::Token)));
    let namespace = Settings { namespace: "a/b".to_owned(), ..settings(fine) };
    assert!(matches!(ArgoCd::new(namespace), Err(SettingsError::Namespace(_))));
    let ca = Settings { ca_pem: Some(b"no certificate".to_vec()), ..settings(fine) };
    assert!(matches!(ArgoCd::new(ca), Err(SettingsError::Ca(_))));
    assert!(!format!("{:?}", settings(fine)).contains("the-token"));
}
