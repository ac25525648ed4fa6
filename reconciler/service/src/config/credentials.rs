//! Credentials: files of one folder, as systemd's `LoadCredential=` lays them. Never arguments, never variables.

use std::path::{Path, PathBuf};

use holdfast_core::scrub::Scrubber;
use secrecy::SecretString;

/// The largest credential, in bytes: what systemd allows.
const MAX: u64 = 1 << 20;

/// The folder of credentials, `$CREDENTIALS_DIRECTORY` unless told otherwise.
pub(crate) struct Credentials {
    folder: Option<PathBuf>,
    scrubber: Scrubber,
}

impl Credentials {
    /// The scrubber learns every credential before anybody gets it.
    pub(crate) fn new(folder: Option<&Path>, scrubber: Scrubber) -> Self {
        Self { folder: folder.map(Path::to_owned), scrubber }
    }

    /// Reads one credential; white space around it is cut. Errors are clauses that follow the name.
    pub(crate) fn read(&self, name: &str) -> Result<SecretString, String> {
        let value = self.find(name)?;
        self.scrubber.keep(&value);
        Ok(value)
    }

    fn find(&self, name: &str) -> Result<SecretString, String> {
        let Some(folder) = &self.folder else {
            return Err(
                "but there is no folder of credentials; set $CREDENTIALS_DIRECTORY, or use systemd's \
                        LoadCredential="
                    .to_owned(),
            );
        };
        if name.contains('/') || name.starts_with('.') {
            return Err("but a credential is the name of a file, not a path".to_owned());
        }
        let path = folder.join(name);
        let failed = |error: std::io::Error| format!("but {} cannot be read: {error}", path.display());
        if std::fs::metadata(&path).map_err(failed)?.len() > MAX {
            return Err(format!("but {} is larger than 1 MiB", path.display()));
        }
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        match text.trim() {
            "" => Err(format!("but {} is empty", path.display())),
            // An OpenSSH key is refused without its last line feed.
            key if key.starts_with("-----BEGIN") => Ok(SecretString::from(format!("{key}\n"))),
            text => Ok(SecretString::from(text)),
        }
    }
}
