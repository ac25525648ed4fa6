//! The simulated forges against plain requests: each reply that a client must tell apart.

mod gitea;
mod github;

use serde_json::{Value, json};

use super::{Flavour, Forge, Right};
use crate::testing::{Got, send};

const SHA: &str = "1111111111111111111111111111111111111111";

/// A forge with `me/infra`, one commit, and the tokens `write` and `read`.
async fn forge(flavour: Flavour) -> Forge {
    let forge = Forge::start(flavour).await.unwrap();
    forge.add_commit("me/infra", SHA);
    forge.allow("write", "me/infra", Right::Write);
    forge.allow("read", "me/infra", Right::Read);
    forge
}

async fn call(forge: &Forge, token: &str, method: &str, path: &str, body: Value) -> Got {
    let authorization = format!("Bearer {token}");
    let headers: &[(&str, &str)] =
        if token.is_empty() { &[] } else { &[("authorization", authorization.as_str())] };
    let body = (!body.is_null()).then(|| body.to_string());
    send(method, &format!("{}{path}", forge.url()), headers, body).await.unwrap()
}

fn status(state: &str, description: &str) -> Value {
    json!({ "state": state, "context": "holdfast/home/core", "description": description, "target_url": "" })
}
