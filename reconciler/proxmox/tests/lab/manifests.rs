//! What the tests declare, from the smallest manifest to one that says all that can be said.

use holdfast_core::secret::{SecretRef, Secrets};
use secrecy::SecretString;
use serde_json::{Value, json};

pub(crate) const PASSWORD: &str = "hunter2;&=+%";
pub(crate) const DESCRIPTION: &str = "first: 100 % größer; a=b&c+d\n\n# 日本\ttab";

/// The values of all secrets that a test's manifests name.
pub(crate) fn secrets() -> Secrets {
    let mut secrets = Secrets::default();
    let reference = SecretRef { vault: "kv/guests".to_owned(), key: "console".to_owned(), stamp: None };
    secrets.insert(&reference, SecretString::from(PASSWORD));
    secrets
}

/// The smallest manifest.
pub(crate) fn small(vmid: u32) -> Value {
    json!({ "vmid": vmid, "node": "pve1", "template": 9000, "cores": 2, "memory": "2GiB" })
}

/// The smallest manifest, and more.
pub(crate) fn with(vmid: u32, more: &Value) -> Value {
    let mut spec = small(vmid);
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec
}

/// A manifest that says all that can be said.
pub(crate) fn whole() -> Value {
    with(
        101,
        &json!({
            "disk": { "slot": "scsi0", "size": "16GiB", "storage": "local-lvm" },
            "network": { "bridge": "vmbr1", "vlan": 20 },
            "cloudInit": {
                "user": "ops",
                "sshKeys": ["ssh-ed25519 AAAAC3Nz+a/b== mé@laptop; 100 %", "ssh-rsa AAAAB3Nz x&y=z"],
                "address": "10.78.0.11/24", "gateway": "10.78.0.1", "nameservers": ["10.78.0.1", "10.78.0.2"],
                "searchDomain": "lab",
                "password": { "vault": "kv/guests", "key": "console", "stamp": { "version": 1, "digest": "00ff" } },
            },
            "agent": true, "onBoot": true, "tags": ["kubernetes"], "description": DESCRIPTION,
        }),
    )
}
