//! What the demo prints: one line a thing that happened, as it happens.

use std::io::Write as _;

use serde_json::Value;

use crate::forge::Post;

/// Prints a line. A reader that went away is no reason to stop.
pub fn say(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}

/// Prints what comes next.
pub(super) fn heading(text: &str) {
    say(&format!("\n== {text}"));
}

/// Prints a line of the service's log, if people want to see it.
pub(super) fn progress(line: &Value) {
    let message = line["message"].as_str().unwrap_or_default();
    let spans = line["spans"].as_array().cloned().unwrap_or_default();
    let field = |name: &str| {
        let own = line[name].as_str();
        own.or_else(|| spans.iter().rev().find_map(|span| span[name].as_str())).unwrap_or("").to_owned()
    };
    match message {
        "a new commit" => say(&format!("  commit {}", field("commit"))),
        "changed" => {
            say(&format!("  {:11} {:26} {}", field("environment"), field("resource"), field("step")));
        }
        "removed" => say(&format!("  {:11} {:26} removed", field("environment"), field("resource"))),
        "the run ended" => say(&format!("  {:11} {}", field("environment"), field("status"))),
        _ if matches!(line["level"].as_str(), Some("WARN" | "ERROR")) => {
            let what = ["error", "problem", "problems", "notice", "why", "branch"].map(field);
            let what = what.iter().find_map(|what| what.lines().next()).unwrap_or_default();
            say(&format!("  {:11} {:26} {message}: {what}", field("environment"), field("resource")));
        }
        _ => {}
    }
}

/// Prints a commit's status as the forge has it.
pub(super) fn status_line(context: &str, post: &Post) {
    let sign = if post.state == "success" { "green" } else { "red" };
    say(&format!("  [{sign}] {}  holdfast/home/{context}: {}", &post.commit[..7], post.description));
}
