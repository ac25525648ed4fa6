//! A small infra repository: two guests, two hosts, a policy and an application in two environments.

use holdfast_lab::home::Home;
use holdfast_lab::keys;

pub(crate) const ENVIRONMENTS: [&str; 2] = ["core", "kubernetes"];
pub(crate) const GUESTS: [u32; 2] = [111, 112];
pub(crate) const CORE: &str = "environments/core/guests.yaml";
pub(crate) const HOSTS: &str = "environments/core/hosts.yaml";
pub(crate) const POLICY: &str = "environments/core/policy.yaml";
pub(crate) const APPLICATION: &str = "environments/kubernetes/media.yaml";

/// Writes it into the working copy.
pub(crate) fn write(home: &Home) {
    site(home, &ENVIRONMENTS);
    let guests = [guest("proxy", 111, 11), guest("backup", 112, 12)].join("---\n");
    let files = [
        (CORE, guests),
        (HOSTS, [proxy(), backup()].join("---\n")),
        (POLICY, policy("backup", "kv/data/backup/*")),
        (APPLICATION, application("media", "core/Host/proxy")),
    ];
    for (path, text) in files {
        home.repository.write(path, text).expect("a file is written");
    }
}

/// `holdfast.yaml` with these environments.
pub(crate) fn site(home: &Home, environments: &[&str]) {
    site_saying(home, environments, "");
}

/// Likewise, and one more line of its spec, such as `pause: a reason`.
pub(crate) fn site_saying(home: &Home, environments: &[&str], line: &str) {
    let text = format!(
        "apiVersion: holdfast/v1\nkind: Site\nmetadata: {{ name: home }}\nspec:\n  environments: [{}]\n  {line}\n",
        environments.join(", ")
    );
    home.repository.write("holdfast.yaml", text).expect("a file is written");
}

/// The file of the environment `core`, with one line as its spec, such as `retire: [VaultPolicy/old]`.
pub(crate) fn core_saying(home: &Home, line: &str) {
    let text =
        format!("apiVersion: holdfast/v1\nkind: Environment\nmetadata: {{ name: core }}\nspec:\n  {line}\n");
    home.repository.write("environments/core/environment.yaml", text).expect("a file is written");
}

pub(crate) fn guest(name: &str, vmid: u32, last: u32) -> String {
    format!(
        "apiVersion: holdfast/v1
kind: VirtualMachine
metadata: {{ name: {name} }}
spec:
  vmid: {vmid}
  node: pve1
  template: 9000
  cores: 2
  memory: 2GiB
  disk: {{ slot: scsi0, size: 16GiB, storage: local-lvm }}
  network: {{ bridge: vmbr0, vlan: 20 }}
  cloudInit:
    user: ops
    sshKeys: [{}]
    password: {{ vault: kv/guests, key: console }}
    address: 10.78.0.{last}/24
    gateway: 10.78.0.1
    nameservers: [10.78.0.1]
    searchDomain: lan
  agent: true
  onBoot: true
  tags: [core]
  description: the guest {name}
",
        keys::public()
    )
}

fn connection(guest: &str) -> String {
    format!(
        "  connection:
    address: {{ ref: VirtualMachine/{guest}, output: address }}
    hostKey: {{ ref: VirtualMachine/{guest}, output: hostKey }}
    user: ops
"
    )
}

fn proxy() -> String {
    format!(
        "apiVersion: holdfast/v1
kind: Host
metadata: {{ name: proxy }}
spec:
{}  packages: [curl]
  directories:
    - {{ path: /etc/proxy, mode: \"0755\" }}
  files:
    - path: /etc/motd
      content: |
        hello
    - path: /etc/proxy/secret
      mode: \"0600\"
      content: {{ vault: kv/proxy, key: stats }}
",
        connection("proxy")
    )
}

fn backup() -> String {
    format!(
        "apiVersion: holdfast/v1
kind: Host
metadata: {{ name: backup }}
spec:
{}  files:
    - path: /etc/motd
      content: |
        hello
    - path: /etc/systemd/system/backup.service
      content: |
        [Service]
        ExecStart=/bin/sleep infinity

        [Install]
        WantedBy=multi-user.target
  services:
    - name: backup.service
",
        connection("backup")
    )
}

pub(crate) fn policy(name: &str, path: &str) -> String {
    format!(
        "apiVersion: holdfast/v1
kind: VaultPolicy
metadata: {{ name: {name} }}
spec:
  rules:
    - path: {path}
      capabilities: [read]
"
    )
}

/// An application; it needs what `needs` lists.
pub(crate) fn application(name: &str, needs: &str) -> String {
    let needs = if needs.is_empty() {
        String::new()
    } else {
        format!("\n  annotations: {{ holdfast/depends-on: {needs} }}")
    };
    format!(
        "apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: {name}
  namespace: argocd{needs}
spec:
  project: default
  source:
    repoURL: https://git.lan/me/apps.git
    path: {name}
    targetRevision: main
  destination:
    server: https://kubernetes.default.svc
    namespace: {name}
  syncPolicy:
    automated: {{ prune: true, selfHeal: true }}
"
    )
}
