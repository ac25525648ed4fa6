//! One virtual machine: its configuration with what is pending, its power, its guest agent, its tasks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::errors::ApiError;
use super::http::plain;
use super::tasks::Upid;
use super::{Client, http};
use crate::names::Vmid;

/// A guest's place: where requests about it go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub node: String,
    pub vmid: Vmid,
}

impl Place {
    fn path(&self, leaf: &str) -> String {
        format!("/nodes/{}/qemu/{}{leaf}", super::forms::segment(&self.node), self.vmid)
    }
}

/// Keys that wait for nothing: a change of one is only ever pending where the write that made it ended half-way.
/// The server writes key by key, in no order, so what such a write says of the others (a mark, the stamp of a
/// password) need not be so.
const AT_ONCE: &[&str] = &[
    "description",
    "tags",
    "onboot",
    "ciuser",
    "cipassword",
    "sshkeys",
    "ipconfig0",
    "nameserver",
    "searchdomain",
];

/// A configuration as it will be once everything is applied that waits for a restart, and the keys that do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Config {
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) pending: BTreeSet<String>,
    /// Of the configuration's file: a write that names an older one is refused.
    pub(crate) digest: String,
}

impl Config {
    /// Reads the rows of GET …/pending: `{key, value?, pending?, delete?}`.
    pub(crate) fn read(rows: &Value) -> Result<Self, ApiError> {
        let rows = rows.as_array().ok_or_else(|| ApiError::Unreadable("it is no list".to_owned()))?;
        let mut config = Self::default();
        for row in rows {
            let key = plain(&row["key"]);
            if key == "digest" {
                config.digest = plain(&row["value"]);
                continue;
            }
            let waits = !AT_ONCE.contains(&key.as_str());
            // 1 is a wish, 2 a forced one; a row that is settled has none, or 0.
            let deleted = waits && !matches!(plain(&row["delete"]).as_str(), "" | "0");
            let pending = row.get("pending").filter(|_| waits);
            if deleted || pending.is_some() {
                config.pending.insert(key.clone());
            }
            if let Some(value) = pending.or(row.get("value")).filter(|_| !deleted) {
                config.values.insert(key, plain(value));
            }
        }
        Ok(config)
    }
}

/// What GET …/status/current says of now, where the cluster's list lags.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Current {
    pub(crate) status: String,
    pub(crate) template: bool,
    /// Seconds since it was started; the most there is where it is not told.
    pub(crate) uptime: u64,
}

/// Why the guest agent told nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AgentError {
    /// It does not run yet, is not set up, or the file is not there: not now.
    Silent(String),
    /// The token may not ask it.
    Refused(String),
}

/// The agent is asked within a look, so it gets little time. The server itself pings it for 3 s.
const AGENT_LIMIT: Duration = Duration::from_secs(6);

impl Client {
    /// GET …/pending: the whole configuration, with digest, in one request.
    pub(crate) async fn config(&self, place: &Place) -> Result<Config, ApiError> {
        Config::read(&self.http().get(&place.path("/pending"), &[]).await?)
    }

    /// GET …/status/current.
    pub(crate) async fn current(&self, place: &Place) -> Result<Current, ApiError> {
        let current = self.http().get(&place.path("/status/current"), &[]).await?;
        let status = current["status"].as_str().unwrap_or("unknown").to_owned();
        let template = matches!(plain(&current["template"]).as_str(), "1" | "true");
        Ok(Current { status, template, uptime: plain(&current["uptime"]).parse().unwrap_or(u64::MAX) })
    }

    /// What changes the guest now: the types of tasks, such as `resize`. Without Sys.Audit on the node these
    /// are the token's own ones.
    pub(crate) async fn running_tasks(&self, place: &Place) -> Result<Vec<String>, ApiError> {
        let vmid = place.vmid.to_string();
        let path = format!("/nodes/{}/tasks", super::forms::segment(&place.node));
        let query = [("vmid", vmid.as_str()), ("source", "active"), ("limit", "50")];
        let rows = self.http().get(&path, &query).await?;
        Ok(rows.as_array().into_iter().flatten().filter_map(changing).collect())
    }

    /// The first kilobytes of a file within the guest, as its agent reads it.
    pub(crate) async fn agent_file(&self, place: &Place, file: &str) -> Result<String, AgentError> {
        let answer = self
            .http()
            .get_within(&place.path("/agent/file-read"), &[("file", file)], AGENT_LIMIT)
            .await
            .map_err(|error| agent_error(&error))?;
        Ok(plain(&answer["content"]).chars().take(4096).collect())
    }

    /// The guest's addresses as its agent tells them: MAC in upper case, then address.
    pub(crate) async fn agent_addresses(
        &self,
        place: &Place,
    ) -> Result<Vec<(String, std::net::Ipv4Addr)>, AgentError> {
        let answer = self
            .http()
            .get_within(&place.path("/agent/network-get-interfaces"), &[], AGENT_LIMIT)
            .await
            .map_err(|error| agent_error(&error))?;
        Ok(addresses(&answer["result"]))
    }

    /// POST …/config, which answers with a task.
    pub(crate) async fn set_config(&self, place: &Place, form: http::Pairs<'_>) -> Result<Value, ApiError> {
        self.http().post(&place.path("/config"), form).await
    }

    /// PUT …/resize, which answers with a task.
    pub(crate) async fn resize(&self, place: &Place, form: http::Pairs<'_>) -> Result<Value, ApiError> {
        self.http().put(&place.path("/resize"), form).await
    }

