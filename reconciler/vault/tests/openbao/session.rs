//! Logging in, renewing, losing and revoking the token, against a real `OpenBao`.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::kind::TargetError;
use holdfast_core::secret::SecretStore;
use holdfast_vault::{Auth, Settings, SettingsError, Vault};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use crate::support::{Bao, Proxy};

const READ_SECRETS: &str = "path \"secret/data/*\" { capabilities = [\"read\"] }";

fn vault(url: &str, secret_id: &str) -> Vault {
    let auth = Auth::AppRole { role_id: "holdfast".to_owned(), secret_id: SecretString::from(secret_id) };
    Vault::new(Settings { url: url.to_owned(), auth, ca_pem: None }).unwrap()
}

fn with_token(url: &str, token: &str) -> Result<Vault, SettingsError> {
    Vault::new(Settings { url: url.to_owned(), auth: Auth::Token(SecretString::from(token)), ca_pem: None })
}

async fn read(store: &Arc<dyn SecretStore>) -> Result<String, TargetError> {
    let document = store.read("secret/web").await?;
    Ok(document.values["password"].expose_secret().to_owned())
}

async fn bao_with_a_secret(ttl: &str, max_ttl: &str) -> Option<(Bao, Proxy)> {
    let bao = Bao::start().await?;
    bao.app_role(READ_SECRETS, ttl, max_ttl).await;
    bao.set("PUT", "secret/data/web", json!({ "data": { "password": "hunter2" } })).await;
    let proxy = Proxy::before(&bao).await;
    Some((bao, proxy))
}

/// Reads ten times at once.
async fn ten_reads(store: &Arc<dyn SecretStore>) {
    let reads: Vec<_> = (0..10)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move { read(&store).await })
        })
        .collect();
    for read in reads {
        assert_eq!(read.await.unwrap().unwrap(), "hunter2");
    }
}

#[tokio::test]
async fn one_login_serves_all_and_is_revoked_at_the_end() {
    let Some((bao, proxy)) = bao_with_a_secret("1h", "2h").await else { return };
    let vault = vault(&proxy.url, " the-secret-id\n");
    let store = vault.secrets();
    ten_reads(&store).await;
    assert_eq!(proxy.count("approle/login"), 1);

    let accessors = bao.accessors().await;
    assert_eq!(accessors.len(), 1);
    bao.set("POST", "auth/token/revoke-accessor", json!({ "accessor": accessors[0] })).await;
    ten_reads(&store).await;
    assert_eq!(proxy.count("approle/login"), 2, "a revoked token leads to one login, whoever meets it");

    vault.close().await;
    assert_eq!(proxy.count("revoke-self"), 1);
    assert!(bao.accessors().await.is_empty());
    assert!(read(&store).await.unwrap_err().to_string().contains("the connection to vault is closed"));
}

