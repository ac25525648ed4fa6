//! The stand-ins of a tree answer like the real programs of a real Debian: the same scripts run on both.

use super::nspawn::tests::{BOOT, fleet, seed};
use super::tree::tests::Lab;

/// Puts a service in place whose program exists, one whose program does not, and one that cannot be read.
const PREPARE: &str = r#"
exec >/dev/null 2>&1
mkdir -p /usr/local/bin
printf '#!/bin/sh\nwhile :; do sleep 9; done\n' >/usr/local/bin/web; chmod 755 /usr/local/bin/web
unit() { printf '[Unit]\nDescription=%s\n[Service]\n%s\n[Install]\nWantedBy=multi-user.target\n' "$1" "$2" >"/etc/systemd/system/$1.service"; }
unit web ExecStart=/usr/local/bin/web
unit lost ExecStart=/nowhere
unit exec "Type=exec
ExecStart=/nowhere"
unit empty Type=simple
unit once "Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo ran >/run/once'"
printf '[Service]\nExecStart=/usr/local/bin/web\n' >/etc/systemd/system/static.service
systemctl daemon-reload
"#;

/// Prints what must be the same on both; what they say on standard error is in it.
const SCRIPTS: [&str; 24] = [
    "systemctl show -p Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,ActiveEnterTimestamp web nosuch",
    "systemctl show -p NeedDaemonReload,Id,SubState,UnitFileState web static empty sshd.service",
    "systemctl enable web; systemctl is-enabled web; readlink /etc/systemd/system/multi-user.target.wants/web.service",
    "systemctl start web; systemctl is-active web; systemctl show -p ActiveState --value web",
    "systemctl start nosuch; systemctl restart nosuch.service; systemctl stop nosuch; systemctl enable nosuch; systemctl disable nosuch",
    "systemctl is-enabled nosuch; systemctl is-active nosuch; systemctl is-enabled static; systemctl is-active web nosuch",
    "systemctl start lost; sleep 0.3; systemctl is-active lost; systemctl show -p Result,ExecMainStatus lost",
    "systemctl start exec; systemctl is-failed exec; systemctl reset-failed exec; systemctl is-failed exec",
    "systemctl start empty",
    "systemctl start once; cat /run/once; systemctl show -p ActiveState,SubState once",
    "sleep 0.02; echo '# more' >>/etc/systemd/system/web.service; systemctl show -p NeedDaemonReload web; systemctl restart web; systemctl daemon-reload; systemctl show -p NeedDaemonReload web",
    "systemctl disable --now web; systemctl is-active web; systemctl is-enabled web",
    "systemctl mask once; systemctl is-enabled once; systemctl unmask nosuch",
    "ln -s /dev/null /etc/systemd/system/masked.service; systemctl daemon-reload; systemctl start masked; systemctl enable masked; systemctl is-enabled masked; systemctl show -p LoadState,UnitFileState,FragmentPath masked",
    "systemctl frobnicate web",
    "systemctl reset-failed nosuch",
    "systemctl is-enabled ssh.service",
    r"dpkg-query -W -f '${Package} ${db:Status-Abbrev}\n' sudo nosuch dpkg; dpkg-query -W nosuch; dpkg-query -s nosuch; dpkg --audit",
    "apt-get -y install nosuch; apt-get -y install nosuch=1 othernot; apt-get -y remove nosuch",
    "apt-get update >/dev/null 2>&1; apt-get -qq -y install tree >/dev/null 2>&1; dpkg-query -W -f '${Status}|${db:Status-Status}\n' tree; apt-mark showmanual | grep -x tree",
    "apt-mark hold tree; dpkg-query -W -f '${db:Status-Abbrev}|\n' tree; apt-mark showhold; apt-get -y remove tree >/dev/null; apt-mark unhold tree",
    "apt-get -y --no-remove remove tree >/dev/null; apt-get -y install --frobnicate tree; apt-get -y frobnicate",
    "apt-get -y remove tree >/dev/null; dpkg-query -W tree; apt-get -y purge tree | tail -n 1",
    "hostname; hostnamectl hostname; stat -c '%a %U %F' /etc/passwd; id -u",
];

#[tokio::test]
async fn stand_ins_answer_like_the_real_ones() {
    let Some(fleet) = fleet().await else { return };
    let guest = fleet.start(seed("like", 31, "ssh-ed25519 AAAA nobody")).await.unwrap();
    guest.ready(BOOT).await.unwrap();
    let lab = Lab::new().await;
    let host = lab.host("like").await;
    let mut differences = Vec::new();
    let prepared = guest.run(&words(PREPARE), b"").await.unwrap();
    assert_eq!(host.run(PREPARE).await.unwrap(), prepared);
    for script in SCRIPTS {
        let script = format!("exec 2>&1; export LC_ALL=C TZ=UTC\n{script}; echo status $?");
        let real = guest.run(&words(&script), b"").await.unwrap();
        let ours = host.run(&script).await.unwrap();
        if real != ours {
            differences.push(format!("{script}\n--- real\n{}--- stand-in\n{}", real.stdout, ours.stdout));
        }
    }
    fleet.close().await.unwrap();
    assert!(differences.is_empty(), "{} scripts differ\n\n{}", differences.len(), differences.join("\n\n"));
}

fn words(script: &str) -> Vec<String> {
    ["sh", "-c", script].map(str::to_owned).to_vec()
}
