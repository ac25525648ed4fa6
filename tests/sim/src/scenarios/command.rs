//! The scenarios at a shell: all points of all scenarios, or one of them with everything that happened.

use std::io::Write as _;

use clap::Args;

use super::incidents;
use super::sweep::{KINDS, Point, replay, sweep};
use crate::faults::FaultKind;

/// Which scenarios, and what happens in them.
#[derive(Debug, Args)]
pub struct Exhaustive {
    /// Scenarios whose names have these words in them; all without.
    words: Option<String>,
    /// The replayed cases as well, which pass days.
    #[arg(long)]
    incidents: bool,
    /// Plays one point with everything that happens: this write.
    #[arg(long)]
    write: Option<u64>,
    /// What happens to that write: `CrashBefore`, `CrashAfter`, `ErrorBefore`, `UnknownResult`.
    #[arg(long)]
    fault: Option<String>,
    /// Plays it without any fault, with everything that happens.
    #[arg(long)]
    show: bool,
    /// Runs one in so many points.
    #[arg(long, default_value_t = 1)]
    thin: u64,
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

/// Runs what was asked for. Says whether all of it holds.
///
/// # Errors
/// Where nobody can be told.
pub fn exhaustive(asked: &Exhaustive) -> anyhow::Result<bool> {
    let mut out = std::io::stdout();
    let cases = incidents::all().into_iter().map(|incident| incident.scenario);
    let words = asked.words.as_deref().unwrap_or_default();
    let with_cases = asked.incidents || asked.show || asked.write.is_some();
    let cases = cases.filter(|_| with_cases);
    let scenarios: Vec<_> =
        super::all().into_iter().chain(cases).filter(|scenario| scenario.name.contains(words)).collect();
    if asked.show || asked.write.is_some() {
        let scenario =
            scenarios.first().ok_or_else(|| anyhow::anyhow!("no scenario has `{words}` in its name"))?;
        let kind = KINDS.into_iter().find(|kind| Some(kind.to_string()) == asked.fault);
        let kind = kind.unwrap_or(FaultKind::CrashBefore);
        let point = asked.write.map(|write| Point { scenario: scenario.name, write, kind });
        let end = replay(scenario, point);
        for line in &end.trace {
            writeln!(out, "{line}")?;
        }
        for breach in &end.breaches {
            writeln!(out, "{}: {breach}", scenario.name)?;
        }
        return Ok(end.breaches.is_empty());
    }
    let began = tokio::time::Instant::now();
    let sweep = sweep(&scenarios, asked.thin, asked.threads);
    for (point, wrong) in &sweep.failures {
        writeln!(out, "{point}: {wrong}")?;
    }
    writeln!(
        out,
        "{} scenarios, {} of {} points, {} failed; {:.0} s on {} threads",
        sweep.scenarios,
        sweep.points,
        sweep.of,
        sweep.failures.len(),
        began.elapsed().as_secs_f64(),
        asked.threads
    )?;
    Ok(sweep.failures.is_empty())
}
