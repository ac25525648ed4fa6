//! From `git push` over a cloned guest and its cloud-init to a service that runs, and whatever happens to it later.

use holdfast_lab::service::Service;

use crate::git_access::POLL;
use crate::guest::Guest;
use crate::home::{self, CONSOLE_PASSWORD, Cluster, FIRST_TOKEN, Home, another_look};
use crate::{can_run, eventually};

const HOST: &str = "environments/core/host.yaml";

#[tokio::test(flavor = "multi_thread")]
async fn a_push_becomes_a_running_service_and_stays_one() {
    if !can_run().await {
        return;
    }
    let (home, cluster) = tokio::join!(Home::start(), Cluster::start());
    home.repository().copy_from(&home::infra()).unwrap();
    let service = home.serve(Some(&cluster));
    let first = home.repository().push("everything").unwrap();
    let core = home.until_final(&first, "core").await;
    assert_eq!(core.state, "success", "{core:?} {:#?}", service.log());
    assert_eq!(home.finals(&first, "validate").pop().unwrap().state, "success");
    let guest = cluster.guest().await;
    the_guest_is_as_cloud_init_was_told(&guest, &cluster).await;
    the_host_is_as_the_manifest_says(&guest).await;
    let policy = home.bao.policy("web").await.unwrap();
    let text =
        "# holdfast: home/core/VaultPolicy/web@web\npath \"kv/data/web\" {\n  capabilities = [\"read\"]\n}\n";
    assert_eq!(policy["policy"], text);

    nothing_is_written_twice(&home, &cluster, &guest, &service).await;
    a_changed_file_restarts_its_service(&home, &guest).await;
    a_rotated_secret_arrives(&home, &guest).await;
    what_is_edited_by_hand_is_corrected(&guest).await;
    what_leaves_the_manifest_goes(&home, &guest).await;
    let service = killed_in_the_middle(&home, &cluster, &guest, service).await;
    nothing_is_written_twice(&home, &cluster, &guest, &service).await;
    drop((service, guest));
    cluster.close().await;
}

async fn the_guest_is_as_cloud_init_was_told(guest: &Guest, cluster: &Cluster) {
    let ask = "hostname -f; id -un; sudo -n id -un; ip -br -4 address show eth0 | tr -s ' ' | cut -d' ' -f3";
    assert_eq!(guest.ssh(&cluster.door, ask), "web01.lab\nops\nroot\n10.78.0.11/24");
    // The simulated Proxmox hashes a password in a way of its own.
    let hash = guest.sh("getent shadow ops | cut -d: -f2").await;
    let salt = hash.split('$').nth(2).unwrap();
    let digest = format!(
        "import hashlib, base64; print(base64.b64encode(hashlib.sha256({:?}.encode()).digest()).decode().strip('='))",
        format!("{salt}{CONSOLE_PASSWORD}")
    );
    let digest = guest.sh(&format!("python3 -c \"{}\"", digest.replace('"', "'"))).await;
    assert_eq!(hash, format!("$5${salt}${digest}"), "the password is the one that OpenBao holds");
}

async fn the_host_is_as_the_manifest_says(guest: &Guest) {
    let packages = "dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' holdfast-hello jq";
    assert_eq!(guest.sh(packages).await, "holdfast-hello ii \njq ii");
    assert_eq!(guest.sh("echo '{\"a\":[1,2]}' | jq -c .a").await, "[1,2]");
    let units = "systemctl is-active web holdfast-hello; systemctl is-enabled web holdfast-hello";
    assert_eq!(guest.sh(units).await, "active\nactive\nenabled\nenabled");
    assert_eq!(guest.sh("systemctl is-system-running --wait").await, "running", "no unit has failed");
    for (path, access) in [
        ("/etc/web", "root:root 750"),
        ("/srv/web", "ops:ops 755"),
        ("/srv/web/index.html", "ops:root 644"),
        ("/etc/web/greeting", "root:root 644"),
        ("/etc/web/token", "root:root 640"),
        ("/usr/local/bin/web", "root:root 755"),
    ] {
        assert_eq!(guest.access(path).await, access, "{path}");
    }
    assert_eq!(guest.read("/etc/motd"), "This machine is looked after by Holdfast.");
    let token = format!("# the token of web01\n{FIRST_TOKEN}");
    assert_eq!(guest.read("/etc/web/token"), token);
    assert_eq!(guest.read("/var/lib/web.started"), format!("hello\n{token}"), "the service saw its files");
    // A package's unit, with another config file than the package brought.
    let said = guest.sh("journalctl -o cat -u holdfast-hello").await;
    assert!(said.contains("hello from the repository"), "{said}");
    assert_eq!(guest.sh("dpkg --audit").await, "");
}

