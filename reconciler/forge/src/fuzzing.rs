//! Fuzz targets of forges: what one answers, and the outbox's rows as the journal may give them. `tests/fuzz` runs
//! them for long, the test below for a second.

use holdfast_core::report::{Status, StatusState};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::answer::Answer;
use crate::client::{Listed, has_more};
use crate::dialect::Verdict;
use crate::outbox::{Row, want};
use crate::{ForgeKind, PostError};

/// What we sent, which an answer may repeat and nothing may show.
const CANARY: &str = "canary-e3b0c442";

/// A status, headers as `name: value`, an empty line and a body: what is said of it is bounded and repeats nothing of
/// ours.
pub fn forge_answers(data: &[u8]) {
    let (head, body) = match data.windows(2).position(|two| two == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, [].as_slice()),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.parse().ok()).unwrap_or(500);
    let mut headers = HeaderMap::new();
    for line in lines.take(20) {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let value = line.get(at + 1..).unwrap_or_default().trim_ascii();
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..at]), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    has_more(&headers, 7);
    for listed in serde_json::from_slice::<Vec<Listed>>(body).unwrap_or_default() {
        if let Some((_, status)) = listed.read() {
            assert!(status.description.chars().count() <= 140, "{status:?}");
        }
    }
    let url = Url::parse("https://git.lan/api/v1/x").expect("it is an address");
    let answer = Answer { status, headers, url, body: body.to_vec() };
    for kind in [ForgeKind::Gitea, ForgeKind::GitHub] {
        let Verdict::Is(error) = kind.dialect().judge(&answer) else { continue };
        let text = error.to_string();
        assert!(text.chars().count() < 600 && !text.contains(['\n', '\r']), "{text:?}");
        let row = want(None, &Status::new(StatusState::Pending, "converging"), 1_800_000_000);
        let row = row.expect("the first is always wanted");
        let row = row.answered(&row, &Err(error), 1_800_000_000, 0.5);
        let soon = 1_800_000_000..=1_800_000_000 + 3_600;
        assert!(soon.contains(&row.next_try), "tried again within the hour: {row:?}");
    }
}

/// A row of the outbox as JSON, which may be of any version and age: it is due, answered and overtaken by the rules.
pub fn forge_outbox(data: &[u8]) {
    let Ok(row) = serde_json::from_slice::<Row>(data) else { return };
    let stored = serde_json::to_string(&row).expect("a row is plain data");
    assert_eq!(serde_json::from_str::<Row>(&stored).ok().as_ref(), Some(&row), "a row reads back");
    let now = 1_800_000_000;
    row.due_at();
    row.at_start(now).due_at();
    let answers = [
        Ok(()),
        Err(PostError::TryAgain { after: None, why: CANARY.to_owned() }),
        Err(PostError::Limited { after: Some(std::time::Duration::MAX) }),
        Err(PostError::NoSuchCommit),
        Err(PostError::TooLong),
        Err(PostError::NotRead { after: None, why: CANARY.to_owned() }),
    ];
    if let Some(claimed) = row.claimed(&row, "one", now) {
        assert!(claimed.is_claimed(now) && claimed.claimed_for("two", now) > 0, "{claimed:?}");
        assert_eq!(claimed.claimed_for("two", now + 3_600), 0, "nobody has it for ever: {claimed:?}");
    }
    for answer in &answers {
        let answered = row.answered(&row, answer, now, 0.5);
        let rests = answered.due_at().is_none() || answered.reads_first();
        assert!(
            answer.is_err() || rests,
            "what the forge took is not posted again, unless it shows something else"
        );
    }
    for state in [StatusState::Pending, StatusState::Success, StatusState::Failure, StatusState::Error] {
        let next = want(Some(&row), &Status::new(state, "another"), now);
        let is_back = next.is_some() && row.wanted.is_terminal();
        let shown = row.stands(&row, &Status::new(state, "another"), now);
        assert!(shown.is_none_or(|shown| shown.number == shown.acknowledged), "what stands is not posted");
        assert!(!is_back, "success and supersession are never taken back: {row:?}");
    }
}

#[cfg(test)]
mod tests {
    use holdfast_cases::fuzz::briefly;

    #[test]
    fn forge_answers() {
        briefly("forge_answers", 10_000, super::forge_answers);
    }

    #[test]
    fn forge_outbox() {
        briefly("forge_outbox", 10_000, super::forge_outbox);
    }
}
