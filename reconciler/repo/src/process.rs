//! git over ssh or in the same machine: `git-upload-pack` at the other end of two pipes.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};

use gix::protocol::transport::Protocol;
use gix::protocol::transport::client::git::ConnectMode;
use gix::protocol::transport::client::git::blocking_io::Connection;
use secrecy::{ExposeSecret as _, SecretString};

use crate::call::{Call, Program};
use crate::failure::Failure;
use crate::remote::Ssh;

/// How much of a program's complaints is kept, in bytes.
const MAX_WORDS: u64 = 16 << 10;

/// What could lead ssh or git astray; they are run without it.
const UNSET: &[&str] = &[
    "GIT_PROTOCOL",
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_COMMON_DIR",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_NAMESPACE",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_SSH",
    "GIT_SSH_COMMAND",
    "SSH_AUTH_SOCK",
    "SSH_ASKPASS",
    "DISPLAY",
];

/// An OpenSSH private key.
pub(crate) struct Key(pub(crate) SecretString);

/// The key as a file, since ssh takes it in no other form. It is there only while a fetch lasts.
pub(crate) struct KeyFile(PathBuf);

impl KeyFile {
    /// Writes it into `folder`, which nobody else may enter.
    pub(crate) fn write(folder: &Path, key: &Key) -> std::io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let path = folder.join("identity");
        remove(&path);
        let file = Self(path);
        let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file.0)?;
        out.write_all(key.0.expose_secret().trim_end().as_bytes())?;
        // Without the last line's end ssh takes it for a broken file.
        out.write_all(b"\n")?;
        Ok(file)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for KeyFile {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(path: &Path) {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, "the file of the ssh key could not be removed");
        }
        _ => {}
    }
}

pub(crate) type Pipes = Connection<ChildStdout, ChildStdin>;

/// Starts `ssh`. It reads no configuration, asks nothing, and takes no other key of a server than the known one.
pub(crate) fn ssh(ssh: &Ssh, key: &Path, known_hosts: &Path, call: &Call) -> Result<Pipes, Failure> {
    let mut command = command("ssh");
    command.args(["-F", "none", "-T", "-i"]).arg(key);
    for option in [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        "GlobalKnownHostsFile=none",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "PreferredAuthentications=publickey",
        "ControlMaster=no",
        "ControlPath=none",
        "ClearAllForwardings=yes",
        "ForwardAgent=no",
        "ForwardX11=no",
        "PermitLocalCommand=no",
        "ConnectTimeout=15",
        "ServerAliveInterval=10",
        "ServerAliveCountMax=3",
        "LogLevel=ERROR",
    ] {
        command.args(["-o", option]);
    }
    command.args(["-o", &format!("UserKnownHostsFile=\"{}\"", known_hosts.display())]);
    if let Some(port) = ssh.port {
        command.args(["-p", &port.to_string()]);
    }
    // The path has no quotes (see `remote`), so that these make it one word for the shell over there.
    command.args(["-l", &ssh.user, "--", &ssh.host, &format!("git-upload-pack '{}'", ssh.path)]);
    start("ssh", command, &ssh.path, call)
}

/// Starts `git upload-pack` on a repository of this machine.
pub(crate) fn local(path: &Path, call: &Call) -> Result<Pipes, Failure> {
    if !path.is_dir() {
        return Err(Failure::NotFound);
    }
    let mut command = command("git");
    command.arg("upload-pack").arg(path);
    start("git", command, &path.to_string_lossy(), call)
}

#[expect(
    clippy::disallowed_methods,
    reason = "git has no other way over ssh or to a local repository; argument vectors, no shell on this side"
)]
fn command(name: &str) -> Command {
    let mut command = Command::new(name);
    for name in UNSET {
        command.env_remove(name);
    }
    // The complaints are read (see `of_words`), so they must be the English ones.
    command.env("LC_ALL", "C").env("LANGUAGE", "C");
    command
}

