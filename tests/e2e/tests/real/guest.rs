//! What is true on a guest, asked as its owner would: over SSH, or by programs in it.

use std::process::{Command, Stdio};

use holdfast_lab::hosts::nspawn::{Forward, RunningGuest};

/// A guest that is up.
pub(crate) struct Guest(pub(crate) RunningGuest);

impl Guest {
    /// Runs a script as root, and gives what it printed; it must succeed.
    pub(crate) async fn sh(&self, script: &str) -> String {
        let (status, out) = self.try_sh(script).await;
        assert_eq!(status, 0, "{script}: {out}");
        out
    }

    /// Likewise, whether or not it succeeds; with what it complained of.
    pub(crate) async fn try_sh(&self, script: &str) -> (i32, String) {
        let command = ["sh", "-c", script].map(str::to_owned);
        let output = self.0.run(&command, b"").await.unwrap();
        (output.status, (output.stdout + &output.stderr).trim_end().to_owned())
    }

    /// Owner, group and mode of a file, such as `root:root 644`.
    pub(crate) async fn access(&self, path: &str) -> String {
        self.sh(&format!("stat -c '%U:%G %a' {path}")).await
    }

    /// A file's text, without the end of its last line; empty if it is not there.
    pub(crate) fn read(&self, path: &str) -> String {
        let text = self.0.read(path).unwrap_or_default();
        String::from_utf8(text).unwrap().trim_end().to_owned()
    }

    /// What tells one run of a unit from the next.
    pub(crate) async fn run_of(&self, unit: &str) -> String {
        self.sh(&format!("systemctl show -p MainPID -p ExecMainStartTimestampMonotonic --value {unit}")).await
    }

    /// All that a needless write would change: inodes, times, processes, packages.
    pub(crate) async fn traces(&self) -> String {
        let script = "stat -c '%n %i %Y %Z %s' /etc/motd /etc/web /etc/web/* /usr/local/bin/web \
            /etc/systemd/system/web.service /etc/holdfast-hello.conf /var/lib/holdfast/* /var/lib/dpkg/status \
            /var/lib/apt/lists /etc/systemd/system/multi-user.target.wants/*
            systemctl show -p MainPID -p ExecMainStartTimestampMonotonic web.service holdfast-hello.service";
        self.sh(script).await
    }

    /// Logs in as `ops` from outside, with the lab's key and the guest's own host key pinned.
    pub(crate) fn ssh(&self, door: &Forward, script: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let (key, known) = (folder.path().join("key"), folder.path().join("known"));
        write_private(&key, &holdfast_lab::keys::private());
        let pin = self.0.host_key().unwrap();
        std::fs::write(&known, format!("[127.0.0.1]:{} {pin}\n", door.address().port())).unwrap();
        let options = ["-F", "none", "-T", "-n", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes"];
        let output = Command::new("ssh")
            .args(options)
            .args(["-o", "LogLevel=ERROR", "-o", &format!("UserKnownHostsFile={}", known.display())])
            .arg("-i")
            .arg(&key)
            .args(["-p", &door.address().port().to_string(), "ops@127.0.0.1", script])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {said}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }
}

/// Writes a file that only its owner reads, as ssh asks of keys.
fn write_private(path: &std::path::Path, text: &str) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::File::options().create_new(true).write(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
