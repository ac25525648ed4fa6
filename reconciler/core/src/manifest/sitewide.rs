//! What `holdfast.yaml` decides for all environments: the time zone, a pause, and where history may go backwards.

use std::collections::{BTreeMap, BTreeSet};

use super::diagnostic::Findings;
use super::site::SiteSpec;
use super::spot::Spot;
use super::words;
use crate::ident::CommitId;
use crate::schedule::{NoZone, Zone};

/// What counts in every environment.
#[derive(Debug, Default)]
pub(crate) struct Sitewide {
    pub(crate) zone: Zone,
    pub(crate) pause: Option<String>,
    pub(crate) rewind: BTreeSet<CommitId>,
}

pub(crate) fn read(spot: Spot<'_>, spec: &SiteSpec, findings: &mut Findings) -> Sitewide {
    Sitewide {
        zone: spec.timezone.as_ref().and_then(|name| zone(spot, name, findings)).unwrap_or_default(),
        pause: spec.pause.as_ref().and_then(|why| pause(spot, why, findings)),
        rewind: rewind(spot, &spec.rewind, findings),
    }
}

fn zone(spot: Spot<'_>, name: &str, findings: &mut Findings) -> Option<Zone> {
    Zone::new(name)
        .map_err(|NoZone { name, meant }| {
            let near = meant.map(|zone| format!("did you mean `{zone}`?"));
            let near = near.or_else(|| words::did_you_mean(&name, Zone::names()));
            let help = near.unwrap_or_else(|| {
                "write a name of the IANA database, such as `Europe/Berlin`, or `UTC`".to_owned()
            });
            let title = format!("there is no time zone {}", words::tick(&name));
            findings.push(spot.at_value("/spec/timezone", title).label("not a time zone").help(help));
        })
        .ok()
}

/// The reason in one line, since that is how it is shown.
fn pause(spot: Spot<'_>, why: &str, findings: &mut Findings) -> Option<String> {
    let why = words::safe(&why.split_whitespace().collect::<Vec<_>>().join(" "));
    if why.is_empty() {
        findings.push(
            spot.at_value("/spec/pause", "`pause` gives no reason")
                .label("nothing is said here")
                .help("say why nothing may be changed, or remove `pause` to go on"),
        );
        return None;
    }
    Some(why)
}

fn rewind(spot: Spot<'_>, texts: &[String], findings: &mut Findings) -> BTreeSet<CommitId> {
    let mut seen: BTreeMap<CommitId, String> = BTreeMap::new();
    for (index, text) in texts.iter().enumerate() {
        let pointer = format!("/spec/rewind/{index}");
        let commit = match CommitId::new(text.as_str()) {
            Ok(commit) => commit,
            Err(error) => {
                let title = format!("{} {error}", words::tick(text));
                let wrong = spot.at_value(&pointer, title).label("not a whole commit id");
                findings.push(wrong.help(whole_id(text)));
                continue;
            }
        };
        if let Some(first) = seen.get(&commit) {
            let title = format!("commit `{}` is listed twice", commit.short());
            let twice = spot.at_value(&pointer, title).label("here again");
            findings.push(twice.also(spot.path, spot.value_span(first), "first here"));
        } else {
            seen.insert(commit, pointer);
        }
    }
    seen.into_keys().collect()
}

/// What to write instead of something that is no whole commit id.
fn whole_id(text: &str) -> String {
    let digits = (4..40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits {
        format!("write all 40 digits, as `git rev-parse {text}` prints them")
    } else {
        "write all 40 digits of the commit that may be replaced, as `git rev-parse` prints them".to_owned()
    }
}
