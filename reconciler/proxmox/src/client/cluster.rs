//! The cluster as one look shows it: nodes, guests, storages, what the token may see, and its options.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Client;
use super::errors::ApiError;
use super::http::plain;
use super::property::{Properties, boolean};
use crate::names::Vmid;
use crate::size::Bytes;

/// What GET /cluster/resources lists. What the token may not audit is left out of it without a word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// Whether each node is online. Every token sees all of them.
    pub(crate) nodes: BTreeMap<String, bool>,
    /// Virtual machines and containers, which share their numbers.
    pub(crate) guests: BTreeMap<Vmid, Guest>,
    pub(crate) storages: Vec<Storage>,
}

/// One guest of the list. `node`, `lock`, `tags` and `ha` are current; what is running, the name and
/// whether it is a template lag about ten seconds behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Guest {
    pub(crate) vmid: Vmid,
    pub(crate) node: String,
    pub(crate) is_container: bool,
    pub(crate) name: Option<String>,
    /// `running`, `stopped`, or `unknown` for what is new or on a node that is down.
    pub(crate) status: String,
    /// Seconds since it was started, some seconds late; the most there is where the list does not tell.
    pub(crate) uptime: u64,
    pub(crate) template: bool,
    pub(crate) lock: Option<String>,
    pub(crate) tags: Vec<String>,
    /// The state that the HA manager keeps for it.
    pub(crate) ha: Option<String>,
    /// The size of its first disk.
    pub(crate) disk: Option<Bytes>,
}

/// One storage on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Storage {
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) available: bool,
    /// Such as `lvmthin`.
    pub(crate) kind: String,
    pub(crate) used: Option<Bytes>,
    pub(crate) size: Option<Bytes>,
}

impl Storage {
    /// What is left, where the list tells it.
    pub(crate) fn free(&self) -> Option<Bytes> {
        Some(Bytes(self.size?.0.saturating_sub(self.used?.0)))
    }
}

impl Cluster {
    /// Reads the list; an entry that is not understood is no entry.
    pub(crate) fn read(list: &Value) -> Result<Self, ApiError> {
        let rows = list.as_array().ok_or_else(|| ApiError::Unreadable("it is no list".to_owned()))?;
        let mut cluster = Self::default();
        for row in rows {
            match row["type"].as_str() {
                Some("node") => {
                    // One that was never seen since the cluster came up is `unknown`.
                    let online = !matches!(row["status"].as_str(), Some("offline" | "unknown"));
                    cluster.nodes.insert(plain(&row["node"]), online);
                }
                Some("qemu" | "lxc") => {
                    if let Some(guest) = Guest::read(row) {
                        cluster.guests.insert(guest.vmid, guest);
                    }
                }
                Some("storage") => cluster.storages.push(Storage::read(row)),
                _ => {}
            }
        }
        Ok(cluster)
    }

    /// Whether requests about things on this node have no answer.
    pub(crate) fn is_offline(&self, node: &str) -> bool {
        self.nodes.get(node) == Some(&false)
    }

    /// The nodes, where this one is not among them.
    pub(crate) fn instead_of(&self, node: &str) -> Option<String> {
        let names: Vec<String> = self.nodes.keys().map(|name| format!("`{name}`")).collect();
        (!self.nodes.contains_key(node)).then(|| names.join(", "))
    }
}

impl Guest {
    fn read(row: &Value) -> Option<Self> {
        let vmid = plain(&row["vmid"]).parse().ok().and_then(|number| Vmid::new(number).ok())?;
        let text = |key: &str| Some(plain(&row[key])).filter(|text| !text.is_empty());
        Some(Self {
            vmid,
            node: text("node")?,
            is_container: row["type"] == "lxc",
            name: text("name"),
            status: text("status").unwrap_or_else(|| "unknown".to_owned()),
            uptime: plain(&row["uptime"]).parse().unwrap_or(u64::MAX),
            template: truth(&row["template"]),
            lock: text("lock"),
            tags: split_tags(&plain(&row["tags"])),
            ha: text("hastate"),
            disk: number(&row["maxdisk"]),
        })
    }
}

impl Storage {
    fn read(row: &Value) -> Self {
        Self {
            name: plain(&row["storage"]),
            node: plain(&row["node"]),
            available: row["status"] == "available",
            kind: plain(&row["plugintype"]),
            used: number(&row["disk"]),
            size: number(&row["maxdisk"]),
        }
    }
}

/// Separators are `,`, `;` and white space, whatever was written.
pub(crate) fn split_tags(text: &str) -> Vec<String> {
    let separators = |c: char| matches!(c, ',' | ';' | '\0') || c.is_whitespace();
    text.split(separators).filter(|tag| !tag.is_empty()).map(ToOwned::to_owned).collect()
}

fn number(value: &Value) -> Option<Bytes> {
    plain(value).parse().ok().map(Bytes)
}

fn truth(value: &Value) -> bool {
    value.as_bool().unwrap_or_else(|| boolean(&plain(value)))
}

/// What the token may do: GET /access/permissions, path to privilege to whether it is passed down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rights(BTreeMap<String, BTreeMap<String, bool>>);

impl Rights {
    pub(crate) fn read(map: &Value) -> Result<Self, ApiError> {
        let paths = map.as_object().ok_or_else(|| ApiError::Unreadable("it is no object".to_owned()))?;
        let rights = paths.iter().map(|(path, rights)| {
            let rights = rights.as_object().into_iter().flatten();
            (path.clone(), rights.map(|(right, passed)| (right.clone(), truth(passed))).collect())
        });
        Ok(Self(rights.collect()))
    }

