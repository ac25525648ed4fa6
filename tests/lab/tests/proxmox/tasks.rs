//! Tasks: their names, states, logs, and who sees them.

use std::time::Duration;

use holdfast_lab::proxmox::{CONVERGE_GUESTS, TaskMode};

use super::{Lab, furnished};

const START: &str = "/nodes/pve1/qemu/100/status/start";

fn path(node: &str, upid: &str, what: &str) -> String {
    format!("/nodes/{node}/tasks/{}{what}", upid.replace(':', "%3A").replace('!', "%21"))
}

#[tokio::test]
async fn a_task_is_named_by_a_real_upid_and_runs_for_a_while() {
    let lab = Lab::start().await;
    lab.pve.next_task("qmstart", TaskMode::Hold);
    let upid = lab.post(START, &[]).await.text();
    let parts: Vec<_> = upid.split(':').collect();
    assert_eq!(
        (parts.len(), parts[0], parts[1], parts[5], parts[6], parts[7]),
        (9, "UPID", "pve1", "qmstart", "100", super::TOKEN)
    );
    assert!(parts[2..5].iter().all(|part| part.len() == 8));
    let status = lab.get(&path("pve1", &upid, "/status")).await.data();
    assert_eq!((&status["status"], status.get("exitstatus")), (&"running".into(), None));
    assert_eq!((&status["user"], &status["tokenid"]), (&"holdfast@pve".into(), &"main".into()));
    let active = lab.get("/nodes/pve1/tasks?source=active&vmid=100").await.data();
    assert_eq!(active[0]["status"], "RUNNING");
    assert_eq!(lab.get("/nodes/pve1/tasks").await.data().as_array().map(Vec::len), Some(0));
    lab.pve.release_tasks();
    assert_eq!(lab.exit(&upid).await, "OK");
    let said = lab.get(&path("pve1", &upid, "/log?limit=0")).await;
    assert_eq!(said.body["total"], 1);
    assert_eq!(said.data()[0]["t"], "TASK OK");
    assert_eq!(lab.get("/nodes/pve1/tasks?typefilter=qmstart").await.data()[0]["status"], "OK");
}

#[tokio::test]
async fn a_task_ends_as_ordered() {
    let lab = Lab::start().await;
    lab.pve.fail_task_next("qmstart", "start failed: no luck");
    lab.pve.next_task("qmstart", TaskMode::Warn);
    assert_eq!(lab.task("POST", START, &[]).await, "start failed: no luck");
    assert!(lab.pve.guest(100).is_some_and(|guest| !guest.running));
    let upid = lab.post(START, &[]).await.text();
    assert_eq!(lab.exit(&upid).await, "WARNINGS: 1");
    assert!(lab.pve.guest(100).is_some_and(|guest| guest.running));
    let rows = lab.get(&path("pve1", &upid, "/log")).await.data();
    assert_eq!(
        rows.as_array().and_then(|rows| rows.last()).map(|row| &row["t"]),
        Some(&"TASK WARNINGS: 1".into())
    );
    lab.pve.next_task("qmstop", TaskMode::Lost { done: true });
    let upid = lab.post("/nodes/pve1/qemu/100/status/stop", &[]).await.text();
    assert_eq!(lab.exit(&upid).await, "unexpected status");
    assert_eq!(
        lab.get(&path("pve1", &upid, "/log")).await.data().as_array().map(Vec::len),
        Some(0),
        "no closing line"
    );
}

#[tokio::test]
async fn a_task_is_read_on_the_node_that_it_names() {
    let lab = Lab::start().await;
    lab.pve.next_task("qmstart", TaskMode::OnNode("pve2".into()));
    let upid = lab.post(START, &[]).await.text();
    assert!(upid.starts_with("UPID:pve2:"), "{upid}");
    assert_eq!(lab.exit(&upid).await, "OK");
    assert_eq!(lab.get(&path("pve1", &upid, "/status")).await.error("upid"), "no such task");
    assert_eq!(
        lab.get("/nodes/pve1/tasks/UPID%3Abogus/status").await.error("upid"),
        "unable to parse worker upid"
    );
}

#[tokio::test]
async fn an_aborted_task_undoes_what_it_began() {
    let lab = Lab::start().await;
    lab.pve.hold_tasks();
    let upid = lab.post("/nodes/pve1/qemu/9000/clone", &[("newid", "101"), ("full", "1")]).await.text();
    assert_eq!(lab.delete(&path("pve1", &upid, "")).await.status, 200);
    assert_eq!(lab.exit(&upid).await, "interrupted by signal");
    assert_eq!(lab.pve.guest(101), None);
}

#[tokio::test]
async fn a_token_sees_its_own_tasks_and_its_user_both() {
    let blind: Vec<_> = CONVERGE_GUESTS.iter().copied().filter(|it| *it != "Sys.Audit").collect();
    let builder = furnished()
        .token("two@pve!a", "a", &blind)
        .bare_token("two@pve!b", "b", false)
        .task_time(Duration::from_millis(1));
    let lab = Lab::with(builder).await;
    let (a, b) = (lab.as_token("two@pve!a", "a"), lab.as_token("two@pve!b", "b"));
    let upid = a.post(START, &[]).await.text();
    assert_eq!(a.exit(&upid).await, "OK");
    assert_eq!(a.get("/nodes/pve1/tasks").await.data().as_array().map(Vec::len), Some(1));
    assert_eq!(b.get("/nodes/pve1/tasks").await.data().as_array().map(Vec::len), Some(0));
    let said = b.get(&path("pve1", &upid, "/status")).await;
    assert_eq!(
        (said.status, said.reason.as_str()),
        (403, "Permission check failed (/nodes/pve1, Sys.Audit)")
    );
    assert_eq!(lab.get(&path("pve1", &upid, "/status")).await.status, 200, "an auditor sees all");
}
