//! Who may call what: certificates that are missing, foreign, expired, revoked, or another's.

use std::{fs, sync::Arc, time::Duration};

use nibble_proto::v1;
use nibble_server::identity::Authority;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::{
    ClientConfig, SignatureScheme, client::ResolvesClientCert, crypto::ring::sign::any_supported_type,
    sign::CertifiedKey, version::TLS13,
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use tonic::Code::Unauthenticated;

use crate::{
    client::{
        Got::{self, Answer, Closed, Status},
        builder, dial, of_answer, of_instruction, tls, with_alpn,
    },
    house::{House, Options, YEAR, enter, now},
    scenes::{Cast, Scene, aside, play},
};

/// A check-in over a new connection.
async fn call(house: &House, tls: Arc<ClientConfig>) -> Got {
    match dial(house.address, tls).await {
        Ok(line) => of_instruction(line.check_in(v1::CheckInRequest::default()).await),
        Err(_) => Closed,
    }
}

async fn show(house: &House, der: &[u8], key: PrivateKeyDer<'static>) -> Got {
    call(house, tls(house, Some((der, key)))).await
}

/// Shows a certificate and signs with a key, whether they belong together or not.
#[derive(Debug)]
struct Mismatched(Arc<CertifiedKey>);

impl ResolvesClientCert for Mismatched {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A certificate of a key's own making.
fn self_signed() -> (Vec<u8>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "device-0");
    let der = params.self_signed(&key).unwrap().der().to_vec();
    (der, PrivateKeyDer::Pkcs8(key.serialize_der().into()))
}

/// A file of the authority's directory.
fn key_file(house: &House, name: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(house.directory.path().join("authority").join(name)).unwrap()
}

fn house<'a>(cast: &Cast<'a>) -> &'a House {
    &cast.stage.house
}

fn update(cast: &Cast<'_>) -> Option<v1::UpdateRef> {
    Some(cast.actor.honest.update.clone())
}

