//! From config to connections.

use anyhow::Context as _;
use holdfast_argocd::ArgoCd;
use holdfast_host::Hosts;
use holdfast_proxmox::Proxmox;
use holdfast_vault::Vault;

use crate::config::Config;
use crate::ports::Connections;

/// Builds the clients of all targets that the config names. Nothing is contacted yet.
pub(super) fn connect(config: &mut Config) -> anyhow::Result<Connections> {
    Ok(Connections {
        site: config.site.clone(),
        proxmox: config.proxmox.take().map(Proxmox::new).transpose().context("the section [proxmox]")?,
        vault: config.vault.take().map(Vault::new).transpose().context("the section [vault]")?,
        argocd: config.argocd.take().map(ArgoCd::new).transpose().context("the section [argocd]")?,
        hosts: config.ssh.take().map(Hosts::new).transpose().context("the section [ssh]")?,
    })
}
