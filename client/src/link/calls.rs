//! The calls of the coordinator's service, with their time limits.

use std::{sync::Arc, time::Duration};

use nibble_proto::{
    INSECURE_CLIENT_KEY, MESSAGE_BYTES,
    v1::{
        Allowance, Budget, CheckInRequest, DeclineRequest, GetUploadRequest, UpdateRef, check_in_response::Instruction,
        coordinator_service_client::CoordinatorServiceClient, enrolment_service_client::EnrolmentServiceClient,
    },
};
use nibble_seed::ClientId;
use tonic::{Request, Response, Status, transport::Channel};

use super::{Address, CallError, Dial, Tcp, Traffic, Trust, client_config, connect};
use crate::identity::Device;

/// Longest time for a call that is not held.
pub(crate) const UNARY_TIMEOUT: Duration = Duration::from_secs(30);
/// What a held call may take longer than it is held.
const GRACE: Duration = Duration::from_secs(10);
/// Longest time in which a transfer may not move.
const STALL: Duration = Duration::from_secs(30);

/// Who this client is.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A device with a certificate.
    Device(Arc<Device>),
    /// A number that an insecure coordinator on this machine takes on trust.
    Insecure(ClientId),
}

/// A connection to a coordinator that mends itself.
pub struct Link {
    address: Address,
    credentials: Credentials,
    dial: Arc<dyn Dial>,
    channel: Channel,
    traffic: Arc<Traffic>,
}

impl Link {
    /// A link over TCP. It connects when it is first used.
    ///
    /// # Errors
    /// If the device's key and certificates make no TLS identity.
    ///
    /// # Panics
    /// If called outside of a tokio runtime.
    pub fn new(address: Address, credentials: Credentials) -> Result<Self, rustls::Error> {
        Self::with_dial(address, credentials, Arc::new(Tcp))
    }

    /// A link over the streams that `dial` opens.
    ///
    /// # Errors
    /// As [`Link::new`].
    ///
    /// # Panics
    /// As [`Link::new`].
    pub fn with_dial(address: Address, credentials: Credentials, dial: Arc<dyn Dial>) -> Result<Self, rustls::Error> {
        if !address.is_secure() {
            tracing::warn!(%address, "INSECURE: no encryption, and any process on this machine can pose as any client");
        }
        let traffic = Arc::default();
        let channel = open(&address, &credentials, &dial, &traffic)?;
        Ok(Self { address, credentials, dial, channel, traffic })
    }

    /// Connects anew as `device`.
    pub(crate) fn renew(&mut self, device: Arc<Device>) -> Result<(), rustls::Error> {
        let credentials = Credentials::Device(device);
        self.channel = open(&self.address, &credentials, &self.dial, &self.traffic)?;
        self.credentials = credentials;
        Ok(())
    }

    /// The device that this client is, unless the link is insecure.
    pub(crate) fn device(&self) -> Option<&Arc<Device>> {
        match &self.credentials {
            Credentials::Device(device) => Some(device),
            Credentials::Insecure(_) => None,
        }
    }

    /// Bytes of HTTP/2 read and written so far.
    pub(crate) fn bytes(&self) -> (u64, u64) {
        self.traffic.bytes()
    }

    pub(crate) fn coordinator(&self) -> CoordinatorServiceClient<Channel> {
        CoordinatorServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES)
    }

    pub(crate) fn enrolment(&self) -> EnrolmentServiceClient<Channel> {
        EnrolmentServiceClient::new(self.channel.clone()).max_decoding_message_size(MESSAGE_BYTES)
    }

    /// Asks what to do, and waits up to `hold` for something to do. Also gives what the coordinator lets the client spend.
    pub(crate) async fn check_in(
        &self,
        pending: Option<UpdateRef>,
        held: Option<[u8; 32]>,
        allowance: Option<Allowance>,
        hold: Duration,
    ) -> Result<(Instruction, Option<Budget>), CallError> {
        let hold_ms = u32::try_from(hold.as_millis()).unwrap_or(u32::MAX);
        let held_sha256 = held.map(|name| name.to_vec().into()).unwrap_or_default();
        let request = self.request(CheckInRequest { pending, hold_ms, held_sha256, allowance });
        let response = self.within(hold + GRACE, self.coordinator().check_in(request)).await?;
        let silent = CallError::Protocol("an answer to a check-in holds no instruction");
        Ok((response.instruction.ok_or(silent)?, response.budget))
    }

    /// How much of an update has arrived.
    pub(crate) async fn upload_offset(&self, update: UpdateRef) -> Result<u64, CallError> {
        let request = self.request(GetUploadRequest { update: Some(update) });
        Ok(self.within(UNARY_TIMEOUT, self.coordinator().get_upload(request)).await?.offset)
    }

    /// Says that no update will come.
    pub(crate) async fn decline(&self, run: String, round: u64, reason: String) -> Result<(), CallError> {
        let request = self.request(DeclineRequest { run, round, reason });
        self.within(UNARY_TIMEOUT, self.coordinator().decline(request)).await.map(|_| ())
    }

    /// A request that says who calls, where no certificate does.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Credentials::Insecure(client) = self.credentials {
            request.metadata_mut().insert(INSECURE_CLIENT_KEY, client.0.into());
        }
        request
    }

    /// The answer, if it comes within `limit`.
    pub(crate) async fn within<T>(
        &self,
        limit: Duration,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, CallError> {
        match tokio::time::timeout(limit, call).await {
            Ok(result) => result.map(Response::into_inner).map_err(|status| self.error(&status)),
            Err(_) => Err(CallError::Unreachable { detail: format!("no answer within {} s", limit.as_secs()) }),
        }
    }

    /// The result of a transfer, unless it stops moving.
    pub(crate) async fn unless_stalled<T>(
        &self,
        transfer: impl Future<Output = Result<T, Status>>,
    ) -> Result<T, CallError> {
        match self.traffic.unless_stalled(STALL, transfer).await {
            Some(result) => result.map_err(|status| self.error(&status)),
            None => {
                Err(CallError::Unreachable { detail: format!("the transfer stood still for {} s", STALL.as_secs()) })
            }
        }
    }

    fn error(&self, status: &Status) -> CallError {
        CallError::new(status, self.traffic.take_alert())
    }
}

fn open(
    address: &Address,
    credentials: &Credentials,
    dial: &Arc<dyn Dial>,
    traffic: &Arc<Traffic>,
) -> Result<Channel, rustls::Error> {
    let tls = match credentials {
        Credentials::Device(device) => {
            Some(client_config(Trust::Authority(device.authority()), Some(device.tls_identity()))?)
        }
        Credentials::Insecure(_) => None,
    };
    Ok(connect(address, tls, Arc::clone(dial), Arc::clone(traffic)))
}
