//! The SSH server of a host: lets in its keys, and runs each command for real in the host's tree.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey};
use russh::{
    Channel, ChannelId, ChannelMsg, ChannelOpenFailure, ChannelReadHalf, ChannelWriteHalf, MethodKind,
    MethodSet,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStdin};
use tokio_util::sync::CancellationToken;

use super::enter::Enter;
use super::wire::{Fault, Slot, Wire};

/// `MaxSessions` of sshd's defaults.
const MAX_SESSIONS: usize = 10;

/// What the connections of one host share.
pub(super) struct Shared {
    pub(super) wire: Wire,
    pub(super) enter: Enter,
    tree: PathBuf,
    user: String,
    key: Mutex<PrivateKey>,
    authorized: Mutex<Vec<PublicKey>>,
    /// Process groups of the commands that run.
    groups: Mutex<BTreeSet<i32>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(super) fn new(tree: PathBuf, enter: Enter, user: String, key: PrivateKey) -> Self {
        Self {
            wire: Wire::default(),
            enter,
            tree,
            user,
            key: Mutex::new(key),
            authorized: Mutex::default(),
            groups: Mutex::default(),
        }
    }

    pub(super) fn public_key(&self) -> String {
        let key = locked(&self.key).public_key().to_openssh();
        key.expect("an ed25519 key has a text")
    }

    pub(super) fn set_key(&self, key: PrivateKey) {
        *locked(&self.key) = key;
    }

    pub(super) fn set_authorized(&self, keys: Vec<PublicKey>) {
        *locked(&self.authorized) = keys;
    }

    /// Ends all commands that run, with what they started.
    pub(super) fn end_sessions(&self) {
        for group in std::mem::take(&mut *locked(&self.groups)) {
            if let Some(group) = rustix::process::Pid::from_raw(group) {
                let killed = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
                tracing::debug!(?killed, "a command of the lab's host was ended");
            }
        }
    }

    fn lets_in(&self, user: &str, key: &PublicKey) -> bool {
        let known = user == "root" || user == self.user;
        known && locked(&self.authorized).iter().any(|authorized| authorized.key_data() == key.key_data())
    }

    fn config(&self) -> Arc<Config> {
        Arc::new(Config {
            methods: MethodSet::from(&[MethodKind::PublicKey][..]),
            auth_rejection_time: Duration::from_millis(20),
            auth_rejection_time_initial: Some(Duration::ZERO),
            keys: vec![locked(&self.key).clone()],
            nodelay: true,
            ..Config::default()
        })
    }
}

/// Accepts connections until the task is aborted.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((socket, _)) = listener.accept().await {
        let cut = shared.wire.connected();
        tokio::spawn(connection(socket, Arc::clone(&shared), cut));
    }
}

/// Serves one connection behind a carrier that can be late, and can break.
async fn connection(socket: TcpStream, shared: Arc<Shared>, cut: CancellationToken) {
    drop(socket.set_nodelay(true));
    let (outer, inner) = tokio::io::duplex(1 << 16);
    let session = Connection {
        shared: Arc::clone(&shared),
        cut: cut.clone(),
        user: String::new(),
        waiting: BTreeMap::new(),
        open: 0,
    };
    let config = shared.config();
    tokio::spawn(async move {
        if let Ok(running) = russh::server::run_stream(config, inner, session).await
            && let Err(error) = running.await
        {
            tracing::debug!(%error, "an SSH connection of the lab ended");
        }
    });
    carry(socket, outer, &shared.wire, &cut).await;
    cut.cancel();
}

async fn carry(socket: TcpStream, inner: tokio::io::DuplexStream, wire: &Wire, cut: &CancellationToken) {
    let (from_client, to_client) = socket.into_split();
    let (from_server, to_server) = tokio::io::split(inner);
    tokio::select! {
        () = cut.cancelled() => {}
        ((), ()) = async { tokio::join!(delay(from_client, to_server, wire), delay(from_server, to_client, wire)) } => {}
    }
}

/// Copies until the end, every byte late by the latency and none because of those before it.
async fn delay(mut from: impl AsyncRead + Unpin, mut to: impl tokio::io::AsyncWrite + Unpin, wire: &Wire) {
    let (queue, mut due) = tokio::sync::mpsc::channel::<(tokio::time::Instant, Vec<u8>)>(64);
    let read = async move {
        let mut buffer = vec![0; 1 << 15];
        while let Ok(count @ 1..) = from.read(&mut buffer).await {
            let when = tokio::time::Instant::now() + wire.latency();
            if queue.send((when, buffer[..count].to_vec())).await.is_err() {
                break;
            }
        }
    };
    let write = async move {
        while let Some((when, bytes)) = due.recv().await {
            tokio::time::sleep_until(when).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        drop(to.shutdown().await);
    };
    tokio::join!(read, write);
}

struct Connection {
    shared: Arc<Shared>,
    cut: CancellationToken,
    user: String,
    /// Channels that were opened and run nothing yet.
    waiting: BTreeMap<u32, Channel<Msg>>,
    open: usize,
}

impl Handler for Connection {
    type Error = russh::Error;

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Result<Auth, Self::Error> {
        if !self.shared.lets_in(user, key.public_key) {
            return Ok(Auth::reject());
        }
        user.clone_into(&mut self.user);
        Ok(Auth::Accept)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        if self.open >= MAX_SESSIONS {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        }
        self.open += 1;
        self.waiting.insert(channel.id().into(), channel);
        reply.accept().await;
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Session) -> Result<(), Self::Error> {
        self.open = self.open.saturating_sub(1);
        self.waiting.remove(&channel.into());
        Ok(())
    }

    async fn exec_request(
        &mut self,
        channel: ChannelId,
        command: &[u8],
        session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some(opened) = self.waiting.remove(&channel.into()) else {
            return session.channel_failure(channel);
        };
        session.channel_success(channel)?;
        let run = Run {
            shared: Arc::clone(&self.shared),
            cut: self.cut.clone(),
            user: self.user.clone(),
            command: String::from_utf8_lossy(command).into_owned(),
        };
        tokio::spawn(run.run(opened, session.handle()));
        Ok(())
    }
}

/// One command over SSH.
struct Run {
    shared: Arc<Shared>,
    cut: CancellationToken,
    user: String,
    command: String,
}

impl Run {
    async fn run(self, channel: Channel<Msg>, handle: russh::server::Handle) {
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
