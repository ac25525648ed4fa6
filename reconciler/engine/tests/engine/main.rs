//! The engine over a world in memory, on a paused clock.

mod lane;
mod run;
mod world;
