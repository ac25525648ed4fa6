//! The client against a server that speaks real HTTP (and TLS) on loopback.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use holdfast_core::kind::TargetError;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

use super::Client;
use super::errors::ApiError;
use super::testing::{Fake, Reply, died, settings};

const UPID: &str = "UPID:pve2:0003C9A1:0A3F5C21:66F1A2B3:qmclone:9000:holdfast@pve!main:";
const LIMIT: Duration = Duration::from_secs(10);

#[tokio::test]
async fn the_token_and_the_parameters_go_where_the_api_reads_them() {
    let fake = Fake::start(|_| Reply::Data(json!(1))).await;
    let http = fake.client();
    let pairs = [("net0", "virtio,bridge=vmbr0;a"), ("x", "a+b")];
    http.http().get("/version", &pairs).await.unwrap();
    http.http().delete("/nodes/pve1/qemu/101", &[("purge", "1")]).await.unwrap();
    http.http().post("/nodes/pve1/qemu/101/config", &pairs).await.unwrap();
    http.http().post("/nodes/pve1/qemu/101/status/start", &[]).await.unwrap();
    let requests = fake.requests();
    assert_eq!(requests[0].line(), "GET /version?net0=virtio%2Cbridge%3Dvmbr0%3Ba&x=a%2Bb");
    assert_eq!(requests[1].line(), "DELETE /nodes/pve1/qemu/101?purge=1");
    assert_eq!(requests[2].body, "net0=virtio%2Cbridge%3Dvmbr0%3Ba&x=a%2Bb");
    assert_eq!(requests[2].header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(requests[3].header("content-length"), Some("0"));
    for request in &requests {
        assert_eq!(request.header("authorization"), Some("PVEAPIToken=holdfast@pve!main=0f9c2b1e"));
        assert_eq!(request.header("transfer-encoding"), None, "chunks are refused");
    }
    assert!(requests[0].body.is_empty() && requests[1].body.is_empty(), "a body there is refused");
}

#[tokio::test]
async fn why_it_was_refused_is_read_from_the_body_or_from_the_reason_phrase() {
    let fake = Fake::start(|request| match request.target.as_str() {
        "/body" => Reply::Status(
            403,
            "Forbidden",
            json!({ "message": "Permission check failed (/vms/100, VM.Audit)\n" }),
        ),
        "/phrase" => Reply::Status(500, "can't lock file '/x' - got timeout", Value::Null),
        "/401" => Reply::Status(401, "Authentication failed!", Value::Null),
        "/595" => Reply::Status(595, "No route to host", Value::Null),
        "/596" => Reply::Status(596, "error:0A000086:SSL routines::certificate verify failed", Value::Null),
        _ => Reply::Status(
            400,
            "Parameter verification failed.",
            json!({ "message": "Parameter verification failed.\n", "errors": { "cores": "bad\n" } }),
        ),
    })
    .await;
    let client = fake.client();
    let error = async |path: &str| client.http().get(path, &[]).await.unwrap_err().during("x");
    assert!(error("/body").await.to_string().contains("lacks `VM.Audit` on `/vms/100`"));
    let locked = error("/phrase").await;
    assert!(locked.is_unavailable() && locked.to_string() == "x: can't lock file '/x' - got timeout");
    let credentials = error("/401").await;
    assert!(!credentials.is_unavailable() && credentials.to_string().contains("Authentication failed!"));
    let far = error("/595").await;
    assert!(far.is_unavailable() && far.to_string().contains("No route to host"), "{far}");
    let riddle = error("/596").await;
    assert!(riddle.to_string().contains("does not trust it"), "{riddle}");
    assert_eq!(error("/400").await.to_string(), "x: Parameter verification failed. `cores`: bad");
}

#[tokio::test]
async fn a_read_is_asked_again_where_its_connection_was_being_closed_and_a_write_never() {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let fake = Fake::start(move |request| match seen.fetch_add(1, Ordering::SeqCst) {
        1 => Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"data\":".to_vec()),
        2 if request.method == "GET" => Reply::Data(json!("there")),
        _ => Reply::Cut,
    })
    .await;
    let client = fake.client();
    assert!(client.http().get("/a", &[]).await.unwrap_err().is_broken(), "twice is no race any more");
    assert_eq!(client.http().get("/a", &[]).await.unwrap(), json!("there"));
    let error = client.http().post("/w", &[]).await.unwrap_err();
    assert!(error.is_broken() && error.during("x").is_unavailable());
    assert_eq!(fake.take_lines(), ["GET /a", "GET /a", "GET /a", "POST /w"]);
}

