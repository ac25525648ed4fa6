//! Drives, `scsi0` and its like: read and printed as Proxmox does.

use super::props::{Prop, Props, Shape};
use super::size;
use std::fmt::Write as _;

/// Buses and the highest index of each.
pub(super) const BUSES: &[(&str, u32)] = &[("ide", 3), ("sata", 5), ("scsi", 30), ("virtio", 15)];

const SHAPE: Shape = Shape {
    default: Some("file"),
    required: &["file"],
    needs: &[],
    alias: &[
        ("volume", "file"),
        ("bps_rd_length", "bps_rd_max_length"),
        ("bps_wr_length", "bps_wr_max_length"),
        ("iops_rd_length", "iops_rd_max_length"),
        ("iops_wr_length", "iops_wr_max_length"),
    ],
    keys: &[
        ("aio", Prop::OneOf(&["native", "threads", "io_uring"])),
        ("backup", Prop::Bool),
        ("bps", Prop::Int(0, u64::MAX)),
        ("bps_max_length", Prop::Int(1, u64::MAX)),
        ("bps_rd", Prop::Int(0, u64::MAX)),
        ("bps_rd_max_length", Prop::Int(1, u64::MAX)),
        ("bps_wr", Prop::Int(0, u64::MAX)),
        ("bps_wr_max_length", Prop::Int(1, u64::MAX)),
        ("cache", Prop::OneOf(&["none", "writethrough", "writeback", "unsafe", "directsync"])),
        ("cyls", Prop::Int(0, u64::MAX)),
        ("detect_zeroes", Prop::Bool),
        ("discard", Prop::OneOf(&["ignore", "on"])),
        ("file", Prop::Text),
        ("format", Prop::OneOf(&["raw", "qcow", "qed", "qcow2", "vmdk", "cloop"])),
        ("import-from", Prop::Text),
        ("iops", Prop::Int(0, u64::MAX)),
        ("iops_max", Prop::Int(0, u64::MAX)),
        ("iops_max_length", Prop::Int(1, u64::MAX)),
        ("iops_rd", Prop::Int(0, u64::MAX)),
        ("iops_rd_max", Prop::Int(0, u64::MAX)),
        ("iops_rd_max_length", Prop::Int(1, u64::MAX)),
        ("iops_wr", Prop::Int(0, u64::MAX)),
        ("iops_wr_max", Prop::Int(0, u64::MAX)),
        ("iops_wr_max_length", Prop::Int(1, u64::MAX)),
        ("iothread", Prop::Bool),
        ("mbps", Prop::Number),
        ("mbps_max", Prop::Number),
        ("mbps_rd", Prop::Number),
        ("mbps_rd_max", Prop::Number),
        ("mbps_wr", Prop::Number),
        ("mbps_wr_max", Prop::Number),
        ("media", Prop::OneOf(&["cdrom", "disk"])),
        ("model", Prop::Text),
        ("product", Prop::Text),
        ("queues", Prop::Int(2, u64::MAX)),
        ("replicate", Prop::Bool),
        ("rerror", Prop::OneOf(&["ignore", "report", "stop"])),
        ("ro", Prop::Bool),
        ("scsiblock", Prop::Bool),
        ("serial", Prop::Text),
        ("shared", Prop::Bool),
        ("size", Prop::Format(super::format::disk_size)),
        ("snapshot", Prop::Bool),
        ("ssd", Prop::Bool),
        ("vendor", Prop::Text),
        ("werror", Prop::OneOf(&["enospc", "ignore", "report", "stop"])),
        ("wwn", Prop::Text),
    ],
};

/// Whether `key` names a drive.
pub(super) fn is_slot(key: &str) -> bool {
    matches!(key, "efidisk0" | "tpmstate0") || is_bus_slot(key)
}

fn is_bus_slot(key: &str) -> bool {
    BUSES.iter().any(|(bus, last)| {
        let index = key.strip_prefix(bus).and_then(|index| index.parse::<u32>().ok());
        index.is_some_and(|index| index <= *last)
    })
}

/// A drive with its volume and its options.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Drive {
    /// The volume, or `none`, or what is to be made, such as `local-lvm:32`.
    pub(super) file: String,
    pub(super) options: Props,
}

impl Drive {
    pub(super) fn parse(key: &str, text: &str) -> Result<Self, String> {
        let mut options = SHAPE.parse(key, text)?;
        if matches!(key, "efidisk0" | "tpmstate0") {
            options.remove("format");
        }
        let file = options.remove("file").unwrap_or_default();
        Ok(Self { file, options })
    }

    /// The volume, then the options by name, with the size in its largest exact unit.
    pub(super) fn print(&self) -> String {
        let mut text = self.file.clone();
        for (key, value) in &self.options {
            let bytes = if key == "size" { size::parse(value) } else { None };
            let _ = write!(text, ",{key}={}", bytes.map_or_else(|| value.clone(), size::print));
        }
        text
    }

    pub(super) fn is_cdrom(&self) -> bool {
        self.options.get("media").is_some_and(|media| media == "cdrom") && !self.is_cloudinit()
    }

    /// Whether it is the drive with the guest's cloud-init data, or asks for one.
    pub(super) fn is_cloudinit(&self) -> bool {
        let name = self.file.split_once(':').map_or("", |(_, name)| name);
        name == "cloudinit"
            || name.split(['/', '.']).any(|part| part.starts_with("vm-") && part.ends_with("-cloudinit"))
    }

    pub(super) fn storage(&self) -> Option<&str> {
        self.file.split_once(':').map(|(storage, _)| storage)
    }

    /// The size in bytes, where the drive asks for a new disk: `STORAGE:SIZE`, in GiB.
    pub(super) fn new_size(&self) -> Option<u64> {
        let (_, number) = self.file.split_once(':')?;
        let digits = |byte: u8| byte.is_ascii_digit() || byte == b'.';
        if number.is_empty() || !number.bytes().all(digits) { None } else { size::gib(number) }
    }
}

pub(super) fn check(key: &str, text: &str) -> Result<(), String> {
    Drive::parse(key, text).map(drop)
}
