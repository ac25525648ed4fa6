//! The simulated Vault against plain requests, and beside a real `OpenBao` where one is installed.

mod beside;
mod kv;
mod tokens;

use serde_json::Value;

use super::{Flavour, ROOT_TOKEN, Vault};
use crate::testing::{Got, send};

async fn vault() -> Vault {
    Vault::start(Flavour::OpenBao).await.unwrap()
}

async fn call(vault: &Vault, token: &str, method: &str, path: &str, body: Value) -> Got {
    let headers = [("x-vault-token", token), ("x-vault-request", "true")];
    let body = (!body.is_null()).then(|| body.to_string());
    send(method, &format!("{}/v1/{path}", vault.url()), &headers, body).await.unwrap()
}

async fn root(vault: &Vault, method: &str, path: &str, body: Value) -> Got {
    call(vault, ROOT_TOKEN, method, path, body).await
}
