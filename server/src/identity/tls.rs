//! The coordinator's side of TLS: version 1.3 only, HTTP/2 only, client certificates of our authority or none.
//!
//! Whoever comes without a certificate may do no more than enrol; the services see to that. Absent on purpose: tickets,
//! resumption and early data. A resumed session would carry a certificate past its end, and the caches take memory.

use std::sync::Arc;

use rustls::{
    RootCertStore, ServerConfig,
    crypto::ring,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};
use rustls_pki_types::CertificateDer;

use super::{Authority, Clock, IdentityError};

/// A configuration that shows the authority's server certificate and takes client certificates that it signed and that
/// have not ended by `clock`; others fail the handshake.
///
/// # Errors
/// If the certificates cannot be used.
pub fn server_config(authority: &Authority, clock: Clock) -> Result<Arc<ServerConfig>, IdentityError> {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_slice(authority.ca_der()))?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| rustls::Error::General(error.to_string()))?;
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(clock))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(authority.chain().to_vec(), authority.server_key())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}
