//! Tasks: what the API starts and does later, each with its UPID, its end and its log.

use std::time::Duration;

use holdfast_core::kind::TargetError;
use serde_json::Value;
use tokio::time::Instant;

use super::Client;
use super::errors::{ApiError, by_text, is_full, one_line, passes};
use super::forms::segment;
use super::http::plain;

/// How often a task is asked for: soon at first, since most take less than a second.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How many questions in a row may stay unanswered before the outcome counts as unknown.
const PATIENCE: u32 = 5;
/// How much of a log goes into an error.
const LOG_LINES: usize = 5;

/// A task's id: `UPID:{node}:{pid}:{pstart}:{starttime}:{type}:{id}:{user}:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upid {
    text: String,
    /// Where it runs, which need not be the node that was asked.
    pub(crate) node: String,
    /// Such as `qmclone`.
    pub(crate) kind: String,
}

impl Upid {
    /// Reads it by its structure; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let ["UPID", node, pid, pstart, starttime, kind, id, user, ""] = parts.as_slice() else {
            return None;
        };
        let digits = |part: &str, lengths: &[usize]| {
            lengths.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit())
        };
        let word = |part: &str| !part.contains(|c: char| c.is_whitespace() || c == '/');
        let fits = crate::names::NodeName::new(*node).is_ok()
            && digits(pid, &[8])
            && digits(pstart, &[8, 9])
            && digits(starttime, &[8])
            && [kind, id, user].iter().all(|part| word(part))
            && !kind.is_empty()
            && !user.is_empty();
        fits.then(|| Self { text: text.to_owned(), node: (*node).to_owned(), kind: (*kind).to_owned() })
    }

    fn path(&self, leaf: &str) -> String {
        format!("/nodes/{}/tasks/{}/{leaf}", self.node, segment(&self.text))
    }
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    Fine,
    /// Done, and the log says what it did not like.
    Warned,
    /// Its log was never closed: killed, or the node went down.
    Lost,
    Failed(String),
}

pub(crate) fn end(status: &Value) -> Option<End> {
    if status["status"] != "stopped" {
        return None;
    }
    Some(match plain(&status["exitstatus"]).as_str() {
        "OK" => End::Fine,
        text if text.starts_with("WARNINGS: ") => End::Warned,
        "" | "unexpected status" => End::Lost,
        text => End::Failed(one_line(text)),
    })
}

impl Client {
    /// Waits for what a write has started. Some writes are done when they answer, so an answer without a
    /// UPID is an end too. Gives the task's warning.
    pub(crate) async fn finish(
        &self,
        doing: &str,
        answer: Value,
        limit: Duration,
    ) -> Result<Option<String>, TargetError> {
        let Some(text) = answer.as_str() else { return Ok(None) };
        let upid = Upid::parse(text).ok_or_else(|| {
            TargetError::rejected(doing, format_args!("`{}` is no task id", one_line(text)))
        })?;
        match self.follow(doing, &upid, limit).await? {
            End::Fine => Ok(None),
            End::Warned => Ok(Some(self.log(&upid).await.unwrap_or_else(|| "see the task's log".to_owned()))),
            End::Lost => Err(unknown_outcome(doing, &upid, "the task was cut off")),
            End::Failed(why) => {
                let log = self.log(&upid).await.filter(|log| !why.contains(log.as_str()));
                Err(failed(doing, &why, log.as_deref()))
            }
        }
    }

