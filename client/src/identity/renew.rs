//! A new certificate, of a new key, for one that ends soon.

use std::{path::Path, sync::Arc};

use nibble_proto::v1::RenewRequest;
use rustls_pki_types::UnixTime;

use super::{
    Device, IdentityError,
    enrol::{accept, crypto, request_of},
    files,
};
use crate::link::{Link, UNARY_TIMEOUT};

/// Renews the identity in `dir`, and puts `link` over to it.
pub(crate) async fn renew(link: &mut Link, dir: &Path, now: UnixTime) -> Result<Arc<Device>, IdentityError> {
    let key = files::pending_key(dir)?;
    let request = link.request(RenewRequest { csr_der: request_of(&key)?.into() });
    let answer = link.within(UNARY_TIMEOUT, link.enrolment().renew(request)).await?;
    let certificate = answer.certificate.ok_or_else(|| IdentityError::answer("it holds no certificate"))?;
    let authority = link.device().map(|device| device.authority());
    if authority.as_deref() != Some(&certificate.authority_der[..]) {
        return Err(IdentityError::answer("it names another authority than the one that this device trusts"));
    }
    let device = Arc::new(accept(dir, &key, &certificate, now)?);
    link.renew(Arc::clone(&device)).map_err(crypto)?;
    Ok(device)
}
