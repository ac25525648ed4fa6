//! The stand-ins for apt, dpkg and systemd behave as the real ones do, as far as they go.

use super::tests::Lab;
use crate::hosts::Output;

/// A host, and what it says to a script.
struct Bench {
    host: super::Host,
    _lab: Lab,
}

impl Bench {
    async fn new() -> Self {
        let lab = Lab::new().await;
        Self { host: lab.host("a").await, _lab: lab }
    }

    async fn run(&self, script: &str) -> Output {
        self.host.run(script).await.unwrap()
    }

    /// What a script prints that must succeed.
    async fn ok(&self, script: &str) -> String {
        let out = self.run(script).await;
        assert_eq!(out.status, 0, "`{script}`: {out:?}");
        out.stdout
    }
}

const QUERY: &str = r"dpkg-query -W -f '${Package} ${db:Status-Abbrev} ${Version}\n'";
const INSTALL: &str = "DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=5 \
                       -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-confdef install";

#[tokio::test]
async fn apt_installs_what_it_knows_once_its_lists_are_there() {
    let bench = Bench::new().await;
    let out = bench.run(&format!("{INSTALL} curl jq")).await;
    assert_eq!(out.status, 100);
    assert_eq!(out.stderr, "E: Unable to locate package curl\nE: Unable to locate package jq\n");
    bench.ok("apt-get update").await;
    let text = bench.ok(&format!("{INSTALL} curl jq")).await;
    assert!(text.contains("0 upgraded, 4 newly installed, 0 to remove and 0 not upgraded.\n"), "{text}");
    assert_eq!(
        bench.ok(&format!("{QUERY} jq curl dpkg")).await,
        "curl ii  7.88.1-10+deb12u14\ndpkg ii  1.21.22\njq ii  1.6-2.1+deb12u1\n"
    );
    bench.ok("curl").await;
    let again = bench.ok(&format!("{INSTALL} curl")).await;
    assert!(again.contains("curl is already the newest version (7.88.1-10+deb12u14)."), "{again}");
    assert_eq!(bench.ok("apt-mark showmanual").await, "curl\njq\n");
}

#[tokio::test]
async fn apt_refuses_as_the_real_one_does() {
    let bench = Bench::new().await;
    bench.ok("apt-get -qq update").await;
    let out = bench.run("apt-get -y install curl nosuch").await;
    assert_eq!((out.status, out.stderr.as_str()), (100, "E: Unable to locate package nosuch\n"));
    let out = bench.run(&format!("{QUERY} curl")).await;
    assert_eq!((out.status, out.stderr.as_str()), (1, "dpkg-query: no packages found matching curl\n"));
    let out = bench.run("apt-get -y install --frobnicate curl").await;
    assert!(out.status == 100 && out.stderr.contains("--frobnicate"), "{out:?}");
    let out = bench.run("apt-get -y install curl=1.0").await;
    assert_eq!((out.status, out.stderr.as_str()), (100, "E: Version '1.0' for 'curl' was not found\n"));
    assert_eq!(bench.run("apt-get install curl </dev/null").await.status, 1);
    bench.ok("apt-get -y install curl && apt-mark hold curl && apt-mark showhold").await;
    let out = bench.run("apt-get -y remove curl").await;
    assert!(out.status == 100 && out.stderr.contains("Held packages were changed"), "{out:?}");
    assert_eq!(bench.ok(&format!("{QUERY} curl")).await, "curl hi  7.88.1-10+deb12u14\n");
    assert_eq!(bench.run("apt-get -y remove dpkg").await.status, 100);
    let out = bench
        .run(
            "apt-get -y --no-remove remove tree; apt-get -y install tree; apt-get -y --no-remove remove tree",
        )
        .await;
    assert!(out.status == 100 && out.stderr.contains("remove is disabled"), "{out:?}");
}

