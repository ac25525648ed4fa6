//! Real guests behind a simulated Proxmox: what is started there boots here, with the seed of its cloud-init drive.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{Fleet, GuestSeed, RunningGuest};
use crate::proxmox::{Boot, GuestHost, Interface, Ran, Running};

/// How long a guest may take until its sshd answers, on a busy machine.
const BOOT: Duration = Duration::from_mins(3);

/// The machines behind the guests of one simulated cluster, all in one fleet.
#[derive(Clone)]
pub struct FleetGuests {
    fleet: Fleet,
    machines: Arc<Mutex<BTreeMap<u32, Machine>>>,
}

/// One machine as the simulator may ask about it.
struct Machine {
    /// What to do, in order.
    orders: mpsc::UnboundedSender<Order>,
    /// Absent as long as the agent would not answer.
    up: Option<(RunningGuest, Vec<Interface>)>,
    /// Grows with each order, so that a boot that was overtaken does not report itself.
    epoch: u64,
}

enum Order {
    Start(Box<Boot>, u64),
    Stop,
    Destroy,
}

impl FleetGuests {
    /// Guests of this simulator become guests of the fleet.
    pub fn new(fleet: Fleet) -> Self {
        Self { fleet, machines: Arc::default() }
    }

    /// The guest behind a VMID while it is up.
    pub fn guest(&self, vmid: u32) -> Option<RunningGuest> {
        self.machines().get(&vmid)?.up.as_ref().map(|(guest, _)| guest.clone())
    }

    fn machines(&self) -> MutexGuard<'_, BTreeMap<u32, Machine>> {
        self.machines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an order; from now on the agent is silent.
    fn order(&self, vmid: u32, order: impl FnOnce(u64) -> Order) {
        let mut machines = self.machines();
        let machine = machines.entry(vmid).or_insert_with(|| {
            let (orders, queue) = mpsc::unbounded_channel();
            tokio::spawn(self.clone().work(vmid, queue));
            Machine { orders, up: None, epoch: 0 }
        });
        machine.epoch += 1;
        machine.up = None;
        if machine.orders.send(order(machine.epoch)).is_err() {
            tracing::error!(vmid, "nobody works for this guest any more");
        }
    }

    /// Does what is ordered for one guest, one after the other.
    async fn work(self, vmid: u32, mut queue: mpsc::UnboundedReceiver<Order>) {
        let mut there: Option<(RunningGuest, Option<u64>)> = None;
        while let Some(order) = queue.recv().await {
            let done = match order {
                Order::Start(boot, epoch) => self.boot(&boot, epoch, &mut there).await,
                Order::Stop => match &there {
                    Some((guest, _)) => guest.stop().await,
                    None => Ok(()),
                },
                Order::Destroy => match there.take() {
                    Some((guest, _)) => guest.destroy().await,
                    None => Ok(()),
                },
            };
            if let Err(error) = done {
                tracing::error!(
                    vmid,
                    error = format!("{error:#}"),
                    "a guest's machine did not do what it was told"
                );
            }
        }
    }

    async fn boot(
        &self,
        boot: &Boot,
        epoch: u64,
        there: &mut Option<(RunningGuest, Option<u64>)>,
    ) -> Result<()> {
        let seed = seed(boot);
        // Another disk is another installation.
        if let Some((guest, _)) = there.take_if(|(_, disk)| *disk != boot.disk) {
            guest.destroy().await?;
        }
        let guest = if let Some((guest, _)) = there {
            guest.set_seed(seed);
            guest.start().await?;
            guest.clone()
        } else {
            let guest = self.fleet.start(seed).await?;
            *there = Some((guest.clone(), boot.disk));
            guest
        };
        let (all, vmid) = (self.clone(), boot.vmid);
        // Not awaited here: a stop that is ordered meanwhile must not wait for the boot.
        tokio::spawn(async move {
            let booting = async {
                guest.ready(BOOT).await?;
                interfaces(&guest).await
            };
            match booting.await {
                Ok(network) => {
                    if let Some(machine) =
                        all.machines().get_mut(&vmid).filter(|machine| machine.epoch == epoch)
                    {
                        machine.up = Some((guest, network));
                    }
                }
                Err(error) => tracing::warn!(vmid, error = format!("{error:#}"), "a guest does not come up"),
            }
        });
        Ok(())
    }
}

impl GuestHost for FleetGuests {
    fn start(&self, boot: &Boot) {
        let started = Box::new(boot.clone());
        self.order(boot.vmid, |epoch| Order::Start(started, epoch));
    }

    fn stop(&self, vmid: u32) {
        self.order(vmid, |_| Order::Stop);
    }

    fn destroy(&self, vmid: u32) {
        self.order(vmid, |_| Order::Destroy);
    }

    fn interfaces(&self, vmid: u32) -> Option<Vec<Interface>> {
        self.machines().get(&vmid)?.up.as_ref().map(|(_, interfaces)| interfaces.clone())
    }

    fn read(&self, vmid: u32, path: &str) -> Option<Vec<u8>> {
        self.guest(vmid)?.read(path)
    }

    fn run(&self, vmid: u32, command: Vec<String>, input: Vec<u8>) -> Running {
        let guest = self.guest(vmid);
        Box::pin(async move {
            let ran = match &guest {
                Some(guest) => guest.run(&command, &input).await,
                None => Err(anyhow::anyhow!("the guest is off")),
            };
            match ran {
                Ok(output) => Ran { code: output.status, out: output.stdout, err: output.stderr },
                Err(error) => Ran { code: 127, err: format!("{error:#}\n"), ..Ran::default() },
            }
        })
    }
}

fn seed(boot: &Boot) -> GuestSeed {
    let (user_data, network_config, meta_data) = match &boot.seed {
        Some(seed) => (seed.user_data.clone(), seed.network_config.clone(), seed.meta_data.clone()),
        None => Default::default(),
    };
    GuestSeed {
        name: format!("vm{}", boot.vmid),
        mac: boot.mac.clone().unwrap_or_else(|| "02:00:00:00:00:01".to_owned()).to_ascii_lowercase(),
        uuid: Some(boot.uuid.clone()),
        user_data,
        network_config,
        meta_data,
    }
}

/// The network as the guest itself tells it.
async fn interfaces(guest: &RunningGuest) -> Result<Vec<Interface>> {
    let output = guest.run(&["ip", "-json", "address"].map(str::to_owned), b"").await?;
    let links: Vec<Value> = serde_json::from_str(&output.stdout).context("reading what `ip` says")?;
    Ok(links.iter().map(interface).collect())
}

fn interface(link: &Value) -> Interface {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let addresses = link["addr_info"].as_array().into_iter().flatten();
    let addresses =
        addresses.filter_map(|address| Some((address["local"].as_str()?, address["prefixlen"].as_u64()?)));
    let mut addresses: Vec<(&str, u64)> = addresses.collect();
    // As the agent lists them: version 4 first.
    addresses.sort_by_key(|(address, _)| address.parse::<Ipv6Addr>().is_ok());
    Interface {
        name: text(&link["ifname"]),
        mac: text(&link["address"]),
        addresses: addresses.iter().map(|(address, prefix)| format!("{address}/{prefix}")).collect(),
    }
}
