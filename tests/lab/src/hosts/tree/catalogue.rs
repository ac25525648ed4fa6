//! The packages that a tree's apt knows, and those that a fresh host has.

use std::path::Path;

use anyhow::Result;

use super::base::write;

/// A package of the stand-in for apt.
#[derive(Debug, Clone, Default)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// Names of packages that come along.
    pub depends: Vec<String>,
    /// Path, mode and text of each file. What stands in `/etc` is a conffile.
    pub files: Vec<(String, u32, String)>,
    /// Units among the files that are enabled and started, as Debian's packages do.
    pub units: Vec<String>,
}

/// Name, version, what it needs.
type Row = (&'static str, &'static str, &'static [&'static str]);

/// What a fresh host has. None of them can be removed.
const INSTALLED: [Row; 12] = [
    ("apt", "2.6.1", &["dpkg"]),
    ("base-files", "12.4+deb12u12", &[]),
    ("bash", "5.2.15-2+b9", &[]),
    ("coreutils", "9.1-1", &[]),
    ("dpkg", "1.21.22", &[]),
    ("iproute2", "6.1.0-3", &[]),
    ("libc6", "2.36-9+deb12u13", &[]),
    ("openssh-server", "1:9.2p1-2+deb12u7", &["libc6"]),
    ("sudo", "1.9.13p3-1+deb12u2", &["libc6"]),
    ("systemd", "252.39-1~deb12u1", &["libc6"]),
    ("systemd-sysv", "252.39-1~deb12u1", &["systemd"]),
    ("util-linux", "2.38.1-5+deb12u3", &[]),
];

/// What can be installed and is a program alone.
const PROGRAMS: [Row; 16] = [
    ("ca-certificates", "20230311+deb12u1", &["openssl"]),
    ("curl", "7.88.1-10+deb12u14", &["libcurl4"]),
    ("git", "1:2.39.5-0+deb12u2", &[]),
    ("gnupg", "2.2.40-1.1", &[]),
    ("htop", "3.2.2-2", &[]),
    ("jq", "1.6-2.1+deb12u1", &["libjq1"]),
    ("libcurl4", "7.88.1-10+deb12u14", &[]),
    ("libjq1", "1.6-2.1+deb12u1", &[]),
    ("nfs-common", "1:2.6.2-4+deb12u1", &[]),
    ("openssl", "3.0.17-1~deb12u3", &[]),
    ("postgresql-client", "15+248", &[]),
    ("python3", "3.11.2-1+b1", &[]),
    ("rsync", "3.2.7-1+deb12u2", &[]),
    ("tmux", "3.3a-3", &[]),
    ("tree", "2.1.0-1", &[]),
    ("vim", "2:9.0.1378-2+deb12u2", &[]),
];

/// What can be installed and brings a service: package, version, unit, program.
const SERVICES: [(&str, &str, &str, &str); 12] = [
    ("caddy", "2.6.2-5", "caddy", "/usr/bin/caddy"),
    ("chrony", "4.3-2+deb12u1", "chrony", "/usr/sbin/chronyd"),
    ("docker.io", "20.10.24+dfsg1-1+deb12u1", "docker", "/usr/sbin/dockerd"),
    ("haproxy", "2.6.12-1+deb12u3", "haproxy", "/usr/sbin/haproxy"),
    ("keepalived", "1:2.2.7-1+b2", "keepalived", "/usr/sbin/keepalived"),
    ("mosquitto", "2.0.11-1.2+deb12u2", "mosquitto", "/usr/sbin/mosquitto"),
    ("nginx", "1.22.1-9+deb12u3", "nginx", "/usr/sbin/nginx"),
    ("open-iscsi", "2.1.8-1", "open-iscsi", "/usr/sbin/iscsid"),
    (
        "prometheus-node-exporter",
        "1.5.0-1+b6",
        "prometheus-node-exporter",
        "/usr/bin/prometheus-node-exporter",
    ),
    ("qemu-guest-agent", "1:7.2+dfsg-7+deb12u16", "qemu-guest-agent", "/usr/sbin/qemu-ga"),
    ("redis-server", "5:7.0.15-1~deb12u5", "redis-server", "/usr/bin/redis-server"),
    ("unattended-upgrades", "2.9.1+nmu3", "unattended-upgrades", "/usr/bin/unattended-upgrade"),
];

const PROGRAM: &str = "#!/bin/sh\nexit 0\n";

