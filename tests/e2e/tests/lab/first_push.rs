//! One push converges four targets, says so on the commit, and lets no secret out.

use std::time::Duration;

use holdfast_lab::demo::example;
use holdfast_lab::home::{Home, Options};
use holdfast_lab::proxmox::GuestView;

use super::hosts::{file, host, mode};
use super::outputs::{Watching, files_below};
use super::support::{Life, one_final_status, statuses};

const ENVIRONMENTS: [&str; 2] = ["core", "kubernetes"];
const SECRETS: [&str; 4] = [
    "correct horse battery staple",
    "tr0ub4dor-and-3",
    "a long walk on the beach",
    "a-token-for-joining-servers",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_push_converges_four_targets() {
    let watching = Watching::start();
    // Slow enough that what is pending is told before it ends.
    let options = Options { task_time: Duration::from_millis(400), ..Options::default() };
    let (mut life, commit) = Life::begin(&options, |home| {
        home.repository.copy_from(&example()).expect("the example can be copied");
    })
    .await;
    life.all_green(&commit, &ENVIRONMENTS).await;
    let processes = watching.end();

    guests_are_as_declared(&life.home);
    hosts_are_as_declared(&life.home).await;
    policies_and_applications_are_as_declared(&life.home);
    statuses_were_pending_and_then_final(&life.home, &commit);

    let mut told: Vec<(String, Vec<u8>)> =
        processes.into_iter().map(|line| ("a command line or an environment".to_owned(), line)).collect();
    told.extend(
        life.service().log().iter().map(|line| ("the log".to_owned(), line.to_string().into_bytes())),
    );
    told.extend(
        life.home
            .forge
            .posts()
            .iter()
            .map(|post| ("a status".to_owned(), post.description.clone().into_bytes())),
    );
    for (target, wire) in life.home.wires() {
        told.extend(
            wire.requests().into_iter().map(|seen| (format!("a URL of {target}"), seen.uri.into_bytes())),
        );
    }
    files_below(&life.home.state(), &mut told);
    assert!(told.iter().any(|(place, _)| place.ends_with("journal.sqlite")), "the journal was read");
    for (place, bytes) in told {
        for secret in SECRETS {
            let has = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!has, "`{secret}` is in {place}: {}", String::from_utf8_lossy(&bytes));
        }
    }
}

