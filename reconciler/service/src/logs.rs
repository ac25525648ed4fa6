//! Logs: pretty for people at a terminal, JSON for machines, constant messages with fields.

use std::borrow::Cow;
use std::io::{IsTerminal as _, Write};

use anyhow::bail;
use holdfast_core::scrub::Scrubber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
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
/// `info,holdfast_proxmox=debug`. No line holds what the scrubber knows.
pub(crate) fn start(format: LogFormat, filter: &str, scrubber: Scrubber) -> anyhow::Result<()> {
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
        .with_writer(Scrubbed { scrubber, inner: std::io::stderr })
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

/// What writes each event in one piece, without secrets.
struct Scrubbed<W> {
    scrubber: Scrubber,
    inner: W,
}

impl<'w, W: MakeWriter<'w>> MakeWriter<'w> for Scrubbed<W> {
    type Writer = ScrubbedWriter<W::Writer>;

    fn make_writer(&'w self) -> Self::Writer {
        ScrubbedWriter { scrubber: self.scrubber.clone(), inner: self.inner.make_writer() }
    }
}

/// Cleans what it is given at once: a whole event, with all its lines, as `tracing_subscriber::fmt` hands it over.
struct ScrubbedWriter<W> {
    scrubber: Scrubber,
    inner: W,
}

impl<W: Write> Write for ScrubbedWriter<W> {
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        self.inner.write_all(&self.scrubber.clean_bytes(event))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }
}

/// Writes a line to standard error that is no event of the log, without secrets. It may be closed; then there is
/// nobody to tell.
pub(crate) fn tell(scrubber: &Scrubber, line: &str) {
    drop(writeln!(std::io::stderr(), "{}", scrubber.clean(line)));
}

/// Lets a panic say where it happened and never what with: its message may hold a value. It goes the way of all logs,
/// where they have begun.
pub(crate) fn quiet_panics(scrubber: Scrubber) {
    std::panic::set_hook(Box::new(move |info| {
        let place =
            info.location().map_or(Cow::Borrowed("an unknown place"), |place| place.to_string().into());
        if tracing::dispatcher::has_been_set() {
            tracing::error!(place = &*place, "a part of the service panicked");
        } else {
            tell(&scrubber, &format!("error: a part of the service panicked at {place}"));
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

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

    /// Collects what is written.
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(scrubber: &Scrubber, json: bool) -> String {
        let sink = Sink::default();
        let to = sink.clone();
        let inner = move || to.clone();
        let builder = tracing_subscriber::fmt()
            .with_writer(Scrubbed { scrubber: scrubber.clone(), inner })
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(!json);
        let event = || {
            let headers = [("authorization", "Basic bWU6aHVudGVyMiJ4")];
            tracing::debug!(
                why = r#"the password "hunter2"x" is wrong"#,
                ?headers,
                "it failed with hunter2\"x"
            );
        };
        if json {
            tracing::subscriber::with_default(builder.json().flatten_event(true).finish(), event);
        } else {
            tracing::subscriber::with_default(builder.compact().finish(), event);
        }
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn no_line_of_the_log_holds_a_secret() {
        for json in [true, false] {
            let leaking = logged(&Scrubber::default(), json);
            assert!(leaking.contains("hunter2") && leaking.contains("bWU6aHVudGVyMiJ4"), "{leaking}");
            let scrubber = Scrubber::default();
            scrubber.learn(&secrecy::SecretString::from("hunter2\"x"));
            let clean = logged(&scrubber, json);
            assert!(!clean.contains("hunter2") && !clean.contains("h1bnRlcjIi"), "{clean}");
            assert!(clean.contains("it failed with [redacted]"), "{clean}");
            if json {
                let line: serde_json::Value = serde_json::from_str(&clean).unwrap();
                assert_eq!(line["why"], r#"the password "[redacted]" is wrong"#);
            }
        }
    }
}
