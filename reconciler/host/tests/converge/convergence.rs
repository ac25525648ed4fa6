//! What a host becomes, what a second run costs, and what is refused.

use holdfast_core::kind::{Next, Owner, Seen, StepResult};
use serde_json::{Value, json};

use crate::tree::Shell;
use crate::world::{SECRET, World, failure, name, parts, steps};

async fn converges(shell: Shell) {
    let Some(world) = World::new(shell).await else { return };
    let spec = world.spec(parts("port 80\n"));
    let lines = world.converge(&spec).await;
    assert_eq!(
        lines,
        [
            "install curl",
            "make directory /srv/web (0750 root:web)",
            "create /etc/systemd/system/web.service (0644 root:root)",
            "create /etc/web.conf (0640 root:web)",
            "create /srv/web/it's $a file (0644 root:root)",
            "create /srv/web/password (0600 33:root)",
            "reload systemd",
            "enable web.service",
            "start web.service",
        ]
    );
    assert_eq!(world.execs(), 3, "one to look, one to change, one to look again");
    assert_eq!(world.tree.read("/srv/web/it's $a file"), "quote ' and \"\\ and `x` and $y\n\n");
    assert_eq!(world.tree.read("/srv/web/password"), SECRET);
    assert_eq!(world.tree.read("/var/fake/unit/web.service/runs-with"), "port 80\n");
    assert_eq!(
        world.tree.log(),
        [
            "apt-get install curl",
            "systemctl daemon-reload ",
            "systemctl enable web.service",
            "systemctl reset-failed web.service",
            "systemctl start web.service"
        ]
    );

    let before = world.tree.read("/var/lib/holdfast/ledger");
    assert!(world.converge(&spec).await.is_empty());
    assert_eq!((world.execs(), world.tree.log().len()), (1, 0), "a second run only looks, once");
    assert_eq!(world.tree.read("/var/lib/holdfast/ledger"), before);

    let changed = world.spec(parts("port 8080\n"));
    assert_eq!(
        world.converge(&changed).await,
        ["replace /etc/web.conf (0640 root:web)", "restart web.service (/etc/web.conf changes)"]
    );
    assert_eq!(world.tree.read("/var/fake/unit/web.service/runs-with"), "port 8080\n");
}

#[tokio::test]
async fn a_host_converges_with_dash_and_then_rests() {
    converges(Shell::Dash).await;
}

#[tokio::test]
async fn a_host_converges_with_bash_and_then_rests() {
    converges(Shell::Bash).await;
}

#[tokio::test]
async fn a_host_converges_with_busybox_and_then_rests() {
    converges(Shell::Busybox).await;
}

#[tokio::test]
async fn another_host_key_than_the_pinned_one_is_refused_before_anything_is_sent() {
    let Some(world) = World::new(Shell::Dash).await else { return };
    let mut spec = world.spec(parts("x"));
    let pinned = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPf+IuJYOEeLE8Np0c0jEHrnYfqXNt6T4XZcLEqmGKUo";
    spec["connection"]["hostKey"] = json!(pinned);
    let Seen::Unknown(error) = world.look(&spec).await else { panic!("it was looked at") };
    let text = error.to_string();
    assert!(!error.is_unavailable(), "{text}");
    assert!(text.contains("the host key of 10.0.0.1 changed: pin its new key"), "{text}");
    assert!(text.contains("offered SHA256:") && text.contains("pin its new key"), "{text}");
    assert_eq!(world.execs(), 0);
}

