//! The clock of a process's machine, which may be wrong and jump, and the pause that an operator asks for there.

use std::sync::{Arc, Mutex, PoisonError};

use holdfast_core::schedule::Moment;
use holdfast_engine::ports::{Clock, Halt};

use crate::wire::Wire;

/// When the world begins, for those who ask in seconds since 1970: 24 November 2026, 21:00 UTC.
pub const BEGIN: i64 = 1_795_554_000;

/// A machine's clock: the world's time, and what it is wrong by. Waiting goes by the runtime, which is never wrong.
#[derive(Clone)]
pub struct SimClock {
    wire: Wire,
    skew: Arc<Mutex<i64>>,
}

impl SimClock {
    pub fn new(wire: &Wire) -> Self {
        Self { wire: wire.clone(), skew: Arc::default() }
    }

    /// Jumps, by seconds, either way.
    pub fn jump(&self, seconds: i64) {
        let mut skew = self.skew.lock().unwrap_or_else(PoisonError::into_inner);
        *skew = skew.saturating_add(seconds);
    }

    /// Is set right.
    pub fn correct(&self) {
        *self.skew.lock().unwrap_or_else(PoisonError::into_inner) = 0;
    }

    /// Seconds since 1970, as this machine has them.
    pub fn seconds(&self) -> i64 {
        let world = i64::try_from(self.wire.now().as_secs()).unwrap_or(i64::MAX);
        let skew = *self.skew.lock().unwrap_or_else(PoisonError::into_inner);
        BEGIN.saturating_add(world).saturating_add(skew)
    }
}

impl Clock for SimClock {
    fn now(&self) -> Moment {
        Moment(self.seconds())
    }
}

/// The file that pauses everything on the machine.
#[derive(Clone, Default)]
pub struct SimHalt(Arc<Mutex<Option<String>>>);

impl SimHalt {
    pub fn pause(&self, reason: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }

    pub fn resume(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Halt for SimHalt {
    fn reason(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_clock_goes_with_the_world_and_jumps_either_way() {
        let wire = Wire::default();
        wire.begin();
        let (clock, other) = (SimClock::new(&wire), SimClock::new(&wire));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(clock.now(), Moment(BEGIN + 60));
        clock.jump(-3_600);
        assert_eq!(clock.now(), Moment(BEGIN + 60 - 3_600));
        clock.jump(7_200);
        assert_eq!(clock.now(), Moment(BEGIN + 60 + 3_600));
        assert_eq!(other.now(), Moment(BEGIN + 60), "each machine has its own");
        clock.correct();
        assert_eq!(clock.now(), other.now());
    }

    #[test]
    fn a_pause_says_why() {
        let halt = SimHalt::default();
        assert_eq!(halt.reason(), None);
        halt.clone().pause("the rack is being moved");
        assert_eq!(halt.reason().as_deref(), Some("the rack is being moved"));
        halt.resume();
        assert_eq!(halt.reason(), None);
    }
}