#[tokio::test]
async fn apt_waits_for_its_lock_and_names_who_holds_it() {
    let bench = Bench::new().await;
    bench.ok("apt-get -qq update; mkdir -p /var/lib/dpkg; mkfifo /tmp/go").await;
    let holder = bench.host.run("flock /var/lib/dpkg/lock-frontend sh -c 'touch /tmp/held; read x </tmp/go'");
    let probe = async {
        bench.ok("until [ -e /tmp/held ]; do :; done").await;
        let refused = bench.run("apt-get -y install tree").await;
        assert_eq!(refused.status, 100);
        assert!(refused.stderr.contains("Could not get lock /var/lib/dpkg/lock-frontend"), "{refused:?}");
        let (waited, ()) =
            tokio::join!(bench.run("apt-get -y -o DPkg::Lock::Timeout=20 install tree"), async {
                bench.ok("echo >/tmp/go").await;
            });
        assert_eq!(waited.status, 0, "{waited:?}");
    };
    let (held, ()) = tokio::join!(holder, probe);
    assert_eq!(held.unwrap().status, 0);
}

#[tokio::test]
async fn packages_bring_services_and_leave_conffiles() {
    let bench = Bench::new().await;
    bench.ok(&format!("apt-get -qq update; {INSTALL} nginx")).await;
    assert_eq!(
        bench.ok("systemctl is-active nginx; systemctl is-enabled nginx.service").await,
        "active\nenabled\n"
    );
    bench.ok("echo mine >/etc/default/nginx; apt-get -y remove nginx").await;
    assert_eq!(
        bench.ok(&format!("{QUERY} nginx; cat /etc/default/nginx")).await,
        "nginx rc  1.22.1-9+deb12u3\nmine\n"
    );
    assert_eq!(bench.run("systemctl start nginx").await.status, 5);
    let out = bench.run("apt-get -y install nginx").await;
    assert!(out.status == 100 && out.stderr.contains("conffile prompt"), "{out:?}");
    bench.ok(&format!("{INSTALL} nginx")).await;
    assert_eq!(
        bench.ok("cat /etc/default/nginx; apt-get -qq purge nginx; ls /etc/default").await,
        "mine\nopenssh-server\n"
    );
}

const WEB: &str = "cat >/etc/systemd/system/web.service <<'E'
[Unit]
Description=Web

[Service]
ExecStart=/usr/local/bin/web --port 80

[Install]
WantedBy=multi-user.target
E
printf '#!/bin/sh\\n' >/usr/local/bin/web; chmod 755 /usr/local/bin/web
";
const SHOW: &str =
    "systemctl show -p Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,FragmentPath";

#[tokio::test]
async fn systemctl_shows_starts_and_enables() {
    let bench = Bench::new().await;
    let text = bench.ok(&format!("{WEB} {SHOW} web.service nosuch sshd")).await;
    let expected = "Id=web.service\nLoadState=loaded\nActiveState=inactive\nSubState=dead\n\
         FragmentPath=/etc/systemd/system/web.service\nUnitFileState=disabled\nNeedDaemonReload=no\n\n\
         Id=nosuch.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nFragmentPath=\nUnitFileState=\n\
         NeedDaemonReload=no\n\n\
         Id=ssh.service\nLoadState=loaded\nActiveState=active\nSubState=running\n\
         FragmentPath=/lib/systemd/system/ssh.service\nUnitFileState=enabled\nNeedDaemonReload=no\n";
    assert_eq!(text, expected);
    bench.ok("systemctl enable --now web.service").await;
    let text = bench.ok(&format!("{SHOW},ExecMainStartTimestampMonotonic --value web.service")).await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[1..6],
        ["web.service", "loaded", "active", "running", "/etc/systemd/system/web.service"]
    );
    let started: u64 = lines[0].parse().unwrap();
    let restarted = bench
        .ok("systemctl restart web; systemctl show --value -p ExecMainStartTimestampMonotonic web")
        .await;
    assert!(restarted.trim().parse::<u64>().unwrap() > started);
    bench.ok("systemctl disable --now web").await;
    let out = bench.run("systemctl is-active web; systemctl is-enabled web").await;
    assert_eq!((out.status, out.stdout.as_str()), (1, "inactive\ndisabled\n"));
    let missing = bench.run("systemctl enable nosuch.service").await;
    assert_eq!(missing.stderr, "Failed to enable unit: Unit file nosuch.service does not exist.\n");
}

