//! What happened, a line a call: hashed whole, and kept as a ring unless all of it is asked for.

use std::collections::VecDeque;

use crate::model::Time;

/// So many lines are kept where nobody asked for all.
const RING: usize = 200;

/// The trace of one simulated world.
#[derive(Debug, Default)]
pub struct Trace {
    lines: VecDeque<String>,
    whole: bool,
    hash: u64,
    count: u64,
}

impl Trace {
    /// Keeps every line from now on.
    pub fn keep_all(&mut self) {
        self.whole = true;
    }

    /// Adds a line. What it says must be the same in every run of the same seed.
    pub fn line(&mut self, at: Time, text: &str) {
        let line = format!("{:>5}.{:03} {text}", at.as_secs(), at.subsec_millis());
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.count += 1;
        if !self.whole && self.lines.len() == RING {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// Adds a line that is no part of the hash: the service's own log.
    pub fn aside(&mut self, at: Time, text: &str) {
        if self.whole {
            self.lines.push_back(format!("{:>5}.{:03}        {text}", at.as_secs(), at.subsec_millis()));
        }
    }

    /// Two equal hashes, two equal traces.
    pub fn hash(&self) -> u64 {
        self.hash ^ self.count
    }

    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_hash_covers_lines_that_the_ring_has_lost() {
        let trace = |first: &str| {
            let mut trace = Trace::default();
            trace.line(Duration::ZERO, first);
            (0..RING).for_each(|n| trace.line(Duration::from_millis(1), &n.to_string()));
            trace
        };
        assert_eq!(trace("a").hash(), trace("a").hash());
        assert_ne!(trace("a").hash(), trace("b").hash());
        assert_eq!(trace("a").lines().count(), RING);
        assert!(trace("a").lines().all(|line| !line.ends_with('a')));
    }
}
