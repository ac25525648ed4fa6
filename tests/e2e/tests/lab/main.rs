//! The real binary against the lab: what one push, one crash and one mistake lead to.

#[cfg(test)]
mod adoption;
#[cfg(test)]
mod canary;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod doubt;
#[cfg(test)]
mod drift;
#[cfg(test)]
mod fencing;
#[cfg(test)]
mod first_push;
#[cfg(test)]
mod forges;
#[cfg(test)]
mod history;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod journal;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod mistakes;
#[cfg(test)]
mod newest;
#[cfg(test)]
mod outage;
#[cfg(test)]
mod outputs;
#[cfg(test)]
mod removal;
#[cfg(test)]
mod renames;
#[cfg(test)]
mod rolling;
#[cfg(test)]
mod safeguards;
#[cfg(test)]
mod second_look;
#[cfg(test)]
mod small;
#[cfg(test)]
mod state;
#[cfg(test)]
mod support;
#[cfg(test)]
mod targets;
#[cfg(test)]
mod trap;
