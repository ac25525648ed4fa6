//! What is listed: resources, their lag, nodes, storages, free VMIDs.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Lab, furnished};

fn row(rows: &Value, key: &str, value: &Value) -> Value {
    let all = rows.as_array().expect("the rows are a list");
    all.iter().find(|row| row[key] == *value).cloned().unwrap_or(Value::Null)
}

#[tokio::test]
async fn guests_of_both_kinds_are_listed_by_their_vmid() {
    let lab = Lab::start().await;
    let rows = lab.get("/cluster/resources?type=vm").await.data();
    assert_eq!(rows.as_array().map(Vec::len), Some(3));
    let old = row(&rows, "vmid", &json!(100));
    assert_eq!(
        (&old["id"], &old["node"], &old["status"], &old["tags"]),
        (&json!("qemu/100"), &json!("pve1"), &json!("stopped"), &json!("keep"))
    );
    assert_eq!(row(&rows, "vmid", &json!(9000))["template"], 1);
    assert_eq!(row(&rows, "vmid", &json!(200))["type"], "lxc");
    assert_eq!(lab.get("/nodes/pve2/lxc").await.data()[0]["name"], "dns");
    assert_eq!(lab.get("/nodes/pve2/qemu").await.data(), json!([]));
    assert_eq!(lab.get("/cluster/resources?type=bogus").await.status, 400);
}

#[tokio::test]
async fn names_and_states_lag_while_locks_and_places_do_not() {
    let lab = Lab::start().await;
    lab.pve.set_resources_lag(Duration::from_hours(1));
    assert_eq!(lab.clone_to("101").await, "OK");
    lab.pve.power_on(100).expect("it starts");
    lab.pve.lock(100, "backup");
    lab.pve.migrate(100, "pve2");
    let rows = lab.get("/cluster/resources?type=vm").await.data();
    let new = row(&rows, "vmid", &json!(101));
    assert_eq!((&new["status"], new.get("name"), &new["node"]), (&json!("unknown"), None, &json!("pve1")));
    let old = row(&rows, "vmid", &json!(100));
    assert_eq!(
        (&old["status"], &old["lock"], &old["node"]),
        (&json!("stopped"), &json!("backup"), &json!("pve2"))
    );
    lab.pve.set_resources_lag(Duration::ZERO);
    let rows = lab.get("/cluster/resources?type=vm").await.data();
    assert_eq!(row(&rows, "vmid", &json!(101))["name"], "kube01");
    let said = lab.get("/nodes/pve1/qemu/100/config").await;
    assert_eq!(said.message(), "Configuration file 'nodes/pve1/qemu-server/100.conf' does not exist\n");
}

#[tokio::test]
async fn free_vmids_are_a_hint() {
    let lab = Lab::start().await;
    assert_eq!(lab.get("/cluster/nextid").await.data(), json!("101"));
    assert_eq!(lab.get("/cluster/nextid?vmid=555").await.data(), json!("555"));
    assert_eq!(lab.get("/cluster/nextid?vmid=200").await.error("vmid"), "VM 200 already exists");
}

#[tokio::test]
async fn storages_tell_their_space_and_content() {
    let lab = Lab::start().await;
    let rows = lab.get("/nodes/pve1/storage?content=images").await.data();
    assert_eq!(rows.as_array().map(Vec::len), Some(2));
    let before = lab.get("/nodes/pve1/storage/local-lvm/status").await.data();
    assert_eq!(before["total"], 500_u64 << 30);
    assert_eq!(lab.clone_to("101").await, "OK");
    let after = lab.get("/nodes/pve1/storage/local-lvm/status").await.data();
    assert_eq!(
        before["avail"].as_u64().zip(after["avail"].as_u64()).map(|(a, b)| a - b),
        Some((8 << 30) + (4 << 20))
    );
    let elsewhere = lab.get("/nodes/pve2/storage/local-lvm/status").await.data();
    assert_eq!(elsewhere["used"], 0, "it is local");
    let content = lab.get("/nodes/pve1/storage/local-lvm/content?vmid=101").await.data();
    assert_eq!(row(&content, "volid", &json!("local-lvm:vm-101-disk-0"))["size"], 8_u64 << 30);
    assert_eq!(lab.get("/nodes/pve1/storage/none/status").await.message(), "storage 'none' does not exist\n");
    lab.pve.set_storage_free("local-lvm", 7);
    assert_eq!(lab.get("/nodes/pve1/storage/local-lvm/status").await.data()["avail"], 7);
}

#[tokio::test]
async fn five_hundred_guests_are_one_answer() {
    let builder =
        (1000..1500).fold(furnished(), |builder, vmid| builder.container(vmid, &format!("c{vmid}"), "pve1"));
    let lab = Lab::with(builder).await;
    lab.wire.reset();
    assert_eq!(lab.get("/cluster/resources?type=vm").await.data().as_array().map(Vec::len), Some(503));
    assert_eq!(lab.wire.requests().len(), 1);
}
