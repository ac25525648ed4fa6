//! Reading our own statuses back.

use holdfast_core::report::{Status, StatusState};
use holdfast_forge::{ForgeKind, PostError};

use crate::support::{Reply, Server, commit, reply};

fn item(state: &str, id: u64, value: &str, context: &str, description: &str) -> String {
    format!(
        r#"{{"id":{id},"{state}":"{value}","context":"{context}","description":{description},"creator":{{"id":1}}}}"#
    )
}

fn page(items: &[String], headers: Vec<(&'static str, String)>) -> Reply {
    (200, headers, format!("[{}]", items.join(",")))
}

#[tokio::test]
async fn the_newest_of_each_of_our_contexts_is_read_over_all_pages() {
    for (kind, state, query) in [
        (ForgeKind::Gitea, "status", "/api/v1/repos/me/infra/commits/COMMIT/statuses?limit=50&page="),
        (ForgeKind::GitHub, "state", "/repos/me/infra/commits/COMMIT/statuses?per_page=100&page="),
    ] {
        let next = |page: u32| {
            vec![("link", format!("<http://x/y?page={page}>; rel=\"next\", <http://x/y>; rel=\"last\""))]
        };
        let server = Server::start([
            page(
                &[
                    item(state, 9, "success", "holdfast/home/core", "\"converged: 3 resources\""),
                    item(state, 8, "failure", "ci/test", "\"not ours\""),
                ],
                next(2),
            ),
            page(&[item(state, 7, "pending", "holdfast/home/core", "\"converging\"")], next(3)),
            page(
                &[
                    item(state, 3, "error", "holdfast/home/validate", "null"),
                    item(state, 2, "warning", "holdfast/home/odd", "\"a state that we never post\""),
                ],
                vec![("link", "<http://x/y?page=1>; rel=\"first\"".to_owned())],
            ),
        ])
        .await;
        let statuses = server.forge(kind).statuses(&commit()).await.unwrap();
        assert_eq!(
            statuses,
            [
                (
                    "holdfast/home/core".to_owned(),
                    Status::new(StatusState::Success, "converged: 3 resources")
                ),
                ("holdfast/home/validate".to_owned(), Status::new(StatusState::Error, "")),
            ]
        );
        let query = query.replace("COMMIT", commit().as_str());
        let expected: Vec<String> = (1..=3).map(|page| format!("GET {query}{page}")).collect();
        assert_eq!(server.lines(), expected);
    }
}

#[tokio::test]
async fn a_total_without_links_is_enough_and_one_page_asks_once() {
    let one = |id| {
        page(
            &[item("status", id, "pending", "holdfast/home/core", "\"x\"")],
            vec![("x-total-count", "2".to_owned())],
        )
    };
    let server = Server::start([one(1), one(2)]).await;
    assert_eq!(server.forge(ForgeKind::Gitea).statuses(&commit()).await.unwrap().len(), 1);
    assert_eq!(server.lines().len(), 2);
    let server = Server::start([page(&[], Vec::new())]).await;
    assert_eq!(server.forge(ForgeKind::GitHub).statuses(&commit()).await, Ok(Vec::new()));
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn a_forge_that_never_ends_is_left() {
    let endless = || {
        page(&[item("status", 1, "pending", "x", "\"x\"")], vec![("link", "<x>; rel=\"next\"".to_owned())])
    };
    let server = Server::start(std::iter::repeat_with(endless).take(100)).await;
    let error = server.forge(ForgeKind::Gitea).statuses(&commit()).await.unwrap_err();
    assert!(matches!(error, PostError::Unclear { .. }), "{error:?}");
    assert_eq!(server.lines().len(), 40);
}

#[tokio::test]
async fn refusals_and_nonsense_are_told_apart() {
    let read = async |reply| {
        Server::start([reply]).await.forge(ForgeKind::Gitea).statuses(&commit()).await.unwrap_err()
    };
    assert!(matches!(read(reply(401, "{}")).await, PostError::Refused { .. }));
    assert!(matches!(read(reply(500, "{}")).await, PostError::TryAgain { .. }));
    let error = read(reply(200, "<html>hunter2")).await;
    assert_eq!(error, PostError::Unclear { why: "the list of statuses is not one: check `url`".to_owned() });
    let huge = "x".repeat((4 << 20) + 1);
    let error = read(reply(200, &huge)).await;
    assert_eq!(error, PostError::Unclear { why: "the answer is too large to be read".to_owned() });
}
