//! Rights: privilege separation, inheritance, silent filtering.

use serde_json::json;

use super::{Lab, SECRET, TOKEN, furnished};

#[tokio::test]
async fn a_new_token_has_no_rights_and_lists_are_empty() {
    let lab = Lab::with(furnished().bare_token("holdfast@pve!new", "s", true)).await;
    let new = lab.as_token("holdfast@pve!new", "s");
    assert_eq!(new.get("/cluster/resources?type=vm").await.data(), json!([]));
    assert_eq!(new.get("/nodes/pve1/qemu").await.data(), json!([]));
    assert_eq!(new.get("/access/permissions").await.data(), json!({}));
    let said = new.get("/nodes/pve1/qemu/100/config").await;
    assert_eq!((said.status, said.reason.as_str()), (403, "Permission check failed (/vms/100, VM.Audit)"));
    assert_eq!(said.message(), "Permission check failed (/vms/100, VM.Audit)\n");
    // But what exists is told to anyone who asks for its number.
    assert_eq!(new.get("/cluster/nextid?vmid=100").await.error("vmid"), "VM 100 already exists");
}

#[tokio::test]
async fn a_separated_token_has_no_more_than_its_user() {
    let builder = furnished()
        .bare_token("ops@pve!sep", "s", true)
        .bare_token("ops@pve!whole", "w", false)
        .grant("/vms/100", "ops@pve", &["VM.Audit"], true)
        .grant("/", "ops@pve!sep", &["Administrator"], true);
    let lab = Lab::with(builder).await;
    for (id, secret) in [("ops@pve!sep", "s"), ("ops@pve!whole", "w")] {
        let token = lab.as_token(id, secret);
        assert_eq!(token.get("/nodes/pve1/qemu").await.data().as_array().map(Vec::len), Some(1));
        assert_eq!(token.get("/nodes/pve1/qemu/9000/config").await.status, 403);
        let said = token.post("/nodes/pve1/qemu/100/status/start", &[]).await;
        assert_eq!(said.reason, "Permission check failed (/vms/100, VM.PowerMgmt)");
        let rights = token.get("/access/permissions?path=%2Fvms%2F100").await.data();
        assert_eq!(rights, json!({ "/vms/100": { "VM.Audit": 1 } }));
    }
}

#[tokio::test]
async fn a_lower_entry_replaces_and_no_access_wins() {
    let lab = Lab::start().await;
    lab.pve.grant("/vms/100", TOKEN, &["VM.Audit"], true);
    assert_eq!(lab.get("/nodes/pve1/qemu/100/config").await.status, 200);
    let said = lab.post("/nodes/pve1/qemu/100/config", &[("cores", "2")]).await;
    assert!(
        said.message().starts_with("Permission check failed (/vms/100, VM.Config.Disk|VM.Config.CDROM|"),
        "{said:?}"
    );
    lab.pve.grant("/vms/100", TOKEN, &["NoAccess"], true);
    assert_eq!(lab.get("/nodes/pve1/qemu/100/config").await.status, 403);
    lab.pve.revoke("/vms/100", TOKEN);
    assert_eq!(lab.configure(100, &[("cores", "2")]).await, "OK");
    // An entry that does not pass down is for its own path.
    lab.pve.grant("/vms", TOKEN, &["VM.Audit"], false);
    assert_eq!(lab.configure(100, &[("cores", "3")]).await, "OK");
}

#[tokio::test]
async fn groups_and_pools_give_rights() {
    let builder = furnished()
        .user("ann@pve", &["ops"])
        .bare_token("ann@pve!t", "s", false)
        .pool("kube", &[100])
        .grant("/pool/kube", "@ops", &["VM.Audit", "Pool.Audit"], true);
    let lab = Lab::with(builder).await;
    let ann = lab.as_token("ann@pve!t", "s");
    let seen = ann.get("/cluster/resources?type=vm").await.data();
    assert_eq!((seen.as_array().map(Vec::len), &seen[0]["pool"]), (Some(1), &json!("kube")));
    assert_eq!(ann.get("/pools").await.data(), json!([{ "poolid": "kube", "comment": "" }]));
    assert_eq!(ann.get("/pools?poolid=kube").await.data()[0]["members"][0]["vmid"], 100);
    assert_eq!(ann.get("/pools?type=qemu").await.error("poolid"), "missing property required by 'type'");
}

#[tokio::test]
async fn each_key_disk_and_bridge_needs_its_own_right() {
    let some =
        ["VM.Audit", "VM.Config.CPU", "VM.Config.Network", "VM.Config.Disk", "VM.Clone", "VM.Allocate"];
    let builder = furnished().bare_token("some@pve!t", "s", false).grant("/vms", "some@pve", &some, true);
    let lab = Lab::with(builder).await;
    let some = lab.as_token("some@pve!t", "s");
    let config = "/nodes/pve1/qemu/100/config";
    let refused = [
        (("memory", "512"), "/vms/100, VM.Config.Memory"),
        (("machine", "q35"), "/vms/100, VM.Config.HWType"),
        (("net0", "virtio,bridge=vmbr0,tag=5"), "/sdn/zones/localnetwork/vmbr0/5, SDN.Use"),
        (("scsi1", "local-lvm:4"), "/storage/local-lvm, Datastore.AllocateSpace"),
        (("startup", "order=1"), "/vms/100, VM.Config.Options"),
    ];
    for (pair, what) in refused {
        let said = some.post(config, &[pair]).await;
        assert_eq!(
            (said.status, said.message()),
            (403, format!("Permission check failed ({what})\n").as_str())
        );
    }
    // What depends on what is there is found out by the worker.
    let exit = some.task("POST", config, &[("tags", "x")]).await;
    assert_eq!(exit, "403 Permission check failed (/vms/100, VM.Config.Options)");
    let said = some.send("PUT", config, &[("ide2", "none,media=cdrom")]).await;
    assert_eq!(
        (said.status, said.reason.as_str()),
        (403, "Permission check failed (/vms/100, VM.Config.Cloudinit)")
    );
    assert_eq!(some.post(config, &[("ciuser", "ops")]).await.status, 200, "the network's right will do");
    let clone = "/nodes/pve1/qemu/9000/clone";
    let said = some.post(clone, &[("newid", "101")]).await;
    assert_eq!(said.message(), "Permission check failed (/storage/local-lvm, Datastore.AllocateSpace)\n");
    lab.pve.grant("/storage/local-lvm", "some@pve", &["Datastore.AllocateSpace"], true);
    let said = some.post(clone, &[("newid", "101")]).await;
    assert_eq!(said.message(), "Permission check failed (/sdn/zones/localnetwork/vmbr0, SDN.Use)\n");
}

#[tokio::test]
async fn administrators_privileges_are_listed() {
    let lab = Lab::start().await;
    let role = lab.get("/access/roles/Administrator").await.data();
    assert_eq!((&role["VM.GuestAgent.Audit"], role.get("VM.Monitor")), (&json!(1), None));
    assert_eq!(lab.get("/access/roles/none").await.message(), "role 'none' does not exist\n");
    let rights = lab.get("/access/permissions").await.data();
    assert_eq!(rights["/"]["VM.Clone"], 1);
    lab.pve.set_secret(TOKEN, "rotated");
    assert_eq!(lab.get("/version").await.status, 401);
    assert_eq!(lab.as_token(TOKEN, "rotated").get("/version").await.status, 200);
    assert_ne!(SECRET, "rotated");
}