/// A guest of the example: number, name, node, cores, MiB of memory, GiB of disk, tag.
type Declared = (u32, &'static str, &'static str, u32, u32, u64, &'static str);

const DECLARED: [Declared; 5] = [
    (111, "proxy", "pve1", 2, 2048, 16, "core"),
    (112, "backup", "pve2", 1, 1024, 64, "core"),
    (121, "kube01", "pve1", 4, 8192, 32, "kubernetes"),
    (122, "kube02", "pve2", 4, 8192, 32, "kubernetes"),
    (123, "kube03", "pve3", 4, 8192, 32, "kubernetes"),
];

fn guests_are_as_declared(home: &Home) {
    let world = home.proxmox.world();
    assert_eq!(world.guests.len(), DECLARED.len() + 1, "and the template");
    for (vmid, name, node, cores, memory, disk, environment) in DECLARED {
        let guest = &world.guests[&vmid];
        let config = |key: &str| guest.config.get(key).map(String::as_str).unwrap_or_default();
        assert_eq!((guest.name.as_str(), guest.node.as_str(), guest.running), (name, node, true));
        assert_eq!(config("cores"), cores.to_string(), "{name}");
        assert_eq!(config("memory"), memory.to_string(), "{name}");
        assert_eq!(guest.disks["scsi0"].bytes, disk << 30, "{name}");
        assert_eq!(config("onboot"), "1", "{name}");
        let mut tags: Vec<&str> = config("tags").split(';').collect();
        tags.sort_unstable();
        assert_eq!(tags, [environment.min("holdfast"), environment.max("holdfast")], "{name}");
        let network = config("net0");
        assert!(network.contains("bridge=vmbr0") && network.contains("tag=20"), "{name}: {network}");
        assert_eq!(config("ipconfig0"), format!("ip=10.78.0.{}/24,gw=10.78.0.1", vmid - 100), "{name}");
        let mark = format!("holdfast: home/{environment}/VirtualMachine/{name}@{vmid}/{}", uuid(guest));
        assert!(notes(guest).lines().any(|line| line == mark), "{name} lacks `{mark}`: {}", notes(guest));
        let pinned = format!("holdfast-host-key: {}", host(home, vmid).host_key());
        assert!(notes(guest).lines().any(|line| line == pinned), "{name} lacks `{pinned}`: {}", notes(guest));
        assert_eq!((guest.pending.len(), guest.lock.as_ref()), (0, None), "{name}");
    }
}

fn uuid(guest: &GuestView) -> String {
    let options = guest.config["smbios1"].split(',');
    options.filter_map(|option| option.strip_prefix("uuid=")).collect()
}

fn notes(guest: &GuestView) -> &str {
    &guest.config["description"]
}

async fn hosts_are_as_declared(home: &Home) {
    let motd = std::fs::read_to_string(example().join("files/motd")).expect("the example has it");
    for (vmid, name, ..) in DECLARED {
        assert_eq!(file(home, vmid, "/etc/motd").as_ref(), Some(&motd), "{name}");
        assert_eq!(mode(home, vmid, "/etc/motd"), 0o644, "{name}");
        let ledger = file(home, vmid, "/var/lib/holdfast/ledger").expect("there is a ledger");
        let machine = file(home, vmid, "/etc/machine-id").expect("there is a machine id");
        let environment = if vmid < 120 { "core" } else { "kubernetes" };
        let mark = format!("mark home/{environment}/Host/{name}@{}", machine.trim());
        assert!(ledger.lines().any(|line| line == mark), "{name} lacks `{mark}`: {ledger}");
        assert_eq!(mode(home, vmid, "/var/lib/holdfast/ledger"), 0o600, "{name}");
    }
    let balanced = file(home, 111, "/etc/haproxy/haproxy.cfg").expect("it was written");
    assert!(balanced.contains("stats auth admin:tr0ub4dor-and-3"), "{balanced}");
    assert!(balanced.contains("server kube03 10.78.0.23:6443 check"), "{balanced}");
    assert_eq!(mode(home, 111, "/etc/haproxy/haproxy.cfg"), 0o640);
    assert_eq!(file(home, 112, "/etc/backup/passphrase").as_deref(), Some("a long walk on the beach"));
    assert_eq!(mode(home, 112, "/etc/backup/passphrase"), 0o600);
    assert_eq!((mode(home, 112, "/srv/backup"), mode(home, 112, "/etc/backup")), (0o700, 0o755));
    for (vmid, first) in [(121, true), (122, false), (123, false)] {
        let config = file(home, vmid, "/etc/rancher/k3s/config.yaml").expect("it was written");
        assert!(config.contains("token: a-token-for-joining-servers"), "{config}");
        assert_eq!(config.contains("cluster-init: true"), first, "{config}");
        assert_eq!(mode(home, vmid, "/etc/rancher/k3s/config.yaml"), 0o600);
    }
    for (vmid, script) in [
        (111, "systemctl is-active haproxy.service && systemctl is-enabled haproxy.service"),
        (112, "systemctl is-active backup.service && systemctl is-enabled backup.service"),
        (111, "dpkg-query -W haproxy curl"),
        (112, "dpkg-query -W rsync"),
        (121, "dpkg-query -W curl nfs-common"),
    ] {
        let ran = host(home, vmid).run(script).await.expect("it runs");
        assert_eq!(ran.status, 0, "{script} on vm {vmid}: {}{}", ran.stdout, ran.stderr);
    }
}

fn policies_and_applications_are_as_declared(home: &Home) {
    let backup = home.vault.policy("backup").expect("the policy is there");
    assert!(backup.starts_with("# holdfast: home/core/VaultPolicy/backup@backup\n"), "{backup}");
    assert!(backup.contains("path \"kv/data/backup/*\""), "{backup}");
    let operators = home.vault.policy("operators").expect("the policy is there");
    let text = std::fs::read_to_string(example().join("policies/operators.hcl")).expect("the example has it");
    assert!(operators.contains(text.trim()), "{operators}");
    for name in ["media", "monitoring"] {
        let application = home.kubernetes.object("applications", "argocd", name).expect("it is there");
        let annotations = &application["metadata"]["annotations"];
        assert_eq!(annotations["holdfast/mark"], format!("home/kubernetes/Application/{name}@argocd/{name}"));
        assert_eq!(application["spec"]["destination"]["namespace"], name);
        assert_eq!(application["status"]["sync"]["status"], "Synced", "{name}");
        assert_eq!(application["status"]["health"]["status"], "Healthy", "{name}");
    }
}

fn statuses_were_pending_and_then_final(home: &Home, commit: &str) {
    one_final_status(home, commit);
    let all = statuses(home, commit);
    assert_eq!(all.keys().collect::<Vec<_>>(), ["core", "kubernetes", "validate"]);
    for context in ENVIRONMENTS {
        assert_eq!(all[context].first().expect("not empty").0, "pending", "{context}: {:?}", all[context]);
    }
    let last = |context: &str| all[context].last().expect("not empty").1.clone();
    assert_eq!(last("validate"), "valid: 14 resources in 2 environments");
    assert_eq!(last("core"), "converged: 6 resources, 6 changed");
    assert_eq!(last("kubernetes"), "converged: 8 resources, 8 changed");
}