fn start(name: &'static str, mut command: Command, path: &str, call: &Call) -> Result<Pipes, Failure> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Failure::NoProgram(name),
        _ => Failure::Mirror(format!("starting `{name}`: {error}")),
    })?;
    let input = child.stdin.take().expect("it was asked for");
    let output = child.stdout.take().expect("it was asked for");
    let last_words = child.stderr.take().map(listen);
    call.run(Program { child, last_words });
    let host = None::<(String, Option<u16>)>;
    Ok(Connection::new(output, input, Protocol::V1, path, host, ConnectMode::Process, false))
}

/// Keeps the beginning of what a program complains of, and swallows the rest, lest it blocks.
fn listen(stderr: ChildStderr) -> Receiver<String> {
    let (send, receive) = sync_channel(1);
    std::thread::spawn(move || {
        let mut stderr = stderr;
        let mut words = Vec::new();
        let kept = stderr.by_ref().take(MAX_WORDS).read_to_end(&mut words);
        let rest = std::io::copy(&mut stderr, &mut std::io::sink());
        if let Some(error) = kept.err().or(rest.err()) {
            tracing::debug!(%error, "the complaints of a program could not be read");
        }
        // Nobody listens any more where the fetch ended without them.
        drop(send.send(String::from_utf8_lossy(&words).into_owned()));
    });
    receive
}

/// What a program's complaints mean, where that is known.
pub(crate) fn of_words(words: &str) -> Option<Failure> {
    let lower = words.to_lowercase();
    let says = |text: &str| lower.contains(text);
    let line_with = |texts: &[&str]| {
        words.lines().find(|line| texts.iter().any(|text| line.to_lowercase().contains(text))).map(line)
    };
    if says("remote host identification has changed") {
        return Some(Failure::ChangedHostKey);
    }
    if says("host key verification failed") {
        return Some(Failure::UnknownHostKey);
    }
    if says("load key ") {
        return Some(Failure::UnusableKey);
    }
    if says("dubious ownership") {
        return Some(Failure::Ownership);
    }
    if says("permission denied") {
        return Some(Failure::Forbidden);
    }
    let away = [
        "could not resolve hostname",
        "connection refused",
        "connection timed out",
        "no route to host",
        "network is unreachable",
        "connection reset",
        "connection closed by",
        "timeout, server",
    ];
    if let Some(why) = line_with(&away) {
        return Some(Failure::Unreachable(why));
    }
    let missing = ["does not appear to be a git repository", "repository not found", "does not exist"];
    (!says("command not found") && missing.iter().any(|text| says(text))).then_some(Failure::NotFound)
}

/// The last thing that was said, for people.
pub(crate) fn last_line(words: &str) -> Option<String> {
    words.lines().map(line).rfind(|line| !line.is_empty())
}

fn line(text: &str) -> String {
    let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    holdfast_core::report::cut(&clean, 200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_understood() {
        let unknown = "No ED25519 host key is known for git.lan and you have requested strict checking.\n\
                       Host key verification failed.";
        assert_eq!(of_words(unknown), Some(Failure::UnknownHostKey));
        let bad_key = "Load key \"/x/identity\": error in libcrypto\ngit@h: Permission denied (publickey).";
        assert_eq!(of_words(bad_key), Some(Failure::UnusableKey));
        assert_eq!(of_words("git@h: Permission denied (publickey)."), Some(Failure::Forbidden));
        let refused = "ssh: connect to host 127.0.0.1 port 1: Connection refused\r\n";
        let Some(Failure::Unreachable(why)) = of_words(refused) else { panic!("not understood") };
        assert_eq!(why, "ssh: connect to host 127.0.0.1 port 1: Connection refused");
        assert_eq!(of_words("ERROR: Repository not found."), Some(Failure::NotFound));
        assert_eq!(of_words("bash: git-upload-pack: command not found"), None);
        assert_eq!(last_line("a\n\u{1b}[31mb\n\n"), Some("[31mb".to_owned()));
    }
}
