//! The table of methods: path, parameters, rights and code of each.

use super::call::Call;
use super::error::{Answer, ApiError};
use super::format;
use super::schema::Param;
use super::takes::{
    clone_params, config_view_params, content_filters, create_params, destroy_params, exec_params,
    file_params, is_user, log_params, pool_params, resize_params, shutdown_params, start_params, stop_params,
    storage_filters, task_filters, update_params, vmid,
};
use super::{agent, clone, cluster, config, create, drive, power, read, storage, tasklist};

/// What a caller needs before the parameters are looked at.
pub(super) enum Right {
    /// Nothing, or it is checked by the code.
    Open,
    /// All of these on the path.
    All(&'static str, &'static [&'static str]),
    /// One of these on the path.
    Any(&'static str, &'static [&'static str]),
    Clone,
}

const GUEST: &str = "/vms/{vmid}";
const STORAGE: &str = "/storage/{storage}";
const CONFIGURE: &[&str] = &[
    "VM.Config.Disk",
    "VM.Config.CDROM",
    "VM.Config.CPU",
    "VM.Config.Memory",
    "VM.Config.Network",
    "VM.Config.HWType",
    "VM.Config.Options",
    "VM.Config.Cloudinit",
];
const LOOK_INSIDE: &[&str] = &["VM.GuestAgent.Audit", "VM.GuestAgent.Unrestricted"];
const SPACE: &[&str] = &["Datastore.Audit", "Datastore.AllocateSpace"];

impl Right {
    pub(super) fn check(&self, call: &Call<'_>) -> Result<(), ApiError> {
        let fill = |path: &str| {
            let mut path = path.to_owned();
            for key in ["vmid", "storage"] {
                path = path.replace(&format!("{{{key}}}"), call.params.get(key).unwrap_or_default());
            }
            path
        };
        match self {
            Self::Open => Ok(()),
            Self::All(path, privileges) => call.all(&fill(path), privileges),
            Self::Any(path, privileges) => call.any(&fill(path), privileges),
            Self::Clone => {
                call.all(&fill(GUEST), &["VM.Clone"])?;
                let newid = call.params.get("newid").unwrap_or_default();
                let own = call.all(&format!("/vms/{newid}"), &["VM.Allocate"]);
                match call.params.get("pool") {
                    Some(pool) if own.is_err() => call.all(&format!("/pool/{pool}"), &["VM.Allocate"]),
                    _ => own,
                }
            }
        }
    }
}

/// One method.
pub(super) struct Endpoint {
    pub(super) verb: &'static str,
    pub(super) path: &'static str,
    pub(super) right: Right,
    /// Whether it writes to the cluster file system, which needs quorum.
    pub(super) writes: bool,
    takes: fn() -> Vec<Param>,
    pub(super) code: fn(&mut Call<'_>) -> Answer,
}

impl Endpoint {
    /// Its own parameters, and those of its path.
    pub(super) fn params(&self) -> Vec<Param> {
        let mut all = (self.takes)();
        for name in self.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')) {
            all.push(match name {
                "node" => Param::text("node").format(format::node).required(),
                "vmid" => vmid("vmid").required(),
                "storage" => Param::text("storage").format(format::storage).required(),
                "roleid" => Param::text("roleid").format(format::role).required(),
                _ => Param::text("upid").required(),
            });
        }
        all
    }
}

/// The method for a path, and what the path names.
pub(super) fn find(verb: &str, path: &str) -> Option<(Endpoint, Vec<(String, String)>)> {
    all().into_iter().filter(|endpoint| endpoint.verb == verb).find_map(|endpoint| {
        let named = matches(endpoint.path, path)?;
        Some((endpoint, named))
    })
}

fn matches(template: &str, path: &str) -> Option<Vec<(String, String)>> {
    let (wanted, found): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    if wanted.len() != found.len() {
        return None;
    }
    let mut named = Vec::new();
    for (wanted, found) in wanted.iter().zip(found) {
        match wanted.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
            Some(name) if !found.is_empty() => named.push((name.to_owned(), found.to_owned())),
            None if *wanted == found => {}
            _ => return None,
        }
    }
    Some(named)
}

type Code = fn(&mut Call<'_>) -> Answer;

fn get(path: &'static str, right: Right, takes: fn() -> Vec<Param>, code: Code) -> Endpoint {
    Endpoint { verb: "GET", path, right, writes: false, takes, code }
}

fn write(
    verb: &'static str,
    path: &'static str,
    right: Right,
    takes: fn() -> Vec<Param>,
    code: Code,
) -> Endpoint {
    Endpoint { verb, path, right, writes: true, takes, code }
}

pub(super) fn all() -> Vec<Endpoint> {
    let mut all = cluster_methods();
    all.extend(guest_methods());
    all.extend(power_methods());
    all.extend(agent_methods());
    all
}

fn cluster_methods() -> Vec<Endpoint> {
    use Right::{All, Any, Open};
    let tasks = "/nodes/{node}/tasks";
    vec![
        get("/version", Open, Vec::new, |call| Ok(cluster::version(call))),
        get("/nodes", Open, Vec::new, |call| Ok(cluster::nodes(call))),
        get(
            "/cluster/resources",
            Open,
            || vec![Param::text("type").one_of(&["vm", "storage", "node", "sdn"])],
            |call| Ok(cluster::resources(call)),
        ),
        get("/cluster/status", All("/", &["Sys.Audit"]), Vec::new, |call| Ok(cluster::status(call))),
        get("/cluster/options", Open, Vec::new, |call| Ok(cluster::options(call))),
        get("/cluster/nextid", Open, || vec![vmid("vmid")], cluster::next_id),
        get(
            "/access/permissions",
            Open,
            || vec![Param::text("path"), Param::text("userid").pattern(is_user)],
            cluster::permissions,
        ),
        get("/access/roles/{roleid}", Open, Vec::new, cluster::role),
        get("/pools", Open, pool_params, cluster::pools),
        get("/nodes/{node}/lxc", Open, Vec::new, |call| Ok(cluster::containers(call))),
        get(tasks, Open, task_filters, |call| Ok(tasklist::list(call))),
        get("/nodes/{node}/tasks/{upid}/status", Open, Vec::new, tasklist::status),
        get("/nodes/{node}/tasks/{upid}/log", Open, log_params, tasklist::log),
        Endpoint {
            writes: false,
            ..write("DELETE", "/nodes/{node}/tasks/{upid}", Open, Vec::new, tasklist::stop)
        },
        get("/nodes/{node}/storage", Open, storage_filters, |call| Ok(storage::list(call))),
        get("/nodes/{node}/storage/{storage}/status", Any(STORAGE, SPACE), Vec::new, storage::status),
        get(
            "/nodes/{node}/storage/{storage}/content",
            Any(STORAGE, SPACE),
            content_filters,
            storage::content,
        ),
    ]
}

fn guest_methods() -> Vec<Endpoint> {
    use Right::{All, Any, Open};
    let config = "/nodes/{node}/qemu/{vmid}/config";
    vec![
        get("/nodes/{node}/qemu", Open, || vec![Param::flag("full")], |call| Ok(cluster::machines(call))),
        write("POST", "/nodes/{node}/qemu", Open, create_params, create::create),
        write(
            "DELETE",
            "/nodes/{node}/qemu/{vmid}",
            All(GUEST, &["VM.Allocate"]),
            destroy_params,
            create::destroy,
        ),
        write("POST", "/nodes/{node}/qemu/{vmid}/clone", Right::Clone, clone_params, clone::clone),
        write(
            "POST",
            "/nodes/{node}/qemu/{vmid}/template",
            All(GUEST, &["VM.Allocate"]),
            || vec![Param::text("disk").pattern(drive::is_slot)],
            create::template,
        ),
        get(config, All(GUEST, &["VM.Audit"]), config_view_params, read::config),
        write("PUT", config, Any(GUEST, CONFIGURE), || update_params(false), config::put),
        write("POST", config, Any(GUEST, CONFIGURE), || update_params(true), config::post),
        get("/nodes/{node}/qemu/{vmid}/pending", All(GUEST, &["VM.Audit"]), Vec::new, read::pending),
        get("/nodes/{node}/qemu/{vmid}/cloudinit", All(GUEST, &["VM.Audit"]), Vec::new, read::cloud_init),
        write(
            "PUT",
            "/nodes/{node}/qemu/{vmid}/cloudinit",
            All(GUEST, &["VM.Config.Cloudinit"]),
            Vec::new,
            config::regenerate,
        ),
        write(
            "PUT",
            "/nodes/{node}/qemu/{vmid}/resize",
            All(GUEST, &["VM.Config.Disk"]),
            resize_params,
            storage::resize,
        ),
    ]
}

fn power_methods() -> Vec<Endpoint> {
    const POWER: Right = Right::All(GUEST, &["VM.PowerMgmt"]);
    vec![
        get(
            "/nodes/{node}/qemu/{vmid}/status/current",
            Right::All(GUEST, &["VM.Audit"]),
            Vec::new,
            read::status,
        ),
        write("POST", "/nodes/{node}/qemu/{vmid}/status/start", POWER, start_params, power::start),
        write("POST", "/nodes/{node}/qemu/{vmid}/status/stop", POWER, stop_params, power::stop),
        write("POST", "/nodes/{node}/qemu/{vmid}/status/shutdown", POWER, shutdown_params, power::shutdown),
        write(
            "POST",
            "/nodes/{node}/qemu/{vmid}/status/reboot",
            POWER,
            || vec![Param::int("timeout", Some(0), None)],
            power::reboot,
        ),
        write(
            "POST",
            "/nodes/{node}/qemu/{vmid}/status/reset",
            POWER,
            || vec![Param::flag("skiplock")],
            power::reset,
        ),
    ]
}

fn agent_methods() -> Vec<Endpoint> {
    const RUN: &[&str] = &["VM.GuestAgent.Unrestricted"];
    use Right::{All, Any};
    let post =
        |path, right, takes, code| Endpoint { writes: false, ..write("POST", path, right, takes, code) };
    vec![
        post("/nodes/{node}/qemu/{vmid}/agent/ping", Any(GUEST, LOOK_INSIDE), Vec::new, agent::ping),
        get(
            "/nodes/{node}/qemu/{vmid}/agent/network-get-interfaces",
            Any(GUEST, LOOK_INSIDE),
            Vec::new,
            agent::interfaces,
        ),
        get("/nodes/{node}/qemu/{vmid}/agent/get-osinfo", Any(GUEST, LOOK_INSIDE), Vec::new, agent::os_info),
        post("/nodes/{node}/qemu/{vmid}/agent/exec", All(GUEST, RUN), exec_params, agent::exec),
        get(
            "/nodes/{node}/qemu/{vmid}/agent/exec-status",
            All(GUEST, RUN),
            || vec![Param::int("pid", None, None).required()],
            agent::exec_status,
        ),
        get(
            "/nodes/{node}/qemu/{vmid}/agent/file-read",
            Any(GUEST, &["VM.GuestAgent.FileRead", "VM.GuestAgent.Unrestricted"]),
            file_params,
            agent::read,
        ),
    ]
}
