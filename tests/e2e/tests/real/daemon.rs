//! A server and all its children, in a process namespace that ends with the test, however the test ends.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The namespace's first process: it ends when the server does, or when nobody holds its input any more. The kernel
/// then ends the rest.
const FIRST: &str = r#"exec 3<&0; "$@" </dev/null 3<&- & cat <&3 >/dev/null & wait -n"#;

/// A running server. Dropping it ends it with all its children, and waits for that.
pub(crate) struct Daemon(Child);

impl Daemon {
    /// Starts a server that stays in the foreground. What it says goes to `log`.
    pub(crate) fn start(program: &Path, arguments: &[&str], home: &Path, log: &Path) -> Self {
        let log = std::fs::File::options().create(true).append(true).open(log).unwrap();
        let child = Command::new("unshare")
            .args(["--pid", "--fork", "--kill-child", "bash", "-c", FIRST, "first"])
            .arg(program)
            .args(arguments)
            .current_dir(home)
            .env_clear()
            .env("HOME", home)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the server can be started");
        Self(child)
    }

    pub(crate) fn is_running(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        drop(self.0.wait());
    }
}

/// A port that nobody listens on right now. Somebody may take it before it is used: start servers again then.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs a program that must succeed, and gives what it printed.
pub(crate) fn run(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output =
        Command::new(program).args(arguments).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}
