//! Builds the file tree that hosts are made from, out of the machine's own small tools, and clones it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};

use super::catalogue::{self, Package};
use crate::hosts::{hex, locate};

/// Without these no script of a host would run.
const NEEDED: &str = "sh [ awk base64 basename cat chmod chown chgrp cmp cp cut date dd dirname env expr false find flock \
     getent grep head id ln ls mkdir mktemp mv od printf pwd readlink realpath rm rmdir sed seq sha256sum sleep sort \
     stat sync tail tee test timeout touch tr true uname uniq wc xargs";

/// These come along where the machine has them.
const WELCOME: &str = "bash chroot cksum comm df diff du echo egrep fgrep groups gzip install join link md5sum mkfifo mknod \
     nl nproc paste setsid sha1sum sha512sum shuf split tac tar truncate tty unlink who whoami yes gunzip zcat";

const STANDINS: [(&str, &str); 11] = [
    ("apt-cache", include_str!("standin/apt-cache.sh")),
    ("apt-get", include_str!("standin/apt-get.sh")),
    ("apt-mark", include_str!("standin/apt-mark.sh")),
    ("dpkg", include_str!("standin/dpkg.sh")),
    ("dpkg-query", include_str!("standin/dpkg-query.sh")),
    ("hostname", include_str!("standin/hostname.sh")),
    ("hostnamectl", include_str!("standin/hostnamectl.sh")),
    ("journalctl", include_str!("standin/journalctl.sh")),
    ("sudo", include_str!("standin/sudo.sh")),
    ("systemctl", include_str!("standin/systemctl.sh")),
    ("uname", include_str!("standin/uname.sh")),
];

const FOLDERS: &str = "dev etc/apt etc/ssh etc/systemd/system home opt proc/sys/kernel/random root run srv sys tmp \
     usr/bin usr/lib usr/lib64 usr/lib/standin usr/lib/systemd/system usr/local/bin usr/sbin usr/share/standin var/cache var/lib/apt/lists \
     var/lib/dpkg var/lib/standin/packages var/log var/tmp";

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
";

const GROUP: &str =
    "root:x:0:\ndaemon:x:1:\nadm:x:4:\nsudo:x:27:\nwww-data:x:33:\nusers:x:100:\nnogroup:x:65534:\n";

const OS_RELEASE: &str = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"
NAME=\"Debian GNU/Linux\"
VERSION_ID=\"12\"
VERSION=\"12 (bookworm)\"
VERSION_CODENAME=bookworm
ID=debian
";

/// Builds the tree in a folder that is not there yet.
pub(super) fn build(tree: &Path, more: &[Package]) -> Result<()> {
    for folder in FOLDERS.split_whitespace() {
        fs::create_dir_all(tree.join(folder)).with_context(|| format!("making `{folder}`"))?;
    }
    for name in ["bin", "sbin", "lib", "lib64"] {
        symlink(format!("usr/{name}"), tree.join(name))?;
    }
    fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    tools(tree)?;
    fs::rename(tree.join("usr/bin/uname"), tree.join("usr/lib/standin/uname")).context("moving `uname`")?;
    for (name, text) in STANDINS {
        write(tree, &format!("usr/bin/{name}"), text, 0o755)?;
    }
    write(tree, "usr/share/standin/lib.sh", include_str!("standin/lib.sh"), 0o644)?;
    write(tree, "etc/passwd", PASSWD, 0o644)?;
    write(tree, "etc/group", GROUP, 0o644)?;
    write(tree, "etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n", 0o644)?;
    write(tree, "etc/os-release", OS_RELEASE, 0o644)?;
    write(tree, "etc/debian_version", "12.12\n", 0o644)?;
    catalogue::install(tree, more)
}

/// Copies the programs, and the libraries that they name.
fn tools(tree: &Path) -> Result<()> {
    let mut missing = Vec::new();
    let mut programs = Vec::new();
    for name in NEEDED.split_whitespace().chain(WELCOME.split_whitespace()) {
        match locate(name) {
            Some(program) => {
                copy(&program, &tree.join("usr/bin").join(name))?;
                programs.push(program);
            }
            None if NEEDED.split_whitespace().any(|needed| needed == name) => missing.push(name),
            None => {}
        }
    }
    if !missing.is_empty() {
        bail!("this machine lacks {}: a host's file tree is made from its own tools", missing.join(", "));
    }
    for library in libraries(&programs)? {
        let to = tree.join(library.strip_prefix("/").unwrap_or(library));
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder)?;
        }
        copy(library, &to)?;
    }
    Ok(())
}

