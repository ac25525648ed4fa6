//! What is asked of the cluster as a whole: nodes, resources, options, rights, pools.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::call::Call;
use super::error::{Answer, ApiError, Reply};
use super::guest::Guest;
use super::read;
use super::world::Node;

/// How long a node's last words about its guests are believed.
const STALE: Duration = Duration::from_mins(5);

pub(super) fn version(call: &mut Call<'_>) -> Reply {
    let version = &call.world.version;
    let release: Vec<_> = version.split('.').take(2).collect();
    json!({ "version": version, "release": release.join("."), "repoid": "1b2c3d4e5f607182" }).into()
}

pub(super) fn nodes(call: &mut Call<'_>) -> Reply {
    let row = |(name, node): (&String, &Node)| {
        let mut row = node_row(call, name, node);
        row["ssl_fingerprint"] = node.fingerprint.clone().into();
        row
    };
    call.world.nodes.iter().map(row).collect::<Value>().into()
}

fn node_row(call: &Call<'_>, name: &str, node: &Node) -> Value {
    let mut row = json!({
        "id": format!("node/{name}"), "node": name, "type": "node", "level": "",
        "status": if node.online { "online" } else { "offline" },
    });
    if node.online && call.all(&format!("/nodes/{name}"), &["Sys.Audit"]).is_ok() {
        row["uptime"] = node.since.elapsed().as_secs().into();
        row["maxcpu"] = 16.into();
        row["maxmem"] = (64_u64 << 30).into();
        row["cpu"] = 0.into();
        row["mem"] = 0.into();
    }
    row
}

pub(super) fn resources(call: &mut Call<'_>) -> Reply {
    call.world.publish();
    let wanted = call.params.get("type").map(str::to_owned);
    let is = |kind: &str| wanted.as_deref().is_none_or(|wanted| wanted == kind);
    let mut rows = Vec::new();
    if is("vm") {
        rows.extend(call.world.guests.values().filter_map(|guest| guest_row(call, guest)));
    }
    if is("node") {
        rows.extend(call.world.nodes.iter().map(|(name, node)| node_row(call, name, node)));
    }
    if is("storage") {
        rows.extend(storage_rows(call));
    }
    if is("sdn") && call.all("/sdn/zones/localnetwork", &["SDN.Audit"]).is_ok() {
        let row = |node: &String| json!({ "id": format!("sdn/{node}/localnetwork"), "sdn": "localnetwork", "node": node, "type": "sdn", "status": "ok" });
        rows.extend(call.world.nodes.keys().map(row));
    }
    Value::from(rows).into()
}

/// What the cluster file system knows is there at once; what is broadcast comes later.
fn guest_row(call: &Call<'_>, guest: &Guest) -> Option<Value> {
    let vmid = guest.vmid;
    call.all(&format!("/vms/{vmid}"), &["VM.Audit"]).ok()?;
    let kind = if guest.container { "lxc" } else { "qemu" };
    let mut row = json!({
        "id": format!("{kind}/{vmid}"), "type": kind, "vmid": vmid, "node": guest.node, "status": "unknown",
    });
    let stale =
        call.world.nodes.get(&guest.node).is_none_or(|node| !node.online && node.since.elapsed() > STALE);
    if let Some(told) = call.world.published.get(&vmid).filter(|_| !stale) {
        row["status"] = if told.running { "running".into() } else { "stopped".into() };
        row["name"] = told.name.clone().into();
        row["template"] = u8::from(told.template).into();
        row["uptime"] = told.uptime.into();
        let now = read::summary(guest);
        for (key, of) in [("maxcpu", "cpus"), ("maxmem", "maxmem"), ("maxdisk", "maxdisk")] {
            row[key] = now[of].clone();
        }
    }
    for key in ["lock", "tags"] {
        if let Some(value) = guest.config.get(key) {
            row[key] = value.clone().into();
        }
    }
    let pool = call.world.pools.iter().find(|(_, pool)| pool.guests.contains(&vmid)).map(|(name, _)| name);
    if let Some(pool) = pool.filter(|pool| call.all(&format!("/pool/{pool}"), &["Pool.Audit"]).is_ok()) {
        row["pool"] = pool.clone().into();
    }
    if let Some(state) = guest.ha {
        row["hastate"] = state.into();
    }
    Some(row)
}

fn storage_rows(call: &Call<'_>) -> Vec<Value> {
    let mut rows = Vec::new();
    for (name, storage) in &call.world.storages {
        if call.all(&format!("/storage/{name}"), &["Datastore.Audit"]).is_err() {
            continue;
        }
        for (node, state) in &call.world.nodes {
            if call.world.enabled_storage(name, node).is_err() {
                continue;
            }
            let content: Vec<_> = storage.content.iter().map(String::as_str).collect();
            let mut row = json!({
                "id": format!("storage/{node}/{name}"), "type": "storage", "storage": name, "node": node,
                "status": if state.online { "available" } else { "unknown" },
                "shared": u8::from(storage.shared), "content": content.join(","), "plugintype": storage.kind,
            });
            if state.online {
                row["maxdisk"] = storage.total.into();
                row["disk"] = call.world.used(name, node).into();
            }
            rows.push(row);
        }
    }
    rows
}

