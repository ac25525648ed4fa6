//! The real binary with real parts: git over TLS and over SSH, `OpenBao`, and a Debian that boots with cloud-init behind
//! the simulated Proxmox. Needs root and what `tests/install.sh` installs; says so where it cannot run.

#![expect(clippy::unwrap_used, clippy::panic, reason = "what a test cannot set up ends it")]
#![expect(clippy::print_stdout, reason = "a test that fails shows the service's log")]

mod bao;
mod broken_host;
mod daemon;
mod git_access;
mod git_server;
mod guest;
mod home;
mod push_to_service;

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use holdfast_lab::hosts::nspawn::Fleet;

/// How long anything may take that is waited for here, on a busy machine.
const LONG: Duration = Duration::from_mins(3);

/// Waits until something is there, at most [`LONG`].
async fn eventually<T>(what: &str, mut seen: impl AsyncFnMut() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = seen().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, found).await.unwrap_or_else(|_| panic!("waited too long: {what}"))
}

/// Whether this test can run here; says why, past the test runner's capture, where it cannot.
async fn can_run() -> bool {
    let programs =
        [git_server::NGINX, git_server::FCGIWRAP, git_server::BACKEND, git_server::SSHD, "/usr/bin/openssl"];
    let missing: Vec<&str> = programs.into_iter().filter(|program| !Path::new(program).exists()).collect();
    let why = match Fleet::available().await {
        Err(why) => why,
        Ok(()) if !missing.is_empty() => format!("this machine lacks {}", missing.join(", ")),
        Ok(()) if bao::binary().is_none() => "there is no OpenBao".to_owned(),
        Ok(()) => return true,
    };
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let line = format!("SKIPPED {test}: {why}; see tests/install.sh\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    false
}
