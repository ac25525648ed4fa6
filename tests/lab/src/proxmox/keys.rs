//! The keys of a virtual machine's configuration: their types, and who may set them.

use std::sync::LazyLock;

use super::format;
use super::props::{self, Shape};
use super::schema::{Param, Type};
use super::{drive, net};

fn fits(shape: &Shape, key: &str, text: &str) -> Result<(), String> {
    shape.parse(key, text).map(drop)
}

const KEYBOARDS: &[&str] = &[
    "de", "de-ch", "da", "en-gb", "en-us", "es", "fi", "fr", "fr-be", "fr-ca", "fr-ch", "hu", "is", "it",
    "ja", "lt", "mk", "nl", "no", "pl", "pt", "pt-br", "sv", "sl", "tr",
];
const SYSTEMS: &[&str] = &[
    "other", "wxp", "w2k", "w2k3", "w2k8", "wvista", "win7", "win8", "win10", "win11", "l24", "l26",
    "solaris",
];
pub(super) const LOCKS: &[&str] = &[
    "backup",
    "clone",
    "create",
    "migrate",
    "rollback",
    "snapshot",
    "snapshot-delete",
    "suspending",
    "suspended",
];

/// All keys that create and update take.
pub(super) static PARAMS: LazyLock<Vec<Param>> =
    LazyLock::new(|| [hardware(), general(), cloud_init(), devices()].concat());

fn hardware() -> Vec<Param> {
    vec![
        Param::flag("acpi"),
        Param::text("affinity"),
        Param::flag("allow-ksm"),
        Param::text("amd-sev"),
        Param::text("arch").one_of(&["x86_64", "aarch64"]),
        Param::text("args"),
        Param::text("audio0"),
        Param::int("balloon", Some(0), None),
        Param::text("bios").one_of(&["seabios", "ovmf"]),
        Param::int("cores", Some(1), None),
        Param::text("cpu"),
        Param::float("cpulimit", Some(0.0), Some(128.0)),
        Param::int("cpuunits", Some(1), Some(262_144)),
        Param::text("hotplug").format(format::hotplug),
        Param::text("hugepages").one_of(&["any", "2", "1024"]),
        Param::text("intel-tdx"),
        Param::text("ivshmem"),
        Param::flag("keephugepages"),
        Param::flag("kvm"),
        Param::text("machine"),
        Param::text("memory").shape(|key, text| fits(&props::MEMORY, key, text)),
        Param::flag("numa"),
        Param::text("rng0"),
        Param::text("scsihw").one_of(&[
            "lsi",
            "lsi53c810",
            "virtio-scsi-pci",
            "virtio-scsi-single",
            "megasas",
            "pvscsi",
        ]),
        Param::int("shares", Some(0), Some(50_000)),
        Param::text("smbios1").longest(512).shape(|key, text| fits(&props::SMBIOS, key, text)),
        Param::int("smp", Some(1), None),
        Param::int("sockets", Some(1), None),
        Param::text("spice_enhancements"),
        Param::flag("tablet"),
        Param::flag("tdf"),
        Param::int("vcpus", Some(1), None),
        Param::text("vga"),
        Param::text("watchdog"),
    ]
}

fn general() -> Vec<Param> {
    vec![
        Param::text("agent").shape(|key, text| fits(&props::AGENT, key, text)),
        Param::flag("autostart"),
        Param::text("boot").shape(|key, text| fits(&props::BOOT, key, text)),
        Param::text("bootdisk").pattern(drive::is_slot),
        Param::text("description").longest(8192),
        Param::flag("freeze"),
        Param::text("hookscript").format(format::volume_id),
        Param::text("keyboard").one_of(KEYBOARDS),
        Param::flag("localtime"),
        Param::text("lock").one_of(LOCKS),
        Param::float("migrate_downtime", Some(0.0), None),
        Param::int("migrate_speed", Some(0), None),
        Param::text("name").format(format::dns_name),
        Param::flag("onboot"),
        Param::text("ostype").one_of(SYSTEMS),
        Param::flag("protection"),
        Param::flag("reboot"),
        Param::text("startdate").pattern(is_start_date),
        Param::text("startup").format(format::startup),
        Param::text("tags").format(format::tags),
        Param::flag("template"),
        Param::text("vmgenid").pattern(|text| matches!(text, "0" | "1") || is_uuid(text)),
        Param::text("vmstatestorage").format(format::storage),
    ]
}

fn cloud_init() -> Vec<Param> {
    vec![
        Param::text("cicustom").shape(|key, text| fits(&props::CICUSTOM, key, text)),
        Param::text("cipassword"),
        Param::text("citype").one_of(&["configdrive2", "nocloud", "opennebula"]),
        Param::flag("ciupgrade"),
        Param::text("ciuser"),
        Param::text("ipconfig").upto(31).shape(|key, text| fits(&props::IPCONFIG, key, text)),
        Param::text("nameserver").format(format::addresses),
        Param::text("searchdomain"),
        Param::text("sshkeys").format(format::urlencoded),
    ]
}

