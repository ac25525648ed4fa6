//! The one SSH key of the demo: made from a constant, so that `example-repo` can name its public half.

use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::Ed25519Keypair;

/// What the key is made of. Whoever reads this can log in to the demo's hosts, and to nothing else.
const SEED: &[u8; 32] = b"holdfast demo key, not a secret!";

/// The private half, in OpenSSH's form.
///
/// # Panics
/// Never: the key is a constant.
pub fn private() -> String {
    let key = PrivateKey::from(Ed25519Keypair::from_seed(SEED));
    key.to_openssh(LineEnding::LF).expect("a key without a passphrase is written").to_string()
}

/// The public half, as `authorized_keys` has it.
///
/// # Panics
/// Never: the key is a constant.
pub fn public() -> String {
    let key = PrivateKey::from(Ed25519Keypair::from_seed(SEED));
    key.public_key().to_openssh().expect("a public key is written")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_example_repository_names_the_public_half() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../example-repo/environments");
        for file in ["core/guests.yaml", "kubernetes/guests.yaml"] {
            let text = std::fs::read_to_string(root.join(file)).unwrap();
            assert!(text.contains(&super::public()), "{file} lacks {}", super::public());
        }
    }
}