#[tokio::test]
async fn a_missing_right_is_no_reason_to_log_in_again() {
    let Some((_bao, proxy)) = bao_with_a_secret("1h", "2h").await else { return };
    let store = vault(&proxy.url, "the-secret-id").secrets();
    read(&store).await.unwrap();
    for _ in 0..3 {
        let error = store.read("cubbyhole/x/y").await.err().unwrap();
        assert!(!error.is_unavailable(), "{error}");
        assert!(store.read("elsewhere/x").await.is_err());
    }
    assert_eq!(proxy.count("approle/login"), 1);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends_and_replaced_when_it_cannot_be() {
    let Some((_bao, proxy)) = bao_with_a_secret("5s", "8s").await else { return };
    let vault = vault(&proxy.url, "the-secret-id");
    let store = vault.secrets();
    let mut reads = 0;
    while proxy.count("approle/login") < 2 {
        assert_eq!(read(&store).await.unwrap(), "hunter2");
        reads += 1;
        assert!(reads < 600, "no second login in 30 s: {:?}", proxy.take());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(proxy.count("renew-self") >= 1, "it was renewed before its maximum life ended it");
    assert_eq!(read(&store).await.unwrap(), "hunter2");
    vault.close().await;
}

#[tokio::test]
async fn an_idle_token_that_was_given_is_kept_alive() {
    let Some((bao, proxy)) = bao_with_a_secret("1h", "2h").await else { return };
    let made = json!({ "policies": ["holdfast"], "period": "4s", "no_parent": true });
    let made = bao.set("POST", "auth/token/create", made).await;
    let token = made["auth"]["client_token"].as_str().unwrap();
    let vault = with_token(&proxy.url, &format!("{token}\n")).unwrap();
    let store = vault.secrets();
    read(&store).await.unwrap();
    for _ in 0..600 {
        if proxy.count("renew-self") >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(proxy.count("renew-self") >= 3, "it is renewed again and again, though nothing is read");
    read(&store).await.unwrap();
    vault.close().await;
    assert_eq!(proxy.count("revoke-self"), 0, "what somebody else made is not revoked");
}

#[tokio::test]
async fn wrong_credentials_are_rejected_and_never_shown() {
    let Some((bao, _proxy)) = bao_with_a_secret("1h", "2h").await else { return };
    let error = read(&vault(&bao.url, "not-the-secret-id").secrets()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "logging in to vault by AppRole: vault answered 400: invalid role or secret ID: check `role_id` and the \
         secret id that `credential` names"
    );
    assert!(!error.is_unavailable());
    let error = read(&with_token(&bao.url, "s.gone").unwrap().secrets()).await.unwrap_err();
    assert!(!error.is_unavailable());
    assert!(error.to_string().contains("vault does not know the token"), "{error}");
    assert!(!error.to_string().contains("s.gone"));
}

#[tokio::test]
async fn a_token_that_cannot_be_one_is_refused_before_anything_is_sent() {
    for token in ["", " \n", "a\nb", "sch\u{f6}n"] {
        assert!(matches!(with_token("http://127.0.0.1:1", token), Err(SettingsError::Credential("token"))));
    }
    for url in ["vault.lan:8200", "ftp://vault", "http://127.0.0.1/vault", "http://me:pw@127.0.0.1", ""] {
        assert!(matches!(with_token(url, "root"), Err(SettingsError::Url(_))), "{url}");
    }
    let settings = Settings {
        url: "https://vault.lan".to_owned(),
        auth: Auth::Token(SecretString::from("s.secret")),
        ca_pem: Some(b"no certificate".to_vec()),
    };
    assert!(!format!("{settings:?}").contains("s.secret"));
}

#[tokio::test]
async fn a_vault_that_is_not_there_is_unavailable() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for vault in [vault(&closed, "the-secret-id"), with_token(&closed, "s.secret").unwrap()] {
        let error = read(&vault.secrets()).await.unwrap_err();
        assert!(error.is_unavailable());
        assert!(error.to_string().contains("refused") && !error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_a_busy_server_says_when_to_come_back() {
    use axum::http::StatusCode;
    use axum::routing::get;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let token = || async { r#"{"data":{"policies":[],"ttl":0}}"# };
    let mount = || async { r#"{"data":{"path":"secret/","type":"kv","options":{"version":"2"}}}"# };
    let redirect = || async { (StatusCode::TEMPORARY_REDIRECT, [("Location", "/v1/elsewhere")]) };
    let busy = || async { (StatusCode::TOO_MANY_REQUESTS, [("Retry-After", "7")], r#"{"errors":["slow"]}"#) };
    let large = || async { "x".repeat(17 * 1024 * 1024) };
    let router = axum::Router::new()
        .route("/v1/auth/token/lookup-self", get(token))
        .route("/v1/sys/internal/ui/mounts/{*path}", get(mount))
        .route("/v1/secret/data/moved", get(redirect))
        .route("/v1/secret/data/busy", get(busy))
        .route("/v1/secret/data/large", get(large))
        .fallback(|| async { panic!("the redirect was followed") as &str });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let store = with_token(&url, "root").unwrap().secrets();
    let moved = store.read("secret/moved").await.err().unwrap();
    assert!(
        moved.is_unavailable() && moved.to_string().contains("a redirect, which is not followed"),
        "{moved}"
    );
    let large = store.read("secret/large").await.err().unwrap();
    assert!(!large.is_unavailable() && large.to_string().contains("larger than 16 MiB"), "{large}");
    let busy = store.read("secret/busy").await.err().unwrap();
    let TargetError::Unavailable { retry_after, .. } = busy else { panic!("{busy}") };
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn only_the_private_ca_is_trusted() {
    let Some(bao) = Bao::start_with_tls().await else { return };
    bao.app_role(READ_SECRETS, "1h", "2h").await;
    bao.set("PUT", "secret/data/web", json!({ "data": { "password": "hunter2" } })).await;
    let with_ca = |ca_pem| {
        let secret_id = SecretString::from("the-secret-id");
        let auth = Auth::AppRole { role_id: "holdfast".to_owned(), secret_id };
        Vault::new(Settings { url: bao.url.clone(), auth, ca_pem }).unwrap()
    };
    let vault = with_ca(Some(bao.ca_pem()));
    assert_eq!(read(&vault.secrets()).await.unwrap(), "hunter2");
    vault.close().await;
    let error = read(&with_ca(None).secrets()).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_vault_that_knows_no_token_at_all_is_not_flooded_with_logins() {
    use axum::http::StatusCode;
    use axum::routing::post;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let logins = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&logins);
    let login = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        async {
            axum::Json(json!({
                "request_id": "", "lease_id": "", "renewable": false, "lease_duration": 0,
                "auth": {
                    "client_token": "s.new", "accessor": "a", "policies": [], "token_policies": [],
                    "metadata": null, "lease_duration": 3600, "renewable": true, "entity_id": "",
                    "token_type": "service", "orphan": true,
                },
            }))
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = axum::Router::new()
        .route("/v1/auth/approle/login", post(login))
        .fallback(|| async { (StatusCode::FORBIDDEN, r#"{"errors":["permission denied"]}"#) });
    tokio::spawn(async move { axum::serve(listener, router).await });
    let store = vault(&url, "the-secret-id").secrets();
    for _ in 0..5 {
        let error = read(&store).await.unwrap_err();
        assert!(!error.is_unavailable() && error.to_string().contains("permission denied"), "{error}");
    }
    assert_eq!(logins.load(Ordering::SeqCst), 2, "one at first, one to replace it");
}
