//! Enrolment trusts one authority and no other; a device's certificate opens connections, signs updates and is renewed.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use nibble_client::{
    agent::{Agent, AgentConfig, AgentError, Ended, Training},
    identity::{self, Device, Enrolled, IdentityError, Token},
    link::{Address, CallError, Credentials, Link},
    state::Store,
};
use nibble_proto::v1::{self, Outcome::Accepted};
use nibble_seed::{ClientId, Seed};
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, UnixTime};
use support::{
    Coordinator, Cut, Network, Script, Toy,
    authority::{Authority, GOOD, HOST, Registry, Years},
    trainer,
};
use tempfile::TempDir;
use tokio::time::sleep;
use x509_parser::parse_x509_certificate;

/// Noon of a day on which the tests' certificates are good: the middle of 2050.
fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(2_540_000_000))
}

fn address() -> Address {
    format!("https://{HOST}:7443").parse().unwrap()
}

/// A coordinator that knows devices by their certificates.
fn coordinator(outcomes: &[v1::Outcome]) -> Arc<Coordinator> {
    Coordinator::new(Script { insecure: false, ..Script::new("int4+ef", outcomes) })
}

async fn enrol_with(
    registry: &Arc<Registry>,
    tls: Arc<ServerConfig>,
    token: &str,
    dir: &Path,
) -> Result<Enrolled, IdentityError> {
    let (network, connections) = Network::new([]);
    registry.serve(tls, connections, &coordinator(&[]));
    let token: Token = token.parse().unwrap();
    identity::enrol(&address(), &token, dir, network, now()).await
}

/// A directory with an identity.
async fn enrolled(registry: &Arc<Registry>) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    enrol_with(registry, registry.authority.server_config(), &registry.authority.token(), dir.path()).await.unwrap();
    dir
}

fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_token_is_exchanged_for_an_identity_that_loads_again() {
    let registry = Registry::new(Authority::new());
    let dir = tempfile::tempdir().unwrap();
    let tls = registry.authority.server_config();
    let enrolled = enrol_with(&registry, tls, &registry.authority.token(), dir.path()).await.unwrap();
    assert_eq!((enrolled.client, enrolled.name.as_str()), (ClientId(3), "device-3"));
    assert_eq!(files(dir.path()), ["ca.pem", "cert.pem", "key.pem"]);
    let device = Device::load(dir.path()).unwrap();
    assert_eq!((device.name(), device.validity()), ("device-3", enrolled.device.validity()));
    assert!(!device.validity().is_nearly_over(now()));
    assert!(!format!("{device:?}").contains("key"), "a key is not for logs");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(dir.path().join("key.pem")).unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_told_the_token() {
    let (registry, other) = (Registry::new(Authority::new()), Authority::new());
    let (ours, theirs) = (registry.authority.der(), other.der());
    let presented: [(Arc<ServerConfig>, String); 4] = [
        // The token names another authority than the one that the server presents.
        (registry.authority.server_config(), other.token()),
        // The server presents the authority that the token names, but has no certificate of it.
        (registry.authority.presenting(|chain| vec![chain[0].clone(), theirs.clone()]), other.token()),
        (registry.authority.presenting(|chain| vec![chain[0].clone(), theirs.clone(), ours.clone()]), other.token()),
        // The server does not present its authority.
        (registry.authority.presenting(|chain| vec![chain[0].clone()]), registry.authority.token()),
    ];
    for (case, (tls, token)) in presented.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let error = enrol_with(&registry, tls, &token, dir.path()).await.unwrap_err();
        assert!(error.to_string().contains("invalid peer certificate"), "case {case}: {error}");
        assert!(matches!(Device::load(dir.path()), Err(IdentityError::NotEnrolled { .. })));
    }
    assert!(registry.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_server_of_another_name_is_not_told_the_token() {
    let registry = Registry::new(Authority::new());
    let dir = tempfile::tempdir().unwrap();
    let (network, connections) = Network::new([]);
    registry.serve(registry.authority.server_config(), connections, &coordinator(&[]));
    let token: Token = registry.authority.token().parse().unwrap();
    let address = "https://elsewhere.test:7443".parse().unwrap();
    let error = identity::enrol(&address, &token, dir.path(), network, now()).await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    assert!(registry.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_answer_that_does_not_fit_is_not_kept() {
    type Tamper = fn(&mut v1::Certificate, &[u8]);
    let tampers: [(Tamper, &str); 5] = [
        (|answer, _| answer.authority_der = Authority::new().der().to_vec().into(), "not the one that the token"),
        (|answer, csr| answer.der = Authority::new().certify(csr, GOOD).to_vec().into(), "did not sign"),
        (|answer, _| answer.der = answer.authority_der.clone(), "do not belong together"),
        (|answer, _| answer.der = vec![1, 2, 3].into(), "cannot be used"),
        (|answer, _| answer.der.truncate(100), "cannot be used"),
    ];
    for (tamper, expected) in tampers {
        let mut registry = Registry::new(Authority::new());
        Arc::get_mut(&mut registry).unwrap().tamper = tamper;
        let dir = tempfile::tempdir().unwrap();
        let (tls, token) = (registry.authority.server_config(), registry.authority.token());
        let error = enrol_with(&registry, tls, &token, dir.path()).await.unwrap_err();
        assert!(matches!(error, IdentityError::Answer { .. }) && error.to_string().contains(expected), "{error}");
        assert_eq!(files(dir.path()), ["key.new.pem"], "the key waits for another try");
    }
}

#[tokio::test]
async fn a_token_that_the_coordinator_does_not_know_is_a_refusal() {
    let registry = Registry::new(Authority::new());
    let dir = tempfile::tempdir().unwrap();
    let token = registry.authority.token().replace("secret", "used");
    let error = enrol_with(&registry, registry.authority.server_config(), &token, dir.path()).await.unwrap_err();
    assert!(matches!(error, IdentityError::Call(CallError::Refused { .. })), "{error}");
}

#[tokio::test]
async fn a_renewal_that_was_interrupted_leaves_a_pair_that_works() {
    let registry = Registry::new(Authority::new());
    let dir = enrolled(&registry).await;
    let (key, new_key) = (dir.path().join("key.pem"), dir.path().join("key.new.pem"));
    // Killed after the certificate was replaced and before the key was: the key still has its other name.
    fs::rename(&key, &new_key).unwrap();
    fs::write(&key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert_eq!(Device::load(dir.path()).unwrap().name(), "device-3");
    // Killed before that: the new key has no certificate, and the old pair is used.
    fs::rename(&new_key, &key).unwrap();
    fs::write(&new_key, rcgen::KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert_eq!(Device::load(dir.path()).unwrap().name(), "device-3");
    fs::remove_file(&key).unwrap();
    let error = Device::load(dir.path()).unwrap_err().to_string();
    assert!(error.contains("key.pem is missing") && error.contains("--replace"), "{error}");
}

/// Runs a device to the end of its run.
async fn run(dir: &Path, network: Arc<Network>, clock: Option<fn() -> UnixTime>) -> Result<Ended, AgentError> {
    let device = Arc::new(Device::load(dir).unwrap());
    let link = Link::with_dial(address(), Credentials::Device(device), network).unwrap();
    let mut config = AgentConfig::new(Seed(7));
    config.training = Training::Inline;
    config.renewal = clock.map(|clock| (dir.to_owned(), clock));
    let agent = Agent::new(config, link, Store::open(dir).unwrap(), Toy::source, trainer::SAMPLES.to_vec());
    agent.run(sleep(Duration::from_secs(3600))).await
}

/// The key in a device's certificate.
fn public_key(dir: &Path) -> UnparsedPublicKey<Vec<u8>> {
    let certificate = fs::read(dir.join("cert.pem")).unwrap();
    let certificate: CertificateDer<'_> = rustls_pki_types::pem::PemObject::from_pem_slice(&certificate).unwrap();
    let (_, certificate) = parse_x509_certificate(&certificate).unwrap();
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, certificate.public_key().subject_public_key.data.to_vec())
}

#[tokio::test(start_paused = true)]
async fn a_device_takes_part_and_signs_its_updates() {
    let registry = Registry::new(Authority::new());
    let dir = enrolled(&registry).await;
    let (network, connections) = Network::new([]);
    let coordinator = coordinator(&[Accepted]);
    registry.serve(registry.authority.server_config(), connections, &coordinator);
    assert!(matches!(run(dir.path(), network, None).await, Ok(Ended::Finished { .. })));

    let header = coordinator.log().arrived[&0].1.clone();
    let sha256: [u8; 32] = header.update.unwrap().payload_sha256[..].try_into().unwrap();
    let key = public_key(dir.path());
    key.verify(&nibble_proto::signed_bytes("levels", 0, &sha256), &header.signature).unwrap();
    key.verify(&nibble_proto::signed_bytes("levels", 1, &sha256), &header.signature).unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_certificate_in_its_last_third_is_renewed_and_the_new_one_is_shown() {
    let registry = Registry::new(Authority::new());
    *registry.years.lock().unwrap() = Years(2000, 2060);
    let dir = enrolled(&registry).await;
    *registry.years.lock().unwrap() = GOOD;
    let old = fs::read(dir.path().join("cert.pem")).unwrap();
    let (network, connections) = Network::new([]);
    let coordinator = coordinator(&[Accepted, Accepted]);
    registry.serve(registry.authority.server_config(), connections, &coordinator);
    assert!(matches!(run(dir.path(), network, Some(now)).await, Ok(Ended::Finished { .. })));

    assert_ne!(fs::read(dir.path().join("cert.pem")).unwrap(), old);
    assert!(!Device::load(dir.path()).unwrap().validity().is_nearly_over(now()));
    assert_eq!(registry.seen.lock().unwrap().len(), 2, "one enrolment, one renewal");
    let shown = coordinator.log().shown.clone();
    assert!(shown.iter().all(|certificate| *certificate == shown[0]), "all check-ins show the new certificate");
    assert_ne!(shown[0].as_ref(), registry.seen.lock().unwrap().get(1), "the renewal shows the old one");
}

/// 2020 when a renewal is first thought of, then 2050.
fn thirty_years_later() -> UnixTime {
    static LOOKS: AtomicU64 = AtomicU64::new(0);
    let first = LOOKS.fetch_add(1, Ordering::Relaxed) == 0;
    if first { UnixTime::since_unix_epoch(Duration::from_secs(1_577_880_000)) } else { now() }
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_a_renewal_interrupts_goes_on_signed_with_the_new_key() {
    let registry = Registry::new(Authority::new());
    *registry.years.lock().unwrap() = Years(2000, 2060);
    let dir = enrolled(&registry).await;
    *registry.years.lock().unwrap() = GOOD;
    let old = Device::load(dir.path()).unwrap();
    let (network, connections) = Network::new([Cut { written: 15_000, ..Cut::NEVER }]);
    let coordinator = coordinator(&[Accepted]);
    registry.serve(registry.authority.server_config(), connections, &coordinator);
    assert!(matches!(run(dir.path(), network, Some(thirty_years_later)).await, Ok(Ended::Finished { .. })));

    assert_eq!(registry.seen.lock().unwrap().len(), 2, "one enrolment, one renewal");
    assert_eq!(coordinator.log().check_ins, 4, "once more than without a break, as the first upload came to nothing");
    assert_ne!(Device::load(dir.path()).unwrap().validity(), old.validity());
    let header = coordinator.log().arrived[&0].1.clone();
    let sha256 = header.update.unwrap().payload_sha256[..].try_into().unwrap();
    public_key(dir.path()).verify(&nibble_proto::signed_bytes("levels", 0, &sha256), &header.signature).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_has_ended_is_a_refusal() {
    let registry = Registry::new(Authority::new());
    let dir = enrolled(&registry).await;
    // Its own clock is late, so the device does not notice; the server's is right.
    let request = rcgen::CertificateParams::default();
    let key = rcgen::KeyPair::generate().unwrap();
    let ended = registry.authority.certify(request.serialize_request(&key).unwrap().der(), Years(2000, 2001));
    let ended = pem::encode(&pem::Pem::new("CERTIFICATE", ended.to_vec()));
    fs::write(dir.path().join("cert.pem"), ended).unwrap();
    fs::write(dir.path().join("key.pem"), key.serialize_pem()).unwrap();
    let (network, connections) = Network::new([]);
    registry.serve(registry.authority.server_config(), connections, &coordinator(&[Accepted]));
    let error = run(dir.path(), network, None).await.unwrap_err();
    assert!(error.is_refusal() && error.to_string().contains("CertificateExpired"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_coordinator_of_another_authority_is_not_talked_to() {
    let (registry, impostor) = (Registry::new(Authority::new()), Registry::new(Authority::new()));
    let dir = enrolled(&registry).await;
    let (network, connections) = Network::new([]);
    let coordinator = coordinator(&[Accepted]);
    impostor.serve(impostor.authority.server_config(), connections, &coordinator);
    assert!(matches!(run(dir.path(), network, None).await, Ok(Ended::Stopped)), "it may be another one tomorrow");
    assert_eq!(coordinator.log().check_ins, 0);
}