pub(super) fn status(call: &mut Call<'_>) -> Reply {
    let world = &call.world;
    let mut rows = vec![json!({
        "type": "cluster", "id": "cluster", "name": world.cluster, "version": world.nodes.len(),
        "nodes": world.nodes.len(), "quorate": u8::from(world.quorate),
    })];
    rows.extend(world.nodes.iter().zip(1..).map(|((name, node), number)| {
        json!({
            "type": "node", "id": format!("node/{name}"), "name": name, "nodeid": number, "level": "",
            "ip": format!("192.0.2.{number}"), "online": u8::from(node.online), "local": u8::from(number == 1),
        })
    }));
    Value::from(rows).into()
}

pub(super) fn options(call: &mut Call<'_>) -> Reply {
    let all = call.all("/", &["Sys.Audit"]).is_ok();
    let open = ["console", "tag-style", "allowed-tags", "registered-tags"];
    let shown = call.world.options.iter().filter(|(key, _)| all || open.contains(&key.as_str()));
    let mut data: Map<String, Value> = shown.map(|(key, value)| (key.clone(), value.clone())).collect();
    data.insert("allowed-tags".into(), json!([]));
    Value::Object(data).into()
}

/// A hint, and nothing more: nobody keeps the number for the caller.
pub(super) fn next_id(call: &mut Call<'_>) -> Answer {
    if let Some(wanted) = call.params.number("vmid").and_then(|vmid| u32::try_from(vmid).ok()) {
        if call.world.guests.contains_key(&wanted) {
            return Err(ApiError::param("vmid", format!("VM {wanted} already exists")));
        }
        return Ok(wanted.to_string().into());
    }
    let limit = |key: &str, otherwise: u32| {
        let limits = call.world.options.get("next-id").and_then(|limits| limits.get(key));
        limits.and_then(Value::as_u64).and_then(|limit| u32::try_from(limit).ok()).unwrap_or(otherwise)
    };
    let (lower, upper) = (limit("lower", 100), limit("upper", 1_000_000));
    match (lower..upper).find(|vmid| !call.world.guests.contains_key(vmid)) {
        Some(free) => Ok(free.to_string().into()),
        None => Err(ApiError::die(format!("unable to get any free VMID in range [{lower}, {}]", upper - 1))),
    }
}

pub(super) fn permissions(call: &mut Call<'_>) -> Answer {
    let who = call.params.get("userid").unwrap_or(call.caller);
    let own = who == call.caller || call.caller.split_once('!').is_some_and(|(user, _)| user == who);
    if !own {
        call.all("/access", &["Sys.Audit"])?;
    }
    let world = &call.world;
    let mut paths: Vec<String> = Vec::new();
    if let Some(path) = call.params.get("path") {
        paths.push(path.to_owned());
    } else {
        let top = ["/", "/access", "/access/groups", "/nodes", "/pool", "/sdn", "/storage", "/vms"];
        paths.extend(top.map(str::to_owned));
        paths.extend(world.access.entries.iter().map(|entry| entry.path.clone()));
        for (name, pool) in &world.pools {
            paths.push(format!("/pool/{name}"));
            paths.extend(pool.guests.iter().map(|vmid| format!("/vms/{vmid}")));
        }
    }
    paths.sort();
    paths.dedup();
    let mut data = Map::new();
    for path in paths {
        let rights = world.access.rights(who, &path, &world.pools);
        if !rights.is_empty() {
            let rights: Map<_, _> =
                rights.into_iter().map(|(it, down)| (it, u8::from(down).into())).collect();
            data.insert(path, Value::Object(rights));
        }
    }
    Ok(Value::Object(data).into())
}

pub(super) fn role(call: &mut Call<'_>) -> Answer {
    let name = call.params.get("roleid").unwrap_or_default();
    let role = call.world.access.roles.get(name);
    let role = role.ok_or_else(|| ApiError::die(format!("role '{name}' does not exist")))?;
    Ok(Value::Object(role.iter().map(|privilege| (privilege.clone(), Value::from(1))).collect()).into())
}

pub(super) fn pools(call: &mut Call<'_>) -> Answer {
    let only = call.params.get("poolid");
    if let Some(missing) = only.filter(|pool| !call.world.pools.contains_key(*pool)) {
        return Err(ApiError::die(format!("pool '{missing}' does not exist")));
    }
    let mut rows = Vec::new();
    for (name, pool) in call.world.pools.iter().filter(|(name, _)| only.is_none_or(|only| only == *name)) {
        if call.all(&format!("/pool/{name}"), &["Pool.Audit"]).is_err() {
            continue;
        }
        let mut row = json!({ "poolid": name, "comment": pool.comment });
        if only.is_some() {
            let guests = pool.guests.iter().filter_map(|vmid| call.world.guests.get(vmid));
            let guests = guests.map(|guest| {
                let kind = if guest.container { "lxc" } else { "qemu" };
                json!({ "id": format!("{kind}/{}", guest.vmid), "type": kind, "vmid": guest.vmid, "node": guest.node })
            });
            row["members"] = guests.collect();
        }
        rows.push(row);
    }
    Ok(Value::from(rows).into())
}

pub(super) fn machines(call: &mut Call<'_>) -> Reply {
    guests_of(call, false)
}

pub(super) fn containers(call: &mut Call<'_>) -> Reply {
    guests_of(call, true)
}

/// Guests that the caller may not see are left out without a word.
fn guests_of(call: &Call<'_>, containers: bool) -> Reply {
    let here = |guest: &&Guest| guest.node == call.node() && guest.container == containers;
    let seen = |guest: &&Guest| call.all(&format!("/vms/{}", guest.vmid), &["VM.Audit"]).is_ok();
    let guests = call.world.guests.values().filter(here).filter(seen);
    guests.map(read::summary).collect::<Value>().into()
}
