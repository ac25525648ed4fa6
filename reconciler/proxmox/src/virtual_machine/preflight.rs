//! What keeps a guest from being made, told in our words before anything is asked of the API.

use holdfast_core::kind::TargetError;

use super::state::State;
use super::step::{Clone, listed};
use crate::client::cluster::{Cluster, Storage};
use crate::client::guests::Place;
use crate::names::NodeName;
use crate::size::Bytes;

/// Kinds of storage that allocate a disk's whole size at once. The others may be overcommitted, so only what
/// the copy itself takes is asked of them.
const THICK: &[&str] = &["lvm", "iscsi", "iscsidirect"];

/// Whether things can be made on this node. A wrong name would be answered with a riddle (596) by the API.
pub(super) fn node(cluster: &Cluster, doing: &str, node: &NodeName) -> Result<(), TargetError> {
    if let Some(nodes) = cluster.instead_of(node.as_str()) {
        let why = format!("there is no node `{node}`: declare one of {nodes}");
        return Err(TargetError::rejected(doing, why));
    }
    if cluster.is_offline(node.as_str()) {
        return Err(TargetError::unavailable(doing, format_args!("node `{node}` is offline")));
    }
    Ok(())
}

/// Where the template is, if the clone can be made.
pub(super) fn clone(cluster: &Cluster, doing: &str, clone: &Clone) -> Result<Place, TargetError> {
    let reject = |why: String| Err(TargetError::rejected(doing, why));
    if let Some(taken) = cluster.guests.get(&clone.vmid) {
        // The next look tells whose it is.
        let why = format!("vm {} has appeared on `{}` meanwhile", clone.vmid, taken.node);
        return Err(TargetError::unavailable(doing, why));
    }
    node(cluster, doing, &clone.node)?;
    let number = clone.template;
    let Some(template) = cluster.guests.get(&number) else {
        return reject(format!(
            "there is no template {number}, or the token lacks `VM.Audit` on `/vms/{number}`: declare a template that is there"
        ));
    };
    if template.is_container {
        return reject(format!(
            "{number} is a container: declare the VMID of a template of virtual machines"
        ));
    }
    if cluster.is_offline(&template.node) {
        let why = format!("template {number} is on node `{}`, which is offline", template.node);
        return Err(TargetError::unavailable(doing, why));
    }
    if let Some(wanted) = &clone.storage {
        storage(cluster, doing, clone, wanted.as_str(), template.disk)?;
    }
    Ok(Place { node: template.node.clone(), vmid: number })
}

/// Whether the template is one, and has a disk that can grow to the declared size: told before a guest is
/// made that could only be thrown away.
pub(super) fn template(template: &State, doing: &str, clone: &Clone) -> Result<(), TargetError> {
    let reject = |why: String| Err(TargetError::rejected(doing, why));
    let number = clone.template;
    // The list says so too, but ten seconds late.
    if !template.template {
        return reject(format!(
            "vm {number} is no template: declare another one, or make it one with `qm template {number}`"
        ));
    }
    let Some((slot, size)) = &clone.disk else { return Ok(()) };
    match template.disks.get(slot.as_str()).and_then(|disk| disk.size) {
        None => {
            let slots = listed(template.disks.keys().map(String::as_str));
            let has = if slots.is_empty() { "none" } else { &slots };
            reject(format!(
                "template {number} has no disk at {slot}, but {has}: declare that slot as `disk.slot`"
            ))
        }
        Some(there) if there > size.bytes() => reject(format!(
            "the disk of template {number} has {there}, which cannot shrink to {size}: declare at least {there}"
        )),
        Some(_) => Ok(()),
    }
}

