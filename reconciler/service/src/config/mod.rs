//! The service's own config: where things are and which credentials open them. The repository decides none of it.

mod credentials;
mod reader;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_core::ident::SiteName;
use holdfast_core::report::count;
use holdfast_engine::Limits;
use holdfast_forge::ForgeKind;
use holdfast_host::HostAlias;
use secrecy::SecretString;
use toml::Table;

pub(crate) use credentials::Credentials;
use reader::Section;

/// Everything that the service was told.
pub(crate) struct Config {
    pub(crate) site: SiteName,
    /// Where the mirror and the journal are kept.
    pub(crate) state: PathBuf,
    pub(crate) repository: holdfast_repo::Settings,
    pub(crate) forge: Option<holdfast_forge::Settings>,
    pub(crate) proxmox: Option<holdfast_proxmox::Settings>,
    pub(crate) vault: Option<holdfast_vault::Settings>,
    pub(crate) argocd: Option<holdfast_argocd::Settings>,
    pub(crate) ssh: Option<holdfast_host::Settings>,
    pub(crate) limits: Limits,
    /// The key of secret stamps, where a credential gives it; else the service makes its own.
    pub(crate) stamp_key: Option<SecretString>,
}

/// Every mistake of a config, together.
#[derive(Debug, thiserror::Error)]
#[error("{} in {}:\n{}", count(mistakes.len(), "mistake"), path.display(), list(mistakes))]
pub(crate) struct ConfigError {
    path: PathBuf,
    mistakes: Vec<String>,
}

fn list(mistakes: &[String]) -> String {
    mistakes.iter().map(|mistake| format!("  - {mistake}")).collect::<Vec<_>>().join("\n")
}

/// Reads the config and the credentials that it names. `state` is the folder to use where the file names none.
pub(crate) fn read(
    path: &Path,
    state: Option<&Path>,
    credentials: &Credentials,
) -> Result<Config, ConfigError> {
    let failed = |mistakes| ConfigError { path: path.to_owned(), mistakes };
    let text = std::fs::read_to_string(path).map_err(|error| failed(vec![unreadable(&error)]))?;
    parse(&text, state, credentials).map_err(failed)
}

/// What can be shown without a credential: where the journal is, and whether a forge is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) state: PathBuf,
    pub(crate) has_forge: bool,
}

/// Reads the place alone. Mistakes elsewhere in the config do not matter.
pub(crate) fn read_place(path: &Path, state: Option<&Path>) -> Result<Place, ConfigError> {
    let failed = |mistake| ConfigError { path: path.to_owned(), mistakes: vec![mistake] };
    let text = std::fs::read_to_string(path).map_err(|error| failed(unreadable(&error)))?;
    parse_place(&text, state).map_err(failed)
}

fn parse_place(text: &str, state: Option<&Path>) -> Result<Place, String> {
    let table: Table =
        text.parse().map_err(|error: toml::de::Error| error.to_string().trim_end().to_owned())?;
    let folder = table.get("state").and_then(toml::Value::as_str).map(PathBuf::from);
    let state = folder.or_else(|| state.map(Path::to_owned)).ok_or(NO_STATE)?;
    Ok(Place { state, has_forge: table.contains_key("forge") })
}

fn unreadable(error: &std::io::Error) -> String {
    format!("it cannot be read: {error}; name another one with --config or $HOLDFAST_CONFIG")
}

const NO_STATE: &str = "`state` is missing; write a folder, for example `state = \"/var/lib/holdfast\"`";

/// Reads the text of a config.
fn parse(text: &str, state: Option<&Path>, credentials: &Credentials) -> Result<Config, Vec<String>> {
    let table: Table =
        text.parse().map_err(|error: toml::de::Error| vec![error.to_string().trim_end().to_owned()])?;
    let mut reading = Reading { table: &table, credentials, mistakes: Vec::new() };
    let config = reading.config(state);
    match config {
        Some(config) if reading.mistakes.is_empty() => Ok(config),
        _ => Err(reading.mistakes),
    }
}

struct Reading<'a> {
    table: &'a Table,
    credentials: &'a Credentials,
    mistakes: Vec<String>,
}

