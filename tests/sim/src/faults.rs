//! Which fault strikes which call: drawn by hash, so that changing one thing moves the others as little as possible.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use crate::wire::Port;

/// Everything that may go wrong in a simulated world, by call or by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// An error, and nothing happened.
    ErrorBefore,
    /// It happened, and the answer was lost.
    UnknownResult,
    /// It hangs past its deadline, and happens later.
    Zombie,
    Slow,
    /// An older answer.
    Stale,
    /// One entry is missing, and nobody says so.
    Short,
    /// 200, and nothing in it.
    Empty,
    /// 401 or 403 in the middle of a run.
    Denied,
    /// 409: check-and-set was lost.
    Conflict,
    /// 429 or 503 with `Retry-After`.
    Throttled,
    /// It happens twice.
    Twice,
    CrashBefore,
    CrashAfter,
    /// A crash within a write of the journal.
    Torn,
    /// The disk under the journal is full.
    DiskFull,
    /// It reports success, and comes to nothing afterwards: a task that fails late.
    Lie,
    /// A second process of the same site lives for a while.
    Second,
    /// A process stands still for longer than its lease, and wakes.
    Paused,
    /// The clock jumps.
    ClockJump,
    /// The branch goes back to an ancestor.
    Rewind,
    /// The branch's history was rewritten.
    Rewritten,
    /// The branch is gone for a while.
    RefGone,
    /// A commit cannot be read for a while: a truncated pack.
    Truncated,
    /// Somebody else changes the world, or copies a mark.
    Meddling,
    /// A system is down for a span.
    Down,
    /// A system comes back as it was some time ago.
    Restored,
    /// The journal is lost.
    JournalLost,
}

impl FaultKind {
    pub const ALL: [Self; 27] = [
        Self::ErrorBefore,
        Self::UnknownResult,
        Self::Zombie,
        Self::Slow,
        Self::Stale,
        Self::Short,
        Self::Empty,
        Self::Denied,
        Self::Conflict,
        Self::Throttled,
        Self::Twice,
        Self::CrashBefore,
        Self::CrashAfter,
        Self::Torn,
        Self::DiskFull,
        Self::Lie,
        Self::Second,
        Self::Paused,
        Self::ClockJump,
        Self::Rewind,
        Self::Rewritten,
        Self::RefGone,
        Self::Truncated,
        Self::Meddling,
        Self::Down,
        Self::Restored,
        Self::JournalLost,
    ];

    /// Those that strike a call, in the order in which they are asked.
    const OF_CALLS: [Self; 16] = [
        Self::CrashBefore,
        Self::CrashAfter,
        Self::Torn,
        Self::DiskFull,
        Self::ErrorBefore,
        Self::UnknownResult,
        Self::Zombie,
        Self::Denied,
        Self::Conflict,
        Self::Throttled,
        Self::Twice,
        Self::Lie,
        Self::Stale,
        Self::Short,
        Self::Empty,
        Self::Slow,
    ];

    /// Whether it can strike a call of this sort.
    fn fits(self, port: Port, write: bool) -> bool {
        use Port::{Forge, Git, Hosts, Journal, Kubernetes, Proxmox, Secrets, Vault};
        let target = matches!(port, Proxmox | Hosts | Vault | Kubernetes);
        match self {
            Self::ErrorBefore | Self::Slow => true,
            Self::Torn | Self::DiskFull => write && port == Journal,
            Self::CrashBefore => write && port != Journal,
            Self::CrashAfter => write,
            Self::UnknownResult | Self::Twice => write && (target || port == Forge),
            Self::Zombie => write && target,
            Self::Conflict => write && matches!(port, Proxmox | Vault | Kubernetes),
            // What is done by a task or by a controller afterwards.
            Self::Lie => write && matches!(port, Proxmox | Kubernetes),
            // What git reads after a fetch is on the own disk.
            Self::Denied => target || matches!(port, Secrets | Forge),
            Self::Throttled => port != Journal && port != Git && port != Hosts,
            Self::Stale => !write && (target || port == Secrets),
            Self::Short | Self::Empty => !write && matches!(port, Proxmox | Vault | Kubernetes),
            _ => false,
        }
    }