fn storage(
    cluster: &Cluster,
    doing: &str,
    clone: &Clone,
    wanted: &str,
    template: Option<Bytes>,
) -> Result<(), TargetError> {
    let there: Vec<&Storage> =
        cluster.storages.iter().filter(|storage| storage.node == clone.node.as_str()).collect();
    // The token may see none of them; then the API's own answer has to do.
    if there.is_empty() {
        return Ok(());
    }
    let Some(storage) = there.iter().find(|storage| storage.name == wanted) else {
        let names: Vec<String> = there.iter().map(|storage| format!("`{}`", storage.name)).collect();
        let why = format!(
            "node `{}` has no storage `{wanted}` that the token may see: declare one of {}",
            clone.node,
            names.join(", ")
        );
        return Err(TargetError::rejected(doing, why));
    };
    if !storage.available {
        let why = format!("storage `{wanted}` of node `{}` is not available now", clone.node);
        return Err(TargetError::unavailable(doing, why));
    }
    let whole =
        clone.disk.as_ref().map(|(_, size)| size.bytes()).filter(|_| THICK.contains(&storage.kind.as_str()));
    match (template.max(whole), storage.free()) {
        (Some(needed), Some(free)) if needed > free => {
            let why = format!(
                "storage `{wanted}` of node `{}` has {free} left, and the clone takes {needed}: free space there, or declare another `disk.storage`",
                clone.node
            );
            Err(TargetError::rejected(doing, why))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::notes::Notes;
    use super::*;
    use crate::names::{DiskSlot, StorageName, Vmid};
    use crate::size::Size;

    fn list(more: &Value) -> Cluster {
        let mut rows = json!([
            { "type": "node", "node": "pve1", "status": "online" },
            { "type": "node", "node": "pve2", "status": "offline" },
            { "type": "qemu", "vmid": 9000, "node": "pve1", "template": 1, "maxdisk": 2_u64 << 30 },
            { "type": "lxc", "vmid": 9002, "node": "pve1" },
            { "type": "storage", "storage": "thin", "node": "pve1", "status": "available", "plugintype": "lvmthin",
              "disk": 2_u64 << 30, "maxdisk": 10_u64 << 30 },
            { "type": "storage", "storage": "thick", "node": "pve1", "status": "available", "plugintype": "lvm",
              "disk": 2_u64 << 30, "maxdisk": 10_u64 << 30 },
        ]);
        rows.as_array_mut().unwrap().extend(more.as_array().unwrap().clone());
        Cluster::read(&rows).unwrap()
    }

    fn wish() -> Clone {
        Clone {
            template: Vmid::new(9000).unwrap(),
            vmid: Vmid::new(101).unwrap(),
            node: NodeName::new("pve1").unwrap(),
            storage: None,
            disk: Some((DiskSlot::new("scsi0").unwrap(), Size::mebibytes(32 << 10).unwrap())),
            notes: Notes::default(),
            changes: Vec::new(),
        }
    }

    fn why(clone_wish: &Clone) -> String {
        clone(&list(&json!([])), "cloning", clone_wish).unwrap_err().to_string()
    }

    #[test]
    fn what_can_be_cloned_is_found_where_the_template_is() {
        let at = clone(&list(&json!([])), "cloning", &wish()).unwrap();
        assert_eq!(at, Place { node: "pve1".to_owned(), vmid: Vmid::new(9000).unwrap() });
        let thin = Some(StorageName::new("thin").unwrap());
        assert!(
            clone(&list(&json!([])), "cloning", &Clone { storage: thin, ..wish() }).is_ok(),
            "thin is overcommitted"
        );
    }

    #[test]
    fn what_cannot_is_told_with_a_way_out() {
        let node = |name: &str| NodeName::new(name).unwrap();
        let template = |number| Vmid::new(number).unwrap();
        let storage = |name: &str| Some(StorageName::new(name).unwrap());
        assert_eq!(
            why(&Clone { node: node("pve9"), ..wish() }),
            "cloning: there is no node `pve9`: declare one of `pve1`, `pve2`"
        );
        assert_eq!(why(&Clone { node: node("pve2"), ..wish() }), "cloning: node `pve2` is offline");
        assert!(why(&Clone { template: template(8000), ..wish() }).contains("there is no template 8000"));
        assert!(why(&Clone { template: template(9002), ..wish() }).contains("9002 is a container"));
        assert!(why(&Clone { storage: storage("nas"), ..wish() }).contains("declare one of `thin`, `thick`"));
        assert_eq!(
            why(&Clone { storage: storage("thick"), ..wish() }),
            "cloning: storage `thick` of node `pve1` has 8 GiB left, and the clone takes 32 GiB: free space there, or declare another `disk.storage`"
        );
    }

    #[test]
    fn a_template_must_be_one_and_have_the_disk() {
        let check = |state: &Value| {
            let mut whole =
                json!({ "vmid": 9000, "node": "pve1", "running": false, "cores": 1, "memory": "512MiB" });
            whole.as_object_mut().unwrap().extend(state.as_object().unwrap().clone());
            let state = serde_json::from_value(whole).unwrap();
            template(&state, "cloning", &wish()).map_err(|error| error.to_string())
        };
        let disk = |slot: &str, size: &str| json!({ "template": true, "disks": { slot: { "volume": "x:y", "size": size } } });
        assert_eq!(check(&disk("scsi0", "2GiB")), Ok(()));
        assert_eq!(
            check(&disk("virtio0", "2GiB")),
            Err("cloning: template 9000 has no disk at scsi0, but virtio0: declare that slot as `disk.slot`"
                .to_owned())
        );
        assert_eq!(
            check(&disk("scsi0", "40GiB")),
            Err("cloning: the disk of template 9000 has 40 GiB, which cannot shrink to 32 GiB: declare at least 40 GiB".to_owned())
        );
        assert!(check(&json!({})).unwrap_err().contains("`qm template 9000`"));
    }

    #[test]
    fn a_number_that_was_taken_meanwhile_is_looked_at_again() {
        let taken = list(&json!([{ "type": "lxc", "vmid": 101, "node": "pve1" }]));
        assert!(clone(&taken, "cloning", &wish()).unwrap_err().is_unavailable());
    }
}