fn devices() -> Vec<Param> {
    let mut all: Vec<_> =
        drive::BUSES.iter().map(|(bus, last)| Param::text(bus).upto(*last).shape(drive::check)).collect();
    all.extend([
        Param::text("cdrom").shape(|_, text| drive::check("ide2", text)),
        Param::text("efidisk0"),
        Param::text("hostpci").upto(15),
        Param::text("net").upto(31).shape(net::check),
        Param::text("numa").upto(7),
        Param::text("parallel").upto(2).pattern(|text| text.starts_with("/dev/")),
        Param::text("serial").upto(3).pattern(|text| text == "socket" || text.starts_with("/dev/")),
        Param::text("tpmstate0"),
        Param::text("unused").upto(255),
        Param::text("usb").upto(13),
        Param::text("virtiofs").upto(9),
    ]);
    all
}

fn is_start_date(text: &str) -> bool {
    let sign = |byte: u8| byte.is_ascii_digit() || b"-:T".contains(&byte);
    text == "now" || (text.bytes().filter(|byte| *byte == b'-').count() == 2 && text.bytes().all(sign))
}

pub(super) fn is_uuid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<_> = text.split('-').collect();
    let hex = |part: &str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.len() == 5 && parts.iter().zip(lengths).all(|(part, length)| part.len() == length && hex(part))
}

/// Whether a guest may have the option at all.
pub(super) fn exists(key: &str) -> bool {
    let generated =
        ["meta", "digest", "parent", "vmstate", "running-nets-host-mtu", "runningcpu", "runningmachine"];
    generated.contains(&key) || PARAMS.iter().any(|param| param.is(key))
}

/// Keys that answer as JSON numbers.
pub(super) fn is_number(key: &str) -> bool {
    PARAMS.iter().any(|param| param.is(key) && matches!(param.kind, Type::Bool | Type::Int(..)))
}

/// Keys whose value goes into the cloud-init drive, names and network devices included.
pub(super) fn is_seed(key: &str) -> bool {
    key == "name" || is_cloud_init(key) || is_indexed(key, "net")
}

/// The cloud-init keys themselves.
pub(super) fn is_cloud_init(key: &str) -> bool {
    let names =
        ["cicustom", "cipassword", "citype", "ciupgrade", "ciuser", "nameserver", "searchdomain", "sshkeys"];
    names.contains(&key) || is_indexed(key, "ipconfig")
}

/// `net0`, `net1`, …
pub(super) fn is_indexed(key: &str, name: &str) -> bool {
    let index = key.strip_prefix(name).unwrap_or_default();
    !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit())
}

/// Who may set a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// One of these on the guest.
    Any(&'static [&'static str]),
    /// It is checked elsewhere, since it depends on the value.
    Value,
    Startup,
    Root,
}

pub(super) fn needs(key: &str) -> Needs {
    let values = ["unused", "serial", "usb", "hostpci", "virtiofs"];
    if drive::is_slot(key)
        || matches!(key, "cdrom" | "tags")
        || values.iter().any(|name| is_indexed(key, name))
    {
        return Needs::Value;
    }
    if is_cloud_init(key) {
        return Needs::Any(&["VM.Config.Cloudinit", "VM.Config.Network"]);
    }
    if is_indexed(key, "net") {
        return Needs::Any(&["VM.Config.Network"]);
    }
    if is_indexed(key, "numa") {
        return Needs::Any(&["VM.Config.CPU"]);
    }
    match key {
        "cores" | "cpu" | "cpulimit" | "cpuunits" | "numa" | "smp" | "sockets" | "vcpus" => {
            Needs::Any(&["VM.Config.CPU"])
        }
        "memory" | "balloon" | "shares" | "allow-ksm" => Needs::Any(&["VM.Config.Memory"]),
        "acpi" | "hotplug" | "kvm" | "machine" | "scsihw" | "smbios1" | "tablet" | "vga" | "watchdog"
        | "audio0" | "rng0" => Needs::Any(&["VM.Config.HWType"]),
        "agent" | "autostart" | "bios" | "description" | "keyboard" | "localtime" | "migrate_downtime"
        | "migrate_speed" | "name" | "onboot" | "ostype" | "protection" | "reboot" | "startdate" | "tdf"
        | "template" => Needs::Any(&["VM.Config.Options"]),
        "startup" => Needs::Startup,
        "freeze" => Needs::Any(&["VM.PowerMgmt"]),
        "boot" | "bootdisk" | "vmstatestorage" => Needs::Any(&["VM.Config.Disk"]),
        _ => Needs::Root,
    }
}
