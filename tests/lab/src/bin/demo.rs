//! The demo: a home on loopback, the example repository pushed to it, and the real service converging it.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    match holdfast_lab::demo::run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            holdfast_lab::demo::say(&format!("\nthe demo could not go on: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
