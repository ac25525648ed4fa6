//! Everything is away for a while: that costs little more than health, and a pause that is asked for is kept.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use holdfast_lab::home::{Home, Options, is_session};
use holdfast_lab::http::{Fault, Moment};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

use super::hosts::host;
use super::small;
use super::support::Life;

/// How long health and the outage are measured, each.
const WHILE: Duration = Duration::from_secs(20);
/// Retries that are saved up for each system. (engine/budget.rs)
const SAVED: usize = 10;

/// In the place of a host's SSH: takes each connection, counts it, and breaks it.
struct Deaf {
    taken: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Deaf {
    /// Waits until nobody listens there any more, and listens.
    async fn at(address: SocketAddr) -> Self {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_reuseport(true).expect("the port is shared with who reserved it");
        socket.bind(address).expect("the port is the host's");
        let listener = socket.listen(128).expect("it listens");
        let taken = Arc::new(AtomicUsize::new(0));
        let count = taken.clone();
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                drop(connection);
            }
        });
        Self { taken, task }
    }

    async fn end(self) -> usize {
        self.task.abort();
        drop(self.task.await);
        self.taken.load(Ordering::Relaxed)
    }
}

/// What each system was asked: requests of HTTP; of a host scripts over its lasting connection, and connections.
type Asked = BTreeMap<String, usize>;

fn asked(home: &Home) -> Asked {
    let mut asked: Asked =
        home.wires().into_iter().map(|(name, wire)| (name.to_owned(), wire.requests().len())).collect();
    for vmid in small::GUESTS {
        let wire = host(home, vmid).wire().clone();
        asked.insert(format!("host {vmid}"), wire.execs().len() + wire.connections());
    }
    asked
}