async fn nothing_is_written_twice(home: &Home, cluster: &Cluster, guest: &Guest, service: &Service) {
    another_look(service).await;
    let (traces, policy) = (guest.traces().await, home.bao.policy("web").await);
    let (posts, reads) = (home.forge.posts().len(), home.git.reads().len());
    cluster.wire.reset();
    let runs = home::runs(service);
    another_look(service).await;
    let runs = home::runs(service) - runs;
    assert_eq!(guest.traces().await, traces);
    assert_eq!(home.bao.policy("web").await, policy, "its version counts the writes");
    assert_eq!(cluster.wire.writes(), []);
    let requests = cluster.wire.requests();
    // One guest, and a run that may have begun before or end after.
    assert!(requests.len() <= 4 * (runs + 1), "{runs} runs: {requests:#?}");
    assert_eq!(home.forge.posts().len(), posts);
    let reads = home.git.reads().split_off(reads);
    assert!(reads.iter().all(|read| read == POLL), "{reads:#?}");
}

async fn a_changed_file_restarts_its_service(home: &Home, guest: &Guest) {
    let (web, hello) = (guest.run_of("web").await, guest.run_of("holdfast-hello").await);
    home.repository().edit(HOST, "hello\\n", "good morning\\n").unwrap();
    let commit = home.repository().push("another greeting").unwrap();
    home.until_green(&commit).await;
    assert_ne!(guest.run_of("web").await, web);
    assert_eq!(guest.run_of("holdfast-hello").await, hello, "nothing of it changed");
    assert!(guest.read("/var/lib/web.started").starts_with("good morning\n"));
    assert_eq!(home.finals(&commit, "core").len(), 1);
}

async fn a_rotated_secret_arrives(home: &Home, guest: &Guest) {
    let web = guest.run_of("web").await;
    home.bao.put_secret("kv/web", serde_json::json!({ "token": "the second token" })).await;
    eventually("the service runs with the new token", async || {
        guest.read("/var/lib/web.started").ends_with("the second token").then_some(())
    })
    .await;
    assert_ne!(guest.run_of("web").await, web);
    assert_eq!(guest.access("/etc/web/token").await, "root:root 640");
}

async fn what_is_edited_by_hand_is_corrected(guest: &Guest) {
    guest
        .sh("echo mine >/etc/motd; chmod 600 /etc/web/greeting; chown ops /etc/web/token; rm -r /srv/web")
        .await;
    eventually("everything is put right", async || {
        let ask =
            "cat /etc/motd; stat -c '%U %a' /etc/web/greeting /etc/web/token /srv/web/index.html /srv/web";
        let (_, found) = guest.try_sh(ask).await;
        let right = "This machine is looked after by Holdfast.\nroot 644\nroot 640\nops 644\nops 755";
        (found == right).then_some(())
    })
    .await;
    guest.sh("systemctl disable --quiet --now web").await;
    eventually("the service is started again", async || {
        let (_, found) = guest.try_sh("systemctl is-active web; systemctl is-enabled web").await;
        (found == "active\nenabled").then_some(())
    })
    .await;
}

async fn what_leaves_the_manifest_goes(home: &Home, guest: &Guest) {
    for gone in [
        "    - { path: /srv/web, owner: ops, group: ops }\n",
        "    - path: /srv/web/index.html\n      owner: ops\n      content: \"<h1>it works</h1>\\n\"\n",
        "    - path: /etc/motd\n      content: { file: files/motd }\n",
    ] {
        home.repository().edit(HOST, gone, "").unwrap();
    }
    let commit = home.repository().push("less").unwrap();
    home.until_green(&commit).await;
    let left = guest.sh("ls -d /srv/* /etc/motd").await;
    assert_eq!(left, "/etc/motd\n/srv/apt", "what was there before stays");
    assert!(!guest.read("/var/lib/holdfast/ledger").contains("/etc/motd"), "but it is nobody's now");
}

/// When the service is killed, in the middle of one change of the host.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    Announced,
    Written,
    Restarted,
}

/// Kills the service during a change, and in two of three cases what runs on the host for it as well.
async fn killed_in_the_middle(
    home: &Home,
    cluster: &Cluster,
    guest: &Guest,
    mut service: Service,
) -> Service {
    let moments = [Moment::Announced, Moment::Written, Moment::Restarted];
    let greetings = ["good morning", "good day", "good evening", "good night"];
    for (moment, greeting) in moments.into_iter().zip(greetings.windows(2)) {
        let (ledger, web) = (guest.read("/var/lib/holdfast/ledger"), guest.run_of("web").await);
        home.repository().edit(HOST, greeting[0], greeting[1]).unwrap();
        let commit = home.repository().push(greeting[1]).unwrap();
        eventually(&format!("{moment:?}"), async || {
            let there = match moment {
                Moment::Announced => guest.read("/var/lib/holdfast/ledger") != ledger,
                Moment::Written => guest.read("/etc/web/greeting") == greeting[1],
                Moment::Restarted => guest.run_of("web").await != web,
            };
            there.then_some(())
        })
        .await;
        service.kill().await.unwrap();
        if moment != Moment::Written {
            guest.try_sh("pkill -KILL -u ops; pkill -KILL -f '^sh -s'").await;
        }
        assert_eq!(home.finals(&commit, "core"), [], "{moment:?}");
        service = home.serve(Some(cluster));
        home.until_green(&commit).await;
        let started = guest.read("/var/lib/web.started");
        assert!(started.starts_with(&format!("{}\n", greeting[1])), "{moment:?}: {started}");
        assert_eq!(home.finals(&commit, "core").len(), 1, "{moment:?}");
    }
    service
}