    /// Whether the privilege holds on the path. The nearest path that is listed decides: what stands there
    /// has replaced what was inherited.
    pub(crate) fn allow(&self, right: &str, path: &str) -> bool {
        if let Some(rights) = self.0.get(path) {
            return rights.contains_key(right);
        }
        self.passed(right, parent(path))
    }

    /// Whether the privilege holds on the path and, as far as nothing else stands there, on all below it.
    pub(crate) fn allow_below(&self, right: &str, path: &str) -> bool {
        self.passed(right, Some(path))
    }

    fn passed(&self, right: &str, path: Option<&str>) -> bool {
        let mut at = path;
        while let Some(path) = at {
            if let Some(rights) = self.0.get(path) {
                return rights.get(right) == Some(&true);
            }
            at = parent(path);
        }
        false
    }
}

fn parent(path: &str) -> Option<&str> {
    match path.rfind('/')? {
        0 if path.len() > 1 => Some("/"),
        0 => None,
        at => Some(&path[..at]),
    }
}

/// Of GET /cluster/options: whether tags that differ in case alone are different tags.
pub(crate) fn tags_have_case(options: &Value) -> bool {
    match &options["tag-style"] {
        Value::Object(style) => style.get("case-sensitive").is_some_and(truth),
        Value::String(style) => Properties::parse(style, "shape")
            .is_some_and(|style| style.get("case-sensitive").is_some_and(boolean)),
        _ => false,
    }
}

impl Client {
    /// GET /cluster/resources, all types. Nodes are listed to everybody, those that are down too, so a list
    /// without any is no list.
    pub(crate) async fn cluster(&self) -> Result<Cluster, ApiError> {
        let cluster = Cluster::read(&self.http().get("/cluster/resources", &[]).await?)?;
        if cluster.nodes.is_empty() {
            return Err(ApiError::Partial("it lists not a single node"));
        }
        Ok(cluster)
    }

    /// GET /access/permissions of the token itself.
    pub(crate) async fn rights(&self) -> Result<Rights, ApiError> {
        Rights::read(&self.http().get("/access/permissions", &[]).await?)
    }

    /// GET /cluster/options.
    pub(crate) async fn tags_have_case(&self) -> Result<bool, ApiError> {
        Ok(tags_have_case(&self.http().get("/cluster/options", &[]).await?))
    }

    /// Whether a number is taken, which GET /cluster/nextid tells even to those who may not see the guest.
    pub(crate) async fn is_taken(&self, vmid: Vmid) -> Result<bool, ApiError> {
        let number = vmid.to_string();
        match self.http().get("/cluster/nextid", &[("vmid", &number)]).await {
            Ok(_) => Ok(false),
            Err(error) if error.about("vmid").is_some_and(|text| text.contains("already exists")) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_read_leniently_and_by_number() {
        let cluster = Cluster::read(&json!([
            { "type": "node", "node": "pve1", "status": "online" },
            { "type": "node", "node": "pve2", "status": "offline" },
            { "type": "qemu", "vmid": 101, "node": "pve1", "name": "kube01", "status": "running",
              "template": 0, "tags": "Holdfast;k3s, web", "maxdisk": 34_359_738_368_u64 },
            { "type": "lxc", "vmid": "105", "node": "pve2", "lock": "backup" },
            { "type": "storage", "storage": "local-lvm", "node": "pve1", "status": "available",
              "plugintype": "lvmthin", "disk": 10, "maxdisk": 30 },
            { "type": "sdn", "sdn": "localnetwork" },
            { "type": "qemu", "vmid": "x" },
        ]))
        .unwrap();
        assert!(cluster.is_offline("pve2") && !cluster.is_offline("pve1") && !cluster.is_offline("pve9"));
        assert_eq!(cluster.instead_of("pve9").as_deref(), Some("`pve1`, `pve2`"));
        assert_eq!(cluster.instead_of("pve1"), None);
        let guest = &cluster.guests[&Vmid::new(101).unwrap()];
        assert_eq!(guest.tags, ["Holdfast", "k3s", "web"]);
        assert_eq!(guest.disk.unwrap().to_string(), "32 GiB");
        let container = &cluster.guests[&Vmid::new(105).unwrap()];
        assert!(container.is_container && container.status == "unknown");
        assert_eq!(cluster.storages[0].free(), Some(Bytes(20)));
        assert_eq!(cluster.guests.len(), 2);
        assert!(Cluster::read(&json!({})).is_err(), "no list is not an empty list");
    }

    #[test]
    fn the_nearest_path_decides_about_a_right() {
        let rights = Rights::read(&json!({
            "/": { "VM.Audit": 1, "Sys.Audit": 0 },
            "/vms/105": { "VM.PowerMgmt": 1 },
        }))
        .unwrap();
        assert!(rights.allow("VM.Audit", "/vms/101") && rights.allow_below("VM.Audit", "/vms"));
        assert!(!rights.allow("VM.Audit", "/vms/105"), "what stands there has replaced what was inherited");
        assert!(rights.allow("Sys.Audit", "/") && !rights.allow("Sys.Audit", "/nodes"), "not passed down");
        let pool = Rights::read(&json!({ "/vms/101": { "VM.Audit": 1 } })).unwrap();
        assert!(pool.allow("VM.Audit", "/vms/101") && !pool.allow_below("VM.Audit", "/vms"));
        assert!(!Rights::default().allow("VM.Audit", "/vms/101"), "a new token has no rights");
    }

    #[test]
    fn the_tag_style_comes_as_object_or_text() {
        assert!(tags_have_case(&json!({ "tag-style": { "case-sensitive": 1 } })));
        assert!(tags_have_case(&json!({ "tag-style": "case-sensitive=1,shape=full" })));
        assert!(!tags_have_case(&json!({ "tag-style": { "shape": "full" } })));
        assert!(!tags_have_case(&json!({})));
    }
}