#[tokio::test]
async fn an_answer_without_end_is_cut_and_a_redirection_is_not_followed() {
    let fake = Fake::start(|request| match request.target.as_str() {
        "/endless" => {
            let mut raw = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
            raw.resize(9 << 20, b'x');
            Reply::Raw(raw)
        }
        "/html" => Reply::Raw(b"HTTP/1.1 200 OK\r\n\r\n<html>".to_vec()),
        _ => Reply::Raw(
            b"HTTP/1.1 301 Moved\r\nLocation: /api2/json/other\r\nContent-Length: 0\r\n\r\n".to_vec(),
        ),
    })
    .await;
    let client = fake.client();
    assert!(matches!(client.http().get("/endless", &[]).await, Err(ApiError::TooLarge(_))));
    assert!(matches!(client.http().get("/html", &[]).await, Err(ApiError::Unreadable(_))));
    assert!(client.http().get("/moved", &[]).await.is_err());
    assert_eq!(fake.take_lines(), ["GET /endless", "GET /html", "GET /moved"]);
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_a_busy_server_says_how_long() {
    let fake = Fake::start(|_| {
        Reply::Raw(b"HTTP/1.1 503 Busy\r\nRetry-After: 99999\r\nContent-Length: 0\r\n\r\n".to_vec())
    })
    .await;
    let error = fake.client().http().get("/a", &[]).await.unwrap_err().during("x");
    let TargetError::Unavailable { retry_after, .. } = error else { panic!("{error}") };
    assert_eq!(retry_after, Some(Duration::from_mins(5)), "capped");
    let client = fake.client();
    let url = fake.url.clone();
    drop(fake);
    // The port is closed once the accepting task is gone; wait for that, not for a time.
    while tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let error = client.http().get("/a", &[]).await.unwrap_err();
    assert!(matches!(error, ApiError::Unreachable(_)), "{error}");
    assert!(!error.to_string().contains("127.0.0.1:"), "the address is said by who asks: {error}");
}

/// Serves one task that ends as `exit` says after two questions, with this log.
async fn task(exit: &'static str, log: &'static [&'static str]) -> Fake {
    let asked = AtomicUsize::new(0);
    Fake::start(move |request| {
        if request.target.contains("/status") {
            let running = asked.fetch_add(1, Ordering::SeqCst) < 2;
            Reply::Data(if running {
                json!({ "status": "running" })
            } else {
                json!({ "status": "stopped", "exitstatus": exit })
            })
        } else {
            let rows: Vec<Value> =
                log.iter().enumerate().map(|(n, t)| json!({ "n": n + 1, "t": t })).collect();
            Reply::Status(200, "OK", json!({ "data": rows, "total": rows.len() }))
        }
    })
    .await
}

async fn finish(fake: &Fake) -> Result<Option<String>, TargetError> {
    fake.client().finish("cloning", json!(UPID), LIMIT).await
}

#[tokio::test]
async fn a_task_is_followed_where_it_runs_until_it_ends() {
    let fake = task("OK", &[]).await;
    assert_eq!(finish(&fake).await, Ok(None));
    let lines = fake.take_lines();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].starts_with("GET /nodes/pve2/tasks/UPID%3Apve2%3A"), "{}", lines[0]);
    assert_eq!(fake.client().finish("x", Value::Null, LIMIT).await, Ok(None), "it was done when it answered");
}

#[tokio::test]
async fn a_task_with_warnings_is_done() {
    let fake = task("WARNINGS: 1", &["create disk", "WARN: no space for logs", "TASK WARNINGS: 1"]).await;
    assert_eq!(finish(&fake).await, Ok(Some("create disk; WARN: no space for logs".to_owned())));
}

