//! The HTTP layer: who asks, what is taken, how refusals look.

use std::time::{Duration, Instant};

use holdfast_lab::http::{Fault, Moment};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Lab, SECRET, TOKEN, listen};

#[tokio::test]
async fn a_wrong_secret_gets_a_late_401_without_a_body() {
    let lab = Lab::start().await;
    lab.pve.set_delays(Duration::from_millis(120), Duration::ZERO, Duration::ZERO);
    let begin = Instant::now();
    let said = lab.as_token(TOKEN, "wrong").get("/version").await;
    assert!(begin.elapsed() >= Duration::from_millis(120));
    assert_eq!((said.status, said.reason.as_str(), said.closed), (401, "Authentication failed!", true));
    assert!(said.body.is_null());
    let bare =
        lab.client.get(format!("{}/api2/json/version", lab.pve.url())).send().await.expect("it answers");
    assert_eq!(listen(bare).await.reason, "No ticket");
    assert_eq!(lab.get("/version").await.data()["release"], "9.1");
}

#[tokio::test]
async fn the_token_may_follow_a_space_and_be_escaped() {
    let lab = Lab::start().await;
    for value in [
        format!("PVEAPIToken {TOKEN}={SECRET}"),
        format!("PVEAPIToken={}={SECRET}", TOKEN.replace('!', "%21")),
    ] {
        let url = format!("{}/api2/json/version", lab.pve.url());
        let answer = lab.client.get(url).header("authorization", value).send().await.expect("it answers");
        assert_eq!(answer.status(), 200);
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_501() {
    let lab = Lab::start().await;
    let said = lab.get("/bogus").await;
    assert_eq!(
        (said.status, said.reason.as_str(), said.closed),
        (501, "Method 'GET /bogus' not implemented", true)
    );
    assert_eq!(said.message(), "Method 'GET /bogus' not implemented\n");
    assert_eq!(lab.send("PUT", "/version", &[]).await.status, 501);
}

#[tokio::test]
async fn a_body_is_only_for_put_and_post() {
    let lab = Lab::start().await;
    let said = lab.send("DELETE", "/nodes/pve1/qemu/100", &[("purge", "1")]).await;
    assert_eq!((said.status, said.message()), (501, "Unexpected content for method 'DELETE'\n"));
    let address = lab.pve.url().replace("http://", "");
    let mut raw = tokio::net::TcpStream::connect(&address).await.expect("the simulator listens");
    let request = format!(
        "PUT /api2/json/nodes/pve1/qemu/100/config HTTP/1.1\r\nHost: {address}\r\nAuthorization: {}\r\n\
         Transfer-Encoding: chunked\r\n\r\n7\r\ncores=2\r\n0\r\n\r\n",
        lab.authorization
    );
    raw.write_all(request.as_bytes()).await.expect("the simulator reads");
    let mut answer = String::new();
    raw.read_to_string(&mut answer).await.expect("the simulator answers, and closes the connection");
    assert!(answer.starts_with("HTTP/1.1 501 chunked transfer encoding not supported\r\n"), "{answer}");
    let long = "x".repeat(600 * 1024);
    let said = lab.send("PUT", "/nodes/pve1/qemu/100/config", &[("description", &long)]).await;
    assert_eq!((said.status, said.message()), (501, "for data too large\n"));
    let request = lab
        .request("POST", "/nodes/pve1/qemu/100/config")
        .header("content-type", "text/plain")
        .body("cores=2");
    assert_eq!(lab.say(request).await.status, 506);
}

#[tokio::test]
async fn forms_are_decoded_the_servers_way() {
    let lab = Lab::start().await;
    let raw = |body: &'static str| {
        let kind = "application/x-www-form-urlencoded";
        lab.request("PUT", "/nodes/pve1/qemu/100/config").header("content-type", kind).body(body)
    };
    // What follows a second `=` is lost, `;` ends a pair, and `+` is a space.
    let said = lab.say(raw("description=a=b;name=new+er")).await;
    assert_eq!(said.error("name"), "invalid format - value does not look like a valid DNS name\n");
    assert_eq!(lab.say(raw("description=a=b;onboot=1")).await.status, 200);
    let config = lab.config(100).await;
    assert_eq!((&config["description"], &config["onboot"]), (&json!("a"), &json!(1)));
    let said = lab.say(raw("cores=2&cores=3")).await;
    assert_eq!(said.error("cores"), "type check ('integer') failed - got ARRAY");
}

#[tokio::test]
async fn json_bodies_take_booleans_and_numbers() {
    let lab = Lab::start().await;
    let request = lab.request("PUT", "/nodes/pve1/qemu/100/config");
    assert_eq!(lab.say(request.json(&json!({ "onboot": true, "cores": 4 }))).await.status, 200);
    let config = lab.config(100).await;
    assert_eq!((&config["onboot"], &config["cores"]), (&json!(1), &json!(4)));
}

#[tokio::test]
async fn all_wrong_parameters_come_in_one_answer() {
    let lab = Lab::start().await;
    let form = [
        ("cores", "two"),
        ("sockets", "0"),
        ("cpulimit", "200"),
        ("onboot", "yes"),
        ("ostype", "beos"),
        ("bogus", "1"),
        ("net0", "model=virtio,vlan=3"),
        ("net1", "bridge=vmbr0"),
        ("ipconfig0", "gw=10.0.0.1"),
        ("tags", "good,b@d"),
        ("sshkeys", "a b"),
        ("vmgenid", "x"),
        ("agent", "enabled=maybe"),
    ];
    let said = lab.post("/nodes/pve1/qemu/100/config", &form).await;
    assert_eq!((said.status, said.reason.as_str()), (400, "Parameter verification failed."));
    assert_eq!(said.message(), "Parameter verification failed.\n");
    let expected = json!({
        "cores": "type check ('integer') failed - got 'two'",
        "sockets": "value must have a minimum value of 1",
        "cpulimit": "value must have a maximum value of 128",
        "onboot": "type check ('boolean') failed - got 'yes'",
        "ostype": "value 'beos' does not have a value in the enumeration 'other, wxp, w2k, w2k3, w2k8, wvista, win7, win8, win10, win11, l24, l26, solaris'",
        "bogus": "property is not defined in schema and the schema does not allow additional properties",
        "net0": "invalid format - invalid key in comma-separated list property: vlan\n",
        "net1": "invalid format - format error\nnet1.model: property is missing and it is not optional\n",
        "ipconfig0": "invalid format - format error\nipconfig0.ip: missing property required by 'ipconfig0.gw'\n",
        "tags": "invalid format - invalid characters in tag\n",
        "sshkeys": "invalid format - invalid urlencoded string: a b\n",
        "vmgenid": "value does not match the regex pattern",
        "agent": "invalid format - format error\nagent.enabled: type check ('boolean') failed - got 'maybe'\n",
    });
    assert_eq!(said.body["errors"], expected);
    assert_eq!(lab.pve.world().tasks, [], "nothing was started");
}

#[tokio::test]
async fn a_parameter_of_the_path_may_not_be_contradicted() {
    let lab = Lab::start().await;
    let said = lab.post("/nodes/pve1/qemu/100/config", &[("vmid", "101"), ("cores", "2")]).await;
    assert_eq!(said.status, 400);
    assert_eq!(said.error("vmid"), "duplicate parameter (already defined in URI) with conflicting values!");
    let said = lab.get("/nodes/pve1/qemu/99/config").await;
    assert_eq!((said.status, said.error("vmid")), (400, "value must have a minimum value of 100"));
    assert_eq!(
        lab.get("/cluster/nextid?vmid=99").await.error("vmid"),
        "value must have a minimum value of 100"
    );
}

#[tokio::test]
async fn nodes_that_cannot_be_reached_answer_595_596_or_500() {
    let lab = Lab::start().await;
    lab.pve.set_node_online("pve2", false);
    lab.pve.resolve("nas");
    let said = lab.get("/nodes/pve2/qemu").await;
    assert_eq!((said.status, said.reason.as_str()), (595, "No route to host"));
    assert!(said.body.is_null());
    assert_eq!(lab.get("/nodes/nas/qemu").await.status, 596);
    let said = lab.get("/nodes/pve9/qemu").await;
    assert_eq!(said.status, 500);
    assert!(said.message().starts_with("hostname lookup 'pve9' failed - "), "{said:?}");
    let listed = lab.get("/cluster/resources?type=vm").await.data();
    assert!(
        listed.as_array().is_some_and(|rows| rows.iter().any(|row| row["vmid"] == 200)),
        "its guests stay listed"
    );
    assert_eq!(lab.get("/nodes").await.data()[1]["status"], "offline");
}

#[tokio::test]
async fn without_quorum_reads_work_and_writes_do_not() {
    let lab = Lab::start().await;
    lab.pve.set_quorate(false);
    assert_eq!(lab.get("/nodes/pve1/qemu/100/config").await.status, 200);
    let said = lab.send("PUT", "/nodes/pve1/qemu/100/config", &[("cores", "2")]).await;
    assert_eq!((said.status, said.message()), (500, "cluster not ready - no quorum?\n"));
    assert_eq!(lab.get("/cluster/status").await.data()[0]["quorate"], 0);
}

#[tokio::test]
async fn extjs_always_answers_200() {
    let lab = Lab::start().await;
    let url = format!("{}/api2/extjs/nodes/pve1/qemu/555/config", lab.pve.url());
    let answer =
        lab.client.get(url).header("authorization", &lab.authorization).send().await.expect("it answers");
    let said = listen(answer).await;
    assert_eq!((said.status, &said.body["success"], &said.body["status"]), (200, &json!(0), &json!(500)));
}

#[tokio::test]
async fn the_wire_counts_and_disturbs() {
    let lab = Lab::start().await;
    lab.wire.reset();
    let (send, seen) = std::sync::mpsc::channel();
    lab.wire.watch(move |request, moment| {
        if moment == Moment::After {
            drop(send.send(request.uri.clone()));
        }
    });
    lab.wire.fail_next(|request| request.method == "POST", Fault::CutAfter);
    let path = "/nodes/pve1/qemu/100/status/start";
    let cut = lab.request("POST", path).send().await;
    assert!(cut.is_err() || cut.expect("it was just seen").text().await.is_err());
    assert_eq!(lab.wire.writes().len(), 1);
    assert_eq!(seen.recv().expect("the watcher was called"), format!("/api2/json{path}"));
    // Nobody heard of it, but it happened.
    assert!(lab.pve.idle(super::PATIENCE).await);
    assert!(lab.pve.guest(100).is_some_and(|guest| guest.running));
}
