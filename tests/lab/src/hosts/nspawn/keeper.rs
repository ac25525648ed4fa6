//! The process that holds a fleet, and the line protocol by which it is told what to do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;

/// A stop may take 15 s, and machines are busy.
const ANSWER: Duration = Duration::from_mins(1);

type Waiting = Arc<Mutex<BTreeMap<u64, oneshot::Sender<Result<(), String>>>>>;

/// A running `fleet.sh`. Dropping it ends the script's input, and the script then ends the fleet.
pub(super) struct Keeper {
    id: String,
    pid: u32,
    folder: PathBuf,
    talk: tokio::sync::Mutex<Talk>,
    waiting: Waiting,
}

struct Talk {
    child: Child,
    /// Absent once the keeper was told to end.
    stdin: Option<ChildStdin>,
    number: u64,
}

impl Keeper {
    pub(super) async fn start(base: &Path, fleets: &Path, id: &str, gateways: &[&str]) -> Result<Self> {
        tokio::fs::create_dir_all(fleets).await.context("making the folder of the fleets")?;
        let mut child = Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "bash"])
            .arg(Path::new(super::SCRIPTS).join("fleet.sh"))
            .args([base, fleets])
            .arg(id)
            .args(gateways)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // An interrupt from the keyboard is for the test; the keeper sees its input end, and cleans up.
            .process_group(0)
            .spawn()
            .context("starting the fleet's keeper")?;
        let pid = child.id().context("the fleet's keeper ended at once")?;
        let stdin = child.stdin.take();
        let mut lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
        match tokio::time::timeout(ANSWER, lines.next_line())
            .await
            .context("waiting for the fleet's keeper")??
        {
            Some(line) if line == "ready" => {}
            other => bail!("the fleet's keeper does not start: {other:?}"),
        }
        let waiting = Waiting::default();
        tokio::spawn(listen(lines, Arc::clone(&waiting)));
        let talk = tokio::sync::Mutex::new(Talk { child, stdin, number: 0 });
        Ok(Self { id: id.to_owned(), pid, folder: fleets.join(id), talk, waiting })
    }

    /// Sends a command and waits for its answer.
    pub(super) async fn tell(&self, command: &str) -> Result<()> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut talk = self.talk.lock().await;
            talk.number += 1;
            let number = talk.number;
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(number, sender);
            let stdin = talk.stdin.as_mut().context("the fleet is closed")?;
            let line = format!("{number} {command}\n");
            stdin.write_all(line.as_bytes()).await.context("telling the fleet's keeper")?;
        }
        let answer = tokio::time::timeout(ANSWER, receiver).await;
        let answer = answer.with_context(|| format!("`{command}`: no answer in {} s", ANSWER.as_secs()))?;
        let answer = answer.map_err(|_| anyhow!("`{command}`: the fleet's keeper ended"))?;
        answer.map_err(|why| anyhow!("`{command}`: {}", why.trim()))
    }

    pub(super) async fn close(&self) -> Result<()> {
        let mut talk = self.talk.lock().await;
        drop(talk.stdin.take());
        let ended = tokio::time::timeout(ANSWER, talk.child.wait()).await;
        let status = ended.context("waiting for the fleet's end")??;
        if !status.success() {
            bail!("the fleet's keeper ended with {status}");
        }
        Ok(())
    }

    pub(super) fn netns(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.pid))
    }

    /// The fleet's folder, as seen from outside: its guests' files are not in it.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// A guest's file tree while it runs.
    pub(super) fn root(&self, name: &str) -> PathBuf {
        let inside = self.folder.join("guests").join(name).join("root");
        PathBuf::from(format!("/proc/{}/root{}", self.pid, inside.display()))
    }

    /// The process that is a guest's init, by its number outside of all namespaces.
    pub(super) fn leader(&self, name: &str) -> Option<u32> {
        let group = format!("sys/fs/cgroup/holdfast-{}/{name}/payload/init.scope/cgroup.procs", self.id);
        let list = std::fs::read_to_string(format!("/proc/{}/root/{group}", self.pid)).ok()?;
        list.lines().next()?.parse().ok()
    }
}

/// Hands each answer to who waits for it. At the keeper's end all who wait learn it.
async fn listen(mut lines: Lines<BufReader<ChildStdout>>, waiting: Waiting) {
    while let Ok(Some(line)) = lines.next_line().await {
        let mut words = line.splitn(3, ' ');
        let number = words.next().and_then(|word| word.parse::<u64>().ok());
        let result = match words.next() {
            Some("ok") => Ok(()),
            _ => Err(words.next().unwrap_or(&line).to_owned()),
        };
        let sender =
            number.and_then(|number| waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&number));
        if let Some(sender) = sender {
            drop(sender.send(result));
        } else {
            tracing::warn!(line, "the fleet's keeper said something unexpected");
        }
    }
    waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
}
