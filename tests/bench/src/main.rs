//! Benchmarks of the real binary against the lab: each beside another of the same run, told as a ratio.
//!
//! `cargo build --release --bin holdfast && cargo run --release --package holdfast-bench`

mod homes;
mod measure;

use std::io::Write as _;

use anyhow::Result;

use homes::Size;
use measure::Figures;

#[tokio::main]
async fn main() -> Result<()> {
    let binary = holdfast_lab::service::binary()?;
    let mut out = std::io::stdout();
    writeln!(out, "{:28} {:>9} {:>9} {:>10} {:>9}", "", "wall ms", "cpu ms", "peak MiB", "requests")?;
    let (small, large) = (
        Size { guests: 50, policies: 150, applications: 50 },
        Size { guests: 500, policies: 1_500, applications: 500 },
    );
    let mut means = Vec::new();
    for size in [small, large] {
        let home = homes::Home::start(size).await?;
        for (what, arguments) in [("validate", ["validate", "."]), ("plan", ["plan", "."])] {
            let mut rounds = Vec::new();
            for _ in 0..3 {
                home.reset();
                let mut figures = measure::run(&binary, &home, &arguments).await?;
                figures.requests = home.requests();
                rounds.push(figures);
            }
            let median = Figures::median(rounds);
            writeln!(out, "{:28} {median}", format!("{what}, {size}"))?;
            means.push(median);
        }
    }
    if let [validate_small, plan_small, validate_large, plan_large] = means.as_slice() {
        writeln!(out, "\nten times the resources take")?;
        writeln!(out, "{:28} {}", "validate", validate_large.ratio(validate_small))?;
        writeln!(out, "{:28} {}", "plan", plan_large.ratio(plan_small))?;
    }
    Ok(())
}
