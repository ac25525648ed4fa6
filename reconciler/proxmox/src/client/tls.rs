//! Whom we trust: the cluster's own authority, pinned certificates, or both.

use std::sync::Arc;

use holdfast_core::text::hex;
use reqwest::ClientBuilder;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest as _, Sha256};

use crate::settings::{Settings, SettingsError};

/// Gives the client the trust that the settings ask for.
pub(crate) fn trust(
    builder: ClientBuilder,
    settings: &Settings,
    plain: bool,
) -> Result<ClientBuilder, SettingsError> {
    // reqwest panics without one; it is the binary's to install.
    let provider = CryptoProvider::get_default().ok_or(SettingsError::NoProvider)?;
    if plain {
        // Nothing is encrypted, so no authorities of the system are needed either.
        return Ok(builder.tls_certs_only([]));
    }
    let pinned = settings.fingerprints.iter().map(|text| fingerprint(text)).collect::<Result<Vec<_>, _>>()?;
    let authority = match &settings.ca_pem {
        Some(pem) => Some(authority(pem, provider)?),
        None if pinned.is_empty() => return Ok(builder),
        None => None,
    };
    let verifier = PinnedOrSigned { pinned, authority, provider: Arc::clone(provider) };
    let config = rustls::ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| SettingsError::Client(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(builder.tls_backend_preconfigured(config))
}

fn authority(pem: &[u8], provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, SettingsError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        roots.add(certificate.map_err(|_| SettingsError::Ca)?).map_err(|_| SettingsError::Ca)?;
    }
    if roots.is_empty() {
        return Err(SettingsError::Ca);
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| SettingsError::Client(error.to_string()))
}

/// Reads `AA:BB:…` as lower-case digits without colons.
fn fingerprint(text: &str) -> Result<String, SettingsError> {
    let digits = text.trim().replace(':', "").to_ascii_lowercase();
    let fits = digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit());
    if fits { Ok(digits) } else { Err(SettingsError::Fingerprint(text.to_owned())) }
}

/// Accepts a certificate that is pinned, whatever it says; else one that the authority signed.
#[derive(Debug)]
struct PinnedOrSigned {
    pinned: Vec<String>,
    authority: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedOrSigned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let seen = hex(&Sha256::digest(end_entity));
        if self.pinned.contains(&seen) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.authority {
            Some(authority) => {
                authority.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            None => Err(Error::General(format!(
                "its SHA-256 fingerprint is {}, which is not pinned",
                colons(&seen)
            ))),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// As Proxmox and browsers show a fingerprint.
fn colons(digits: &str) -> String {
    let pairs: Vec<&str> = (0..digits.len() / 2).map(|i| &digits[2 * i..2 * i + 2]).collect();
    pairs.join(":").to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_with_and_without_colons() {
        let pairs = vec!["Ab"; 32].join(":");
        assert_eq!(fingerprint(&pairs).unwrap(), "ab".repeat(32));
        assert_eq!(colons(&fingerprint(&pairs).unwrap()), pairs.to_ascii_uppercase());
        assert!(fingerprint("AA:BB").is_err() && fingerprint(&"zz".repeat(32)).is_err());
    }

    #[test]
    fn only_what_is_pinned_passes_without_an_authority() {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let leaf = CertificateDer::from(vec![1, 2, 3]);
        let pinned = vec![hex(&Sha256::digest(&leaf))];
        let verifier = PinnedOrSigned { pinned, authority: None, provider };
        let name = ServerName::try_from("pve1.lan").unwrap();
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_700_000_000));
        assert!(verifier.verify_server_cert(&leaf, &[], &name, &[], now).is_ok());
        let other = CertificateDer::from(vec![4]);
        let error = verifier.verify_server_cert(&other, &[], &name, &[], now).unwrap_err();
        assert!(error.to_string().contains("which is not pinned"), "{error}");
    }
}
