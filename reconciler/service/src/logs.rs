//! Logs: pretty for people at a terminal, JSON for machines, constant messages with fields.

use std::io::IsTerminal as _;

use anyhow::bail;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    Pretty,
    Json,
}

/// What the libraries say only when asked for by name: of their own accord they are too loud.
const QUIET: &str = "kube_client=warn,kube_runtime=warn,russh=warn,hyper=warn,hyper_util=warn,h2=warn,rustls=warn,\
                     reqwest=warn,tower=warn,sqlx=warn,gix=warn,notify=warn";
/// What would say secrets, whoever asks.
const SILENT: &str = "rustify=off,vaultrs=off";

/// Starts logging to standard error. `filter` is in the syntax of `tracing_subscriber::EnvFilter`, such as
/// `info,holdfast_proxmox=debug`.
pub(crate) fn start(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let Ok(filter) = EnvFilter::try_new(whole(filter)) else {
        bail!("`{filter}` is no log filter; write for example `info` or `info,holdfast_proxmox=debug`")
    };
    // The usual wish for plain text (<https://no-color.org>).
    #[expect(
        clippy::disallowed_methods,
        reason = "the binary reads its environment, here for its own output"
    )]
    let no_color = std::env::var("NO_COLOR").is_ok_and(|wish| !wish.is_empty());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && !no_color)
        // Nobody reads any more: no reason to panic, which is what telling of it on the same pipe would do.
        .log_internal_errors(false)
        .with_span_events(FmtSpan::NONE)
        .with_target(false);
    match format {
        LogFormat::Pretty => builder.compact().init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}

/// A later directive replaces an earlier one of the same target.
fn whole(filter: &str) -> String {
    format!("{QUIET},{filter},{SILENT}")
}

/// Lets a panic say where it happened and never what with: its message may hold a value.
pub(crate) fn quiet_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        tracing::error!(place, "a part of the service panicked");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_say_secrets_stays_silent_whoever_asks() {
        let filter = EnvFilter::try_new(whole("trace,rustify=trace,hyper=info")).unwrap().to_string();
        let directives: Vec<&str> = filter.split(',').collect();
        assert!(directives.contains(&"rustify=off"), "{filter}");
        assert!(!directives.contains(&"rustify=trace"), "{filter}");
        assert!(directives.contains(&"hyper=info") && directives.contains(&"trace"), "{filter}");
        assert!(!directives.contains(&"hyper=warn"), "{filter}");
        assert!(directives.contains(&"russh=warn"), "{filter}");
    }
}
