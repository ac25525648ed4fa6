//! Posting a status, and every class of answer to it.

use std::time::Duration;

use holdfast_core::report::{Status, StatusState};
use holdfast_forge::{ForgeKind, PostError};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::support::{Reply, Server, commit, forge, reply};

const KINDS: [ForgeKind; 3] = [ForgeKind::Gitea, ForgeKind::Forgejo, ForgeKind::GitHub];

fn converged() -> Status {
    Status::new(StatusState::Success, "converged: 31 resources, 4 changed")
}

async fn post_to(server: &Server, kind: ForgeKind) -> Result<(), PostError> {
    server.forge(kind).post(&commit(), "holdfast/home/core", &converged(), None).await
}

async fn answered(kind: ForgeKind, replies: impl IntoIterator<Item = Reply>) -> PostError {
    post_to(&Server::start(replies).await, kind).await.unwrap_err()
}

#[tokio::test]
async fn a_status_is_posted_as_each_forge_documents_it() {
    for (kind, path, authorization) in [
        (ForgeKind::Gitea, "/api/v1/repos/me/infra/statuses/", "token hunter2"),
        (ForgeKind::Forgejo, "/api/v1/repos/me/infra/statuses/", "token hunter2"),
        (ForgeKind::GitHub, "/repos/me/infra/statuses/", "Bearer hunter2"),
    ] {
        let server = Server::start([reply(201, "{}"), reply(201, "{}")]).await;
        assert_eq!(post_to(&server, kind).await, Ok(()));
        let link = Some("https://holdfast.lan/runs/1");
        let pending = Status::new(StatusState::Pending, "converging");
        let posted = server.forge(kind).post(&commit(), "holdfast/home/validate", &pending, link).await;
        assert_eq!(posted, Ok(()));
        let asked = server.asked();
        let (method, uri, headers, body) = &asked[0];
        assert_eq!((method.as_str(), uri), ("POST", &format!("{path}{}", commit())));
        assert_eq!(headers["authorization"], authorization);
        assert_eq!(headers["content-type"], "application/json");
        assert!(headers["user-agent"].to_str().unwrap().starts_with("holdfast/"));
        assert_eq!(
            body,
            r#"{"state":"success","context":"holdfast/home/core","description":"converged: 31 resources, 4 changed"}"#
        );
        assert!(asked[1].3.contains(r#""target_url":"https://holdfast.lan/runs/1""#), "{}", asked[1].3);
        assert!(asked[1].3.contains(r#""state":"pending""#), "{}", asked[1].3);
    }
}

#[tokio::test]
async fn what_the_forge_may_have_done_is_tried_again() {
    for kind in KINDS {
        for status in [502, 503, 504] {
            let error = answered(kind, [reply(status, "<html>")]).await;
            assert_eq!(error, PostError::TryAgain { after: None, why: status.to_string() }, "{kind:?}");
        }
        let error = answered(kind, [(503, vec![("retry-after", "9".to_owned())], String::new())]).await;
        assert_eq!(
            error,
            PostError::TryAgain { after: Some(Duration::from_secs(9)), why: "503".to_owned() },
            "{kind:?}"
        );
    }
    let error = answered(ForgeKind::GitHub, [reply(500, "{}")]).await;
    assert_eq!(error, PostError::TryAgain { after: None, why: "500".to_owned() });
}

#[tokio::test]
async fn nobody_listens_and_a_cut_connection_are_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let cut = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut byte = [0];
        let _read = socket.read(&mut byte).await.unwrap();
    });
    for _ in 0..2 {
        // First cut, then, with the listener gone, refused.
        let error = forge(ForgeKind::Gitea, &url)
            .post(&commit(), "holdfast/home/core", &converged(), None)
            .await
            .unwrap_err();
        assert!(matches!(&error, PostError::TryAgain { .. }), "{error:?}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    cut.await.unwrap();
}

#[tokio::test]
async fn limits_ask_for_a_pause() {
    for kind in KINDS {
        let retry = vec![("retry-after", "30".to_owned())];
        let error = answered(kind, [(429, retry.clone(), String::new())]).await;
        assert_eq!(error, PostError::Limited { after: Some(Duration::from_secs(30)) });
        let error = answered(kind, [(403, retry, String::new())]).await;
        assert_eq!(error, PostError::Limited { after: Some(Duration::from_secs(30)) });
    }
    let reset = vec![
        ("date", "Tue, 24 Nov 2026 21:00:00 GMT".to_owned()),
        ("x-ratelimit-remaining", "0".to_owned()),
        ("x-ratelimit-reset", "1795554100".to_owned()),
    ];
    let error = answered(ForgeKind::GitHub, [(403, reset, String::new())]).await;
    assert_eq!(error, PostError::Limited { after: Some(Duration::from_secs(100)) });
    let secondary = r#"{"message":"You have exceeded a secondary rate limit."}"#;
    assert_eq!(
        answered(ForgeKind::GitHub, [reply(403, secondary)]).await,
        PostError::Limited { after: None }
    );
}

#[tokio::test]
async fn a_wrong_token_or_repository_needs_a_person() {
    for kind in KINDS {
        for (status, words) in
            [(401, "does not take the token"), (403, "must be allowed"), (404, "no such repository")]
        {
            let error = answered(kind, [reply(status, r#"{"message":"hunter2"}"#)]).await;
            let PostError::Refused { why } = &error else { panic!("{kind:?} {status}: {error:?}") };
            assert!(why.contains(words), "{why}");
            assert!(!why.contains("hunter2"), "{why}");
        }
    }
}

#[tokio::test]
async fn a_redirect_is_reported_and_not_followed() {
    let elsewhere = Server::start([reply(201, "{}")]).await;
    for kind in KINDS {
        for status in [301, 302, 307, 308] {
            let to = vec![("location", format!("{}/repositories/7/statuses/x", elsewhere.url))];
            let error = answered(kind, [(status, to, String::new())]).await;
            let PostError::Refused { why } = &error else { panic!("{error:?}") };
            assert!(why.contains(&format!("it redirects to {}", elsewhere.url)), "{why}");
        }
    }
    assert_eq!(elsewhere.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn github_tells_its_422_apart() {
    let unknown = r#"{"message":"No commit found for SHA: 4f2c91b","status":"422"}"#;
    assert_eq!(answered(ForgeKind::GitHub, [reply(422, unknown)]).await, PostError::NoSuchCommit);
    let long = r#"{"message":"Validation Failed","errors":[{"resource":"Status","code":"custom",
        "field":"description","message":"description is too long (maximum is 140 characters)"}]}"#;
    assert_eq!(answered(ForgeKind::GitHub, [reply(422, long)]).await, PostError::TooLong);
    let ceiling = r#"{"message":"Validation Failed","errors":[{"resource":"Status","code":"custom",
        "field":"context","message":"This SHA and context has reached the maximum number of statuses."}]}"#;
    let error = answered(ForgeKind::GitHub, [reply(422, ceiling)]).await;
    assert_eq!(error, PostError::Unclear { why: "422 (context: custom)".to_owned() });
    let error = answered(ForgeKind::Gitea, [reply(422, "not json")]).await;
    assert_eq!(error, PostError::Unclear { why: "422".to_owned() });
}

#[tokio::test]
async fn a_500_of_gitea_is_an_unknown_commit_only_where_the_commit_is_unknown() {
    for kind in [ForgeKind::Gitea, ForgeKind::Forgejo] {
        let server = Server::start([reply(500, "{}"), reply(404, "{}")]).await;
        assert_eq!(post_to(&server, kind).await, Err(PostError::NoSuchCommit));
        let commits = format!("GET /api/v1/repos/me/infra/git/commits/{}", commit());
        assert_eq!(server.lines()[1], commits);
        for looked in [200, 500, 403] {
            let error = answered(kind, [reply(500, "{}"), reply(looked, "{}")]).await;
            assert_eq!(error, PostError::TryAgain { after: None, why: "500".to_owned() }, "{looked}");
        }
    }
}
