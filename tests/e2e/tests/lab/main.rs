//! The real binary against the lab: what one push, one crash and one mistake lead to.

#[cfg(test)]
mod crash;
#[cfg(test)]
mod first_push;
#[cfg(test)]
mod hosts;
#[cfg(test)]
mod newest;
#[cfg(test)]
mod second_look;
#[cfg(test)]
mod small;
#[cfg(test)]
mod support;
#[cfg(test)]
mod trap;
