//! A repository behind real servers: what is wrong with the access is told, costs nothing else, and heals.

use holdfast_lab::service::Service;

use crate::home::{Home, infra, messages};
use crate::{LONG, can_run, eventually};

/// What an unchanged repository costs over https.
pub(crate) const POLL: &str = "GET /infra.git/info/refs?service=git-upload-pack 200";

/// Pushes a repository that needs no guests.
fn push_policy(home: &Home) -> String {
    for path in ["holdfast.yaml", "environments/core/policy.yaml"] {
        home.repository().write(path, std::fs::read(infra().join(path)).unwrap()).unwrap();
    }
    home.repository().push("a policy").unwrap()
}

/// The reason in the log for which the repository cannot be read.
async fn reason(service: &mut Service) -> String {
    let line = service.until_logged("the repository could not be read", LONG).await.unwrap();
    let text = line["error"].as_str().unwrap();
    text.split_once("infra.git: ").unwrap_or_else(|| panic!("{text}")).1.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_told_and_a_right_one_heals() {
    if !can_run().await {
        return;
    }
    let home = Home::start().await;
    let commit = push_policy(&home);
    home.write_credential("git", "a-token-that-is-wrong");
    let mut service = home.serve(None);
    let why = "the server refused the credential: check `username` and `credential`";
    assert_eq!(reason(&mut service).await, why);
    eventually("it asks again", async || (home.git.reads().len() > 2).then_some(())).await;
    assert!(home.git.reads().iter().all(|read| read.ends_with(" 401")), "{:#?}", home.git.reads());
    assert!(service.is_running());
    let log = format!("{:?}", service.log());
    assert!(!log.contains("a-token-that-is-wrong"), "{log}");
    assert!(service.terminate(LONG).await.unwrap(), "it ends well");

    home.write_credential("git", &home.git.credential);
    let mut service = home.serve(None);
    assert_eq!(home.until_final(&commit, "core").await.state, "success");
    assert_eq!(messages(&service, "the repository could not be read"), Vec::<serde_json::Value>::new());
    let before = home.git.reads().len();
    eventually("some polls", async || (home.git.reads().len() >= before + 4).then_some(())).await;
    let polls = home.git.reads().split_off(before);
    assert!(polls.iter().all(|read| read == POLL), "one request a poll: {polls:#?}");
    assert!(service.terminate(LONG).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_arrive_over_ssh_from_a_server_that_is_known() {
    if !can_run().await {
        return;
    }
    let home = Home::start_with_ssh().await;
    let commit = push_policy(&home);
    let known = home.git.file("known_hosts");
    let line = std::fs::read_to_string(&known).unwrap();
    std::fs::write(&known, "").unwrap();
    let mut service = home.serve(None);
    let why = "the server's host key is not in `known_hosts`: add the line of this server";
    assert_eq!(reason(&mut service).await, why);
    std::fs::write(&known, line).unwrap();
    home.until_green(&commit).await;
    home.repository().edit("environments/core/policy.yaml", "[read]", "[read, list]").unwrap();
    let commit = home.repository().push("more rights").unwrap();
    home.until_green(&commit).await;
    let policy = home.bao.policy("web").await.unwrap();
    assert!(policy["policy"].as_str().unwrap().ends_with("capabilities = [\"read\", \"list\"]\n}\n"));
    assert!(service.terminate(LONG).await.unwrap());
}
