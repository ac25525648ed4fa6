//! What real apt and systemd refuse or delay: waited for, or told in their own words on the commit.

use crate::guest::Guest;
use crate::home::{Cluster, Home, infra, messages};
use crate::{can_run, eventually};
use holdfast_lab::service::Service;

const HOST: &str = "environments/core/host.yaml";
const PACKAGES: &str = "    - jq\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_apt_and_systemd_say_is_heard() {
    if !can_run().await {
        return;
    }
    let (home, cluster) = tokio::join!(Home::start(), Cluster::start());
    home.repository().copy_from(&infra()).unwrap();
    let mut service = home.serve(Some(&cluster));
    let commit = home.repository().push("everything").unwrap();
    home.until_green(&commit).await;
    let guest = cluster.guest().await;
    a_lock_is_waited_for(&home, &guest).await;
    an_unknown_package_is_told(&home, &guest, &service).await;
    a_unit_that_fails_says_why(&home, &guest, &service).await;
    another_host_key_is_not_trusted(&home, &guest).await;
    assert!(service.is_running());
    drop((service, guest));
    cluster.close().await;
}

/// The errors of changes that failed, newest last.
fn errors(service: &Service) -> Vec<String> {
    let failed = messages(service, "a change failed");
    failed.iter().map(|line| line["error"].as_str().unwrap_or_default().to_owned()).collect()
}

async fn a_lock_is_waited_for(home: &Home, guest: &Guest) {
    let script = "import fcntl, os, time
lock = open('/var/lib/dpkg/lock-frontend', 'w')
fcntl.lockf(lock, fcntl.LOCK_EX)
open('/root/locked', 'w').close()
while os.path.exists('/root/locked'): time.sleep(0.05)
";
    guest.0.run(&["sh", "-c", "cat >/root/hold.py"].map(str::to_owned), script.as_bytes()).await.unwrap();
    let holder = guest.0.clone();
    let holding =
        tokio::spawn(async move { holder.run(&["python3", "/root/hold.py"].map(str::to_owned), b"").await });
    eventually("the lock is held", async || guest.0.read("/root/locked")).await;
    home.repository().edit(HOST, PACKAGES, "    - jq\n    - tree\n").unwrap();
    let commit = home.repository().push("one more package").unwrap();
    eventually("apt has waited for two seconds", async || {
        let (_, seconds) = guest.try_sh("ps -o etimes= -C apt-get | sort -n | tail -n 1").await;
        seconds.trim().parse().is_ok_and(|seconds: u32| seconds >= 2).then_some(())
    })
    .await;
    assert!(home.finals(&commit, "core").is_empty());
    guest.sh("rm /root/locked").await;
    assert_eq!(holding.await.unwrap().unwrap().status, 0);
    assert_eq!(home.until_final(&commit, "core").await.state, "success");
    assert_eq!(guest.sh("dpkg-query -W -f '${db:Status-Abbrev}' tree").await, "ii");
}

async fn an_unknown_package_is_told(home: &Home, guest: &Guest, service: &Service) {
    home.repository().edit(HOST, PACKAGES, "    - jq\n    - no-such-package\n").unwrap();
    let commit = home.repository().push("a package that nobody has").unwrap();
    let post = home.until_final(&commit, "core").await;
    assert_eq!(post.state, "failure");
    let told = "failed: Host/web01: install no-such-package: E: Unable to locate package no-such-package";
    assert_eq!(post.description, told);
    let error = errors(service).pop().unwrap();
    assert!(error.contains("Unable to locate package no-such-package"), "{error}");
    assert_eq!(guest.sh("systemctl is-active web holdfast-hello").await, "active\nactive");
    home.repository().edit(HOST, "    - no-such-package\n", "").unwrap();
    let commit = home.repository().push("without it").unwrap();
    home.until_green(&commit).await;
}

async fn a_unit_that_fails_says_why(home: &Home, guest: &Guest, service: &Service) {
    home.repository()
        .edit("files/web.sh", "echo \"web is up\"", "echo \"web cannot find its data\" >&2; exit 3")
        .unwrap();
    let commit = home.repository().push("a service that fails").unwrap();
    let post = home.until_final(&commit, "core").await;
    assert_eq!(post.state, "failure");
    let told = "failed: Host/web01: restart web.service (/usr/local/bin/web changes): it is failed; web cannot find its data; ";
    assert!(post.description.starts_with(told), "{}", post.description);
    let error = errors(service).pop().unwrap();
    assert!(error.contains("web cannot find its data"), "{error}");
    assert!(error.contains("status=3"), "{error}");
    home.repository().edit("files/web.sh", "echo \"web cannot find its data\" >&2; exit 3", "").unwrap();
    let commit = home.repository().push("it works again").unwrap();
    home.until_green(&commit).await;
    assert_eq!(guest.sh("systemctl is-active web").await, "active");
}

async fn another_host_key_is_not_trusted(home: &Home, guest: &Guest) {
    let traces = guest.traces().await;
    let new_key = "set -e; cp -a /etc/ssh /root/ssh; rm /etc/ssh/ssh_host_*; \
        ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key; systemctl restart ssh; pkill -u ops";
    guest.sh(new_key).await;
    home.repository().edit(HOST, "hello\\n", "good morning\\n").unwrap();
    let commit = home.repository().push("for whoever answers there").unwrap();
    let post = home.until_final(&commit, "core").await;
    assert_eq!(post.state, "failure");
    let told = "held: Host/web01: looking at 10.78.0.11: the host key of 10.78.0.11 changed: pin its new key";
    assert!(post.description.starts_with(told), "{}", post.description);
    assert_eq!(guest.traces().await, traces);
    guest.sh("cp -a /root/ssh/. /etc/ssh/; systemctl restart ssh").await;
    home.until_green(&commit).await;
    assert!(guest.read("/var/lib/web.started").starts_with("good morning\n"));
}