#[tokio::test]
async fn a_failed_task_tells_its_end_and_the_end_of_its_log() {
    let fake = task(
        "clone failed: exit code 5",
        &["drive mirror", "  Insufficient free space: 8192 needed", "TASK ERROR: x"],
    )
    .await;
    let error = finish(&fake).await.unwrap_err();
    assert!(!error.is_unavailable());
    assert!(error.to_string().starts_with(
        "cloning: the storage is full (clone failed: exit code 5 (log: drive mirror; Insufficient free space: 8192 needed))"
    ), "{error}");
    let fake = task("can't lock file '/x' - got timeout", &["trying to acquire lock..."]).await;
    assert!(finish(&fake).await.unwrap_err().is_unavailable());
    let fake = task("bad thing", &["can't lock file '/x' - got timeout", "got it after all"]).await;
    assert!(!finish(&fake).await.unwrap_err().is_unavailable(), "the end decides, not the log");
}

#[tokio::test]
async fn a_task_whose_end_nobody_saw_has_an_unknown_outcome() {
    let fake = task("unexpected status", &[]).await;
    let error = finish(&fake).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("outcome unknown"), "{error}");
    let gone = |_: &_| Reply::Status(400, "x", json!({ "errors": { "upid": "no such task\n" } }));
    let error = finish(&Fake::start(gone).await).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("has vanished"), "{error}");
    let fake = Fake::start(|_| Reply::Data(json!({ "status": "running" }))).await;
    let error = fake.client().finish("cloning", json!(UPID), Duration::ZERO).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("still runs"), "{error}");
    let error = fake.client().finish("cloning", json!("UPID:x"), LIMIT).await.unwrap_err();
    assert!(error.to_string().contains("is no task id"), "{error}");
}

#[tokio::test]
async fn a_number_that_is_taken_out_of_sight_is_told() {
    let fake = Fake::start(|request| {
        if request.target.ends_with("vmid=101") {
            Reply::Status(400, "x", json!({ "errors": { "vmid": "VM 101 already exists\n" } }))
        } else if request.target.ends_with("vmid=102") {
            Reply::Data(json!("102"))
        } else {
            died("no quorum")
        }
    })
    .await;
    let client = fake.client();
    let taken = async |number| client.is_taken(crate::names::Vmid::new(number).unwrap()).await;
    assert_eq!(taken(101).await, Ok(true));
    assert_eq!(taken(102).await, Ok(false));
    assert!(taken(103).await.is_err(), "not knowing is neither");
}

/// Serves TLS with the certificate in `testdata`, one connection after the other, in a thread of its own.
fn tls_server() -> String {
    let file = |name: &str| std::fs::read(format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let certificate = CertificateDer::from_pem_slice(&file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_slice(&file("server-key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for stream in listener.incoming() {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, stream.unwrap());
            let mut head = [0; 4096];
            // A client that does not trust us ends the connection here.
            if stream.read(&mut head).is_ok_and(|read| read > 0) {
                let answer =
                    b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n{\"data\":1}";
                drop(stream.write_all(answer));
            }
        }
    });
    url
}

#[tokio::test]
async fn only_who_is_trusted_gets_the_token() {
    let url = tls_server();
    let file = |name: &str| std::fs::read(format!("{}/testdata/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let leaf = CertificateDer::from_pem_slice(&file("server.pem")).unwrap();
    let own = holdfast_core::text::hex(&<sha2::Sha256 as sha2::Digest>::digest(&leaf));
    let ask = async |ca: Option<&str>, fingerprints: &[&str]| {
        let fingerprints = fingerprints.iter().map(|&text| text.to_owned()).collect();
        let settings = crate::Settings { ca_pem: ca.map(file), fingerprints, ..settings(&url) };
        Client::new(&settings).unwrap().http().get("/version", &[]).await
    };
    let other = "00".repeat(32);
    assert_eq!(ask(None, &[&own]).await, Ok(json!(1)), "pinned");
    assert_eq!(ask(Some("ca.pem"), &[]).await, Ok(json!(1)), "signed");
    assert_eq!(ask(Some("ca.pem"), &[&other]).await, Ok(json!(1)), "either is enough");
    let error = ask(None, &[&other]).await.unwrap_err();
    assert!(matches!(&error, ApiError::Untrusted(text) if text.contains("is not pinned")), "{error:?}");
    let garbage = crate::Settings { ca_pem: Some(b"garbage".to_vec()), ..settings(&url) };
    assert!(matches!(Client::new(&garbage), Err(crate::SettingsError::Ca)));
}
