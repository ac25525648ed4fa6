//! The cloud-init drive's texts, as Proxmox writes them for the `NoCloud` data source.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use sha1::{Digest as _, Sha1};

use super::guest::Config;
use super::keys;
use super::net;
use super::props::IPCONFIG;

/// The three files on a cloud-init drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    pub user_data: String,
    pub network_config: String,
    pub meta_data: String,
}

impl Seed {
    /// What the drive of a guest with this configuration holds.
    pub(super) fn of(vmid: u32, config: &Config) -> Self {
        let user_data = user_data(vmid, config);
        let network_config = network_config(config);
        let id = hex(&Sha1::digest(format!("{user_data}{network_config}")));
        Self { user_data, network_config, meta_data: format!("instance-id: {id}\n") }
    }
}

/// Bytes in lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

fn user_data(vmid: u32, config: &Config) -> String {
    let get = |key: &str| config.get(key).map(String::as_str);
    let unnamed = format!("VM{vmid}");
    let name = get("name").unwrap_or(&unnamed);
    let (host, full) = match (name.split_once('.'), get("searchdomain")) {
        (Some((host, _)), _) => (host, name.to_owned()),
        (None, Some(domain)) => (name, format!("{name}.{domain}")),
        (None, None) => (name, name.to_owned()),
    };
    let mut text = format!("#cloud-config\nhostname: {host}\nmanage_etc_hosts: true\nfqdn: {full}\n");
    let user = get("ciuser");
    if let Some(user) = user {
        let _ = writeln!(text, "user: {user}");
    }
    if user == Some("root") {
        text += "disable_root: False\n";
    }
    if let Some(password) = get("cipassword") {
        let _ = writeln!(text, "password: {password}");
    }
    if let Some(keys) = get("sshkeys") {
        text += "ssh_authorized_keys:\n";
        let keys = percent_encoding::percent_decode_str(keys).decode_utf8_lossy();
        for key in keys.lines().filter(|line| !line.trim().is_empty()) {
            let _ = writeln!(text, "  - {key}");
        }
    }
    text += "chpasswd:\n  expire: False\n";
    if user != Some("root") {
        text += "users:\n  - default\n";
    }
    if get("ciupgrade").is_none_or(|flag| flag == "1") {
        text += "package_upgrade: true\n";
    }
    text
}

fn network_config(config: &Config) -> String {
    let mut text = String::from("version: 1\nconfig:\n");
    for key in config.keys().filter(|key| keys::is_indexed(key, "net")) {
        let id = &key[3..];
        let Some(address) = config.get(&format!("ipconfig{id}")) else { continue };
        let mac = net::parse(key, &config[key]).ok().and_then(|mut net| net.remove("macaddr"));
        let mac = mac.unwrap_or_default().to_ascii_lowercase();
        let _ = writeln!(
            text,
            "    - type: physical\n      name: eth{id}\n      mac_address: '{mac}'\n      subnets:"
        );
        subnets(&mut text, address);
    }
    nameserver(&mut text, config);
    text
}

fn subnets(text: &mut String, address: &str) {
    let Ok(given) = IPCONFIG.parse("ipconfig", address) else { return };
    let gateway = |text: &mut String, key: &str| {
        if let Some(gateway) = given.get(key) {
            let _ = writeln!(text, "        gateway: '{gateway}'");
        }
    };
    match given.get("ip").map(String::as_str) {
        Some("dhcp") => *text += "      - type: dhcp4\n",
        Some(address) => {
            let (host, prefix) = address.split_once('/').unwrap_or((address, "32"));
            let mask = netmask(prefix);
            let _ =
                writeln!(text, "      - type: static\n        address: '{host}'\n        netmask: '{mask}'");
            gateway(text, "gw");
        }
        None => {}
    }
    match given.get("ip6").map(String::as_str) {
        Some("dhcp") => *text += "      - type: dhcp6\n",
        Some("auto") => *text += "      - type: ipv6_slaac\n",
        Some(address) => {
            let _ = writeln!(text, "      - type: static6\n        address: '{address}'");
            gateway(text, "gw6");
        }
        None => {}
    }
}

fn netmask(prefix: &str) -> Ipv4Addr {
    let bits = prefix.parse::<u32>().unwrap_or(32).min(32);
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - bits).unwrap_or(0))
}

/// A guest without a resolver of its own gets the node's.
const NODE_RESOLVER: &str = "192.0.2.53";

fn nameserver(text: &mut String, config: &Config) {
    *text += "    - type: nameserver\n";
    let servers = config.get("nameserver").map_or(NODE_RESOLVER, String::as_str);
    let domains = config.get("searchdomain").map_or("", String::as_str);
    for (title, all) in [("address", servers), ("search", domains)] {
        if all.is_empty() {
            continue;
        }
        let _ = writeln!(text, "      {title}:");
        for item in all.split_whitespace() {
            let _ = writeln!(text, "      - '{item}'");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Seed};

    #[test]
    fn the_drive_holds_what_proxmox_writes() {
        let pairs = [
            ("ciupgrade", "0"),
            ("ciuser", "ops"),
            ("ipconfig0", "ip=10.78.0.11/24,gw=10.78.0.1"),
            ("name", "kube01"),
            ("nameserver", "10.78.0.1"),
            ("net0", "virtio=BC:24:11:00:00:0B,bridge=vmbr0"),
            ("searchdomain", "lab"),
            ("sshkeys", "ssh-ed25519%20AAAA%20me%0A"),
        ];
        let config: Config =
            pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        let seed = Seed::of(101, &config);
        assert_eq!(
            seed.user_data,
            "#cloud-config\nhostname: kube01\nmanage_etc_hosts: true\nfqdn: kube01.lab\nuser: ops\n\
             ssh_authorized_keys:\n  - ssh-ed25519 AAAA me\nchpasswd:\n  expire: False\nusers:\n  - default\n"
        );
        assert_eq!(
            seed.network_config,
            "version: 1\nconfig:\n    - type: physical\n      name: eth0\n      mac_address: 'bc:24:11:00:00:0b'\n      \
             subnets:\n      - type: static\n        address: '10.78.0.11'\n        netmask: '255.255.255.0'\n        \
             gateway: '10.78.0.1'\n    - type: nameserver\n      address:\n      - '10.78.0.1'\n      search:\n      - 'lab'\n"
        );
        assert_eq!(seed.meta_data.len(), "instance-id: ".len() + 41);
    }
}