/// What `ldd` names, the loader included; and glibc's reader of `/etc/passwd`, which older ones load by name. Asked once
/// for all trees of a process: `ldd` starts each program.
fn libraries(programs: &[PathBuf]) -> Result<&'static BTreeSet<PathBuf>> {
    static FOUND: OnceLock<BTreeSet<PathBuf>> = OnceLock::new();
    if let Some(found) = FOUND.get() {
        return Ok(found);
    }
    let ldd = locate("ldd").context("this machine lacks ldd")?;
    // It fails where one of them is a script or static: what it prints for the others is still right.
    let output = Command::new(ldd).args(programs).output().context("running ldd")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let named = text.split_whitespace().filter(|word| word.starts_with('/') && !word.ends_with(':'));
    let mut found: BTreeSet<PathBuf> = named.map(PathBuf::from).collect();
    let beside: Vec<PathBuf> = found
        .iter()
        .filter(|library| library.file_name() == Some(OsStr::new("libc.so.6")))
        .map(|library| library.with_file_name("libnss_files.so.2"))
        .filter(|library| library.exists())
        .collect();
    found.extend(beside);
    Ok(FOUND.get_or_init(|| found))
}

/// Makes a host's tree of the base: programs and libraries are hard links, all else its own.
pub(super) fn clone(base: &Path, tree: &Path, name: &str, user: &str) -> Result<()> {
    clone_folder(base, tree, Path::new(""))?;
    // A temporary folder is its maker's alone; a root file system is not.
    fs::set_permissions(tree, fs::Permissions::from_mode(0o755))?;
    write(tree, "etc/hostname", &format!("{name}\n"), 0o644)?;
    write(tree, "etc/hosts", &format!("127.0.0.1 localhost\n127.0.1.1 {name}\n"), 0o644)?;
    write(tree, "etc/machine-id", &format!("{}\n", hex(&rand::random::<[u8; 16]>())), 0o444)?;
    if user != "root" {
        let passwd = format!("{PASSWD}{user}:x:1000:1000::/home/{user}:/bin/sh\n");
        write(tree, "etc/passwd", &passwd, 0o644)?;
        write(tree, "etc/group", &format!("{GROUP}{user}:x:1000:\n"), 0o644)?;
        fs::create_dir_all(tree.join("home").join(user))?;
    }
    renew_boot_id(tree)
}

/// What the kernel does at each start.
pub(super) fn renew_boot_id(tree: &Path) -> Result<()> {
    let text = hex(&rand::random::<[u8; 16]>());
    let parts = [&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]];
    write(tree, "proc/sys/kernel/random/boot_id", &format!("{}\n", parts.join("-")), 0o444)
}

fn clone_folder(base: &Path, tree: &Path, inside: &Path) -> Result<()> {
    let here = base.join(inside);
    let shared = inside.starts_with("usr/bin") || inside.starts_with("usr/lib") || inside.starts_with("nix");
    for entry in fs::read_dir(&here).with_context(|| format!("reading `{}`", here.display()))? {
        let entry = entry?;
        let (kind, inside) = (entry.file_type()?, inside.join(entry.file_name()));
        let (from, to) = (entry.path(), tree.join(&inside));
        if kind.is_dir() {
            fs::create_dir_all(&to)?;
            fs::set_permissions(&to, entry.metadata()?.permissions())?;
            if inside != Path::new("dev") {
                clone_folder(base, tree, &inside)?;
            }
        } else if kind.is_symlink() {
            symlink(fs::read_link(&from)?, &to)?;
        } else if !(shared && fs::hard_link(&from, &to).is_ok()) {
            copy(&from, &to)?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("copying `{}` to `{}`", from.display(), to.display()))?;
    Ok(())
}

/// Writes a file of the tree anew. An old one is replaced, not written into: it may be a link to the base's.
pub(super) fn write(tree: &Path, path: &str, text: &str, mode: u32) -> Result<()> {
    let to = tree.join(path);
    let folder = to.parent().context("a file stands in a folder")?;
    fs::create_dir_all(folder)?;
    drop(fs::remove_file(&to));
    fs::write(&to, text).with_context(|| format!("writing `{path}`"))?;
    fs::set_permissions(&to, fs::Permissions::from_mode(mode))?;
    Ok(())
}
