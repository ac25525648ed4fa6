//! The real service as a process: started, watched by its log, told to end, or killed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

/// The `holdfast` binary that was built beside this one.
pub fn binary() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    // Tests lie in `deps/`, programs beside the binary.
    let found =
        own.ancestors().skip(1).take(2).map(|folder| folder.join("holdfast")).find(|path| path.is_file());
    found.context("the binary `holdfast` is not built; run `cargo build --bin holdfast`")
}

type Listener = Box<dyn Fn(&Value) + Send>;

#[derive(Default)]
struct Heard {
    lines: Vec<Value>,
    listener: Option<Listener>,
}

/// A running service.
pub struct Service {
    child: Child,
    heard: Arc<Mutex<Heard>>,
    count: watch::Receiver<usize>,
}

impl Service {
    /// Starts `holdfast run`.
    pub fn start(binary: &Path, config: &Path, credentials: &Path) -> Result<Self> {
        Self::start_heard(binary, config, credentials, |_| {})
    }

    /// Likewise, and calls `listener` with every line of the log.
    pub fn start_heard(
        binary: &Path,
        config: &Path,
        credentials: &Path,
        listener: impl Fn(&Value) + Send + 'static,
    ) -> Result<Self> {
        Self::spawn(command(binary, config, credentials), listener)
    }

    /// Runs a command line that [`command`] began as the service.
    pub fn spawn(mut command: Command, listener: impl Fn(&Value) + Send + 'static) -> Result<Self> {
        let mut child = command
            .args(["--log-format", "json", "run"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the service")?;
        let stderr = child.stderr.take().context("the log is piped")?;
        let heard = Arc::new(Mutex::new(Heard { lines: Vec::new(), listener: Some(Box::new(listener)) }));
        let (sender, count) = watch::channel(0);
        let to = heard.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(stderr).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
                let mut heard = to.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(listener) = &heard.listener {
                    listener(&line);
                }
                heard.lines.push(line);
                sender.send_replace(heard.lines.len());
            }
        });
        Ok(Self { child, heard, count })
    }

    /// All lines of the log so far.
    pub fn log(&self) -> Vec<Value> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).lines.clone()
    }

    /// Waits until the log holds a line with this message.
    pub async fn until_logged(&mut self, message: &str, within: Duration) -> Result<Value> {
        let found = async {
            loop {
                let line = self.log().into_iter().find(|line| line["message"] == message);
                if let Some(line) = line {
                    return Ok(line);
                }
                if self.count.changed().await.is_err() {
                    bail!("the service ended before it logged `{message}`");
                }
            }
        };
        tokio::time::timeout(within, found)
            .await
            .with_context(|| format!("waiting for the log to say `{message}`"))?
    }

    /// What kills it at once, from wherever something is watched.
    pub fn killer(&self) -> Killer {
        Killer(self.child.id().and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw))
    }

    /// Waits until it ended by itself, or was killed.
    pub async fn ended(&mut self, within: Duration) -> Result<()> {
        tokio::time::timeout(within, self.child.wait()).await.context("the service did not end")??;
        Ok(())
    }

    /// The process id; `None` once it ended.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it as a power cut does.
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Ends it as systemd does, and waits. Gives whether it ended well.
    pub async fn terminate(&mut self, within: Duration) -> Result<bool> {
        if let Some(id) = self.child.id() {
            let status = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
            anyhow::ensure!(status.success(), "the signal could not be sent");
        }
        let status =
            tokio::time::timeout(within, self.child.wait()).await.context("the service did not end")??;
        Ok(status.success())
    }
}

/// Kills one service like a power cut, without waiting for anything.
#[derive(Clone, Copy)]
pub struct Killer(Option<rustix::process::Pid>);

impl Killer {
    /// Kills it, and says whether it still ran. Only to be called while its [`Service`] is held.
    pub fn kill(self) -> bool {
        self.0.is_some_and(|id| rustix::process::kill_process(id, rustix::process::Signal::KILL).is_ok())
    }
}

/// The command line of the service, with nothing of this process's environment that it would read.
pub fn command(binary: &Path, config: &Path, credentials: &Path) -> Command {
    let mut command = Command::new(binary);
    command.arg("--config").arg(config).arg("--credentials").arg(credentials);
    for name in
        ["STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "HOLDFAST_LOG", "HOLDFAST_LOG_FORMAT", "HOLDFAST_CONFIG"]
    {
        command.env_remove(name);
    }
    command
}
