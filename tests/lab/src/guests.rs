//! Real hosts behind simulated guests: a guest that starts is a file tree that answers SSH.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use crate::hosts::tree::{Door, Host, Seed, Trees};
use crate::proxmox::{Boot, GuestHost, Interface, Ran, Running};

/// The machines behind the guests of one simulated cluster. Each has a port of its own, reserved before it exists,
/// as a home's addresses are.
#[derive(Clone)]
pub struct TreeGuests(Arc<Inner>);

struct Inner {
    trees: Trees,
    guests: Mutex<BTreeMap<u32, Guest>>,
    reserved: Mutex<BTreeMap<u32, Door>>,
    made: Mutex<Option<Made>>,
}

type Made = Box<dyn Fn(u32, &Host) + Send>;

/// One machine.
struct Guest {
    boot: Boot,
    /// Absent while it is being made.
    host: Option<Arc<Host>>,
    running: bool,
}

impl TreeGuests {
    pub fn new(trees: Trees) -> Self {
        Self(Arc::new(Inner {
            trees,
            guests: Mutex::default(),
            reserved: Mutex::default(),
            made: Mutex::default(),
        }))
    }

    /// The address at which a guest's SSH will answer once it runs.
    pub fn reserve(&self, vmid: u32) -> Result<SocketAddr> {
        let door = Door::reserve()?;
        let address = door.address();
        lock(&self.0.reserved).insert(vmid, door);
        Ok(address)
    }

    /// Calls `made` with every host that is made from now on, before it answers for the first time.
    pub fn when_made(&self, made: impl Fn(u32, &Host) + Send + 'static) {
        *lock(&self.0.made) = Some(Box::new(made));
    }

    /// The host behind a guest, once it was made.
    pub fn host(&self, vmid: u32) -> Option<Arc<Host>> {
        lock(&self.0.guests).get(&vmid)?.host.clone()
    }

    /// All hosts by the VMID of their guests.
    pub fn hosts(&self) -> Vec<(u32, Arc<Host>)> {
        let guests = lock(&self.0.guests);
        guests.iter().filter_map(|(vmid, guest)| Some((*vmid, guest.host.clone()?))).collect()
    }

    /// Makes the host of a new guest, or starts the one that is there.
    async fn boot(&self, boot: Boot) -> Result<()> {
        let host = if let Some(host) = self.host(boot.vmid) {
            host
        } else {
            let door = lock(&self.0.reserved).remove(&boot.vmid);
            let host = Arc::new(self.0.trees.create(seed(&boot, door)).await?);
            if let Some(made) = &*lock(&self.0.made) {
                made(boot.vmid, &host);
            }
            host
        };
        let running = {
            let mut guests = lock(&self.0.guests);
            // It may have been destroyed meanwhile.
            let Some(guest) = guests.get_mut(&boot.vmid) else { return Ok(()) };
            guest.host = Some(host.clone());
            guest.running
        };
        if running {
            host.start().await?;
        }
        Ok(())
    }

    fn up(&self, vmid: u32) -> Option<(Boot, Arc<Host>)> {
        let guests = lock(&self.0.guests);
        let guest = guests.get(&vmid).filter(|guest| guest.running)?;
        Some((guest.boot.clone(), guest.host.clone()?))
    }
}

/// What cloud-init makes of the seed: the login and its keys.
fn seed(boot: &Boot, door: Option<Door>) -> Seed {
    let user_data = boot.seed.as_ref().map(|seed| seed.user_data.clone()).unwrap_or_default();
    let user =
        user_data.lines().find_map(|line| line.strip_prefix("user: ")).unwrap_or("root").trim().to_owned();
    let authorized_keys = user_data
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "))
        .filter(|entry| entry.starts_with("ssh-"))
        .map(str::to_owned)
        .collect();
    Seed { name: boot.name.clone(), user, authorized_keys, door }
}

impl GuestHost for TreeGuests {
    fn start(&self, boot: &Boot) {
        {
            let mut guests = lock(&self.0.guests);
            let host = guests
                .remove(&boot.vmid)
                .filter(|guest| guest.boot.disk == boot.disk)
                .and_then(|guest| guest.host);
            guests.insert(boot.vmid, Guest { boot: boot.clone(), host, running: true });
        }
        let (guests, boot) = (self.clone(), boot.clone());
        tokio::spawn(async move {
            if let Err(error) = guests.boot(boot).await {
                tracing::error!(error = format!("{error:#}"), "a guest could not boot");
            }
        });
    }

    fn stop(&self, vmid: u32) {
        if let Some(guest) = lock(&self.0.guests).get_mut(&vmid) {
            guest.running = false;
            if let Some(host) = &guest.host {
                host.stop();
            }
        }
    }

    fn destroy(&self, vmid: u32) {
        lock(&self.0.guests).remove(&vmid);
    }

    fn interfaces(&self, vmid: u32) -> Option<Vec<Interface>> {
        let (boot, _) = self.up(vmid)?;
        let told = boot.address.as_deref().unwrap_or_default();
        let addresses =
            told.split(',').filter_map(|part| part.strip_prefix("ip=")).map(str::to_owned).collect();
        let mac = boot.mac.clone().unwrap_or_default().to_ascii_lowercase();
        Some(vec![Interface { name: "eth0".to_owned(), mac, addresses }])
    }

    fn read(&self, vmid: u32, path: &str) -> Option<Vec<u8>> {
        let (_, host) = self.up(vmid)?;
        std::fs::read(host.root().join(path.trim_start_matches('/'))).ok()
    }

    fn run(&self, vmid: u32, command: Vec<String>, _input: Vec<u8>) -> Running {
        let guests = self.clone();
        Box::pin(async move {
            let Some((_, host)) = guests.up(vmid) else { return Ran { code: 127, ..Ran::default() } };
            match host.run(&command.join(" ")).await {
                Ok(output) => Ran { code: output.status, out: output.stdout, err: output.stderr },
                Err(error) => Ran { code: 127, err: format!("{error:#}"), ..Ran::default() },
            }
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
