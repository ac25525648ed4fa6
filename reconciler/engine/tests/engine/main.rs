//! The engine over a world in memory, on a paused clock.

#[cfg(test)]
mod lane;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod removal;
mod rolling;
#[cfg(test)]
mod run;
mod safeguards;
#[cfg(test)]
mod scrubbed;
#[cfg(test)]
mod watch;
#[cfg(test)]
mod world;
