//! `holdfast status`: how the last commits went, from the journal.

use std::fmt::Write as _;

use super::{Verdict, print};
use crate::clock;
use crate::config::Config;
use crate::journal::{Latest, Sqlite};

pub(super) async fn status(config: Config, json: bool) -> anyhow::Result<Verdict> {
    let latest = Sqlite::open_read_only(&config.state).await?.latest().await?;
    let well = latest.iter().all(|entry| entry.state == "success");
    if json {
        print(&format!("{}\n", serde_json::to_string_pretty(&latest)?))?;
    } else if latest.is_empty() {
        print("no commit was seen yet\n")?;
    } else {
        print(&table(&latest, clock::now()))?;
    }
    Ok(if well { Verdict::Good } else { Verdict::Bad })
}

/// One line a context: what, commit, state, when, and the description below it.
fn table(latest: &[Latest], now: i64) -> String {
    let width = latest.iter().map(|entry| entry.context.len()).max().unwrap_or(0);
    let mut text = String::new();
    for entry in latest {
        let posted = if entry.posted { "" } else { "  (not posted yet)" };
        let _ = writeln!(
            text,
            "{:width$}  {}  {:8}  {:>8} ago{posted}\n{:width$}  {}",
            entry.context,
            entry.commit.short(),
            entry.state,
            ago(now - entry.changed_at),
            "",
            entry.description
        );
    }
    text
}

fn ago(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min", s / 60),
        s @ 3600..86_400 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}
