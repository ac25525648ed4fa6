//! `drift:` and `maintenance:` say when. A schedule that cannot be read is shown with the part that is meant.

use std::ops::Range;

use super::written::{DriftModeSpec, DriftSpec, MaintenanceSpec};
use crate::desired::{Drift, DriftMode};
use crate::manifest::diagnostic::Findings;
use crate::manifest::spot::Spot;
use crate::manifest::words;
use crate::schedule::{Fault, Schedule, Window, Zone, parse_duration, show_duration};

pub(super) fn drift(spot: Spot<'_>, spec: Option<&DriftSpec>, zone: Zone, findings: &mut Findings) -> Drift {
    let Some(DriftSpec { schedule, mode }) = spec else { return Drift::default() };
    let schedule =
        schedule.as_ref().and_then(|text| schedule_at(spot, "/spec/drift/schedule", text, zone, findings));
    let mode = match mode {
        DriftModeSpec::Correct => DriftMode::Correct,
        DriftModeSpec::Report => DriftMode::Report,
    };
    Drift { schedule, mode }
}

pub(super) fn maintenance(
    spot: Spot<'_>,
    spec: Option<&MaintenanceSpec>,
    zone: Zone,
    findings: &mut Findings,
) -> Option<Window> {
    let MaintenanceSpec { opens, lasts } = spec?;
    let opens = schedule_at(spot, "/spec/maintenance/opens", opens, zone, findings);
    let at = |title: String| spot.at_value("/spec/maintenance/lasts", title);
    let diagnostic = match parse_duration(lasts) {
        None => at(format!("{} is no length of time", words::tick(lasts)))
            .label("how long it stays open")
            .help("write a whole number with its unit, such as `90m` or `2h`"),
        Some(lasts) if lasts.is_zero() => at("the window would close as it opens".to_owned())
            .label("no time at all")
            .help("write how long it stays open, such as `2h`, or leave `maintenance` out"),
        Some(lasts) => {
            let window = Window { opens: opens?, lasts };
            if !window.never_closes() {
                return Some(window);
            }
            let pause = show_duration(window.opens.longest_pause());
            at("the window would never close".to_owned())
                .label(format!("it opens again within {pause}"))
                .help(
                    "write a shorter time, or leave `maintenance` out: then changes may be made at any time",
                )
        }
    };
    findings.push(diagnostic);
    None
}

fn schedule_at(
    spot: Spot<'_>,
    pointer: &str,
    text: &str,
    zone: Zone,
    findings: &mut Findings,
) -> Option<Schedule> {
    Schedule::read(text, zone)
        .map_err(|Fault { at, title, help }| {
            let title = match text.trim() {
                "" => format!("{} is empty", words::tick(pointer.rsplit('/').next().unwrap_or_default())),
                text => format!("{} is no schedule: {title}", words::tick(text)),
            };
            let diagnostic = spot.at_value(pointer, title);
            let span = within(spot, pointer, text, at);
            findings.push(diagnostic.at(spot.path, span).label("here").help(help));
        })
        .ok()
}

/// Where a part of a text stands in the file. All of it, where it is written with escapes or over several lines.
fn within(spot: Spot<'_>, pointer: &str, text: &str, part: Range<usize>) -> Range<usize> {
    let whole = spot.value_span(pointer);
    let written = spot.text.get(whole.clone()).unwrap_or_default();
    match written.find(text) {
        Some(start) if !part.is_empty() => whole.start + start + part.start..whole.start + start + part.end,
        _ => whole,
    }
}
