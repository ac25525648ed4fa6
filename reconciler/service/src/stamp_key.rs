//! The key of secret stamps: derived from a credential, or made once and kept in the state folder.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use holdfast_core::scrub::Scrubber;
use holdfast_core::secret::StampKey;
use rand::TryRng as _;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};

/// The key, made where there is none. Where it is lost, what holds secrets is written once more, with what it holds
/// already.
pub(crate) fn find_or_make(
    credential: Option<&SecretString>,
    state: &Path,
    scrubber: &Scrubber,
) -> anyhow::Result<StampKey> {
    match find(credential, state, scrubber)? {
        Some(key) => Ok(key),
        None => make(state).map(|key| learnt(key, scrubber)),
    }
}

/// The key, if there is one.
pub(crate) fn find(
    credential: Option<&SecretString>,
    state: &Path,
    scrubber: &Scrubber,
) -> anyhow::Result<Option<StampKey>> {
    if let Some(secret) = credential {
        let key = Sha256::digest(secret.expose_secret().as_bytes()).into();
        return Ok(Some(learnt(key, scrubber)));
    }
    let path = path(state);
    match std::fs::read(&path) {
        Ok(bytes) => match bytes.try_into() {
            Ok(key) => Ok(Some(learnt(key, scrubber))),
            Err(_) => bail!("{} does not hold 32 bytes; remove it, and a new one is made", path.display()),
        },
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// A key for one command: with it no stamp is known again.
pub(crate) fn passing() -> anyhow::Result<StampKey> {
    random().map(StampKey::new)
}

fn learnt(key: [u8; 32], scrubber: &Scrubber) -> StampKey {
    scrubber.keep_bytes(&key);
    StampKey::new(key)
}

fn path(state: &Path) -> PathBuf {
    state.join("stamp.key")
}

fn random() -> anyhow::Result<[u8; 32]> {
    let mut key = [0; 32];
    rand::rngs::SysRng.try_fill_bytes(&mut key).context("asking the system for randomness")?;
    Ok(key)
}

/// Written beside, made durable and renamed, so that no crash leaves half of a key.
fn make(state: &Path) -> anyhow::Result<[u8; 32]> {
    let key = random()?;
    let (path, beside) = (path(state), state.join("stamp.new"));
    let written = || -> std::io::Result<()> {
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().create_new(true).write(true).mode(0o600).open(&beside)?;
        file.write_all(&key)?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)?;
        File::open(state)?.sync_all()
    };
    written().with_context(|| format!("writing {}", path.display()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(key: &StampKey) -> String {
        key.stamp(1, &SecretString::from("value")).digest
    }

    #[test]
    fn a_key_is_made_once_for_nobody_elses_eyes() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path();
        let scrubber = &Scrubber::default();
        assert!(find(None, state, scrubber).unwrap().is_none());
        // What a crash left.
        std::fs::write(state.join("stamp.new"), "half").unwrap();
        let made = find_or_make(None, state, scrubber).unwrap();
        assert_eq!(digest(&made), digest(&find_or_make(None, state, scrubber).unwrap()));
        let permissions = std::fs::metadata(state.join("stamp.key")).unwrap().permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o777, 0o600);
        let hex = holdfast_core::text::hex(&std::fs::read(state.join("stamp.key")).unwrap());
        assert_eq!(scrubber.clean(&hex), "[redacted]");
        let credential = SecretString::from("of a credential");
        assert_ne!(digest(&made), digest(&find(Some(&credential), state, scrubber).unwrap().unwrap()));
        std::fs::write(state.join("stamp.key"), "half").unwrap();
        assert!(find(None, state, scrubber).is_err());
    }
}