impl<'a> Reading<'a> {
    fn config(&mut self, state: Option<&Path>) -> Option<Config> {
        let (site, state, stamp_key) = self.top(state);
        let (repository, poll) = self.repository(&state);
        let forge = self.forge();
        let proxmox = self.proxmox();
        let vault = self.vault();
        let argocd = self.argocd();
        let ssh = self.ssh();
        let limits = self.limits(poll);
        Some(Config {
            site: site?,
            state,
            repository: repository?,
            forge,
            proxmox,
            vault,
            argocd,
            ssh,
            limits,
            stamp_key,
        })
    }

    fn top(&mut self, state: Option<&Path>) -> (Option<SiteName>, PathBuf, Option<SecretString>) {
        let mut top = Section::new("", self.table, &mut self.mistakes);
        let name = top.required("site", "home");
        let site = match SiteName::new(name.clone()) {
            Ok(site) => Some(site),
            Err(_) if name.is_empty() => None,
            Err(error) => top.mistake("site", &format!("is `{name}`, which {error}")),
        };
        let folder = top.text("state").map(PathBuf::from).or_else(|| state.map(Path::to_owned));
        if folder.is_none() {
            top.mistake::<()>("state", NO_STATE.trim_start_matches("`state` "));
        }
        for section in ["repository", "forge", "proxmox", "vault", "argocd", "ssh", "limits"] {
            top.know(section);
        }
        let stamp_key = top.text("stamp_key_credential");
        top.finish();
        let stamp_key = stamp_key.and_then(|name| self.credential("stamp_key_credential", &name));
        (site, folder.unwrap_or_default(), stamp_key)
    }

    fn repository(&mut self, state: &Path) -> (Option<holdfast_repo::Settings>, Duration) {
        let default = Limits::default().poll;
        let Some(table) = self.section("repository", true) else { return (None, default) };
        let mut section = Section::new("repository", table, &mut self.mistakes);
        let url = section.required("url", "https://git.lan/me/infra.git");
        let branch = section.text("branch").unwrap_or_else(|| "main".to_owned());
        let poll = section.duration("poll", default);
        let username = section.text("username");
        let known_hosts = section.text("known_hosts").map(PathBuf::from);
        let (credential, ca) = (section.text("credential"), section.text("ca"));
        section.finish();
        let secret = credential.and_then(|name| self.credential("repository.credential", &name));
        let ca_pem = self.certificates("repository.ca", ca);
        let mirror_dir = state.join("mirror");
        (
            Some(holdfast_repo::Settings { url, branch, mirror_dir, username, secret, known_hosts, ca_pem }),
            poll,
        )
    }

    fn forge(&mut self) -> Option<holdfast_forge::Settings> {
        let table = self.section("forge", false)?;
        let mut section = Section::new("forge", table, &mut self.mistakes);
        let kind = section.required("kind", "gitea");
        let kind = match kind.as_str() {
            "gitea" => Some(ForgeKind::Gitea),
            "forgejo" => Some(ForgeKind::Forgejo),
            "github" => Some(ForgeKind::GitHub),
            "" => None,
            other => {
                section.mistake("kind", &format!("is `{other}`; known are `gitea`, `forgejo` and `github`"))
            }
        };
        let url = match kind {
            Some(ForgeKind::GitHub) => {
                section.text("url").unwrap_or_else(|| "https://api.github.com".to_owned())
            }
            _ => section.required("url", "https://git.lan"),
        };
        let repository = section.required("repository", "me/infra");
        let (credential, ca) = (section.required("credential", "forge-token"), section.text("ca"));
        section.finish();
        let token = self.credential("forge.credential", &credential)?;
        let ca_pem = self.certificates("forge.ca", ca);
        Some(holdfast_forge::Settings { kind: kind?, url, repository, token, ca_pem })
    }

    fn proxmox(&mut self) -> Option<holdfast_proxmox::Settings> {
        let table = self.section("proxmox", false)?;
        let mut section = Section::new("proxmox", table, &mut self.mistakes);
        let url = section.required("url", "https://pve1.lan:8006");
        let token_id = section.required("token_id", "holdfast@pve!main");
        let fingerprints = section.texts("fingerprints");
        let (credential, ca) = (section.required("credential", "pve-token"), section.text("ca"));
        section.finish();
        let token = self.credential("proxmox.credential", &credential)?;
        let ca_pem = self.certificates("proxmox.ca", ca);
        Some(holdfast_proxmox::Settings { url, token_id, token, ca_pem, fingerprints })
    }

