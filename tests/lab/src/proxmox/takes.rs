//! What each method takes, apart from what its path names.

use super::schema::Param;
use super::{drive, format, keys, size};

pub(super) fn vmid(name: &'static str) -> Param {
    Param::int(name, Some(100), Some(999_999_999))
}

pub(super) fn is_user(text: &str) -> bool {
    text.split_once('@').is_some_and(|(name, realm)| !name.is_empty() && !realm.is_empty())
        && !text.contains([' ', ':', '/'])
}

pub(super) fn pool_params() -> Vec<Param> {
    vec![
        Param::text("poolid").format(format::pool),
        Param::text("type").one_of(&["qemu", "lxc", "storage"]).requires("poolid"),
    ]
}

pub(super) fn task_filters() -> Vec<Param> {
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

pub(super) fn log_params() -> Vec<Param> {
    vec![Param::flag("download"), Param::int("limit", Some(0), None), Param::int("start", Some(0), None)]
}

pub(super) fn storage_filters() -> Vec<Param> {
    vec![
        Param::text("content"),
        Param::flag("enabled"),
        Param::flag("format"),
        Param::text("storage").format(format::storage),
        Param::text("target").format(format::node),
    ]
}

pub(super) fn content_filters() -> Vec<Param> {
    vec![Param::text("content"), vmid("vmid")]
}

pub(super) fn create_params() -> Vec<Param> {
    let mut all = keys::PARAMS.clone();
    all.extend([
        vmid("vmid").required(),
        Param::text("archive").longest(255),
        Param::int("bwlimit", Some(0), None),
        Param::flag("force").requires("archive"),
        Param::flag("ha-managed"),
        Param::text("import-working-storage").format(format::storage),
        Param::flag("live-restore"),
        Param::text("pool").format(format::pool),
        Param::flag("start"),
        Param::text("storage").format(format::storage),
        Param::flag("unique").requires("archive"),
    ]);
    all
}

pub(super) fn update_params(in_background: bool) -> Vec<Param> {
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
        all.push(Param::text("import-working-storage").format(format::storage));
    }
    all
}

pub(super) fn destroy_params() -> Vec<Param> {
    vec![Param::flag("destroy-unreferenced-disks"), Param::flag("purge"), Param::flag("skiplock")]
}

pub(super) fn clone_params() -> Vec<Param> {
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

pub(super) fn config_view_params() -> Vec<Param> {
    vec![Param::flag("current"), Param::text("snapshot").longest(40).format(format::config_id)]
}

pub(super) fn resize_params() -> Vec<Param> {
    let is_size = |text: &str| {
        let text = text.strip_prefix('+').unwrap_or(text);
        size::parse(text).is_some()
    };
    vec![
        Param::text("digest").longest(40),
        Param::text("disk").pattern(drive::is_slot).required(),
        Param::text("size").pattern(is_size).required(),
        Param::flag("skiplock"),
    ]
}

pub(super) fn start_params() -> Vec<Param> {
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

pub(super) fn stop_params() -> Vec<Param> {
    vec![
        Param::flag("keepActive"),
        Param::text("migratedfrom").format(format::node),
        Param::flag("overrule-shutdown"),
        Param::flag("skiplock"),
        Param::int("timeout", Some(0), None),
    ]
}

pub(super) fn shutdown_params() -> Vec<Param> {
    vec![
        Param::flag("forceStop"),
        Param::flag("keepActive"),
        Param::flag("skiplock"),
        Param::int("timeout", Some(0), None),
    ]
}

pub(super) fn exec_params() -> Vec<Param> {
    vec![Param::list("command").required(), Param::text("input-data").longest(65_536)]
}

pub(super) fn file_params() -> Vec<Param> {
    vec![
        Param::int("count", Some(1), Some(16_777_216)),
        Param::flag("decode"),
        Param::text("file").required(),
        Param::int("offset", Some(0), None),
    ]
}
