//! The simulated API against plain requests: each sentence of the documentation that a client relies on.

mod apply;
mod argo;
mod objects;
mod watch;

use serde_json::{Value, json};

use super::{ADMIN_TOKEN, Cluster, Settings};
use crate::testing::{Got, send};

const APPS: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications";

async fn cluster() -> Cluster {
    Cluster::start(Settings::default()).await.unwrap()
}

/// An Application of this name with one source.
fn application(name: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": { "name": name },
        "spec": {
            "project": "default",
            "source": { "repoURL": "https://git.lan/me/infra.git", "path": "apps/media", "targetRevision": "main" },
            "destination": { "server": "https://kubernetes.default.svc", "namespace": "media" },
            "syncPolicy": { "automated": { "prune": true } },
        },
    })
}

async fn as_user(
    cluster: &Cluster,
    token: &str,
    method: &str,
    path: &str,
    kind: &str,
    body: Option<&Value>,
) -> Got {
    let authorization = format!("Bearer {token}");
    let headers =
        [("authorization", authorization.as_str()), ("content-type", kind), ("user-agent", "test/1.0")];
    send(method, &format!("{}{path}", cluster.url()), &headers, body.map(Value::to_string)).await.unwrap()
}

async fn call(cluster: &Cluster, method: &str, path: &str, body: Option<&Value>) -> Got {
    as_user(cluster, ADMIN_TOKEN, method, path, "application/json", body).await
}

async fn get(cluster: &Cluster, path: &str) -> Got {
    call(cluster, "GET", path, None).await
}

async fn apply(cluster: &Cluster, manager: &str, parameters: &str, body: &Value) -> Got {
    let name = body["metadata"]["name"].as_str().unwrap();
    let path = format!("{APPS}/{name}?fieldManager={manager}{parameters}");
    as_user(cluster, ADMIN_TOKEN, "PATCH", &path, "application/apply-patch+yaml", Some(body)).await
}

async fn merge(cluster: &Cluster, name: &str, manager: &str, body: &Value) -> Got {
    let path = format!("{APPS}/{name}?fieldManager={manager}");
    as_user(cluster, ADMIN_TOKEN, "PATCH", &path, "application/merge-patch+json", Some(body)).await
}
