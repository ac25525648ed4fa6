//! The SSH server of a host: lets in its keys, and runs each command for real in the host's tree.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use russh::keys::{PrivateKey, PublicKey};
use russh::server::{Auth, ChannelOpenHandle, Config, Handler, Msg, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, MethodKind, MethodSet};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::carry::carry;
use super::enter::Enter;
use super::exec::Run;
use super::wire::Wire;

/// `MaxSessions` of sshd's defaults.
const MAX_SESSIONS: usize = 10;

/// What the connections of one host share.
pub(super) struct Shared {
    pub(super) wire: Wire,
    pub(super) enter: Enter,
    pub(super) tree: PathBuf,
    user: String,
    key: Mutex<PrivateKey>,
    authorized: Mutex<Vec<PublicKey>>,
    /// Process groups of the commands that run.
    pub(super) groups: Mutex<BTreeSet<i32>>,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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
