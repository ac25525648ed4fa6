//! Gitea and Forgejo: check hardly anything. And commits out of a real repository.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{Flavour, Forge, Right, SHA, call, forge, status};

const REPO: &str = "/api/v1/repos/me/infra";

#[tokio::test]
async fn fields_are_trimmed_and_nothing_is_too_long() {
    let forge = forge(Flavour::Gitea).await;
    let path = format!("{REPO}/statuses/{SHA}");
    let mut body = status("success", &format!("  {}  ", "x".repeat(5000)));
    body["context"] = json!(" holdfast/home/core ");
    let posted = call(&forge, "write", "POST", &path, body).await;
    assert_eq!((posted.code, posted.json()["status"].clone()), (201, json!("success")));
    let latest = forge.latest(SHA, "holdfast/home/core").unwrap();
    assert_eq!(latest.description.len(), 5000);
    assert_eq!(
        call(&forge, "write", "POST", &path, status("odd", "")).await.code,
        201,
        "states are not checked"
    );
    assert_eq!(
        call(&forge, "write", "POST", &path, status("cancelled", "")).await.code,
        500,
        "seven characters fit"
    );
}

#[tokio::test]
async fn an_unknown_commit_is_a_500_and_a_404_where_it_is_read() {
    let forge = forge(Flavour::Forgejo).await;
    let unknown = "2".repeat(40);
    let posted =
        call(&forge, "write", "POST", &format!("{REPO}/statuses/{unknown}"), status("success", "")).await;
    assert_eq!(posted.code, 500);
    assert!(!posted.header("x-forgejo-version").is_empty());
    assert_eq!(
        call(&forge, "read", "GET", &format!("{REPO}/git/commits/{unknown}"), Value::Null).await.code,
        404
    );
    let known = call(&forge, "read", "GET", &format!("{REPO}/git/commits/{SHA}"), Value::Null).await;
    assert_eq!((known.code, known.json()["sha"].clone()), (200, json!(SHA)));
}

#[tokio::test]
async fn tokens_are_told_apart() {
    let forge = forge(Flavour::Gitea).await;
    let path = format!("{REPO}/statuses/{SHA}");
    for (token, code) in [("nobody", 401), ("", 401), ("read", 403), ("write", 201)] {
        assert_eq!(call(&forge, token, "POST", &path, status("success", "")).await.code, code, "{token}");
    }
    let headers = [("authorization", "token write")];
    let url = format!("{}{REPO}", forge.url());
    assert_eq!(crate::testing::send("GET", &url, &headers, None).await.unwrap().code, 200);
    forge.remove_repository("me/infra");
    assert_eq!(call(&forge, "write", "POST", &path, status("success", "")).await.code, 404);
}

#[tokio::test]
async fn pages_hold_fifty_at_most() {
    let forge = forge(Flavour::Gitea).await;
    forge.fill(SHA, "me/infra", "holdfast/home/core", 120);
    let path = format!("{REPO}/commits/{SHA}/statuses?limit=1000");
    let first = call(&forge, "read", "GET", &path, Value::Null).await;
    assert_eq!(first.json().as_array().unwrap().len(), 50);
    assert_eq!(first.header("x-total-count"), "120");
    let next = first.header("link").split(';').next().unwrap().trim_matches(['<', '>']).to_owned();
    assert!(next.ends_with("limit=50&page=2"), "{next}");
    let third =
        call(&forge, "read", "GET", &path.replace("limit=1000", "limit=50&page=3"), Value::Null).await;
    assert_eq!(third.json().as_array().unwrap().len(), 20);
    assert!(!third.header("link").contains("rel=\"next\""));
}

#[tokio::test]
async fn a_warning_is_a_success_on_gitea_and_none_on_forgejo() {
    for (flavour, combined) in [(Flavour::Gitea, "success"), (Flavour::Forgejo, "warning")] {
        let forge = forge(flavour).await;
        call(&forge, "write", "POST", &format!("{REPO}/statuses/{SHA}"), status("warning", "")).await;
        let all = call(&forge, "read", "GET", &format!("{REPO}/commits/{SHA}/status"), Value::Null).await;
        assert_eq!(all.json()["state"], combined);
    }
}

fn git(directory: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(directory)
        .args(["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"])
        .args(arguments)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn commits_are_asked_of_the_repository_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (work, bare) = (directory.path().join("work"), directory.path().join("infra.git"));
    git(directory.path(), &["init", "-q", "-b", "main", "work"]);
    git(directory.path(), &["init", "-q", "--bare", "-b", "main", "infra.git"]);
    git(&work, &["commit", "-q", "--allow-empty", "-m", "one"]);
    let commit = git(&work, &["rev-parse", "HEAD"]);
    let forge = Forge::start(Flavour::GitHub).await.unwrap();
    forge.serve_commits_of("me/infra", &bare);
    forge.allow("write", "me/infra", Right::Write);
    let path = format!("/repos/me/infra/statuses/{commit}");
    assert_eq!(call(&forge, "write", "POST", &path, status("pending", "")).await.code, 422, "not pushed yet");
    git(&work, &["push", "-q", bare.to_str().unwrap(), "main"]);
    assert_eq!(call(&forge, "write", "POST", &path, status("pending", "")).await.code, 201);
    let branch =
        call(&forge, "write", "GET", "/repos/me/infra/commits/main/status", Value::Null).await.json();
    assert_eq!((&branch["sha"], &branch["state"]), (&json!(commit), &json!("pending")));
    let option = call(&forge, "write", "GET", "/repos/me/infra/commits/--all/status", Value::Null).await;
    assert_eq!(option.code, 422);
}
