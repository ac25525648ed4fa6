//! The fence: asked before each write, whether this process may still write in this environment.

use holdfast_core::ident::EnvironmentName;
use holdfast_core::kind::{BoxFuture, Fence, TargetError, chain};
use holdfast_core::planted::{Defect, has};

use crate::Engine;
use crate::ports::Epoch;

const DOING: &str = "changing anything";

/// Lets a write through while the environment is ours, and nobody paused the site on the machine.
pub(crate) struct LeaseFence<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) environment: &'a EnvironmentName,
    /// `None`: this process only looks.
    pub(crate) epoch: Option<Epoch>,
}

impl Fence for LeaseFence<'_> {
    fn check(&self) -> BoxFuture<'_, Result<(), TargetError>> {
        Box::pin(async move {
            if let Some(reason) = self.engine.halt.reason() {
                return Err(TargetError::rejected(
                    DOING,
                    format!("paused on the service's machine: {reason}"),
                ));
            }
            let Some(mine) = self.epoch else {
                return Err(TargetError::rejected(DOING, "this is a look and no run"));
            };
            match self.engine.journal.epoch(self.environment).await {
                Ok(Some(newest)) if newest == mine => Ok(()),
                _ if has(Defect::NoFence) => Ok(()),
                Ok(_) => Err(TargetError::unavailable(DOING, "another process took this environment over")),
                // Who cannot tell whether it may write, does not.
                Err(error) => Err(TargetError::unavailable(DOING, chain(&error))),
            }
        })
    }
}
