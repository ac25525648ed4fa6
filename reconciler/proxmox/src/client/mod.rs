//! The client of the Proxmox VE API: what it sends, what it makes of answers, how often and how long it asks.

pub(crate) mod cluster;
pub(crate) mod errors;
pub(crate) mod forms;
mod gates;
pub(crate) mod guests;
mod http;
pub(crate) mod property;
pub(crate) mod tasks;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tls;

use std::sync::Arc;

use crate::settings::{Settings, SettingsError};
use gates::Gates;
use http::Http;

/// A cluster, reached through one of its nodes. Clones share connections and limits.
#[derive(Clone)]
pub(crate) struct Client(Arc<Inner>);

struct Inner {
    http: Http,
    gates: Gates,
}

impl Client {
    pub(crate) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        Ok(Self(Arc::new(Inner { http: Http::new(settings)?, gates: Gates::default() })))
    }

    fn http(&self) -> &Http {
        &self.0.http
    }

    pub(crate) fn gates(&self) -> &Gates {
        &self.0.gates
    }
}
