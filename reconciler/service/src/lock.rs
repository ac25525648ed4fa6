//! One service a state folder: two would fetch into one mirror and post over each other.

use std::fs::{File, TryLockError};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, bail};

/// The lock of a state folder. The system lets it go with the process, however that ends.
pub(crate) struct Lock(#[expect(dead_code, reason = "it is held, and never read")] File);

impl Lock {
    /// Makes the folder where it is missing, for nobody else's eyes, and locks it.
    pub(crate) fn take(state: &Path) -> anyhow::Result<Self> {
        let mut builder = std::fs::DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(state)
            .with_context(|| format!("making the state folder {}", state.display()))?;
        let path = state.join("lock");
        let mut options = File::options();
        let file = options
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("opening {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Self(file)),
            Err(TryLockError::WouldBlock) => bail!(
                "another `holdfast run` works in {}; end it first, or give this one a `state` of its own",
                state.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("locking {}", path.display()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_service_is_refused_until_the_first_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let first = Lock::take(&state).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&state).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o700);
        let error = Lock::take(&state).map(drop).unwrap_err().to_string();
        assert!(error.starts_with("another `holdfast run` works in "), "{error}");
        drop(first);
        assert!(Lock::take(&state).is_ok());
    }
}