/// Lets the hosts be away for as long as health was measured, and with a fault everything else as well, and compares.
async fn costs_little(name: &str, fault: Option<Fault>) {
    let options = Options { resync: "1s".to_owned(), ..Options::default() };
    let (mut life, commit) = Life::begin(&options, small::write).await;
    life.all_green(&commit, &small::ENVIRONMENTS).await;
    life.runs("core", 2).await;
    life.runs("kubernetes", 1).await;
    let told = life.home.forge.posts();

    let looks = |life: &mut Life| {
        let log = life.service().log();
        let of = |environment: &str| {
            log.iter()
                .filter(|line| line["message"] == "the run ended" && line["environment"] == environment)
                .count()
        };
        of("core").min(of("kubernetes"))
    };
    let before = looks(&mut life);
    life.home.reset();
    // Not a wait for anything: the while that is measured.
    tokio::time::sleep(WHILE).await;
    let healthy = asked(&life.home);
    let looks = looks(&mut life) - before;

    if let Some(fault) = fault {
        for (_, wire) in life.home.wires() {
            wire.fail_all(|_| true, fault);
        }
    }
    let mut deaf = Vec::new();
    for vmid in small::GUESTS {
        host(&life.home, vmid).refuse();
        deaf.push((vmid, Deaf::at(host(&life.home, vmid).address()).await));
    }
    life.home.reset();
    tokio::time::sleep(WHILE).await;
    let mut away = asked(&life.home);
    for (vmid, deaf) in deaf {
        away.insert(format!("host {vmid}"), deaf.end().await);
    }

    println!("{name}: {looks} looks in {WHILE:?} of health");
    // What answers is asked freely.
    let is_away = |system: &str| fault.is_some() || system.starts_with("host");
    for (system, healthy) in healthy.iter().filter(|(system, _)| is_away(system)) {
        let (away, saved) = (away[system], SAVED * healthy.div_ceil(looks));
        println!("  {system}: {healthy} in health, {away} in the outage ({saved} saved up)");
        assert!(away <= healthy * 11 / 10 + saved, "{system}: {away} of {healthy}\n{}", life.told());
    }

    for (_, wire) in life.home.wires() {
        wire.clear_faults();
    }
    for vmid in small::GUESTS {
        host(&life.home, vmid).answer().await.expect("it answers again");
    }
    life.home.reset();
    life.until_run_ends("core", "success").await;
    life.until_run_ends("kubernetes", "success").await;
    assert_eq!(life.home.writes(), Vec::<String>::new());
    assert_eq!(life.home.forge.posts(), told, "an outage is no news for the commit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_that_breaks_connections_costs_little() {
    costs_little("broken connections", Some(Fault::CutBefore)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_that_answers_503_costs_little() {
    costs_little("503", Some(Fault::Status(503))).await;
}

/// With the cluster away nobody knows where the hosts are: alone they are asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_of_all_hosts_costs_little() {
    costs_little("hosts alone", None).await;
}

/// The pause that is asked for, in whole seconds.
const PAUSE: Duration = Duration::from_secs(4);
const LIMITED: Fault = Fault::Reply { status: 429, headers: &[("retry-after", "4")], body: "{}" };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_that_asks_for_pauses_costs_little() {
    costs_little("429 with Retry-After", Some(LIMITED)).await;
}

/// Lets every system ask for pauses, and gives the requests that came before their time.
async fn asked_too_early(fill: fn(&Home), environments: &[&str], systems: &[&str]) -> Vec<String> {
    let options = Options { resync: "1s".to_owned(), ..Options::default() };
    let (mut life, commit) = Life::begin(&options, fill).await;
    life.all_green(&commit, environments).await;
    life.runs("core", 1).await;
    let mut logs = Vec::new();
    for (name, wire) in life.home.wires().into_iter().filter(|(name, _)| systems.contains(name)) {
        let log = Arc::new(Mutex::new(Vec::new()));
        logs.push((name, log.clone()));
        wire.watch(move |seen, moment| {
            if !is_session(seen) {
                let what = format!("{} {}", seen.method, seen.uri);
                log.lock().expect("not poisoned").push((Instant::now(), moment, what));
            }
        });
        wire.fail_all(|_| true, LIMITED);
    }
    life.until("every system was asked again after its pause, and again", |_| {
        logs.iter().all(|(_, log)| {
            let log = log.lock().expect("not poisoned");
            let ends = log.first().zip(log.last());
            ends.is_some_and(|((first, ..), (last, ..))| last.duration_since(*first) > PAUSE * 2)
        })
    })
    .await;
    let mut early = Vec::new();
    for (name, log) in &logs {
        let log = log.lock().expect("not poisoned");
        let (start, mut asked) = (log[0].0, None::<Instant>);
        for (at, moment, what) in log.iter() {
            match (moment, asked) {
                // Some are under way when the first answer comes, and their answers ask for the same.
                (Moment::Before, Some(asked)) if (TOGETHER..PAUSE).contains(&at.duration_since(asked)) => {
                    let asked =
                        log.iter().filter(|(other, moment, _)| *moment == Moment::Before && other <= at);
                    let before: Vec<String> =
                        asked.map(|(at, _, what)| format!("{:?} {what}", at.duration_since(start))).collect();
                    early.push(format!("{name}: {what}, the last of {before:#?}"));
                }
                (Moment::After, asked) if asked.is_none_or(|asked| at.duration_since(asked) >= PAUSE) => {}
                _ => continue,
            }
            if *moment == Moment::After {
                asked = Some(*at);
            }
        }
    }
    early
}

/// Requests of one look follow one another within this time.
const TOGETHER: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_vault_asks_for_is_kept() {
    let policy_alone = |home: &Home| {
        small::site(home, &["core"]);
        home.repository
            .write(small::POLICY, small::policy("backup", "kv/data/backup/*"))
            .expect("a file is written");
    };
    assert_eq!(asked_too_early(policy_alone, &["core"], &["vault"]).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_a_system_asks_for_is_kept_by_all_who_ask_it() {
    let systems = ["proxmox", "vault", "kubernetes"];
    assert_eq!(asked_too_early(small::write, &small::ENVIRONMENTS, &systems).await, Vec::<String>::new());
}
