//! One command over SSH, run for real in the host's tree.

use std::convert::Infallible;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use russh::server::Msg;
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin};
use tokio_util::sync::CancellationToken;

use super::server::{Shared, locked};
use super::wire::{Fault, Slot};

/// One command over SSH.
pub(super) struct Run {
    pub(super) shared: Arc<Shared>,
    pub(super) cut: CancellationToken,
    pub(super) user: String,
    pub(super) command: String,
}

impl Run {
    /// Runs it to its end, or to the fault that was ordered.
    pub(super) async fn run(self, channel: Channel<Msg>, handle: russh::server::Handle) {
        let id = channel.id();
        let (slot, fault) = self.shared.wire.begin(&self.user, &self.command);
        let (mut input, output) = channel.split();
        if fault == Some(Fault::Silence) {
            while input.wait().await.is_some() {}
            return;
        }
        let mut child = match self.spawn() {
            Ok(child) => child,
            Err(error) => {
                tracing::error!(%error, "a command of the lab's host could not be started");
                drop(output.exit_status(127).await);
                drop(output.close().await);
                return;
            }
        };
        let group = child.id().and_then(|id| i32::try_from(id).ok());
        locked(&self.shared.groups).extend(group);
        let stdin = child.stdin.take().expect("standard input is piped");
        let status = tokio::select! {
            never = self.feed(&mut input, stdin, slot, fault) => match never {},
            status = self.answer(&mut child, &output, slot, fault) => status,
        };
        if let Some(group) = group {
            locked(&self.shared.groups).remove(&group);
        }
        let code = status
            .as_ref()
            .and_then(std::process::ExitStatus::code)
            .and_then(|code| u32::try_from(code).ok());
        self.shared.wire.end(slot, code);
        if fault == Some(Fault::CutAfter) {
            self.cut.cancel();
        }
        if let Some(code) = code {
            drop(output.exit_status(code).await);
        } else {
            let text = String::from("killed");
            // The connection may be gone by now: nobody is left to be told.
            let _: Result<(), ()> =
                handle.exit_signal_request(id, russh::Sig::KILL, false, text, String::new()).await;
        }
        drop(output.eof().await);
        drop(output.close().await);
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let mut command = self.shared.enter.command(&self.shared.tree, &self.command, &self.user);
        // Like sshd, a lost connection kills nothing: the command meets the end of its input, and closed pipes.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    }

    /// Hands what comes in to the command. Never returns, so that the command alone decides about the end.
    async fn feed(
        &self,
        input: &mut ChannelReadHalf,
        stdin: ChildStdin,
        slot: Slot,
        fault: Option<Fault>,
    ) -> Infallible {
        let mut stdin = Some(stdin);
        let mut left = match fault {
            Some(Fault::CutScript(bytes)) => bytes,
            _ => u64::MAX,
        };
        while let Some(message) = input.wait().await {
            match message {
                ChannelMsg::Data { data } => {
                    let fits = usize::try_from(left).map_or(data.len(), |left| left.min(data.len()));
                    left -= fits as u64;
                    if !self.shared.wire.passes(&data) {
                        self.cut.cancel();
                        break;
                    }
                    self.shared.wire.update(slot, |exec| exec.script += fits as u64);
                    if let Some(pipe) = &mut stdin
                        && pipe.write_all(&data[..fits]).await.is_err()
                    {
                        stdin = None;
                    }
                    if left == 0 {
                        self.cut.cancel();
                        break;
                    }
                }
                ChannelMsg::Eof => stdin = None,
                _ => {}
            }
        }
        drop(stdin);
        std::future::pending().await
    }

    /// Sends back what the command prints, and waits for its end.
    async fn answer(
        &self,
        child: &mut Child,
        output: &ChannelWriteHalf<Msg>,
        slot: Slot,
        fault: Option<Fault>,
    ) -> Option<std::process::ExitStatus> {
        let stdout = child.stdout.take().expect("standard output is piped");
        let stderr = child.stderr.take().expect("standard error is piped");
        let left = Mutex::new(match fault {
            _ if fault == Some(Fault::CutAfter) => None,
            Some(Fault::CutOutput(bytes)) => Some(bytes),
            _ => Some(u64::MAX),
        });
        tokio::join!(
            self.send(stdout, output, false, &left, slot),
            self.send(stderr, output, true, &left, slot)
        );
        child.wait().await.ok()
    }

    /// Sends one stream of a command's output. What is `left` may still be sent, by both together; without it
    /// nothing is, and the output is read to its end.
    async fn send(
        &self,
        mut pipe: impl AsyncRead + Unpin,
        output: &ChannelWriteHalf<Msg>,
        is_stderr: bool,
        left: &Mutex<Option<u64>>,
        slot: Slot,
    ) {
        let mut buffer = vec![0; 1 << 15];
        while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
            let (fits, last) = match &mut *locked(left) {
                None => continue,
                Some(left) => {
                    let fits = usize::try_from(*left).map_or(count, |left| left.min(count));
                    *left -= fits as u64;
                    (fits, *left == 0)
                }
            };
            self.shared.wire.update(slot, |exec| exec.output += fits as u64);
            let data = buffer[..fits].to_vec();
            let sending = async {
                if is_stderr {
                    output.extended_data_bytes(1, data).await
                } else {
                    output.data_bytes(data).await
                }
            };
            tokio::select! {
                sent = sending => if sent.is_err() { break; },
                () = self.cut.cancelled() => break,
            }
            if last {
                // What was handed over is on its way by then; how much of it arrives is nobody's promise.
                tokio::time::sleep(Duration::from_millis(50)).await;
                self.cut.cancel();
                break;
            }
        }
    }
}
