//! The command line: four words, and the schemas for editors.

mod connect;
mod plan;
mod run;
mod schema;
mod status;
mod validate;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use holdfast_core::scrub::Scrubber;

use crate::config::{Config, Credentials, Place};
use crate::logs::{self, LogFormat, tell};
use crate::memory;

/// Converges Proxmox guests, hosts, Vault and Argo CD applications toward a git repository.
#[derive(Parser)]
#[command(
    name = "holdfast",
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 well, 1 not well (invalid, held, not converged), 2 it could not be done."
)]
struct Arguments {
    /// The service's config.
    #[arg(long, global = true, default_value = "/etc/holdfast/holdfast.toml", env = "HOLDFAST_CONFIG")]
    config: PathBuf,
    /// The folder of credentials, as systemd's `LoadCredential=` makes it.
    #[arg(long, global = true, env = "CREDENTIALS_DIRECTORY", hide_env_values = true)]
    credentials: Option<PathBuf>,
    /// The folder of the mirror and the journal, where the config names none.
    #[arg(long, global = true, env = "STATE_DIRECTORY")]
    state: Option<PathBuf>,
    /// How logs are written.
    #[arg(long, global = true, value_enum, default_value = "pretty", env = "HOLDFAST_LOG_FORMAT")]
    log_format: LogFormat,
    /// What is logged, such as `info,holdfast_proxmox=debug` [default: info for run, warn for plan].
    #[arg(long, global = true, env = "HOLDFAST_LOG")]
    log: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Watches the repository and converges everything toward it, until it is told to end.
    Run,
    /// Checks a folder as if it were a commit. Needs no config and no connection.
    Validate {
        #[arg(default_value = ".")]
        folder: PathBuf,
    },
    /// Shows what converging would do, and does nothing.
    Plan {
        /// A folder (`.`), or a commit as git names it: a short id, a branch, `main~1`. Without it, the newest
        /// commit of the watched branch.
        what: Option<String>,
        /// Only this environment.
        #[arg(long)]
        environment: Option<String>,
    },
    /// Shows how the last commits went, and everything that is wrong. Needs no credentials.
    Status {
        /// For machines.
        #[arg(long)]
        json: bool,
    },
    /// Prints the JSON Schemas of all kinds, for editors.
    Schema {
        /// Writes one file a kind into this folder.
        #[arg(long)]
        write: Option<PathBuf>,
    },
}

/// How a command that went through ended.
enum Verdict {
    Good,
    /// What it was asked about is not well: an invalid folder, a held resource.
    Bad,
}

/// Runs the command line. Exit codes: 0 well, 1 not well, 2 it could not be done.
pub fn main() -> ExitCode {
    // One for the process: it learns every secret that any part of it reads.
    let scrubber = Scrubber::default();
    logs::quiet_panics(scrubber.clone());
    let guarded = memory::guard();
    let arguments = Arguments::parse();
    // Fails only where one is installed already, which is as good.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&scrubber, &anyhow::Error::new(error).context("starting")),
    };
    if let Err(error) = guarded {
        tell(&scrubber, &format!("warning: core dumps could not be turned off: {error}"));
    }
    match runtime.block_on(dispatch(arguments, &scrubber)) {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::from(1),
        Err(error) => failed(&scrubber, &error),
    }
}

fn failed(scrubber: &Scrubber, error: &anyhow::Error) -> ExitCode {
    tell(scrubber, &format!("error: {error:#}"));
    ExitCode::from(2)
}

async fn dispatch(arguments: Arguments, scrubber: &Scrubber) -> anyhow::Result<Verdict> {
    match &arguments.command {
        Command::Run => {
            arguments.start_logs("info", scrubber)?;
            run::run(arguments.read_config(scrubber)?, scrubber).await
        }
        Command::Validate { folder } => validate::validate(folder, scrubber),
        Command::Plan { what, environment } => {
            arguments.start_logs("warn", scrubber)?;
            let config = arguments.read_config(scrubber)?;
            plan::plan(config, what.as_deref(), environment.as_deref(), scrubber).await
        }
        Command::Status { json } => status::status(&arguments.read_place()?, *json, scrubber).await,
        Command::Schema { write } => schema::schema(write.as_deref(), scrubber),
    }
}

impl Arguments {
    fn start_logs(&self, default: &str, scrubber: &Scrubber) -> anyhow::Result<()> {
        logs::start(self.log_format, self.log.as_deref().unwrap_or(default), scrubber.clone())
    }

    fn read_place(&self) -> anyhow::Result<Place> {
        Ok(crate::config::read_place(&self.config, self.state.as_deref())?)
    }

    fn read_config(&self, scrubber: &Scrubber) -> anyhow::Result<Config> {
        let credentials = Credentials::new(self.credentials.as_deref(), scrubber.clone());
        Ok(crate::config::read(&self.config, self.state.as_deref(), &credentials)?)
    }
}

/// Prints to standard output, without secrets. A reader that went away (`| head`) is no failure.
fn print(scrubber: &Scrubber, text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(scrubber.clean(text).as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
