//! TLS 1.3 with ring, and nothing older.

use std::sync::Arc;

use rustls::{
    ClientConfig, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// HTTP/2 over TLS.
pub(super) const ALPN: &[u8] = b"h2";

/// The cryptography of this program.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Who is trusted.
pub(crate) enum Trust {
    /// Servers whose certificates this authority signed.
    Authority(CertificateDer<'static>),
    /// Servers that this verifier accepts.
    Verifier(Arc<dyn ServerCertVerifier>),
}

/// A configuration that trusts only `trust`, and shows `identity` if there is one.
pub(crate) fn client_config(
    trust: Trust,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = provider();
    let verifier = match trust {
        Trust::Authority(authority) => verifier_of(authority, &provider)?,
        Trust::Verifier(verifier) => verifier,
    };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        Some((chain, key)) => config.with_client_auth_cert(chain, key)?,
        None => config.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// The usual checks, with `authority` as the only root.
pub(crate) fn verifier_of(
    authority: CertificateDer<'static>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, rustls::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority)?;
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))
}