    async fn follow(&self, doing: &str, upid: &Upid, limit: Duration) -> Result<End, TargetError> {
        let deadline = Instant::now() + limit;
        let mut pause = FIRST_PAUSE;
        let mut unanswered = 0;
        loop {
            match self.http().get(&upid.path("status"), &[]).await {
                Ok(status) => match end(&status) {
                    Some(end) => return Ok(end),
                    None => unanswered = 0,
                },
                Err(error) if is_gone(&error) => {
                    return Err(unknown_outcome(doing, upid, "the task has vanished"));
                }
                Err(error) => {
                    let error = error.during(&format!("{doing}: following its task"));
                    unanswered += 1;
                    if !error.is_unavailable() || unanswered > PATIENCE {
                        return Err(error);
                    }
                }
            }
            if Instant::now() + pause > deadline {
                let why = format!("the task {} still runs after {} s", upid.text, limit.as_secs());
                return Err(TargetError::unavailable(doing, why));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    /// The last lines of a task's log, without the one that repeats its end. A log is never worth an error.
    async fn log(&self, upid: &Upid) -> Option<String> {
        let path = upid.path("log");
        let whole = self.http().get_whole(&path, &[("limit", "50")], LONGEST_PAUSE * 5).await.ok()?;
        let total = whole["total"].as_u64().unwrap_or(0);
        let whole = if total > 50 {
            let start = (total - 20).to_string();
            let query = [("start", start.as_str()), ("limit", "20")];
            self.http().get_whole(&path, &query, LONGEST_PAUSE * 5).await.ok()?
        } else {
            whole
        };
        let lines: Vec<String> = whole["data"]
            .as_array()?
            .iter()
            .map(|row| plain(&row["t"]).trim().to_owned())
            .filter(|line| !line.is_empty() && !line.starts_with("TASK ") && line != "no content")
            .collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        (!last.is_empty()).then(|| one_line(&last))
    }
}

/// The end alone decides whether trying again helps: a log may speak of a lock that was got after all. That
/// a storage is full may stand in the log alone, where a tool below Proxmox wrote it.
fn failed(doing: &str, why: &str, log: Option<&str>) -> TargetError {
    let Some(log) = log else { return by_text(doing, why) };
    let whole = format!("{why} (log: {log})");
    if is_full(log) {
        by_text(doing, &whole)
    } else if passes(why) {
        TargetError::unavailable(doing, whole)
    } else {
        match by_text(doing, why) {
            TargetError::Rejected { doing, why } => {
                TargetError::rejected(doing, format_args!("{why} (log: {log})"))
            }
            unavailable @ TargetError::Unavailable { .. } => unavailable,
        }
    }
}

fn is_gone(error: &ApiError) -> bool {
    error.about("upid").is_some_and(|text| text.contains("no such task"))
}

fn unknown_outcome(doing: &str, upid: &Upid, why: &str) -> TargetError {
    TargetError::unavailable(doing, format_args!("outcome unknown: {why} ({})", upid.text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_upid_is_read_by_its_structure() {
        let text = "UPID:pve1:0003C9A1:0A3F5C21:66F1A2B3:qmclone:9000:holdfast@pve!main:";
        let upid = Upid::parse(text).unwrap();
        assert_eq!((upid.node.as_str(), upid.kind.as_str()), ("pve1", "qmclone"));
        assert_eq!(
            upid.path("status"),
            "/nodes/pve1/tasks/UPID%3Apve1%3A0003C9A1%3A0A3F5C21%3A66F1A2B3%3Aqmclone%3A9000%3Aholdfast%40pve%21main%3A/status"
        );
        assert!(Upid::parse("UPID:n1:0003C9A1:10A3F5C21:66F1A2B3:imgcopy::root@pam:").is_some());
        for wrong in [
            "",
            "UPID:pve1:0003C9A1:0A3F5C21:66F1A2B3:qmclone:9000:root@pam",
            "UPID:pve1:3C9A1:0A3F5C21:66F1A2B3:qmclone:9000:root@pam:",
            "UPID:../pve:0003C9A1:0A3F5C21:66F1A2B3:qmclone:9000:root@pam:",
            "UPID:pve1:0003C9A1:0A3F5C21:66F1A2B3::9000:root@pam:",
            "UPID:pve1:0003C9A1:0A3F5C21:66F1A2B3:qm clone:9000:root@pam:",
        ] {
            assert_eq!(Upid::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn warnings_are_success_and_an_unclosed_log_is_no_failure() {
        let stopped = |exit: &str| end(&json!({ "status": "stopped", "exitstatus": exit }));
        assert_eq!(end(&json!({ "status": "running" })), None);
        assert_eq!(stopped("OK"), Some(End::Fine));
        assert_eq!(stopped("WARNINGS: 2"), Some(End::Warned));
        assert_eq!(stopped("unexpected status"), Some(End::Lost));
        assert_eq!(stopped("clone failed: x\n"), Some(End::Failed("clone failed: x".to_owned())));
    }
}
