//! Why a fetch failed, and what to do about it: the one place where that becomes words.

use std::time::Duration;

use holdfast_core::kind::TargetError;

use crate::remote::Remote;

/// What went wrong. No variant can hold a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The name does not resolve, nothing listens, the connection was cut.
    Unreachable(String),
    /// Nothing came for too long, or the whole fetch took too long.
    TimedOut,
    /// The server's certificate is not trusted, or it speaks no TLS.
    Tls(String),
    /// 401: no credential, or a wrong one.
    Unauthorized {
        sent: bool,
    },
    /// 403, or `Permission denied` of ssh.
    Forbidden,
    NotFound,
    /// The origin that the server sends us to.
    Redirect {
        to: Option<String>,
    },
    /// An answer that is not git's.
    NotGit,
    /// 429 or 5xx.
    Busy {
        status: u16,
        retry_after: Option<Duration>,
    },
    Status(u16),
    TooLarge {
        limit: u64,
    },
    UnknownHostKey,
    ChangedHostKey,
    UnusableKey,
    /// git refuses to serve a repository of another user.
    Ownership,
    NoProgram(&'static str),
    /// What the other side, or the program that talks to it, said last.
    Said(String),
    /// The answer was understood, and cannot be used.
    Answer(String),
    /// The mirror itself cannot be read or written.
    Mirror(String),
}

impl Failure {
    /// The failure as the engine takes it: `doing` is what was being done.
    pub(crate) fn explain(&self, doing: &str, remote: &Remote) -> TargetError {
        let (rejected, why) = self.words(remote);
        match self {
            Self::Busy { retry_after, .. } => {
                TargetError::Unavailable { doing: doing.to_owned(), why, retry_after: *retry_after }
            }
            _ if rejected => TargetError::rejected(doing, why),
            _ => TargetError::unavailable(doing, why),
        }
    }

    /// Whether a person must act, and the words.
    fn words(&self, remote: &Remote) -> (bool, String) {
        match self {
            Self::Unreachable(why) => (false, format!("the server cannot be reached: {why}")),
            Self::TimedOut => (false, "the server did not answer in time".to_owned()),
            Self::Tls(why) => {
                let help = "set `ca` to the file of the authority that signed the server's certificate";
                (true, format!("the server's certificate is not trusted ({why}): {help}"))
            }
            Self::Unauthorized { sent: true } => {
                (true, "the server refused the credential: check `username` and `credential`".to_owned())
            }
            Self::Unauthorized { sent: false } => {
                (true, "the server asks for a credential: set `credential`".to_owned())
            }
            Self::Forbidden => (true, forbidden(remote)),
            Self::NotFound => (
                true,
                "the repository was not found: check `url`, and that the credential may read it".to_owned(),
            ),
            Self::Redirect { to } => (true, redirected(to.as_deref())),
            Self::NotGit => (true, "the answer is not that of a git server: check `url`".to_owned()),
            Self::Busy { status, .. } => (false, format!("the server answered {status}")),
            Self::Status(status) => (true, format!("the server answered {status}: check `url`")),
            Self::TooLarge { limit } => {
                (true, format!("the answer is larger than {} MiB and was not read on", limit >> 20))
            }
            Self::UnknownHostKey => (
                true,
                "the server's host key is not in `known_hosts`: add the line of this server".to_owned(),
            ),
            Self::ChangedHostKey => {
                let help = "if the server was set up anew, replace its line, else somebody is in between";
                (true, format!("the server's host key is another than in `known_hosts`: {help}"))
            }
            Self::UnusableKey => {
                let help = "`credential` must be an OpenSSH private key without passphrase";
                (true, format!("ssh cannot use the private key: {help}"))
            }
            Self::Ownership => (true, ownership(remote)),
            Self::NoProgram(name) => (true, format!("the program `{name}` is not installed")),
            Self::Said(line) => (false, format!("the other side said: {line}")),
            Self::Answer(why) => (false, format!("the answer cannot be used: {why}")),
            Self::Mirror(why) => (false, format!("the local mirror cannot be used: {why}")),
        }
    }
}

fn forbidden(remote: &Remote) -> String {
    match remote {
        Remote::Ssh(ssh) => {
            format!("the server refused the key for the user `{}`: add its public half there", ssh.user)
        }
        Remote::Http(_) => {
            "the server refused access: the credential needs to read the repository".to_owned()
        }
        Remote::Local(_) => "the service's user may not read the repository".to_owned(),
    }
}

fn redirected(to: Option<&str>) -> String {
    let to = to.unwrap_or("another address");
    format!(
        "the server redirects to {to}, and the credential is not sent there: write the new address as `url`"
    )
}

fn ownership(remote: &Remote) -> String {
    format!(
        "git serves no repository of another user: run \
         `git config --system --add safe.directory {remote}`, or give the folder to the service's user"
    )
}

/// The texts of a gix error and its causes on one line: its own multi-line trees are for terminals.
pub(crate) fn one_line(error: &gix::Error) -> String {
    holdfast_core::report::cut(&holdfast_core::kind::chain(error), 300)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_says_what_to_do_or_that_waiting_helps() {
        let remote = Remote::parse("https://git.lan/me/infra.git").unwrap();
        let shown = |failure: Failure| failure.explain("fetching x", &remote);
        let error = shown(Failure::Unauthorized { sent: true });
        assert!(!error.is_unavailable());
        assert_eq!(
            error.to_string(),
            "fetching x: the server refused the credential: check `username` and `credential`"
        );
        assert!(shown(Failure::TimedOut).is_unavailable());
        assert!(shown(Failure::Unreachable("connection refused".to_owned())).is_unavailable());
        let busy = Failure::Busy { status: 429, retry_after: Some(Duration::from_secs(7)) };
        assert!(matches!(shown(busy), TargetError::Unavailable { retry_after: Some(_), .. }));
        assert!(
            shown(Failure::Redirect { to: Some("https://new.lan".to_owned()) })
                .to_string()
                .contains("redirects to https://new.lan")
        );
    }
}
