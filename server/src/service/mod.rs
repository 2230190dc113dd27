//! The gRPC services: messages in, commands to the coordinator, answers out.
//!
//! Everything that comes from outside is checked here, and generated types go no further. A client's mistake is a status
//! that says what, and changes nothing; only a payload that a member of the cohort signed for and that cannot be used
//! becomes a report, so that nobody waits for it.
//!
//! Absent on purpose: decisions (the coordinator's), connections and their deadlines (the listener's).

mod convert;
mod coordination;
mod download;
mod enrolment;
mod upload;

use std::{fmt, sync::Arc};

use nibble_proto::{
    ENROLMENT_BYTES, MESSAGE_BYTES, REQUEST_BYTES,
    v1::{coordinator_service_server::CoordinatorServiceServer, enrolment_service_server::EnrolmentServiceServer},
};
use tonic::{Request, Status, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    budget::Budgets,
    clock::Clock,
    coordinator::{Handle, Ledger, Plan},
    models::Models,
    peer::{Identity, Peer},
    spool::Spool,
};

pub use enrolment::{Enrolment, StoreDirectory};

/// Most bytes of a question about health, or to reflection.
const QUESTION_BYTES: usize = 4 * 1024;

/// Where work that waits for the disk is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskWork {
    /// On threads of its own, so that connections go on.
    OnThreads,
    /// Where it comes up: simulated networks with simulated time need that.
    InPlace,
}

impl DiskWork {
    /// Does `work` and gives its result.
    pub(crate) async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Status> {
        match self {
            Self::InPlace => Ok(work()),
            Self::OnThreads => {
                let done = tokio::task::spawn_blocking(work).await;
                done.map_err(|error| Status::internal(format!("the coordinator failed at this: {error}")))
            }
        }
    }
}

/// What the services are made of.
#[derive(Clone)]
pub struct Services {
    /// The coordinator.
    pub coordinator: Handle,
    /// Its run.
    pub plan: Arc<Plan>,
    /// Where uploads go.
    pub spool: Arc<Spool>,
    /// Where models are served from.
    pub models: Arc<Models>,
    /// Where bytes are counted.
    pub ledger: Arc<Ledger>,
    /// Certificates for devices; `None` on an insecure coordinator.
    pub enrolment: Option<Arc<Enrolment>>,
    /// What devices may spend.
    pub budgets: Arc<Budgets>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where to wait for the disk.
    pub disk: DiskWork,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").field("run", &self.plan.name).finish_non_exhaustive()
    }
}

impl Services {
    /// All services, health and reflection among them, ready to be served; and what tells of their health.
    ///
    /// # Panics
    /// Never: the descriptors are checked by the tests of the protocol's crate.
    pub async fn routes(self) -> (Routes, Health) {
        let (health, healthy) = tonic_health::server::health_reporter();
        health.set_serving::<CoordinatorServiceServer<Self>>().await;
        health.set_serving::<EnrolmentServiceServer<Self>>().await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(nibble_proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .expect("the committed descriptors are whole");
        // The room for a message is made as soon as its length is announced: no more than its service needs.
        let coordinator = CoordinatorServiceServer::new(self.clone())
            .max_decoding_message_size(REQUEST_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES);
        let enrolment = EnrolmentServiceServer::new(self).max_decoding_message_size(ENROLMENT_BYTES);
        let healthy = healthy.max_decoding_message_size(QUESTION_BYTES);
        let reflection = reflection.max_decoding_message_size(QUESTION_BYTES);
        let routes = Routes::new(coordinator).add_service(enrolment).add_service(healthy).add_service(reflection);
        (routes, Health(health))
    }
}

/// Tells whoever watches how the coordinator is.
#[derive(Clone, Debug)]
pub struct Health(HealthReporter);

impl Health {
    /// The coordinator stops.
    pub async fn stops(&self) {
        self.0.set_not_serving::<CoordinatorServiceServer<Services>>().await;
        self.0.set_not_serving::<EnrolmentServiceServer<Services>>().await;
        self.0.set_service_status("", ServingStatus::NotServing).await;
    }
}

/// Who calls.
fn identity<T>(request: &Request<T>) -> Result<Identity, Status> {
    match request.extensions().get::<Peer>().map(|peer| &peer.identity) {
        Some(Ok(Some(identity))) => Ok(identity.clone()),
        Some(Err(error)) => Err(Status::unavailable(format!("{error}; try again later"))),
        Some(Ok(None)) | None => Err(Status::unauthenticated(
            "no certificate that this coordinator knows, or it has expired or was revoked; enrol first",
        )),
    }
}
