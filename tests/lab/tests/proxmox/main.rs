//! The simulated Proxmox cluster behaves as the documented one does, asked over plain HTTP.

mod access;
mod clones;
mod configs;
mod guests;
mod lists;
mod schema;
mod tasks;
mod wire;

use std::collections::BTreeMap;
use std::sync::Once;
use std::time::Duration;

use holdfast_lab::http::Wire;
use holdfast_lab::proxmox::{Builder, CONVERGE_GUESTS, MachineSeed, Proxmox, StorageSeed};
use reqwest::{Client, Method, Response};
use serde_json::Value;

const TOKEN: &str = "holdfast@pve!main";
const SECRET: &str = "0123-4567";
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// One simulated cluster and a client of it.
struct Lab {
    pve: Proxmox,
    wire: Wire,
    client: Client,
    authorization: String,
}

/// What an answer said.
#[derive(Debug)]
struct Said {
    status: u16,
    reason: String,
    body: Value,
    closed: bool,
}

impl Said {
    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap_or_default()
    }

    fn error(&self, key: &str) -> &str {
        self.body["errors"][key].as_str().unwrap_or_default()
    }

    #[track_caller]
    fn data(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.body["data"].clone()
    }

    #[track_caller]
    fn text(self) -> String {
        self.data().as_str().expect("the data is a text").to_owned()
    }
}

fn furnished() -> Builder {
    Proxmox::builder()
        .node("pve1")
        .node("pve2")
        .storage(StorageSeed::new("local-lvm", "lvmthin", 500))
        .storage(StorageSeed::new("ceph", "rbd", 1000).shared())
        .storage(StorageSeed::new("local", "dir", 100).content(&["iso", "vztmpl", "import"]))
        .template(9000, "debian-12", "pve1", 8)
        .machine(
            MachineSeed::new(100, "old", "pve1", 10)
                .set("tags", "keep")
                .set("ipconfig0", "ip=10.78.0.9/24,gw=10.78.0.1"),
        )
        .container(200, "dns", "pve2")
        .task_time(Duration::from_millis(5))
        .token(TOKEN, SECRET, CONVERGE_GUESTS)
}

impl Lab {
    async fn start() -> Self {
        Self::with(furnished()).await
    }

    async fn with(builder: Builder) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| drop(rustls::crypto::aws_lc_rs::default_provider().install_default()));
        let wire = Wire::default();
        let pve = builder.start(&wire).await.expect("a loopback port is free");
        let client = Client::builder().timeout(PATIENCE).build().expect("the client builds");
        Self { pve, wire, client, authorization: format!("PVEAPIToken={TOKEN}={SECRET}") }
    }

    fn as_token(&self, id: &str, secret: &str) -> Self {
        Self {
            pve: self.pve.clone(),
            wire: self.wire.clone(),
            client: self.client.clone(),
            authorization: format!("PVEAPIToken={id}={secret}"),
        }
    }

    fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let url = format!("{}/api2/json{path}", self.pve.url());
        let method = Method::from_bytes(method.as_bytes()).expect("the method is one");
        self.client.request(method, url).header("authorization", &self.authorization)
    }

    async fn say(&self, request: reqwest::RequestBuilder) -> Said {
        listen(request.send().await.expect("the simulator answers")).await
    }

    async fn get(&self, path: &str) -> Said {
        self.say(self.request("GET", path)).await
    }

    async fn delete(&self, path: &str) -> Said {
        self.say(self.request("DELETE", path)).await
    }

    async fn send(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Said {
        self.say(self.request(method, path).form(form)).await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Said {
        self.send("POST", path, form).await
    }

    /// Starts a task and waits for its exit status.
    async fn task(&self, method: &str, path: &str, form: &[(&str, &str)]) -> String {
        let upid = self.send(method, path, form).await.text();
        self.exit(&upid).await
    }

    async fn exit(&self, upid: &str) -> String {
        let node = upid.split(':').nth(1).expect("a UPID names its node");
        let path = format!("/nodes/{node}/tasks/{}/status", upid.replace(':', "%3A"));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let status = self.get(&path).await.data();
            if status["status"] == "stopped" {
                return status["exitstatus"].as_str().expect("a stopped task has an exit status").to_owned();
            }
            assert!(tokio::time::Instant::now() < deadline, "{upid} does not end");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn configure(&self, vmid: u32, form: &[(&str, &str)]) -> String {
        self.task("POST", &format!("/nodes/pve1/qemu/{vmid}/config"), form).await
    }

    async fn config(&self, vmid: u32) -> Value {
        self.get(&format!("/nodes/pve1/qemu/{vmid}/config")).await.data()
    }

    /// Keys that are pending, with their rows.
    async fn pending(&self, vmid: u32) -> BTreeMap<String, Value> {
        let rows = self.get(&format!("/nodes/pve1/qemu/{vmid}/pending")).await.data();
        let rows = rows.as_array().expect("the rows are a list").iter();
        let open = rows.filter(|row| row.get("pending").is_some() || row.get("delete").is_some());
        open.map(|row| (row["key"].as_str().expect("a row has a key").to_owned(), row.clone())).collect()
    }

    /// Waits for a guest that a worker makes.
    async fn appears(&self, vmid: &str) {
        let vmid = vmid.parse().expect("a VMID is a number");
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.pve.guest(vmid).is_none() {
            assert!(tokio::time::Instant::now() < deadline, "guest {vmid} does not appear");
            tokio::task::yield_now().await;
        }
    }

    /// Waits for a guest that is started by the cluster itself.
    async fn runs(&self, vmid: u32) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.pve.guest(vmid).is_some_and(|guest| guest.running) {
            assert!(tokio::time::Instant::now() < deadline, "guest {vmid} does not start");
            tokio::task::yield_now().await;
        }
    }

    async fn clone_to(&self, vmid: &str) -> String {
        self.task(
            "POST",
            "/nodes/pve1/qemu/9000/clone",
            &[("newid", vmid), ("name", "kube01"), ("full", "1")],
        )
        .await
    }
}

async fn listen(response: Response) -> Said {
    let status = response.status().as_u16();
    let reason = response.extensions().get::<hyper::ext::ReasonPhrase>();
    let reason =
        reason.map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned()).unwrap_or_default();
    let closed = response.headers().get("connection").is_some_and(|value| value == "close");
    let text = response.text().await.expect("the body is whole");
    let body =
        if text.is_empty() { Value::Null } else { serde_json::from_str(&text).expect("the body is JSON") };
    Said { status, reason, body, closed }
}
