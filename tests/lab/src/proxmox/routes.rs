//! The table of methods: path, parameters, rights and code of each.

use super::call::Call;
use super::error::{Answer, ApiError};
use super::format;
use super::keys;
use super::schema::Param;
use super::{agent, clone, cluster, config, create, drive, power, read, storage, tasks};

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

fn vmid(name: &'static str) -> Param {
    Param::int(name, Some(100), Some(999_999_999))
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
        get(tasks, Open, task_filters, |call| Ok(tasks::list(call))),
        get("/nodes/{node}/tasks/{upid}/status", Open, Vec::new, tasks::status),
        get("/nodes/{node}/tasks/{upid}/log", Open, log_params, tasks::log),
        Endpoint {
            writes: false,
            ..write("DELETE", "/nodes/{node}/tasks/{upid}", Open, Vec::new, tasks::stop)
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

fn is_user(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, realm)| !name.is_empty() && !realm.is_empty())
        && !text.contains([' ', ':', '/'])
}

fn pool_params() -> Vec<Param> {
    vec![
        Param::text("poolid").format(format::pool),
        Param::text("type").one_of(&["qemu", "lxc", "storage"]).requires("poolid"),
    ]
}

fn task_filters() -> Vec<Param> {
    vec![
        Param::flag("errors"),
        Param::int("limit", Some(0), None),
        Param::int("since", None, None),
        Param::text("source").one_of(&["archive", "active", "all"]),
        Param::int("start", Some(0), None),
        Param::text("statusfilter"),
        Param::text("typefilter"),
        Param::int("until", None, None),
        Param::text("userfilter"),
        vmid("vmid"),
    ]
}

fn log_params() -> Vec<Param> {
    vec![Param::flag("download"), Param::int("limit", Some(0), None), Param::int("start", Some(0), None)]
}

fn storage_filters() -> Vec<Param> {
    vec![
        Param::text("content"),
        Param::flag("enabled"),
        Param::flag("format"),
        Param::text("storage").format(format::storage),
        Param::text("target").format(format::node),
    ]
}

fn content_filters() -> Vec<Param> {
    vec![Param::text("content"), vmid("vmid")]
}

fn create_params() -> Vec<Param> {
    let mut all = keys::PARAMS.clone();
    all.extend([
        vmid("vmid").required(),
        Param::text("archive").longest(255),
        Param::int("bwlimit", Some(0), None),
        Param::flag("force").requires("archive"),
        Param::flag("ha-managed"),
        Param::flag("live-restore"),
        Param::text("pool").format(format::pool),
        Param::flag("start"),
        Param::text("storage").format(format::storage),
        Param::flag("unique").requires("archive"),
    ]);
    all
}

fn update_params(in_background: bool) -> Vec<Param> {
    let mut all = keys::PARAMS.clone();
    all.extend([
        Param::text("delete").format(format::config_ids),
        Param::text("digest").longest(40),
        Param::flag("force").requires("delete"),
        Param::text("revert").format(format::config_ids),
        Param::flag("skiplock"),
    ]);
    if in_background {
        all.push(Param::int("background_delay", Some(1), Some(30)));
    }
    all
}

fn destroy_params() -> Vec<Param> {
    vec![Param::flag("destroy-unreferenced-disks"), Param::flag("purge"), Param::flag("skiplock")]
}

fn clone_params() -> Vec<Param> {
    vec![
        Param::int("bwlimit", Some(0), None),
        Param::text("description"),
        Param::text("format").one_of(&["raw", "qcow2", "vmdk"]),
        Param::flag("full"),
        Param::text("name").format(format::dns_name),
        vmid("newid").required(),
        Param::text("pool").format(format::pool),
        Param::text("snapname").longest(40).format(format::config_id),
        Param::text("storage").format(format::storage),
        Param::text("target").format(format::node),
    ]
}

fn config_view_params() -> Vec<Param> {
    vec![Param::flag("current"), Param::text("snapshot").longest(40).format(format::config_id)]
}

fn resize_params() -> Vec<Param> {
    let is_size = |text: &str| {
        let text = text.strip_prefix('+').unwrap_or(text);
        super::size::parse(text).is_some()
    };
    vec![
        Param::text("digest").longest(40),
        Param::text("disk").pattern(drive::is_slot).required(),
        Param::text("size").pattern(is_size).required(),
        Param::flag("skiplock"),
    ]
}

fn start_params() -> Vec<Param> {
    vec![
        Param::text("force-cpu"),
        Param::text("machine"),
        Param::text("migratedfrom").format(format::node),
        Param::text("migration_network"),
        Param::text("migration_type").one_of(&["secure", "insecure"]),
        Param::text("nets-host-mtu"),
        Param::flag("skiplock"),
        Param::text("stateuri").longest(128),
        Param::text("targetstorage"),
        Param::int("timeout", Some(0), None),
        Param::flag("with-conntrack-state"),
    ]
}

fn stop_params() -> Vec<Param> {
    vec![
        Param::flag("keepActive"),
        Param::text("migratedfrom").format(format::node),
        Param::flag("overrule-shutdown"),
        Param::flag("skiplock"),
        Param::int("timeout", Some(0), None),
    ]
}

fn shutdown_params() -> Vec<Param> {
    vec![
        Param::flag("forceStop"),
        Param::flag("keepActive"),
        Param::flag("skiplock"),
        Param::int("timeout", Some(0), None),
    ]
}

fn exec_params() -> Vec<Param> {
    vec![Param::list("command").required(), Param::text("input-data").longest(65_536)]
}

fn file_params() -> Vec<Param> {
    vec![
        Param::int("count", Some(1), Some(16_777_216)),
        Param::flag("decode"),
        Param::text("file").required(),
        Param::int("offset", Some(0), None),
    ]
}