    /// PUT …/cloudinit: makes the drive's image anew, now.
    pub(crate) async fn regenerate_cloud_init(&self, place: &Place) -> Result<Value, ApiError> {
        self.http().put(&place.path("/cloudinit"), &[]).await
    }

    /// POST …/status/{what}, which answers with a task.
    pub(crate) async fn power(
        &self,
        place: &Place,
        what: &str,
        form: http::Pairs<'_>,
    ) -> Result<Value, ApiError> {
        self.http().post(&place.path(&format!("/status/{what}")), form).await
    }

    /// POST …/clone of the template at `place`, which answers with a task.
    pub(crate) async fn clone_guest(&self, place: &Place, form: http::Pairs<'_>) -> Result<Value, ApiError> {
        self.http().post(&place.path("/clone"), form).await
    }

    /// DELETE of the guest, its disks, and what refers to it. Volumes of other guests and disks that its
    /// configuration does not name stay.
    pub(crate) async fn destroy(&self, place: &Place) -> Result<Value, ApiError> {
        self.http().delete(&place.path(""), &[("purge", "1"), ("destroy-unreferenced-disks", "0")]).await
    }
}

/// The type of a task that runs and changes its guest. An open console is a task too, for hours.
pub(crate) fn changing(row: &Value) -> Option<String> {
    let ended = row.get("endtime").is_some() || !matches!(row["status"].as_str(), None | Some("RUNNING"));
    let kind = match row["type"].as_str() {
        Some(kind) => kind.to_owned(),
        None => Upid::parse(row["upid"].as_str()?)?.kind,
    };
    let changes = kind.starts_with("qm") || kind.starts_with("ha") || kind == "resize";
    (changes && !ended).then_some(kind)
}

fn agent_error(error: &ApiError) -> AgentError {
    match error.refused() {
        Some((401 | 403, _)) => AgentError::Refused(error.during("asking the guest agent").to_string()),
        _ => AgentError::Silent(super::errors::one_line(&error.to_string())),
    }
}

pub(crate) fn addresses(interfaces: &Value) -> Vec<(String, std::net::Ipv4Addr)> {
    let mut found = Vec::new();
    for interface in interfaces.as_array().into_iter().flatten() {
        let mac = plain(&interface["hardware-address"]).to_ascii_uppercase();
        for address in interface["ip-addresses"].as_array().into_iter().flatten() {
            if let Ok(ip) = plain(&address["ip-address"]).parse::<std::net::Ipv4Addr>()
                && !ip.is_loopback()
                && !ip.is_link_local()
            {
                found.push((mac.clone(), ip));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_pending_stands_in_its_place_and_is_named() {
        let config = Config::read(&json!([
            { "key": "cores", "value": 2, "pending": 4 },
            { "key": "memory", "value": "2048" },
            { "key": "net1", "value": "virtio=BC:24:11:00:00:02,bridge=vmbr0", "delete": 1 },
            { "key": "agent", "pending": "1" },
            { "key": "onboot", "value": 1, "delete": 0 },
            { "key": "description", "value": "as it is", "pending": "half-written" },
            { "key": "tags", "pending": "half-written" },
            { "key": "cipassword", "value": "**********", "delete": 1 },
            { "key": "digest", "value": "aa11" },
        ]))
        .unwrap();
        assert_eq!(config.values["description"], "as it is");
        assert_eq!(config.values.get("tags"), None);
        assert!(config.values.contains_key("cipassword"));
        assert_eq!(config.values["cores"], "4");
        assert_eq!(config.values["memory"], "2048");
        assert_eq!(config.values["agent"], "1");
        assert_eq!(config.values.get("net1"), None);
        assert_eq!(config.pending.iter().map(String::as_str).collect::<Vec<_>>(), ["agent", "cores", "net1"]);
        assert_eq!(config.digest, "aa11");
        assert!(Config::read(&json!(null)).is_err(), "no answer is not an empty configuration");
    }

    #[test]
    fn only_tasks_that_run_and_change_the_guest_count() {
        let kind = |row: Value| changing(&row);
        assert_eq!(kind(json!({ "type": "resize", "status": "RUNNING" })), Some("resize".to_owned()));
        assert_eq!(
            kind(json!({ "upid": "UPID:n1:00000001:00000001:00000001:qmstart:101:a@pam:" })),
            Some("qmstart".to_owned())
        );
        assert_eq!(kind(json!({ "type": "qmstart", "endtime": 1, "status": "OK" })), None);
        assert_eq!(kind(json!({ "type": "vncproxy", "status": "RUNNING" })), None, "an open console");
    }

    #[test]
    fn loopback_and_link_local_are_no_addresses_of_a_guest() {
        let interfaces = json!([
            { "name": "lo", "hardware-address": "00:00:00:00:00:00",
              "ip-addresses": [{ "ip-address": "127.0.0.1", "ip-address-type": "ipv4", "prefix": 8 }] },
            { "name": "eth0", "hardware-address": "bc:24:11:00:00:01", "ip-addresses": [
                { "ip-address": "fe80::1", "ip-address-type": "ipv6", "prefix": 64 },
                { "ip-address": "10.78.0.50", "ip-address-type": "ipv4", "prefix": 24 } ] },
            { "name": "docker0" },
        ]);
        let found = addresses(&interfaces);
        assert_eq!(found, [("BC:24:11:00:00:01".to_owned(), "10.78.0.50".parse().unwrap())]);
        assert_eq!(addresses(&json!(null)), []);
    }
}
