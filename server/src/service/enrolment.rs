//! `EnrolmentService`: a token, then a certificate that still holds, for a new certificate.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use nibble_proto::v1::{self, enrolment_service_server::EnrolmentService};
use nibble_seed::ClientId;
use tonic::{Request, Response, Status};
use tracing::{error, info};

use super::{Services, identity};
use crate::{
    identity::{Authority, Issued, Token},
    peer::{Directory, Fingerprint, Identity, Unavailable},
    store::{Store, StoreError},
};

/// What makes certificates and remembers them.
pub struct Enrolment {
    /// Signs.
    pub authority: Authority,
    /// Remembers.
    pub store: Mutex<Store>,
    /// How long a device's certificate holds.
    pub validity: Duration,
}

impl fmt::Debug for Enrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrolment").field("validity", &self.validity).finish_non_exhaustive()
    }
}

/// Looks certificates up in the store.
#[derive(Debug)]
pub struct StoreDirectory(Mutex<Store>);

impl StoreDirectory {
    /// A directory with a connection of its own.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self(Mutex::new(store))
    }
}

impl Directory for StoreDirectory {
    fn identify(&self, fingerprint: &Fingerprint, now_unix: u64) -> Result<Option<Identity>, Unavailable> {
        let found = self.0.lock().unwrap_or_else(PoisonError::into_inner).identify(fingerprint, now_unix);
        found.map_err(|error| {
            error!(%error, "certificates cannot be looked up; nobody is let in");
            Unavailable
        })
    }
}

#[tonic::async_trait]
impl EnrolmentService for Services {
    async fn enrol(&self, request: Request<v1::EnrolRequest>) -> Result<Response<v1::EnrolResponse>, Status> {
        let enrolment = self.enrolment()?;
        let v1::EnrolRequest { token, csr_der } = request.into_inner();
        let unusable = || Status::permission_denied("the token is unknown, used or expired; ask for a new one");
        let ours = |token: &Token| *token.authority() == enrolment.authority.fingerprint();
        let digest = Token::parse(&token).ok().filter(ours).ok_or_else(unusable)?.digest();
        let now = self.clock.now();
        let mut store = enrolment.store.lock().unwrap_or_else(PoisonError::into_inner);
        let (client, name, is_used) = store.token(&digest, now).map_err(failed)?.ok_or_else(unusable)?;
        let issued = enrolment.issue(&csr_der, client, &name, now);
        let issued = issued.map_err(|status| if is_used { unusable() } else { status })?;
        let enrolled = store.transaction(|store| store.enrol(&digest, (client, &name), &issued.facts, now));
        if !enrolled.map_err(failed)? {
            return Err(unusable());
        }
        info!(%client, name, "a device is enrolled");
        Ok(Response::new(v1::EnrolResponse { certificate: Some(enrolment.answer(issued, client, name)) }))
    }

    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let enrolment = self.enrolment()?;
        let Identity { client, name, .. } = identity(&request)?;
        let issued = enrolment.issue(&request.into_inner().csr_der, client, &name, self.clock.now())?;
        let store = enrolment.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.add_certificate(client, &issued.facts).map_err(failed)?;
        info!(%client, %name, "a certificate is renewed");
        let certificate = enrolment.answer(issued, client, name.to_string());
        Ok(Response::new(v1::RenewResponse { certificate: Some(certificate) }))
    }
}

impl Services {
    fn enrolment(&self) -> Result<Arc<Enrolment>, Status> {
        let insecure = || Status::failed_precondition("this coordinator is insecure and knows no certificates");
        self.enrolment.clone().ok_or_else(insecure)
    }
}

impl Enrolment {
    fn issue(&self, csr_der: &[u8], client: ClientId, name: &str, now: Duration) -> Result<Issued, Status> {
        let issued = self.authority.issue_client(csr_der, client, name, now.as_secs(), self.validity);
        issued.map_err(|error| Status::invalid_argument(format!("csr_der: {error}")))
    }

    fn answer(&self, issued: Issued, client: ClientId, name: String) -> v1::Certificate {
        v1::Certificate {
            der: issued.der.into(),
            authority_der: self.authority.ca_der().to_vec().into(),
            client: client.0,
            name,
            not_after_unix: issued.facts.not_after_unix,
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn failed(error: StoreError) -> Status {
    error!(%error, "enrolment failed");
    Status::unavailable("the coordinator cannot keep certificates now; try again later")
}