    fn vault(&mut self) -> Option<holdfast_vault::Settings> {
        let table = self.section("vault", false)?;
        let mut section = Section::new("vault", table, &mut self.mistakes);
        let url = section.required("url", "https://vault.lan:8200");
        let role_id = section.text("role_id");
        let (credential, ca) = (section.required("credential", "vault-secret-id"), section.text("ca"));
        section.finish();
        let secret = self.credential("vault.credential", &credential)?;
        let ca_pem = self.certificates("vault.ca", ca);
        let auth = match role_id {
            Some(role_id) => holdfast_vault::Auth::AppRole { role_id, secret_id: secret },
            None => holdfast_vault::Auth::Token(secret),
        };
        Some(holdfast_vault::Settings { url, auth, ca_pem })
    }

    fn argocd(&mut self) -> Option<holdfast_argocd::Settings> {
        let table = self.section("argocd", false)?;
        let mut section = Section::new("argocd", table, &mut self.mistakes);
        let url = section.required("url", "https://kube.lan:6443");
        let namespace = section.text("namespace").unwrap_or_else(|| "argocd".to_owned());
        let (credential, ca) = (section.required("credential", "kube-token"), section.text("ca"));
        section.finish();
        let token = self.credential("argocd.credential", &credential)?;
        let ca_pem = self.certificates("argocd.ca", ca);
        Some(holdfast_argocd::Settings { url, token, ca_pem, namespace })
    }

    fn ssh(&mut self) -> Option<holdfast_host::Settings> {
        let table = self.section("ssh", false)?;
        let mut section = Section::new("ssh", table, &mut self.mistakes);
        let credential = section.required("credential", "ssh-key");
        section.know("hosts");
        section.finish();
        let hosts = match table.get("hosts").map(|hosts| hosts.as_table()) {
            Some(Some(hosts)) => self.aliases(hosts),
            Some(None) => {
                self.mistakes.push("`ssh.hosts` is no section; write `[ssh.hosts.\"10.0.0.1\"]`".to_owned());
                BTreeMap::new()
            }
            None => BTreeMap::new(),
        };
        let key = self.credential("ssh.credential", &credential)?;
        Some(holdfast_host::Settings { key, hosts })
    }

    fn aliases(&mut self, hosts: &Table) -> BTreeMap<String, HostAlias> {
        let mut aliases = BTreeMap::new();
        for (address, alias) in hosts {
            let name = format!("ssh.hosts.\"{address}\"");
            let Some(table) = alias.as_table() else {
                self.mistakes.push(format!("`{name}` is no section; write `[{name}]`"));
                continue;
            };
            let mut section = Section::new(&name, table, &mut self.mistakes);
            let hostname = section.required("hostname", "127.0.0.1");
            let port = section.port("port");
            section.finish();
            aliases.insert(address.clone(), HostAlias { hostname, port });
        }
        aliases
    }

    fn limits(&mut self, poll: Duration) -> Limits {
        let defaults = Limits { poll, ..Limits::default() };
        let Some(table) = self.section("limits", false) else { return defaults };
        let mut section = Section::new("limits", table, &mut self.mistakes);
        let settle = section.duration("settle", defaults.settle);
        let resync = section.duration("resync", defaults.resync);
        let retry = section.duration("retry", defaults.retry.0);
        section.finish();
        let retry = (retry, defaults.retry.1.max(retry));
        Limits { settle, resync, retry, ..defaults }
    }

    fn section(&mut self, name: &str, required: bool) -> Option<&'a Table> {
        let value = self.table.get(name);
        let table = value.and_then(toml::Value::as_table);
        if value.is_some() && table.is_none() {
            self.mistakes.push(format!("`{name}` is no section; write `[{name}]`"));
        } else if value.is_none() && required {
            self.mistakes.push(format!("the section `[{name}]` is missing"));
        }
        table
    }

    fn credential(&mut self, place: &str, name: &str) -> Option<SecretString> {
        if name.is_empty() {
            return None;
        }
        self.credentials
            .read(name)
            .map_err(|why| self.mistakes.push(format!("`{place}` names `{name}`, {why}")))
            .ok()
    }

    fn certificates(&mut self, place: &str, path: Option<String>) -> Option<Vec<u8>> {
        let path = path?;
        match std::fs::read(&path) {
            Ok(pem) => Some(pem),
            Err(error) => {
                self.mistakes.push(format!("`{place}` names {path}, which cannot be read: {error}"));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
