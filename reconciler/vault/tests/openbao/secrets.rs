//! Reading secrets from a real `OpenBao`: every reason why there is none has its own message.

use holdfast_core::secret::SecretStore;
use holdfast_vault::{Auth, Settings, Vault};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::support::{Bao, Proxy};

fn store(url: &str, auth: Auth) -> std::sync::Arc<dyn SecretStore> {
    Vault::new(Settings { url: url.to_owned(), auth, ca_pem: None }).unwrap().secrets()
}

fn root() -> Auth {
    Auth::Token(SecretString::from("root"))
}

async fn failure(store: &dyn SecretStore, path: &str) -> String {
    let error = store.read(path).await.err().unwrap_or_else(|| panic!("{path} was read"));
    assert!(!error.is_unavailable(), "{error}");
    error.to_string()
}

#[tokio::test]
async fn fields_are_read_as_text_with_their_version() {
    let Some(bao) = Bao::start().await else { return };
    let data = json!({ "data": { "password": "hunter2", "port": 5432, "tls": true, "half": 0.5 } });
    bao.set("PUT", "secret/data/team/web%20ui", json!({ "data": { "password": "old" } })).await;
    bao.set("PUT", "secret/data/team/web%20ui", data).await;
    let proxy = Proxy::before(&bao).await;
    let store = store(&proxy.url, root());
    let document = store.read("secret/team/web ui").await.unwrap();
    assert_eq!(document.version, 2);
    let fields: Vec<_> =
        document.values.iter().map(|(key, value)| format!("{key}={}", value.expose_secret())).collect();
    assert_eq!(fields, ["half=0.5", "password=hunter2", "port=5432", "tls=true"]);
    proxy.take();
    store.read("secret/team/web ui").await.unwrap();
    assert_eq!(proxy.take(), ["GET secret/data/team/web%20ui"], "the mount is known by now");
}

#[tokio::test]
async fn every_absence_says_what_to_do() {
    let Some(bao) = Bao::start().await else { return };
    bao.set("POST", "sys/mounts/old", json!({ "type": "kv" })).await;
    bao.set("POST", "sys/mounts/keys", json!({ "type": "transit" })).await;
    for path in ["gone", "burnt", "nested"] {
        let data = json!({ "data": { "ca": { "pem": "very-secret" } } });
        bao.set("PUT", &format!("secret/data/{path}"), data).await;
    }
    bao.set("DELETE", "secret/data/gone", json!({})).await;
    bao.set("PUT", "secret/destroy/burnt", json!({ "versions": [1] })).await;
    let store = store(&bao.url, root());

    assert_eq!(
        failure(&*store, "secret/web").await,
        "reading the secret `secret/web`: nothing is stored there; write it with `vault kv put secret/web ...`"
    );
    assert_eq!(
        failure(&*store, "secret/data/web").await,
        "reading the secret `secret/data/web`: nothing is stored there; leave `data/` out: write `secret/web`"
    );
    let gone = failure(&*store, "secret/gone").await;
    assert!(gone.starts_with("reading the secret `secret/gone`: its version 1 was deleted at 20"), "{gone}");
    assert!(gone.contains("`vault kv undelete -versions=1 secret/gone`"), "{gone}");
    assert!(failure(&*store, "secret/burnt").await.contains("its version 1 was destroyed"));
    assert_eq!(
        failure(&*store, "secret/nested").await,
        "reading the secret `secret/nested`: its field `ca` is an object; store it as text, or in a secret of its own"
    );
    assert_eq!(
        failure(&*store, "nowhere/web").await,
        "reading the secret `nowhere/web`: no secrets engine is mounted at `nowhere/`; enable KV version 2 there, or correct the path"
    );
    assert_eq!(
        failure(&*store, "old/web").await,
        "reading the secret `old/web`: the secrets engine `old/` is KV version 1; turn on versions with `vault kv enable-versioning old/`"
    );
    assert!(
        failure(&*store, "keys/web").await.contains("of the type `transit`, and only KV version 2 is read")
    );
    for path in ["secret", "secret/../sys/x", "/secret/web", "secret//web", "secret/a\nb", ""] {
        let message = failure(&*store, path).await;
        assert!(message.contains("write it as `vault kv get` takes it"), "{message}");
    }
}

#[tokio::test]
async fn a_missing_right_is_named_with_its_path() {
    let Some(bao) = Bao::start().await else { return };
    bao.set("PUT", "secret/data/web", json!({ "data": { "password": "hunter2" } })).await;
    bao.app_role("path \"secret/data/other\" { capabilities = [\"read\"] }", "1h", "2h").await;
    let auth =
        Auth::AppRole { role_id: "holdfast".to_owned(), secret_id: SecretString::from("the-secret-id") };
    let store = store(&bao.url, auth);
    assert_eq!(
        failure(&*store, "secret/web").await,
        "reading the secret `secret/web`: permission denied: the token of Holdfast needs the capability `read` on `secret/data/web`"
    );
    let message = failure(&*store, "nowhere/web").await;
    assert!(message.contains("if a secrets engine is mounted at `nowhere/` at all"), "{message}");
}

#[tokio::test]
async fn a_sealed_vault_is_waited_for() {
    let Some(bao) = Bao::start().await else { return };
    let store = store(&bao.url, root());
    bao.set("PUT", "secret/data/web", json!({ "data": { "password": "hunter2" } })).await;
    store.read("secret/web").await.unwrap();
    bao.set("PUT", "sys/seal", json!({})).await;
    let error = store.read("secret/web").await.err().unwrap();
    assert!(error.is_unavailable() && error.to_string().contains("vault is sealed"), "{error}");
}