const SCENES: &[Scene] = &[
    aside("nobody checks in", Status(Unauthenticated), |cast| {
        Box::pin(async { of_instruction(cast.nobody.check_in(v1::CheckInRequest::default()).await) })
    }),
    aside("nobody fetches a model", Status(Unauthenticated), |cast| {
        Box::pin(async {
            let sha256 = cast.actor.assignment.model.clone().unwrap().sha256;
            let request = v1::DownloadModelRequest { sha256, offset: 0, ..Default::default() };
            of_answer(cast.nobody.coordinator.clone().download_model(request).await)
        })
    }),
    aside("nobody asks where an upload stands", Status(Unauthenticated), |cast| {
        Box::pin(async {
            let request = v1::GetUploadRequest { update: update(cast) };
            of_answer(cast.nobody.coordinator.clone().get_upload(request).await)
        })
    }),
    aside("nobody sends a member's update", Status(Unauthenticated), |cast| {
        Box::pin(cast.nobody.upload(cast.actor.honest.parts(&cast.actor.device, 0)))
    }),
    aside("nobody declines", Status(Unauthenticated), |cast| {
        Box::pin(async {
            let v1::UpdateRef { run, round, .. } = update(cast).unwrap();
            let request = v1::DeclineRequest { run, round, reason: String::new() };
            of_answer(cast.nobody.coordinator.clone().decline(request).await)
        })
    }),
    aside("nobody renews", Status(Unauthenticated), |cast| {
        Box::pin(async { of_answer(cast.nobody.enrolment.clone().renew(v1::RenewRequest::default()).await) })
    }),
    aside("a certificate of another authority", Closed, |cast| {
        Box::pin(async {
            let directory = tempfile::tempdir().unwrap();
            let other = Authority::create(directory.path(), &[], now().as_secs()).unwrap();
            let key = KeyPair::generate().unwrap();
            let csr = CertificateParams::default().serialize_request(&key).unwrap();
            let (client, secs) = (nibble_seed::ClientId(0), now().as_secs());
            let issued = other.issue_client(csr.der(), client, "device-0", secs, YEAR).unwrap();
            show(house(cast), &issued.der, PrivateKeyDer::Pkcs8(key.serialize_der().into())).await
        })
    }),
    aside("a certificate signed by itself", Closed, |cast| {
        Box::pin(async {
            let (der, key) = self_signed();
            show(house(cast), &der, key).await
        })
    }),
    aside("an expired certificate", Closed, |cast| {
        Box::pin(async {
            let day = Duration::from_secs(86_400);
            let (device, _) = house(cast).issue(0, (now() - 9 * day).as_secs(), day);
            show(house(cast), &device.der, device.private_key()).await
        })
    }),
    aside("a certificate that is not valid yet", Closed, |cast| {
        Box::pin(async {
            let (device, _) = house(cast).issue(0, (now() + YEAR).as_secs(), YEAR);
            show(house(cast), &device.der, device.private_key()).await
        })
    }),
    aside("a good certificate that the store does not know", Status(Unauthenticated), |cast| {
        Box::pin(async {
            let (device, _) = house(cast).issue(0, now().as_secs(), YEAR);
            show(house(cast), &device.der, device.private_key()).await
        })
    }),
    aside("a member's certificate with another key", Closed, |cast| {
        Box::pin(async {
            let chain = vec![cast.actor.device.der.clone().into()];
            let key = any_supported_type(&cast.stranger.private_key()).unwrap();
            let resolver = Arc::new(Mismatched(Arc::new(CertifiedKey::new(chain, key))));
            call(house(cast), with_alpn(builder(house(cast), &TLS13).with_client_cert_resolver(resolver))).await
        })
    }),
    aside("a certificate that is no certificate", Closed, |cast| {
        Box::pin(async {
            let key = any_supported_type(&cast.stranger.private_key()).unwrap();
            let resolver = Arc::new(Mismatched(Arc::new(CertifiedKey::new(vec![vec![0x30; 500].into()], key))));
            call(house(cast), with_alpn(builder(house(cast), &TLS13).with_client_cert_resolver(resolver))).await
        })
    }),
    aside("the coordinator's own certificate", Closed, |cast| {
        Box::pin(async {
            let file = house(cast).directory.path().join("authority").join("server.pem");
            let der = rustls_pki_types::CertificateDer::from_pem_slice(&fs::read(file).unwrap()).unwrap();
            show(house(cast), &der, key_file(house(cast), "server-key.pem")).await
        })
    }),
    aside("the authority's certificate", Closed, |cast| {
        Box::pin(async {
            let der = house(cast).authority.ca_der();
            show(house(cast), der, key_file(house(cast), "ca-key.pem")).await
        })
    }),
    aside("a member's signature over a connection of another device", Status(tonic::Code::PermissionDenied), |cast| {
        Box::pin(cast.strange.upload(cast.actor.honest.parts(&cast.actor.device, 0)))
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_known_devices_get_in() {
    play(SCENES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_and_expiry_work_at_once() {
    let house = House::open(Options::of(1)).await;
    let [open, later] = [house.device(1), house.device(2)];
    let line = open.connect(&house).await;
    let ask =
        |line: crate::client::Line| async move { of_instruction(line.check_in(v1::CheckInRequest::default()).await) };
    assert_eq!(ask(line.clone()).await, Answer);
    let mut enrolment = line.enrolment.clone();
    for name in ["device-1", "device-2"] {
        assert!(house.store().revoke(name, now()).unwrap());
    }
    assert_eq!(ask(line).await, Status(Unauthenticated), "on a connection that was open");
    let key = KeyPair::generate().unwrap();
    let csr_der = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec().into();
    assert_eq!(of_answer(enrolment.renew(v1::RenewRequest { csr_der }).await), Status(Unauthenticated));
    assert_eq!(ask(later.connect(&house).await).await, Status(Unauthenticated), "on a new connection");

    // A certificate that ends while its connection is open, as the store sees it.
    let (ended, mut issued) = house.issue(3, now().as_secs(), YEAR);
    issued.facts.not_after_unix = now().as_secs() - 1;
    enter(&house.store(), 3, &issued).unwrap();
    assert_eq!(ask(ended.connect(&house).await).await, Status(Unauthenticated));
    house.close().await;
}