#[tokio::test]
async fn what_leaves_the_manifest_goes_unless_somebody_changed_it() {
    let Some(world) = World::new(Shell::Dash).await else { return };
    world.tree.write("/etc/theirs", "x");
    let mut all = parts("x");
    all["files"].as_array_mut().unwrap().push(json!({ "path": "/etc/theirs", "content": "y" }));
    world.converge(&world.spec(all)).await;
    let left = world.spec(json!({}));
    world.tree.write("/srv/web/password", "somebody else's");
    let lines = match world.next(&left).await {
        Next::Do(steps) => {
            let results = world.apply(&steps).await;
            assert!(results.iter().all(|result| *result == StepResult::DONE), "{results:?}");
            steps.into_iter().map(|step| step.text).collect::<Vec<_>>()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(
        lines,
        [
            "stop web.service",
            "disable web.service",
            "remove /etc/systemd/system/web.service",
            "remove /etc/web.conf",
            "remove /srv/web/it's $a file",
            "reload systemd",
            "let go of file /etc/theirs, package curl, service web.service",
        ]
    );
    assert_eq!(world.tree.read("/etc/theirs"), "y", "what was there before us stays");
    let Next::Refuse(refusal) = world.next(&left).await else { panic!("the conflict is not told") };
    assert!(refusal.why.contains("`/srv/web/password` left the manifest, but somebody changed it"));
    std::fs::remove_file(world.tree.path("/srv/web/password")).unwrap();
    assert_eq!(
        world.converge(&left).await,
        ["remove directory /srv/web", "let go of file /srv/web/password"]
    );
    assert!(!world.tree.path("/srv/web").exists());
    assert!(world.converge(&left).await.is_empty());
}

#[tokio::test]
async fn no_secret_shows_in_a_plan_an_error_or_the_ledger() {
    let Some(world) = World::new(Shell::Dash).await else { return };
    let mut broken = parts("x");
    broken["files"][0]["content"] = json!("[Service]\nExecStart=/bin/false\n");
    let spec = world.spec(broken);
    world.tree.write("/var/fake/journal", &format!("could not log in with {SECRET} as web\n"));
    let planned = steps(&world, &spec).await;
    let results = world.apply(&planned).await;
    let error = failure(&results).to_string();
    assert!(!failure(&results).is_unavailable());
    assert!(
        error.contains("start web.service: it is failed") && error.contains("with (secret) as web"),
        "{error}"
    );
    let seen = format!("{:?}", world.look(&spec).await);
    let plan = serde_json::to_string(&planned).unwrap();
    for text in [&error, &seen, &plan, &world.tree.read("/var/lib/holdfast/ledger")] {
        assert!(!text.contains(SECRET) && !text.contains("horse"), "{text}");
    }
    // Once the unit is repaired, its start is still owed.
    let fixed = world.spec(parts("x"));
    let lines = world.converge(&fixed).await;
    assert!(lines.contains(&"start web.service".to_owned()), "{lines:?}");
}

#[tokio::test]
async fn a_lost_ledger_is_begun_anew_and_what_it_named_is_let_go_in_words() {
    let Some(world) = World::new(Shell::Dash).await else { return };
    let file = |content: &str| json!({ "path": "/etc/motd", "content": content });
    let one = |content: &str| world.spec(json!({ "files": [file(content)] }));
    let spec = one("hello\n");
    assert_eq!(world.converge(&spec).await, ["create /etc/motd (0644 root:root)"]);
    std::fs::remove_file(world.tree.path("/var/lib/holdfast/ledger")).unwrap();
    assert_eq!(world.converge(&spec).await, ["mark the host as managed by Holdfast"]);
    assert!(world.converge(&spec).await.is_empty(), "and that is all");
    let ledger = world.tree.read("/var/lib/holdfast/ledger");
    assert!(ledger.contains("file /etc/motd\texisted\t5891b5b522d5df08"), "{ledger}");
    assert_eq!(world.converge(&one("hi\n")).await, ["replace /etc/motd (0644 root:root)"]);
    assert_eq!(world.converge(&world.spec(json!({}))).await, ["let go of file /etc/motd"]);
    assert_eq!(world.tree.read("/etc/motd"), "hi\n", "it may have been there before us");

    // Parts that have to be changed as well are told the ledger by what changes them.
    std::fs::remove_file(world.tree.path("/var/lib/holdfast/ledger")).unwrap();
    let two = world.spec(json!({ "files": [file("hi\n"), { "path": "/etc/issue", "content": "hey\n" }] }));
    assert_eq!(
        world.converge(&two).await,
        ["mark the host as managed by Holdfast", "create /etc/issue (0644 root:root)"]
    );
    let ledger = world.tree.read("/var/lib/holdfast/ledger");
    assert!(
        ledger.contains("file /etc/issue\tcreated") && ledger.contains("file /etc/motd\texisted"),
        "{ledger}"
    );
}

#[tokio::test]
async fn marks_tell_whose_a_host_is() {
    let Some(world) = World::new(Shell::Dash).await else { return };
    let spec = world.spec(parts("x"));
    let owner = |seen: Seen<Value>| match seen {
        Seen::Present { owner, .. } => owner,
        other => panic!("{other:?}"),
    };
    assert_eq!(owner(world.look(&spec).await), Owner::Nobody);
    world.converge(&spec).await;
    assert!(matches!(owner(world.look(&spec).await), Owner::Ours(id) if id.name == name()));
    let ledger = world.tree.read("/var/lib/holdfast/ledger");
    world.tree.write("/var/lib/holdfast/ledger", &ledger.replace("home/core/", "home/other/"));
    assert_eq!(owner(world.look(&spec).await), Owner::Other("home/other/Host/web".to_owned()));
    world.tree.write("/var/lib/holdfast/ledger", &ledger);
    world.tree.write("/etc/machine-id", "ffffffffffffffffffffffffffffffff\n");
    let look = world.look_all(&spec).await;
    assert!(look.notices[0].contains("carries the ledger of another machine"), "{:?}", look.notices);
    assert_eq!(owner(look.seen[&name()].clone()), Owner::Copied);
    world.tree.write("/var/lib/holdfast/ledger", "torn");
    let Seen::Unknown(error) = world.look(&spec).await else { panic!("a torn ledger was taken") };
    assert!(error.to_string().contains("its ledger is not usable"), "{error}");
}

#[tokio::test]
async fn apt_waits_for_its_lock_and_looks_for_what_it_does_not_know() {
    let Some(world) = World::new(Shell::Dash).await else { return };
    let spec = world.spec(json!({ "packages": ["late"] }));
    world.tree.write("/var/fake/apt-locked", "");
    let results = world.apply(&steps(&world, &spec).await).await;
    let error = failure(&results);
    assert!(error.is_unavailable() && error.to_string().contains("process 42 (unattended-upgr)"), "{error}");
    std::fs::remove_file(world.tree.path("/var/fake/apt-locked")).unwrap();
    world.converge(&spec).await;
    let unknown = world.spec(json!({ "packages": ["nowhere"] }));
    let results = world.apply(&steps(&world, &unknown).await).await;
    let error = failure(&results);
    assert!(
        !error.is_unavailable() && error.to_string().contains("Unable to locate package nowhere"),
        "{error}"
    );
}

#[tokio::test]
async fn a_unit_that_its_package_started_is_restarted_with_the_files_of_the_manifest() {
    let Some(world) = World::new(Shell::Dash).await else { return };
    world.tree.write("/var/fake/repository/web", "");
    world.tree.write("/var/fake/repository/web.service", "[Service]\nExecStart=/bin/web\n");
    let spec = world.spec(json!({
        "packages": ["web"],
        "files": [{ "path": "/etc/web.conf", "content": "port 80\n" }],
        "services": [{ "name": "web.service", "restartOn": ["/etc/web.conf"] }],
    }));
    let lines = world.converge(&spec).await;
    assert_eq!(lines.last().unwrap(), "start web.service");
    assert_eq!(world.tree.read("/var/fake/unit/web.service/runs-with"), "port 80\n");
    assert!(world.converge(&spec).await.is_empty());
}

#[tokio::test]
async fn what_the_host_refuses_is_told_with_the_way_out() {
    let Some(world) = World::new(Shell::Dash).await else { return };
    let spec = world.spec(json!({ "files": [{ "path": "/srv/no/file", "content": "x" }] }));
    let results = world.apply(&steps(&world, &spec).await).await;
    assert!(
        failure(&results).to_string().contains("`/srv/no` does not exist: declare it under `directories`")
    );
    let spec =
        world.spec(json!({ "files": [{ "path": "/srv/file", "content": "x", "owner": "nobody-here" }] }));
    let results = world.apply(&steps(&world, &spec).await).await;
    assert!(failure(&results).to_string().contains("nobody-here"), "{results:?}");
    assert_eq!(std::fs::read_dir(world.tree.path("/srv")).unwrap().count(), 0, "nothing is left half done");
    std::fs::remove_file(world.tree.path("/usr/bin/sha256sum")).unwrap();
    let Seen::Unknown(error) = world.look(&spec).await else { panic!("it was seen without its tools") };
    assert!(!error.is_unavailable() && error.to_string().contains("it lacks sha256sum"), "{error}");
}
