//! The repository's address, checked character by character: it becomes part of requests and command lines.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// Where the repository is. None of the forms can hold a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Remote {
    /// `https://…`, or `http://…` to this machine; no user, query, fragment or trailing slash.
    Http(String),
    Ssh(Ssh),
    /// An absolute path: a bare repository or a work tree.
    Local(PathBuf),
}

/// An ssh address whose parts cannot be read as options, nor as anything but one word by a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ssh {
    pub(crate) user: String,
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    pub(crate) path: String,
}

/// Why a text is no address of a repository. Displays as a phrase that can follow "`url` ".
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    #[error("is not an https, ssh or file address, nor an absolute path")]
    Unknown,
    #[error("holds a user name or password: write them into `username` and `credential`")]
    Userinfo,
    #[error("must not have a query or a fragment")]
    Query,
    #[error("is plain http to another machine, which would show the credential to the network: use https")]
    PlainHttp,
    #[error("has no path of a repository")]
    NoPath,
    #[error("has a user, host or path with characters that ssh addresses must not have")]
    Odd,
    #[error("is a file address with a host: write `file:///path`")]
    FileHost,
}

impl Remote {
    pub(crate) fn parse(text: &str) -> Result<Self, RemoteError> {
        if text.starts_with('/') {
            return Ok(Self::Local(PathBuf::from(text)));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return scp_like(text).map(Self::Ssh);
        };
        match scheme {
            "https" | "http" => http(text).map(Self::Http),
            "ssh" => ssh(rest).map(Self::Ssh),
            "file" => {
                let url = reqwest::Url::parse(text).map_err(|_| RemoteError::Unknown)?;
                url.to_file_path().map(Self::Local).map_err(|()| RemoteError::FileHost)
            }
            _ => Err(RemoteError::Unknown),
        }
    }
}

fn http(text: &str) -> Result<String, RemoteError> {
    let url = reqwest::Url::parse(text).map_err(|_| RemoteError::Unknown)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(RemoteError::Userinfo);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(RemoteError::Query);
    }
    let host = url.host_str().ok_or(RemoteError::Unknown)?;
    if url.scheme() == "http" && !is_loopback(host) {
        return Err(RemoteError::PlainHttp);
    }
    let text = url.as_str().trim_end_matches('/');
    if url.path().trim_matches('/').is_empty() { Err(RemoteError::NoPath) } else { Ok(text.to_owned()) }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `user@host:port/path` as in `ssh://user@host:port/path`.
fn ssh(rest: &str) -> Result<Ssh, RemoteError> {
    let (authority, path) = rest.split_once('/').ok_or(RemoteError::NoPath)?;
    let (user, place) = authority.split_once('@').unwrap_or(("git", authority));
    if user.contains(':') {
        return Err(RemoteError::Userinfo);
    }
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(str::parse).transpose().map_err(|_| RemoteError::Odd)?;
    // `ssh://host/~me/x` means a path below a home, as git reads it.
    let path = if path.starts_with('~') { path.to_owned() } else { format!("/{path}") };
    checked(Ssh { user: user.to_owned(), host: host.to_owned(), port, path })
}

/// `user@host:path`.
fn scp_like(text: &str) -> Result<Ssh, RemoteError> {
    let (authority, path) = text.split_once(':').ok_or(RemoteError::Unknown)?;
    let (user, host) = authority.split_once('@').ok_or(RemoteError::Unknown)?;
    checked(Ssh { user: user.to_owned(), host: host.to_owned(), port: None, path: path.to_owned() })
}

fn checked(ssh: Ssh) -> Result<Ssh, RemoteError> {
    let word = |text: &str, more: &str| {
        !text.is_empty()
            && !text.starts_with('-')
            && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    if ssh.path.trim_matches('/').is_empty() {
        return Err(RemoteError::NoPath);
    }
    let fine = word(&ssh.user, "._-") && word(&ssh.host, ".-:_") && word(&ssh.path, "/._-~+@, ");
    if fine { Ok(ssh) } else { Err(RemoteError::Odd) }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(url) => f.write_str(url),
            Self::Local(path) => write!(f, "{}", path.display()),
            Self::Ssh(Ssh { user, host, port, path }) => {
                let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
                let port = port.map_or_else(String::new, |port| format!(":{port}"));
                let path = path.trim_start_matches('/');
                write!(f, "ssh://{user}@{host}{port}/{path}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Remote::parse(text).map_or_else(|error| error.to_string(), |remote| remote.to_string())
    }

    #[test]
    fn the_usual_forms_are_read() {
        for (text, expected) in [
            ("https://git.lan/me/infra.git", "https://git.lan/me/infra.git"),
            ("https://git.lan:3000/me/infra/", "https://git.lan:3000/me/infra"),
            ("http://127.0.0.1:3000/infra", "http://127.0.0.1:3000/infra"),
            ("http://[::1]:3000/infra", "http://[::1]:3000/infra"),
            ("git@github.com:me/infra.git", "ssh://git@github.com/me/infra.git"),
            ("ssh://git@git.lan:2222/me/infra.git", "ssh://git@git.lan:2222/me/infra.git"),
            ("ssh://git.lan/srv/infra.git", "ssh://git@git.lan/srv/infra.git"),
            ("ssh://me@[fd00::1]:2222/~me/infra", "ssh://me@[fd00::1]:2222/~me/infra"),
            ("file:///srv/my%20infra.git", "/srv/my infra.git"),
            ("/srv/infra.git", "/srv/infra.git"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for (text, expected) in [
            ("https://me:pw@git.lan/infra", RemoteError::Userinfo),
            ("https://token@git.lan/infra", RemoteError::Userinfo),
            ("ssh://me:pw@git.lan/infra", RemoteError::Userinfo),
            ("https://git.lan/infra?token=x", RemoteError::Query),
            ("http://git.lan/infra", RemoteError::PlainHttp),
            ("http://127.0.0.1.evil.lan/infra", RemoteError::PlainHttp),
            ("https://git.lan/", RemoteError::NoPath),
            ("git://git.lan/infra", RemoteError::Unknown),
            ("ext::sh -c id", RemoteError::Unknown),
            ("relative/path", RemoteError::Unknown),
            ("file://nas/infra.git", RemoteError::FileHost),
            ("ssh://-oProxyCommand=id/infra", RemoteError::Odd),
            ("ssh://-l@git.lan/infra", RemoteError::Odd),
            ("git@-oProxyCommand=id:infra", RemoteError::Odd),
            ("git@git.lan:-x", RemoteError::Odd),
            ("git@git.lan:a'; id; '", RemoteError::Odd),
            ("ssh://git@git.lan/$(id)", RemoteError::Odd),
            ("ssh://git@git.lan:22x/infra", RemoteError::Odd),
        ] {
            assert_eq!(Remote::parse(text), Err(expected), "{text}");
        }
    }
}
