//! The demo: a home on loopback, the example repository pushed to it, and the real service converging it.

use std::process::ExitCode;

use clap::Parser as _;

/// Shows Holdfast at work, in a home on loopback.
#[derive(clap::Parser)]
struct Arguments {
    /// Stay once the home has converged, until Ctrl-C, so that you can push changes of your own.
    #[arg(long)]
    stay: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { stay } = Arguments::parse();
    let done = if stay { holdfast_lab::demo::stay().await } else { holdfast_lab::demo::run().await };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            holdfast_lab::demo::say(&format!("\nthe demo could not go on: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
