//! What the tests read of hosts: files with their modes, and whether anything at all was touched.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use holdfast_lab::home::Home;
use holdfast_lab::hosts::tree::Host;

/// The host behind a guest.
pub(crate) fn host(home: &Home, vmid: u32) -> Arc<Host> {
    home.guests.host(vmid).unwrap_or_else(|| panic!("vm {vmid} has no host"))
}

/// The text of a file on the host behind a guest; `None` where it is not.
pub(crate) fn file(home: &Home, vmid: u32, path: &str) -> Option<String> {
    std::fs::read_to_string(place(&host(home, vmid), path)).ok()
}

/// The permission bits of a file or directory.
pub(crate) fn mode(home: &Home, vmid: u32, path: &str) -> u32 {
    let meta = std::fs::metadata(place(&host(home, vmid), path));
    meta.unwrap_or_else(|error| panic!("{path} of vm {vmid}: {error}")).mode() & 0o7777
}

fn place(host: &Host, path: &str) -> std::path::PathBuf {
    host.root().join(path.trim_start_matches('/'))
}

/// What tells whether anything was written: inode, modification and change of every file, the ledger's among them.
pub(crate) type Prints = BTreeMap<String, (u64, i64, i64, i64, i64)>;

/// The prints of all hosts.
pub(crate) fn prints(home: &Home) -> Prints {
    let mut prints = Prints::new();
    for (_, host) in home.guests.hosts() {
        collect(host.root(), host.root(), host.name(), &mut prints);
    }
    prints
}

/// What the machine itself writes while it is only looked at: its stand-in for systemd keeps what it has loaded.
const ITS_OWN: [&str; 4] = ["dev", "run", "tmp", "var/lib/standin"];

fn collect(root: &Path, folder: &Path, name: &str, prints: &mut Prints) {
    for entry in std::fs::read_dir(folder).expect("a folder of a host can be read") {
        let entry = entry.expect("a folder of a host can be read");
        let path = entry.path();
        let inside = path.strip_prefix(root).expect("it is below").to_string_lossy().into_owned();
        if ITS_OWN.contains(&inside.as_str()) {
            continue;
        }
        let Ok(meta) = std::fs::symlink_metadata(&path) else { continue };
        let print = (meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec());
        // The links that all hosts share gain and lose names as hosts come and go.
        let print =
            if meta.is_file() && meta.nlink() > 1 { (meta.ino(), meta.mtime(), 0, 0, 0) } else { print };
        prints.insert(format!("{name}:{inside}"), print);
        if meta.is_dir() {
            collect(root, &path, name, prints);
        }
    }
}

/// Temporary files and locks that Holdfast may have left on any host, by name.
pub(crate) fn maybe_there(home: &Home) -> Vec<String> {
    let left = |path: &String| {
        let inside = path.split_once(':').map_or("", |(_, inside)| inside);
        let kept = ["var/lib/holdfast/ledger", "var/lib/holdfast/lock"];
        let in_state = inside.starts_with("var/lib/holdfast/") && !kept.contains(&inside);
        let name = inside.rsplit('/').next().unwrap_or_default();
        in_state || name.contains(".holdfast")
    };
    prints(home).into_keys().filter(left).collect()
}

/// Somebody writes a file on the host behind a guest.
pub(crate) fn write(home: &Home, vmid: u32, path: &str, text: &str) {
    std::fs::write(place(&host(home, vmid), path), text).expect("a file of a host is written");
}

/// Somebody removes a file of the host behind a guest.
pub(crate) fn remove(home: &Home, vmid: u32, path: &str) {
    std::fs::remove_file(place(&host(home, vmid), path)).expect("a file of a host is removed");
}
