//! The real kind against the simulated cluster over HTTP: how guests come up, change and go, whatever breaks.

#[cfg(test)]
mod budget;
#[cfg(test)]
mod changes;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod creation;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod owners;
#[cfg(test)]
mod removal;
#[cfg(test)]
mod sight;
#[cfg(test)]
mod troubles;
#[cfg(test)]
mod world;
