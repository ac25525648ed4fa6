//! `holdfast status`: how the last commits went, from the journal.

use std::fmt::Write as _;

use holdfast_core::report::Problem;
use holdfast_core::scrub::Scrubber;

use super::{Verdict, print};
use crate::clock;
use crate::config::Place;
use crate::journal::{Latest, Sqlite};

/// The most problems of an environment that are shown.
const SHOWN: usize = 50;

pub(super) async fn status(place: &Place, json: bool, scrubber: &Scrubber) -> anyhow::Result<Verdict> {
    let mut latest = Sqlite::open_read_only(&place.state).await?.latest().await?;
    for entry in &mut latest {
        // Without a forge there is nobody to post to.
        entry.posted |= !place.has_forge;
    }
    let well = latest.iter().all(|entry| entry.state == "success" && entry.problems.is_empty());
    if json {
        print(scrubber, &format!("{}\n", serde_json::to_string_pretty(&latest)?))?;
    } else if latest.is_empty() {
        print(scrubber, "no commit was seen yet\n")?;
    } else {
        print(scrubber, &table(&latest, clock::now()))?;
    }
    Ok(if well { Verdict::Good } else { Verdict::Bad })
}

/// One line a context: what, commit, state, when; below it the description, and what is wrong just now.
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
        problems(&mut text, width, entry);
        for notice in &entry.notices {
            let _ = writeln!(text, "{:width$}  note: {notice}", "");
        }
    }
    text
}

/// All that is wrong, unless the description says it already.
fn problems(text: &mut String, width: usize, entry: &Latest) {
    if let [only] = entry.problems.as_slice()
        && entry.description.contains(&only.text)
        && only.ways_out.iter().all(|way_out| entry.description.contains(way_out))
    {
        return;
    }
    if entry.state == "success" && !entry.problems.is_empty() {
        let _ = writeln!(text, "{:width$}  since then:", "");
    }
    for Problem { text: what, ways_out } in entry.problems.iter().take(SHOWN) {
        let _ = writeln!(text, "{:width$}  - {what}", "");
        for way_out in ways_out {
            let _ = writeln!(text, "{:width$}    help: {way_out}", "");
        }
    }
    if entry.problems.len() > SHOWN {
        let _ = writeln!(text, "{:width$}  and {} more", "", entry.problems.len() - SHOWN);
    }
}

fn ago(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..60 => format!("{s} s"),
        s @ 60..3600 => format!("{} min", s / 60),
        s @ 3600..86_400 => format!("{} h", s / 3600),
        s => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::ident::CommitId;

    use super::*;

    fn entry(context: &str, state: &str, description: &str, problems: &[(&str, &str)]) -> Latest {
        let problem = |(text, way_out): &(&str, &str)| Problem {
            text: (*text).to_owned(),
            ways_out: vec![(*way_out).to_owned()],
        };
        Latest {
            context: context.to_owned(),
            commit: CommitId::new("4f2c91b07a4f2c91b07a4f2c91b07a4f2c91b07a").unwrap(),
            state: state.to_owned(),
            description: description.to_owned(),
            changed_at: 1_000,
            posted: context != "core",
            problems: problems.iter().map(problem).collect(),
            notices: (context == "core")
                .then(|| "vm 7 carries a copied mark".to_owned())
                .into_iter()
                .collect(),
        }
    }

    #[test]
    fn every_problem_is_shown_once() {
        let shrinks = "held: VirtualMachine/cache: the disk would shrink from 32 GiB to 16 GiB";
        let latest = [
            entry("validate", "success", "valid: 3 resources in 3 environments", &[]),
            entry("attic", "failure", &format!("{shrinks}; grow it"), &[(shrinks, "grow it")]),
            entry(
                "core",
                "failure",
                &format!("{shrinks} (+1)"),
                &[
                    (shrinks, "grow it"),
                    ("held: Host/nas: /etc/motd was changed by somebody else", "remove it"),
                ],
            ),
            entry("lab", "success", "converged: 1 resource", &[("out of reach: Host/a: no route", "wait")]),
        ];
        insta::assert_snapshot!(table(&latest, 1_100), @r"
        validate  4f2c91b  success      1 min ago
                  valid: 3 resources in 3 environments
        attic     4f2c91b  failure      1 min ago
                  held: VirtualMachine/cache: the disk would shrink from 32 GiB to 16 GiB; grow it
        core      4f2c91b  failure      1 min ago  (not posted yet)
                  held: VirtualMachine/cache: the disk would shrink from 32 GiB to 16 GiB (+1)
                  - held: VirtualMachine/cache: the disk would shrink from 32 GiB to 16 GiB
                    help: grow it
                  - held: Host/nas: /etc/motd was changed by somebody else
                    help: remove it
                  note: vm 7 carries a copied mark
        lab       4f2c91b  success      1 min ago
                  converged: 1 resource
                  since then:
                  - out of reach: Host/a: no route
                    help: wait
        ");
    }
}
