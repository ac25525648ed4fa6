//! Scenarios of hosts: files, packages, units, secrets, and services that restart one at a time.

use super::home::{core, host, servers, small};
use super::script::Scenario;
use crate::events::Event;
use crate::wire::Port;
use crate::workload::sketch::TOKEN;

/// The machine that the guest `g1` is.
const ADDRESS: &str = "10.78.1.11";

pub(super) fn all() -> Vec<Scenario> {
    let with_secret = || {
        let mut home = small();
        host(&mut home, "g1").secret = true;
        home
    };
    let with_another_file = || {
        let mut home = small();
        host(&mut home, "g1").files.insert("/etc/app/more.conf".to_owned(), "more\n".to_owned());
        home
    };
    vec![
        Scenario::of("a unit's file changes, and it restarts", small())
            .commit("mode 2", |home| {
                host(home, "g1").files.insert("/etc/app/app.conf".to_owned(), "mode = 2\n".to_owned());
            })
            .converges()
            .all_stands(),
        Scenario::of("a package is added", small())
            .commit("jq", |home| {
                host(home, "g1").packages.insert("jq".to_owned());
            })
            .converges()
            .all_stands(),
        Scenario::of("a file is dropped", with_another_file())
            .commit("no more", |home| drop(host(home, "g1").files.remove("/etc/app/more.conf")))
            .converges()
            .all_stands()
            .asks("the file is gone", |home| {
                let there = home.hosts.read(|hosts| {
                    hosts
                        .computer(ADDRESS)
                        .is_some_and(|computer| computer.text("/etc/app/more.conf").is_some())
                });
                there.then(|| "/etc/app/more.conf is there".to_owned())
            }),
        Scenario::of("a service is taken away", small())
            .commit("no service", |home| host(home, "g1").service = false)
            .converges()
            .all_stands(),
        Scenario::of("a secret is rotated", with_secret())
            .happens(Event::Rotate { path: TOKEN.0.to_owned(), key: TOKEN.1.to_owned() })
            .converges()
            .all_stands(),
        Scenario::of("a unit is stopped by hand", small())
            .somebody("stops app.service", |home| {
                home.hosts.with(|hosts| hosts.change(ADDRESS, |computer| computer.stop("app.service")));
            })
            .converges()
            .all_stands(),
        Scenario::of("services restart one at a time", servers())
            .commit("mode 2 everywhere", |home| {
                for one in core(home).hosts.values_mut() {
                    one.files.insert("/etc/app/app.conf".to_owned(), "mode = 2\n".to_owned());
                }
            })
            .converges()
            .all_stands(),
        Scenario::of("hosts are away for a while", small())
            .happens(Event::Down(Port::Hosts))
            .commit("mode 3, and another policy", |home| {
                host(home, "g1").files.insert("/etc/app/app.conf".to_owned(), "mode = 3\n".to_owned());
                super::home::policy(home, "p1").writes = true;
            })
            .waits(1_800)
            .happens(Event::Up(Port::Hosts))
            .converges()
            .all_stands(),
    ]
}
