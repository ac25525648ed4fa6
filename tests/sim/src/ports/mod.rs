//! What surrounds the engine apart from what it converges: the repository, its manifests, the journal, the forge, time.
//!
//! Each is a store that outlives processes (a [`repository::Remote`], a [`repository::Mirror`], a [`journal::Store`], a
//! [`forge::Forge`]) and a port that one life of one process has to it, through the wire.

pub mod clock;
pub mod forge;
pub mod journal;
pub mod manifests;
pub mod repository;

use holdfast_core::kind::TargetError;

use crate::wire::{Call, Verdict, Wire};

/// Carries a call to a store on the process's own machine. Such a store does things once, and has no older answers:
/// what the wire may do to a server's answer does not exist here.
async fn carry<T>(
    wire: &Wire,
    call: &Call,
    mut effect: impl FnMut() -> T + Send + 'static,
) -> Result<T, TargetError> {
    match wire.decide(call).await {
        Verdict::Pass | Verdict::Twice | Verdict::Lie | Verdict::Stale | Verdict::Short | Verdict::Empty => {
            Ok(effect())
        }
        Verdict::ErrorBefore(error) => Err(error),
        Verdict::ErrorAfter(error) => {
            effect();
            Err(error)
        }
        Verdict::Zombie { error, after } => {
            wire.later(wire.now() + after, Box::new(move || drop(effect())));
            Err(error)
        }
        Verdict::CrashBefore => std::future::pending().await,
        Verdict::CrashAfter => {
            effect();
            std::future::pending().await
        }
    }
}
