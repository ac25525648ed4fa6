//! Crashes, broken connections and plans that were overtaken.

use holdfast_core::kind::{Seen, StepResult};
use serde_json::json;

use crate::tree::Shell;
use crate::world::{World, failure, parts, steps};

#[tokio::test]
async fn a_crash_at_any_write_is_continued_without_a_trace() {
    let Some(world) = World::new(Shell::Dash).await else { return };
    for k in 1.. {
        world.tree.reset();
        let spec = world.spec(parts("port 80\n"));
        world.tree.write("/var/fake/crash-at", &k.to_string());
        let first = steps(&world, &spec).await;
        let results = world.apply(&first).await;
        if world.tree.path("/var/fake/crash-at").exists() {
            assert!(k > 15, "only {k} places to crash at were found");
            return;
        }
        assert!(failure(&results).is_unavailable(), "crash {k}: {results:?}");
        world.converge(&spec).await;
        assert_eq!(world.tree.read("/var/fake/unit/web.service/runs-with"), "port 80\n", "crash {k}");
        for folder in ["/etc", "/srv/web", "/var/lib/holdfast"] {
            for entry in std::fs::read_dir(world.tree.path(folder)).unwrap() {
                let file = entry.unwrap().file_name().into_string().unwrap();
                assert!(!file.starts_with('.'), "crash {k} left {folder}/{file}");
            }
        }
        // All that was made is known as ours: it would go if the manifest dropped it.
        let lines: Vec<String> =
            steps(&world, &world.spec(json!({}))).await.into_iter().map(|step| step.text).collect();
        assert_eq!(
            lines,
            [
                "stop web.service",
                "disable web.service",
                "remove /etc/systemd/system/web.service",
                "remove /etc/web.conf",
                "remove /srv/web/it's $a file",
                "remove /srv/web/password",
                "reload systemd",
                "remove directory /srv/web",
                "let go of package curl, service web.service",
            ],
            "crash {k}"
        );
    }
}

#[tokio::test]
async fn a_restart_that_did_not_happen_stays_owed() {
    let Some(world) = World::new(Shell::Dash).await else { return };
    world.converge(&world.spec(parts("port 80\n"))).await;
    let spec = world.spec(parts("port 81\n"));
    // The file is written, the ledger saved, and then the machine is gone.
    for k in 1..40 {
        world.tree.write("/var/fake/crash-at", &k.to_string());
        world.apply(&steps(&world, &spec).await).await;
        if world.tree.read("/etc/web.conf") == "port 81\n" {
            break;
        }
    }
    assert_eq!(world.tree.read("/var/fake/unit/web.service/runs-with"), "port 80\n");
    assert_eq!(world.converge(&spec).await, ["restart web.service (it is owed since an earlier run)"]);
    assert_eq!(world.tree.read("/var/fake/unit/web.service/runs-with"), "port 81\n");
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_leaves_a_change_that_ends_by_itself() {
    let Some(world) = World::new(Shell::Dash).await else { return };
    let spec = world.spec(parts("x"));
    world.tree.write("/var/fake/apt-hangs", "");
    world.tree.write("/var/fake/repository/late", "");
    let planned = steps(&world, &spec).await;
    let (results, ()) = tokio::join!(world.apply(&planned), async {
        world.until(|tree| tree.read("/var/fake/log").contains("apt-get")).await;
        world.cut();
    });
    assert!(failure(&results).is_unavailable(), "{results:?}");
    assert_eq!(results[1], StepResult::NotRun);
    let Seen::Unknown(error) = world.look(&spec).await else { panic!("it was seen while it changes") };
    assert!(
        error.is_unavailable() && error.to_string().contains("an earlier change is still running"),
        "{error}"
    );
    std::fs::remove_file(world.tree.path("/var/fake/apt-hangs")).unwrap();
    world.until(|tree| tree.read("/var/fake/log").contains("systemctl start")).await;
    world
        .until(|tree| tree.read("/var/lib/holdfast/ledger").contains("service web.service\texisted\t"))
        .await;
    let mut lines = None;
    for _ in 0..100 {
        if let Seen::Present { .. } = world.look(&spec).await {
            lines = Some(world.converge(&spec).await);
            break;
        }
    }
    assert_eq!(lines, Some(Vec::new()), "the change that was cut off had come to its end");
}

#[tokio::test]
async fn a_connection_that_went_stale_is_opened_again_without_a_word() {
    let Some(world) = World::new(Shell::Dash).await else { return };
    let spec = world.spec(parts("x"));
    world.converge(&spec).await;
    world.cut();
    assert!(world.converge(&spec).await.is_empty());
}

#[tokio::test]
async fn a_plan_that_was_overtaken_changes_nothing() {
    let Some(world) = World::new(Shell::Dash).await else { return };
    let spec = world.spec(parts("x"));
    let old = steps(&world, &spec).await;
    world.converge(&spec).await;
    world.tree.log();
    let results = world.apply(&old).await;
    let error = failure(&results);
    assert!(
        error.is_unavailable() && error.to_string().contains("ledger changed since it was looked at"),
        "{error}"
    );
    assert!(world.tree.log().is_empty());
    let changed = world.spec(parts("y"));
    let planned = steps(&world, &changed).await;
    world.tree.write("/etc/web.conf", "somebody was faster\n");
    let results = world.apply(&planned).await;
    assert!(failure(&results).to_string().contains("not what it was when it was looked at"));
    assert_eq!(world.tree.read("/etc/web.conf"), "somebody was faster\n");
}

#[tokio::test]
async fn a_directory_that_somebody_uses_since_the_look_stays_without_a_person() {
    for shell in [Shell::Dash, Shell::Bash, Shell::Busybox] {
        let Some(world) = World::new(shell).await else { return };
        let nothing = world.spec(json!({}));
        world.converge(&world.spec(json!({ "directories": [{ "path": "/srv/ours" }] }))).await;
        let late = steps(&world, &nothing).await;
        world.tree.write("/srv/ours/.theirs", "kept\n");
        let results = world.apply(&late).await;
        let error = failure(&results);
        assert!(error.is_unavailable() && error.to_string().contains("something is in it"), "{error}");
        world.converge(&nothing).await;
        assert_eq!(world.tree.read("/srv/ours/.theirs"), "kept\n");
    }
}
