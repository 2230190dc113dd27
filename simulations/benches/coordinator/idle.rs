//! Ten thousand devices that are connected and wait: each with a certificate of its own and a check-in that is held.
//!
//! They come from several loopback addresses, as no more than 1,024 connections are taken from one, and are entered in the
//! store before the coordinator starts, with certificates that its authority signed.
//!
//! Absent on purpose: enrolment, and work to do; the coordinator waits for one device more than there are.

use std::{net::Ipv4Addr, time::Duration};

use anyhow::{Context, Result};
use nibble_proto::v1::{self, coordinator_service_client::CoordinatorServiceClient as Stub};
use nibble_seed::ClientId;
use nibble_server::{
    identity::Authority,
    store::{NewToken, Store},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::task::JoinSet;

use crate::{client::connect_from, server::Prepared};

/// Connections from one address.
const FROM_ONE: usize = 1_000;
/// Handshakes at a time.
const AT_A_TIME: usize = 64;
const YEAR: Duration = Duration::from_secs(365 * 86_400);

type Device = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// Connects so many devices, and prints what the coordinator's memory grew by.
pub(crate) async fn measure(devices: usize) -> Result<()> {
    rlimit::increase_nofile_limit(devices as u64 + 1_000)?;
    let prepared = Prepared::new(devices + 1, "int4", 1)?;
    let known = enter(&prepared, devices)?;
    let server = prepared.start(true)?;
    let before = server.resident_bytes()?;
    let mut waiting = JoinSet::new();
    let mut dialling = JoinSet::new();
    for (number, device) in known.into_iter().enumerate() {
        if dialling.len() >= AT_A_TIME {
            waiting.spawn(hold(dialling.join_next().await.context("one is dialling")???));
        }
        let from = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + number / FROM_ONE)?);
        let (address, authority) = (server.address.clone(), server.authority_pem()?);
        dialling.spawn(async move { connect_from(&address, &authority, from, device).await });
    }
    while let Some(channel) = dialling.join_next().await {
        waiting.spawn(hold(channel??));
    }
    // Until all check-ins are held: none has an answer.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let held = waiting.len();
    let after = server.resident_bytes()?;
    println!(
        "{held} devices connected over mTLS, each with a check-in held: {} MiB of the coordinator's memory, {} bytes each",
        after >> 20,
        (after - before) / devices as u64
    );
    waiting.shutdown().await;
    server.finish().map(drop)
}

/// Enters devices in the store, with certificates.
fn enter(prepared: &Prepared, devices: usize) -> Result<Vec<Device>> {
    let now = std::time::UNIX_EPOCH.elapsed()?;
    let authority = Authority::load(&prepared.authority())?;
    std::fs::create_dir_all(prepared.state())?;
    let mut store = Store::open(&prepared.state())?;
    let mut made = Vec::with_capacity(devices);
    for number in 0..devices {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let csr = rcgen::CertificateParams::new(Vec::new())?.serialize_request(&key)?;
        let (client, name) = (ClientId(number as u64), format!("device-{number}"));
        let issued = authority.issue_client(csr.der(), client, &name, now.as_secs(), YEAR)?;
        made.push((client, name, issued, key));
    }
    store.transaction(|store| {
        for (client, name, issued, _) in &made {
            let digest = issued.facts.fingerprint;
            let expires_unix = now.as_secs() + 600;
            store.add_token(&NewToken { digest, client: *client, name: name.clone(), expires_unix })?;
            store.enrol(&digest, (*client, name), &issued.facts, now)?;
        }
        Ok(())
    })?;
    let device = |key: &rcgen::KeyPair, der: Vec<u8>| {
        (vec![CertificateDer::from(der)], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
    };
    Ok(made.into_iter().map(|(_, _, issued, key)| device(&key, issued.der)).collect())
}

/// Checks in again and again.
async fn hold(channel: tonic::transport::Channel) -> Result<()> {
    let mut stub = Stub::new(channel);
    loop {
        let request = v1::CheckInRequest { hold_ms: 60_000, ..Default::default() };
        stub.check_in(request).await?;
    }
}