#[tokio::test]
async fn a_changed_unit_waits_for_daemon_reload() {
    let bench = Bench::new().await;
    bench.ok(&format!("{WEB} systemctl enable --now web")).await;
    let need = "systemctl show --value -p NeedDaemonReload web";
    assert_eq!(bench.ok(need).await, "no\n");
    bench.ok("sed 's|/usr/local/bin/web|/nowhere|' /etc/systemd/system/web.service >/tmp/w; mv /tmp/w /etc/systemd/system/web.service").await;
    assert_eq!(bench.ok(need).await, "yes\n");
    let out = bench.run("systemctl restart web; systemctl is-active web").await;
    assert!(out.status == 0 && out.stderr.contains("changed on disk"), "{out:?}");
    bench.ok("systemctl daemon-reload").await;
    assert_eq!(bench.ok(need).await, "no\n");
    let out = bench.run("systemctl restart web; systemctl is-active web").await;
    assert_eq!((out.status, out.stdout.as_str()), (3, "failed\n"));
    assert!(
        bench.ok("journalctl -u web -n 5 --no-pager").await.contains("Failed at step EXEC spawning /nowhere")
    );
}

#[tokio::test]
async fn bad_services_show() {
    let bench = Bench::new().await;
    let out = bench.run("systemctl start nosuch").await;
    assert_eq!(
        (out.status, out.stderr.as_str()),
        (5, "Failed to start nosuch.service: Unit nosuch.service not found.\n")
    );
    let unit = |body: &str| {
        format!("printf '[Service]\\n{body}\\n' >/etc/systemd/system/b.service; systemctl daemon-reload; ")
    };
    let out = bench.run(&(unit("Type=exec\\nExecStart=/nowhere") + "systemctl start b")).await;
    assert!(out.status == 1 && out.stderr.contains("Job for b.service failed"), "{out:?}");
    let out = bench
        .run(&(unit("ExecStart=/bin/false") + "systemctl restart b; systemctl show -p ActiveState,Result b"))
        .await;
    assert_eq!(out.stdout, "Result=exit-code\nActiveState=failed\n");
    let out = bench.run(&(unit("Type=simple") + "systemctl restart b")).await;
    assert!(out.status == 1 && out.stderr.contains("bad unit file setting"), "{out:?}");
    let out = bench
        .run(&(unit("ExecStart=/bin/sleep 9\\nUser=nosuch") + "systemctl restart b; systemctl is-active b"))
        .await;
    assert_eq!((out.status, out.stdout.as_str()), (3, "failed\n"));
    let oneshot = unit("Type=oneshot\\nRemainAfterExit=yes\\nExecStart=/bin/sh -c \"echo ran >/tmp/ran\"");
    let out = bench.run(&(oneshot + "systemctl start b; cat /tmp/ran; systemctl is-active b")).await;
    assert_eq!((out.status, out.stdout.as_str()), (0, "ran\nactive\n"));
    let out = bench.run("systemctl mask --now b 2>&1; systemctl mask cron; systemctl start cron").await;
    assert!(out.stderr.contains("Unit cron.service is masked"), "{out:?}");
}

#[tokio::test]
async fn what_is_enabled_runs_again_after_a_boot() {
    let bench = Bench::new().await;
    bench.ok(&format!("{WEB} systemctl enable --now web; cp /etc/systemd/system/web.service /etc/systemd/system/x.service; systemctl start x")).await;
    bench.host.stop();
    bench.host.start().await.unwrap();
    let out = bench.run("systemctl is-active web x ssh").await;
    assert_eq!(out.stdout, "active\ninactive\nactive\n");
}

#[tokio::test]
async fn small_ones() {
    let bench = Bench::new().await;
    assert_eq!(bench.ok("hostnamectl set-hostname b; hostname; cat /etc/hostname").await, "b\nb\n");
    let out = bench.run("touch /var/lib/standin/sudo-asks; USER=ops sudo -n true").await;
    assert_eq!((out.status, out.stderr.as_str()), (1, "sudo: a password is required\n"));
    assert_eq!(
        bench.ok("getent passwd root; stat -c '%U %G %a' /etc/passwd").await,
        "root:x:0:0:root:/root:/bin/sh\nroot root 644\n"
    );
}
