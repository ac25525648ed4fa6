//! SSH to many hosts: one lasting connection a host, reused from look to look, opened anew when it went stale.

mod connect;
mod error;
mod exec;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use russh::client::Handle;
use russh::keys::PrivateKey;
use secrecy::SecretString;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub(crate) use connect::{Endpoint, Pinned};
pub(crate) use error::SshError;
pub(crate) use exec::{Answer, Limits};

/// Scripts at the same time, over all hosts.
const AT_ONCE: usize = 16;
/// Sessions at the same time on one connection; sshd allows 10 (`MaxSessions`).
const PER_HOST: usize = 4;
/// A connection that nobody used for so long is closed.
const IDLE: Duration = Duration::from_mins(30);

/// One identity and its connections.
pub struct Ssh {
    key: Arc<PrivateKey>,
    slots: Mutex<BTreeMap<SlotKey, Arc<Slot>>>,
    gate: Semaphore,
}

/// Address, port, user and pinned key: what differs in one of them is another connection.
type SlotKey = (String, u16, String, String);

struct Slot {
    handle: tokio::sync::Mutex<Option<Arc<Handle<Pinned>>>>,
    gate: Semaphore,
    used: Mutex<Instant>,
}

impl Ssh {
    pub fn new(key: PrivateKey) -> Self {
        Self { key: Arc::new(key), slots: Mutex::default(), gate: Semaphore::new(AT_ONCE) }
    }

    /// Runs a script in a root shell on a host: the user's own, or that of `sudo`, which must not ask.
    ///
    /// # Errors
    /// Only where the script was not begun. What happened to one that was begun is in the answer.
    pub async fn run(
        &self,
        at: &Endpoint,
        script: &SecretString,
        limits: Limits,
    ) -> Result<Answer, SshError> {
        let command = if at.user == "root" { "sh -s" } else { "sudo -n sh -s" };
        let slot = self.slot(at);
        let _all = self.gate.acquire().await.expect("the gate is never closed");
        let _one = slot.gate.acquire().await.expect("the gate is never closed");
        let (handle, reused) = self.handle(&slot, at).await?;
        let channel = match exec::open(&handle, &at.address).await {
            Ok(channel) => channel,
            // It had gone stale unnoticed. Nothing was begun, so a fresh one is no second attempt.
            Err(error) if reused => {
                tracing::debug!(address = %at.address, error = %error, "reopening a stale connection");
                self.forget(&slot, &handle).await;
                let (handle, _) = self.handle(&slot, at).await?;
                exec::open(&handle, &at.address).await?
            }
            Err(error) => return Err(error),
        };
        let answer = exec::run(channel, command, script, limits).await;
        if answer.trouble.is_some() {
            self.forget(&slot, &handle).await;
        }
        Ok(answer)
    }

    /// The slot of a host; those that have been idle for long are dropped on the way.
    fn slot(&self, at: &Endpoint) -> Arc<Slot> {
        let host_key = at.host_key.to_openssh().unwrap_or_default();
        let key = (at.hostname.clone(), at.port, at.user.clone(), host_key);
        let now = Instant::now();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.retain(|_, slot| {
            let used = *slot.used.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::strong_count(slot) > 1 || now.duration_since(used) < IDLE
        });
        let slot = slots.entry(key).or_insert_with(|| {
            Arc::new(Slot {
                handle: tokio::sync::Mutex::default(),
                gate: Semaphore::new(PER_HOST),
                used: Mutex::new(now),
            })
        });
        *slot.used.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Arc::clone(slot)
    }

    /// The open connection, or a new one; and whether it is an old one.
    async fn handle(&self, slot: &Slot, at: &Endpoint) -> Result<(Arc<Handle<Pinned>>, bool), SshError> {
        let mut place = slot.handle.lock().await;
        if let Some(handle) = place.as_ref().filter(|handle| !handle.is_closed()) {
            return Ok((Arc::clone(handle), true));
        }
        let handle = Arc::new(connect::connect(at, &self.key).await?);
        *place = Some(Arc::clone(&handle));
        tracing::debug!(address = %at.address, "connected");
        Ok((handle, false))
    }

    /// Drops a connection that is of no more use, unless another has taken its place.
    async fn forget(&self, slot: &Slot, handle: &Arc<Handle<Pinned>>) {
        let mut place = slot.handle.lock().await;
        if place.as_ref().is_some_and(|current| Arc::ptr_eq(current, handle)) {
            *place = None;
        }
    }
}