impl Package {
    fn row((name, version, depends): Row) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            depends: depends.iter().map(|&name| name.into()).collect(),
            ..Self::default()
        }
    }

    /// A package with a program of its own name.
    fn program(row: Row) -> Self {
        let package = Self::row(row);
        let path = format!("/usr/bin/{}", package.name);
        Self { files: vec![(path, 0o755, PROGRAM.into())], ..package }
    }

    /// A package with a daemon, its unit and a conffile.
    pub fn service(name: &str, version: &str, unit: &str, program: &str) -> Self {
        let text = format!(
            "[Unit]\nDescription={name}\n\n[Service]\nExecStart={program}\nExecReload=/bin/kill -HUP $MAINPID\n\n\
             [Install]\nWantedBy=multi-user.target\n"
        );
        let unit = format!("{unit}.service");
        Self {
            files: vec![
                (program.into(), 0o755, PROGRAM.into()),
                (format!("/etc/default/{name}"), 0o644, format!("# options of {name}\n")),
                (format!("/lib/systemd/system/{unit}"), 0o644, text),
            ],
            units: vec![unit],
            name: name.into(),
            version: version.into(),
            depends: Vec::new(),
        }
    }
}

/// Writes the catalogue into the base tree, and installs what a fresh host has.
pub(super) fn install(tree: &Path, more: &[Package]) -> Result<()> {
    for row in INSTALLED {
        let package = if row.0 == "openssh-server" { ssh_server(row) } else { Package::row(row) };
        publish(tree, &package)?;
        place(tree, &package)?;
    }
    let services =
        SERVICES.map(|(name, version, unit, program)| Package::service(name, version, unit, program));
    let all = PROGRAMS.map(Package::program);
    for package in all.iter().chain(&services).chain(more) {
        publish(tree, package)?;
    }
    Ok(())
}

/// The unit that every host has: enabled, and with the alias that people use.
fn ssh_server(row: Row) -> Package {
    let (name, version, _) = row;
    let mut package = Package::service(name, version, "ssh", "/usr/sbin/sshd");
    for (_, _, text) in package.files.iter_mut().filter(|(path, ..)| path.ends_with(".service")) {
        text.push_str("Alias=sshd.service\n");
    }
    package
}

fn publish(tree: &Path, package: &Package) -> Result<()> {
    let Package { name, version, depends, files, units } = package;
    let folder = format!("usr/share/standin/catalogue/{name}");
    write(tree, &format!("{folder}/version"), &format!("{version}\n"), 0o644)?;
    describe(tree, &folder, depends, files, units)?;
    for (path, mode, text) in files {
        write(tree, &format!("{folder}/root{path}"), text, *mode)?;
    }
    Ok(())
}

fn describe(
    tree: &Path,
    folder: &str,
    depends: &[String],
    files: &[(String, u32, String)],
    units: &[String],
) -> Result<()> {
    let conffiles = files.iter().map(|(path, ..)| path.clone()).filter(|path| path.starts_with("/etc/"));
    let conffiles: Vec<String> = conffiles.collect();
    for (part, names) in [("depends", depends), ("conffiles", &conffiles), ("units", units)] {
        if !names.is_empty() {
            write(tree, &format!("{folder}/{part}"), &(names.join("\n") + "\n"), 0o644)?;
        }
    }
    Ok(())
}

/// What `apt-get install` would have done, before there is a host that could run it.
fn place(tree: &Path, package: &Package) -> Result<()> {
    let Package { name, version, depends, files, units } = package;
    let folder = format!("var/lib/standin/packages/{name}");
    write(tree, &format!("{folder}/version"), &format!("{version}\n"), 0o644)?;
    write(tree, &format!("{folder}/status"), "ii\n", 0o644)?;
    write(tree, &format!("{folder}/essential"), "", 0o644)?;
    describe(tree, &folder, depends, files, units)?;
    let list: Vec<&str> = files.iter().map(|(path, ..)| path.as_str()).collect();
    write(tree, &format!("{folder}/list"), &(list.join("\n") + "\n"), 0o644)?;
    for (path, mode, text) in files {
        write(tree, path.trim_start_matches('/'), text, *mode)?;
    }
    for unit in units {
        let wants = tree.join("etc/systemd/system/multi-user.target.wants");
        std::fs::create_dir_all(&wants)?;
        std::os::unix::fs::symlink(format!("/lib/systemd/system/{unit}"), wants.join(unit))?;
        if unit == "ssh.service" {
            let alias = tree.join("etc/systemd/system/sshd.service");
            std::os::unix::fs::symlink(format!("/lib/systemd/system/{unit}"), alias)?;
        }
    }
    Ok(())
}
