//! Secrets never leave: every credential and every secret is a canary, every target repeats what it was sent, and no
//! output of the service holds one in any encoding.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_lab::echo::{Encoding, forms};
use holdfast_lab::forge::Right;
use holdfast_lab::home::{Home, Options, REPOSITORY};
use holdfast_lab::http::{Fault, Seen, Wire};
use holdfast_lab::keys;
use holdfast_lab::kubernetes::Rule;
use holdfast_lab::service;
use serde_json::json;

use super::hosts::host;
use super::outputs::{Watching, files_below};
use super::small;
use super::support::{Life, binary};

const FORGE: &str = "canary-forge/8+1f~d3";
const PROXMOX: &str = "canary-pve-77b2-9c01-e4";
const SECRET_ID: &str = "canary-secret-id-5d0c";
const KUBERNETES: &str = "canary-kube.eyJh-bG_c.2f";
const STAMPS: &str = "canary-stamps-a81e";
/// With all that an encoder has to escape.
const PASSWORD: &str = "canary \"pw\" \\ü& 100%+/=?";
const STATS: &str = "canary-stats-first-line\ncanary \"stats\" second\\line\ncanary+stats/third";

/// Every library speaks, those included that are quiet unless they are named.
const EVERYTHING: &str = "trace,hyper=trace,hyper_util=trace,h2=trace,reqwest=trace,rustls=trace,tower=trace,sqlx=trace,\
                          gix=trace,kube_client=trace,kube_runtime=trace,notify=trace,russh=trace";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_output_holds_a_secret_although_every_target_repeats_it() {
    let watching = Watching::start();
    let mut life = Life::furnish(&Options { settle: "20s".to_owned(), ..Options::default() }).await;
    hand_out_canaries(&life);
    small::write(&life.home);
    let mut command = service::command(binary(), &life.home.config(), &life.home.credentials());
    command.env("HOLDFAST_LOG", EVERYTHING);
    life.start_by(command);
    for (number, encoding) in Encoding::ALL.into_iter().enumerate() {
        every_target_repeats(&mut life, number, encoding).await;
    }
    kubernetes_keeps_repeating(&mut life).await;
    the_host_repeats(&mut life).await;
    let mut told = printed(&life).await;
    told.extend(outputs(&mut life));
    life.terminate().await;
    files_below(&life.home.state(), &mut told);
    told.extend(watching.end().into_iter().map(|bytes| ("a process".to_owned(), bytes)));
    every_target_sent_every_encoding(&life.home);
    let canaries = [canaries(), vault_tokens(&life.home)].concat();
    none_holds(&told, &canaries);
    the_echoes_came_this_far(&told);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_git_server_that_repeats_the_password_is_not_quoted() {
    const PASSWORD: &str = "canary-git/p+w~31";
    let options = Options { poll: "100ms".to_owned(), machines: false, ..Options::default() };
    let mut life = Life::furnish(&options).await;
    let here = format!("url = \"{}\"", life.home.repository.bare().display());
    // Any server will do that is asked for a repository.
    let there = format!("url = \"{}/me/infra.git\"\ncredential = \"git\"", life.home.forge.url());
    life.configure(&here, &there);
    std::fs::write(life.home.credentials().join("git"), PASSWORD).expect("a credential is written");
    let wire = life.home.forge.wire.clone();
    for encoding in Encoding::ALL {
        wire.fail_next(|seen| seen.uri.contains("/info/refs"), Fault::Echo { status: 200, encoding });
    }
    let mut command = service::command(binary(), &life.home.config(), &life.home.credentials());
    command.env("HOLDFAST_LOG", EVERYTHING);
    life.start_by(command);
    life.until("the server repeated it in every encoding", |_| wire.echoes().len() == Encoding::ALL.len())
        .await;
    let mut told = outputs(&mut life);
    life.terminate().await;
    files_below(&life.home.state(), &mut told);
    let echoes = wire.echoes().join("\n");
    assert!(Encoding::ALL.iter().all(|encoding| echoes.contains(&encoding.of(PASSWORD))), "{echoes}");
    none_holds(&told, &[PASSWORD.to_owned()]);
    assert!(
        told.iter().any(|(_, bytes)| String::from_utf8_lossy(bytes).contains("who is [redacted]?")),
        "it was told"
    );
}

fn canaries() -> Vec<String> {
    let key = keys::private();
    [FORGE, PROXMOX, SECRET_ID, KUBERNETES, STAMPS, PASSWORD, STATS, &key].map(str::to_owned).into()
}

fn hand_out_canaries(life: &Life) {
    let home = &life.home;
    home.forge.allow(FORGE, REPOSITORY, Right::Write);
    home.proxmox.set_secret("holdfast@pve!main", PROXMOX);
    home.vault.put_approle("holdfast", SECRET_ID, &["holdfast-service"], Duration::from_mins(20));
    home.kubernetes.allow(KUBERNETES, "kubernetes-admin", &[Rule::everywhere(&["*"], &["*"])]);
    home.vault.put_secret("kv/guests", json!({ "console": PASSWORD })).expect("it is written");
    home.vault.put_secret("kv/proxy", json!({ "stats": STATS })).expect("it is written");
    life.configure("site = ", "stamp_key_credential = \"stamps\"\nsite = ");
    for (name, value) in [
        ("forge-token", FORGE),
        ("pve-token", PROXMOX),
        ("vault-secret-id", SECRET_ID),
        ("kube-token", KUBERNETES),
        ("stamps", STAMPS),
    ] {
        std::fs::write(home.credentials().join(name), value).expect("a credential is written");
    }
}

fn wires(home: &Home) -> Vec<(&'static str, Wire)> {
    home.wires().into_iter().chain([("forge", home.forge.wire.clone())]).collect()
}

/// One commit, whose convergence meets the next encoding at every target: what is read, and what is written.
async fn every_target_repeats(life: &mut Life, number: usize, encoding: Encoding) {
    let counts = |home: &Home| wires(home).iter().map(|(_, wire)| wire.echoes().len()).collect::<Vec<_>>();
    let before = counts(&life.home);
    let echo = Fault::Echo { status: [400, 500, 403, 422, 400, 500][number], encoding };
    for (target, wire) in wires(&life.home) {
        let fits =
            move |seen: &Seen| seen.is_write() && (target != "proxmox" || seen.uri.ends_with("/config"));
        wire.fail_next(fits, echo);
        if target != "forge" {
            wire.fail_next(|seen| !seen.is_write(), echo);
        }
    }
    let password = format!("{PASSWORD} {number}");
    life.home.vault.put_secret("kv/guests", json!({ "console": password })).expect("it is written");
    life.write(small::POLICY, &small::policy("backup", &format!("kv/data/backup/{number}")));
    life.write(
        small::APPLICATION,
        &small::application("media", "").replace("Revision: main", &format!("Revision: v{number}")),
    );
    life.push(&format!("what is sent comes back as {encoding:?}"));
    let all_came = |home: &Home| {
        let more = counts(home).iter().zip(&before).map(|(now, before)| now - before).collect::<Vec<_>>();
        more == [2, 2, 2, 1]
    };
    life.until(&format!("every target repeated as {encoding:?}"), all_came).await;
}

/// Until a commit is told of it: the commits before may be overtaken before their status is final.
async fn kubernetes_keeps_repeating(life: &mut Life) {
    let wire = life.home.kubernetes.wire.clone();
    wire.fail_all(Seen::is_write, Fault::Echo { status: 422, encoding: Encoding::Raw });
    life.write(
        small::APPLICATION,
        &small::application("media", "").replace("Revision: main", "Revision: v9"),
    );
    let commit = life.push("what kubernetes is sent comes back");
    life.red(&commit, "kubernetes", &["the kubernetes api answered", "[redacted]"]).await;
    wire.clear_faults();
}

/// A service that cannot start says why in its log, with the secret that it was given: first in a change that knows the
/// secret, then in one that does not.
async fn the_host_repeats(life: &mut Life) {
    life.home.repository.write(small::HOSTS, talkative("exit 1")).expect("a file is written");
    let commit = life.push("a service that talks");
    life.red(&commit, "core", &["talk.service", "it is failed"]).await;
    life.edit(small::HOSTS, "ExecStart=/bin/sleep infinity", "ExecStart=/bin/sleep 1000");
    let commit = life.push("it still does");
    life.red(&commit, "core", &["talk.service", "it is failed"]).await;
    let said = host(&life.home, 111).run("cat /var/lib/standin/journal/talk.service").await.expect("it runs");
    for encoding in [Encoding::Lines, Encoding::Base64, Encoding::Hex] {
        let text = encoding.of(STATS.lines().next().expect("it has lines"));
        assert!(said.stdout.contains(&text), "{encoding:?}: {}", said.stdout);
    }
    life.edit(small::HOSTS, "exit 1", "exit 0");
    let commit = life.push("a service that starts");
    life.until_all_green(&commit, &small::ENVIRONMENTS).await;
}

/// The host `proxy`, with a service that prints a file which holds a secret.
fn talkative(end: &str) -> String {
    format!(
        "apiVersion: holdfast/v1
kind: Host
metadata: {{ name: proxy }}
spec:
  connection:
    address: {{ ref: VirtualMachine/proxy, output: address }}
    hostKey: {{ ref: VirtualMachine/proxy, output: hostKey }}
    user: ops
  files:
    - path: /etc/stats
      mode: \"0600\"
      content: {{ vault: kv/proxy, key: stats }}
    - path: /usr/local/bin/talk
      mode: \"0755\"
      content: |
        #!/bin/sh
        # Where systemd would put what it prints.
        exec >> /var/lib/standin/journal/talk.service
        line=$(head -n 1 /etc/stats)
        echo \"talk: bad $line\"
        printf %s \"$line\" | base64 -w 0
        echo
        printf %s \"$line\" | od -An -v -tx1 | tr -d ' \\n'
        echo
        {end}
    - path: /etc/systemd/system/talk.service
      content: |
        [Service]
        Type=exec
        ExecStartPre=/usr/local/bin/talk
        ExecStart=/bin/sleep infinity
        [Install]
        WantedBy=multi-user.target
  services:
    - name: talk.service
      restartOn: [/usr/local/bin/talk]
"
    )
}

/// What the other commands print, while targets repeat credentials to them too.
async fn printed(life: &Life) -> Vec<(String, Vec<u8>)> {
    let mut told = Vec::new();
    for arguments in [&["plan"][..], &["plan", "."], &["status"], &["status", "--json"]] {
        let sent = |home: &Home| wires(home).iter().map(|(_, wire)| wire.echoes().len()).sum::<usize>();
        let before = sent(&life.home);
        if arguments[0] == "plan" {
            for (_, wire) in life.home.wires() {
                let fits = |seen: &Seen| !seen.uri.contains("/auth/");
                wire.fail_next(fits, Fault::Echo { status: 400, encoding: Encoding::Raw });
            }
        }
        let mut command = service::command(binary(), &life.home.config(), &life.home.credentials());
        command.args(arguments).current_dir(life.home.repository.work()).env("HOLDFAST_LOG", EVERYTHING);
        let output = command.output().await.expect("it runs");
        let name = format!("holdfast {}", arguments.join(" "));
        assert_eq!(sent(&life.home) - before, if arguments[0] == "plan" { 3 } else { 0 }, "{name}");
        told.push((format!("{name}, standard output"), output.stdout));
        told.push((format!("{name}, standard error"), output.stderr));
    }
    told
}

fn outputs(life: &mut Life) -> Vec<(String, Vec<u8>)> {
    let mut told: Vec<(String, Vec<u8>)> = life
        .service()
        .log()
        .iter()
        .map(|line| ("the log".to_owned(), line.to_string().into_bytes()))
        .collect();
    let posts = life.home.forge.posts();
    told.extend(posts.iter().map(|post| ("a status".to_owned(), post.description.clone().into_bytes())));
    for (target, wire) in wires(&life.home) {
        let seen = wire.requests().into_iter();
        told.extend(seen.map(|seen| (format!("a URL of {target}"), seen.uri.into_bytes())));
    }
    files_below(&life.home.state(), &mut told);
    told
}

/// The test can fail: each target did send its secret in every encoding.
fn every_target_sent_every_encoding(home: &Home) {
    let sent = [
        ("proxmox", PROXMOX),
        ("proxmox", PASSWORD),
        ("vault", SECRET_ID),
        ("kubernetes", KUBERNETES),
        ("forge", FORGE),
    ];
    for (target, secret) in sent {
        let (_, wire) = wires(home).into_iter().find(|(name, _)| *name == target).expect("it is a target");
        let echoes = wire.echoes().join("\n");
        for encoding in Encoding::ALL {
            // The log-in to Vault comes once; a password is not the end of the value.
            let text = encoding.of(secret);
            let text = if secret == PASSWORD { text[..text.len() - 4].to_owned() } else { text };
            assert!(secret == SECRET_ID || echoes.contains(&text), "{target} never sent `{text}`: {echoes}");
        }
        assert!(secret != SECRET_ID || echoes.contains(secret), "{echoes}");
    }
}

/// And what they sent did come to the outputs that the service has.
fn the_echoes_came_this_far(told: &[(String, Vec<u8>)]) {
    let reached = |place: &str, words: &[&str]| {
        let texts = told.iter().filter(|(name, _)| name.contains(place));
        let found = texts
            .map(|(_, bytes)| String::from_utf8_lossy(bytes))
            .any(|text| words.iter().all(|word| text.contains(word)));
        assert!(found, "nothing of {words:?} came to {place}");
    };
    for place in ["the log", "journal.sqlite"] {
        for words in ["the kubernetes api answered", "vault answered", "configuring vm 11", "talk.service"] {
            reached(place, &[words, "[redacted]"]);
        }
    }
    // Of all that is wrong, a status tells the worst.
    reached("a status", &["the kubernetes api answered", "[redacted]"]);
    reached("a status", &["talk.service", "[redacted]"]);
    reached("the log", &["listing the guests", "[redacted]"]);
    reached("holdfast plan, standard output", &["[redacted]"]);
}

/// The tokens that Vault gave, by what it repeated.
fn vault_tokens(home: &Home) -> Vec<String> {
    let echoes = home.vault.wire.echoes();
    let words =
        echoes.iter().flat_map(|echo| echo.split([' ', '?'])).filter(|word| word.starts_with("s.lab"));
    let tokens: BTreeSet<String> = words.map(str::to_owned).collect();
    assert!(!tokens.is_empty(), "vault repeated its token: {echoes:?}");
    tokens.into_iter().collect()
}

fn none_holds(told: &[(String, Vec<u8>)], canaries: &[String]) {
    let forms: BTreeSet<String> = canaries.iter().flat_map(|canary| forms(canary)).collect();
    for (place, bytes) in told {
        let text = String::from_utf8_lossy(bytes);
        for form in &forms {
            let at = text.find(form.as_str());
            assert!(at.is_none(), "`{form}` is in {place}: {text}");
        }
    }
}