    /// The probabilities that a seed chooses from, in millionths.
    fn menu(self) -> [u64; 3] {
        match self {
            Self::CrashBefore | Self::CrashAfter => [3_000, 12_000, 40_000],
            Self::Torn => [500, 3_000, 10_000],
            Self::DiskFull => [1_000, 5_000, 20_000],
            Self::Stale | Self::Short | Self::Empty => [5_000, 20_000, 60_000],
            Self::UnknownResult | Self::Zombie | Self::Conflict | Self::Twice | Self::Lie => {
                [10_000, 40_000, 120_000]
            }
            _ => [2_000, 10_000, 40_000],
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One fault at one call: the port, reads or writes of it, which of them, and what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Strike {
    pub port: Port,
    pub write: bool,
    /// The how manyeth call of this sort, from 1.
    pub number: u64,
    pub kind: FaultKind,
}

/// Which faults strike calls.
#[derive(Debug, Clone)]
pub struct Faults {
    seed: u64,
    choice: Choice,
}

#[derive(Debug, Clone)]
enum Choice {
    None,
    /// Each kind that is on, with its probability in millionths.
    Swarm(BTreeMap<FaultKind, u64>),
    /// One fault at one write, counted over all ports, from 1.
    Exactly(u64, FaultKind),
    Listed(BTreeSet<Strike>),
}

impl Faults {
    /// Nothing fails. Latencies are still drawn by the seed.
    pub fn none(seed: u64) -> Self {
        Self { seed, choice: Choice::None }
    }

    /// A seed's own choice: half of the kinds are off, the others have a probability each.
    pub fn swarm(seed: u64) -> Self {
        let mut on = BTreeMap::new();
        // Some seeds are nearly calm, so that what a single kind does is seen undisturbed.
        let calm = roll(seed, "calm", 0, 0).is_multiple_of(6);
        for kind in FaultKind::OF_CALLS {
            let dice = roll(seed, "swarm", kind as u64, 0);
            let is_on = if calm { dice.is_multiple_of(12) } else { dice.is_multiple_of(2) };
            if is_on {
                let at = usize::try_from((dice >> 8) % 3).unwrap_or(0);
                on.insert(kind, kind.menu()[at]);
            }
        }
        Self { seed, choice: Choice::Swarm(on) }
    }

    /// One fault at the `n`th write of the world, counted over all ports and processes from 1.
    pub fn exactly(n: u64, kind: FaultKind) -> Self {
        Self { seed: 0, choice: Choice::Exactly(n, kind) }
    }

    /// These and no others: what a shrunk seed has left.
    pub fn listed(seed: u64, strikes: BTreeSet<Strike>) -> Self {
        Self { seed, choice: Choice::Listed(strikes) }
    }

    /// The fault that strikes a call, if any. `nth_write` counts writes over all ports.
    pub(crate) fn strike(&self, port: Port, write: bool, number: u64, nth_write: u64) -> Option<FaultKind> {
        match &self.choice {
            Choice::None => None,
            Choice::Exactly(n, kind) => (write && *n == nth_write).then_some(*kind),
            Choice::Listed(strikes) => FaultKind::OF_CALLS
                .into_iter()
                .find(|kind| strikes.contains(&Strike { port, write, number, kind: *kind })),
            Choice::Swarm(on) => on
                .iter()
                .filter(|(kind, _)| kind.fits(port, write))
                .find(|(kind, odds)| {
                    let sort = (port as u64) << 1 | u64::from(write);
                    roll(self.seed, "strike", sort << 8 | **kind as u64, number) % 1_000_000 < **odds
                })
                .map(|(kind, _)| *kind),
        }
    }

    /// A number for one property of one call, spread evenly.
    pub(crate) fn dice(&self, what: &str, port: Port, write: bool, number: u64) -> u64 {
        roll(self.seed, what, (port as u64) << 1 | u64::from(write), number)
    }

    /// How long a call takes when nothing is wrong.
    pub(crate) fn latency(&self, port: Port, write: bool, number: u64) -> Duration {
        let dice = self.dice("latency", port, write, number);
        let longest = match port {
            Port::Journal => 4,
            Port::Hosts => 1_500,
            _ => 250,
        };
        Duration::from_millis(1 + dice % longest)
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.choice {
            Choice::None => f.write_str("none"),
            Choice::Exactly(n, kind) => write!(f, "{kind} at write {n}"),
            Choice::Swarm(on) => {
                let on: Vec<String> = on.iter().map(|(kind, odds)| format!("{kind} {odds} ppm")).collect();
                f.write_str(&on.join(", "))
            }
            Choice::Listed(strikes) => {
                let all = strikes.iter().map(|strike| {
                    let Strike { port, write, number, kind } = strike;
                    format!("{kind} at {port:?} {} {number}", if *write { "write" } else { "read" })
                });
                f.write_str(&all.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// A hash of a seed and what it is asked for, spread evenly (`SplitMix64`'s finaliser over FNV-1a).
pub fn roll(seed: u64, what: &str, sort: u64, number: u64) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let numbers = [seed, sort, number];
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).chain(what.bytes());
    for byte in bytes {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_faults_and_another_seed_others() {
        let strikes = |seed| {
            let faults = Faults::swarm(seed);
            (1..500).map(|n| faults.strike(Port::Vault, true, n, n)).collect::<Vec<_>>()
        };
        assert_eq!(strikes(3), strikes(3));
        assert!((0..20).any(|seed| strikes(seed) != strikes(3)));
    }

    #[test]
    fn over_seeds_every_kind_is_on_somewhere_and_off_somewhere() {
        for kind in FaultKind::OF_CALLS {
            let on = (0..100).filter(|seed| match Faults::swarm(*seed).choice {
                Choice::Swarm(on) => on.contains_key(&kind),
                _ => false,
            });
            assert!((10..90).contains(&on.count()), "{kind}");
        }
    }

    #[test]
    fn what_was_listed_strikes_as_it_was_drawn() {
        let drawn = Faults::swarm(3);
        let strikes = (1..500)
            .filter_map(|number| {
                let kind = drawn.strike(Port::Vault, true, number, 0)?;
                Some(Strike { port: Port::Vault, write: true, number, kind })
            })
            .collect::<BTreeSet<_>>();
        let listed = Faults::listed(3, strikes);
        for number in 1..500 {
            assert_eq!(
                listed.strike(Port::Vault, true, number, 0),
                drawn.strike(Port::Vault, true, number, 0)
            );
            assert_eq!(listed.latency(Port::Vault, true, number), drawn.latency(Port::Vault, true, number));
        }
    }
}
