//! Fuzz targets of the repository: addresses, and what git, ssh and servers say when something fails. `tests/fuzz` runs
//! them for long, the test below for a second.

use crate::failure::Failure;
use crate::process::{last_line, of_words};
use crate::remote::Remote;

/// The words of a program that failed: what is said of them is one bounded line.
pub fn repo_words(data: &[u8]) {
    let words = String::from_utf8_lossy(data);
    let failures = [of_words(&words), last_line(&words).map(Failure::Said)];
    let remotes = ["https://git.lan/me/infra.git", "git@git.lan:me/infra.git", "/srv/infra.git"];
    for failure in failures.into_iter().flatten() {
        for remote in remotes {
            let remote = Remote::parse(remote).expect("it is an address");
            let text = failure.explain("fetching x", &remote).to_string();
            assert!(text.starts_with("fetching x: ") && !text.contains(char::is_control), "{text:?}");
            assert!(text.chars().count() < 500, "{text}");
        }
    }
}

/// A text as the address of a repository: what is taken prints as what reads the same but for a slash that people leave
/// out, and nothing in it can be read as an option or as more than one word by a shell.
pub fn repo_address(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(remote) = Remote::parse(text) else { return };
    let shown = remote.to_string();
    assert_eq!(Remote::parse(&shown).map(|again| again.to_string()).as_ref(), Ok(&shown));
    match &remote {
        Remote::Http(url) => {
            let loopback = ["http://127.", "http://localhost", "http://[::"];
            assert!(
                url.starts_with("https://") || loopback.iter().any(|start| url.starts_with(start)),
                "{url}"
            );
            assert!(
                !url.contains(['@', '?', '#'])
                    || url.split('/').nth(2).is_some_and(|host| !host.contains('@'))
            );
        }
        Remote::Ssh(ssh) => {
            for part in [&ssh.user, &ssh.host, &ssh.path] {
                assert!(!part.is_empty() && !part.starts_with('-'), "{part}");
                assert!(!part.contains(['\'', '"', '$', '`', ';', '\\', '\n', '\0']), "{part}");
            }
        }
        Remote::Local(path) => assert!(path.is_absolute(), "{shown}"),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_cases::fuzz::briefly;

    #[test]
    fn repo_words() {
        briefly("repo_words", 10_000, super::repo_words);
    }

    #[test]
    fn repo_address() {
        briefly("repo_address", 10_000, super::repo_address);
    }
}
