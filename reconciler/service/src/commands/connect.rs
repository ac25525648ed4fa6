//! From config to connections.

use anyhow::bail;
use holdfast_argocd::ArgoCd;
use holdfast_core::kind::chain;
use holdfast_core::report::count;
use holdfast_core::scrub::Scrubber;
use holdfast_host::Hosts;
use holdfast_proxmox::Proxmox;
use holdfast_vault::Vault;

use crate::config::Config;
use crate::ports::Connections;

/// What is wrong with the sections of a config that was read: told together.
#[derive(Default)]
pub(super) struct Mistakes(Vec<String>);

impl Mistakes {
    /// Takes what a section gave, and notes its mistake.
    pub(super) fn of<T, E: std::error::Error>(&mut self, section: &str, made: Result<T, E>) -> Option<T> {
        made.map_err(|error| self.0.push(format!("  - the section [{section}]: {}", chain(&error)))).ok()
    }

    /// Fails where there is any.
    pub(super) fn none(self) -> anyhow::Result<()> {
        if self.0.is_empty() {
            return Ok(());
        }
        bail!("{} in the config:\n{}", count(self.0.len(), "mistake"), self.0.join("\n"))
    }
}

/// Builds the clients of all targets that the config names. Nothing is contacted yet.
pub(super) fn connect(config: &mut Config, mistakes: &mut Mistakes, scrubber: &Scrubber) -> Connections {
    let connections = Connections {
        site: config.site.clone(),
        proxmox: config.proxmox.take().and_then(|settings| mistakes.of("proxmox", Proxmox::new(settings))),
        vault: config.vault.take().and_then(|settings| mistakes.of("vault", Vault::new(settings))),
        argocd: config.argocd.take().and_then(|settings| mistakes.of("argocd", ArgoCd::new(settings))),
        hosts: config.ssh.take().and_then(|settings| mistakes.of("ssh", Hosts::new(settings))),
        scrubber: scrubber.clone(),
    };
    if let Some(vault) = &connections.vault {
        vault.teach(scrubber.clone());
    }
    connections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_together() {
        let failing = |text: &str| Err::<(), _>(std::io::Error::other(text.to_owned()));
        let mut mistakes = Mistakes::default();
        assert_eq!(mistakes.of("forge", Ok::<_, std::io::Error>(1)), Some(1));
        assert_eq!(mistakes.of("proxmox", failing("the token is empty")), None);
        assert_eq!(mistakes.of("vault", failing("the url is none")), None);
        assert_eq!(
            mistakes.none().unwrap_err().to_string(),
            "2 mistakes in the config:\n  - the section [proxmox]: the token is empty\n  - the section [vault]: the url is none"
        );
        assert!(Mistakes::default().none().is_ok());
    }
}
