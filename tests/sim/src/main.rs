//! The simulation at a shell: many seeds, one seed with everything that happened, the smallest world that still fails.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use holdfast_sim::campaign::{Tally, run_seeds};
use holdfast_sim::checks::Invariant;
use holdfast_sim::faults::FaultKind;
use holdfast_sim::oracle::run_and_compare;
use holdfast_sim::run::{Case, run};
use holdfast_sim::scenarios::command::{Exhaustive, exhaustive};
use holdfast_sim::shrink::{describe, shrink};

/// Runs the real engine over simulated worlds.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs seeds, `FROM..TO`, and says which of them break an invariant.
    Run {
        seeds: String,
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// Ends after so many seeds have failed.
        #[arg(long, default_value_t = 20)]
        failures: usize,
    },
    /// Runs one seed, and prints everything that happened.
    Replay {
        seed: u64,
        /// Runs its commits without faults.
        #[arg(long)]
        undisturbed: bool,
        /// Runs its last commit alone.
        #[arg(long)]
        alone: bool,
    },
    /// Runs every written scenario, with everything that may happen to each of its writes.
    Exhaustive(Exhaustive),
    /// Takes commits, events and faults out of a seed while it still fails, and prints what is left.
    Shrink { seed: u64 },
    /// Plants each defect, and prints the table of what saw it after how many seeds.
    #[cfg(feature = "planted")]
    Planted {
        /// These alone, by their names.
        defects: Vec<String>,
        /// Given up after so many.
        #[arg(long, default_value_t = 5_000)]
        seeds: u64,
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
}

fn main() -> anyhow::Result<ExitCode> {
    let clean = match Arguments::parse().command {
        Command::Run { seeds, threads, failures } => many(&seeds, threads, failures)?,
        Command::Replay { seed, undisturbed, alone } => replay(seed, undisturbed, alone)?,
        Command::Exhaustive(asked) => exhaustive(&asked)?,
        Command::Shrink { seed } => smallest(seed)?,
        #[cfg(feature = "planted")]
        Command::Planted { defects, seeds, threads } => planted(&defects, seeds, threads)?,
    };
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn many(seeds: &str, threads: usize, failures: usize) -> anyhow::Result<bool> {
    let (from, to) =
        seeds.split_once("..").ok_or_else(|| anyhow::anyhow!("seeds are written as `0..1000`"))?;
    let (from, to): (u64, u64) = (from.parse()?, to.parse()?);
    let began = tokio::time::Instant::now();
    let mut said = Duration::ZERO;
    let mut out = std::io::stdout();
    let mut told = BTreeSet::new();
    let tally = run_seeds(from..to, threads, |tally| {
        for (seed, breaches) in tally.failures.iter().filter(|(seed, _)| told.insert(**seed)) {
            for breach in breaches {
                drop(writeln!(out, "seed {seed}: {breach}"));
            }
        }
        let since = began.elapsed();
        if since >= said + Duration::from_secs(10) {
            said = since;
            // Where nobody listens any more, the exit code still tells.
            drop(writeln!(
                out,
                "{} seeds, {} failed, {:.0} a second",
                tally.seeds,
                tally.failures.len(),
                rate(tally, since)
            ));
        }
        tally.failures.len() < failures
    });
    let since = began.elapsed();
    for kind in FaultKind::ALL {
        writeln!(out, "{:>9} {kind}", tally.faults.get(&kind).copied().unwrap_or_default())?;
    }
    for invariant in Invariant::ALL {
        writeln!(out, "{:>9} {invariant}", tally.checks.get(&invariant).copied().unwrap_or_default())?;
    }
    writeln!(
        out,
        "seeds {from}..{}: {} failed; {:.0} a second on {threads} threads, {:.0} s; {} writes, {} hours simulated; at \
         most {} s to converge once the faults had stopped",
        from + tally.seeds,
        tally.failures.len(),
        rate(&tally, since),
        since.as_secs_f64(),
        tally.writes,
        tally.time.as_secs() / 3_600,
        tally.longest.as_secs(),
    )?;
    Ok(tally.failures.is_empty())
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn rate(tally: &Tally, since: Duration) -> f64 {
    tally.seeds as f64 / since.as_secs_f64().max(0.001)
}

fn replay(seed: u64, undisturbed: bool, alone: bool) -> anyhow::Result<bool> {
    let drawn = Case::of_seed(seed);
    let chosen = match (undisturbed, alone) {
        (_, true) => drawn.last_alone(),
        (true, _) => drawn.undisturbed(),
        _ => drawn,
    };
    let case = Case { whole_trace: true, hears: true, ..chosen };
    let outcome = if undisturbed || alone { run(&case) } else { run_and_compare(&case) };
    let mut out = std::io::stdout();
    writeln!(out, "{}", describe(&case))?;
    for line in &outcome.trace {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "trace {:016x}", outcome.hash)?;
    for breach in &outcome.breaches {
        writeln!(out, "seed {seed}: {breach}")?;
    }
    Ok(outcome.is_clean())
}

fn smallest(seed: u64) -> anyhow::Result<bool> {
    let mut out = std::io::stdout();
    let Some((case, outcome)) = shrink(&Case::of_seed(seed)) else {
        writeln!(out, "seed {seed} breaks nothing")?;
        return Ok(true);
    };
    let outcome_whole = run_and_compare(&Case { whole_trace: true, ..case.clone() });
    for line in &outcome_whole.trace {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "{}", describe(&case))?;
    for breach in &outcome.breaches {
        writeln!(out, "seed {seed}, shrunk: {breach}")?;
    }
    Ok(false)
}

#[cfg(feature = "planted")]
fn planted(names: &[String], seeds: u64, threads: usize) -> anyhow::Result<bool> {
    use holdfast_core::planted::Defect;
    use holdfast_sim::planting::{Table, search};

    let is_meant = |defect: &Defect| names.is_empty() || names.contains(&format!("{defect:?}"));
    let defects: Vec<Defect> = Defect::ALL.into_iter().filter(is_meant).collect();
    let heard = |one: &holdfast_sim::planting::Catch| {
        // For who waits; the table is what counts.
        drop(writeln!(std::io::stderr(), "{:?}: {:?} {}", one.defect, one.seed, one.what));
    };
    let caught = search(&defects, seeds, threads, heard);
    writeln!(std::io::stdout(), "{}", Table(&caught))?;
    Ok(caught.iter().all(|one| one.seed.is_some()))
}
