//! Who a request comes from.

use std::sync::atomic::Ordering::SeqCst;

use http::Request;
use nibble_proto::INSECURE_CLIENT_KEY;
use nibble_server::listener::Limits;
use rustls::version::TLS12;
use rustls_pki_types::ServerName;
use tokio::io::AsyncReadExt as _;
use tokio_rustls::TlsConnector;
use tonic::body::Body;

use crate::{
    client::{config, connect, converse, secure},
    house::{DAY, Device, House, NOW, house, insecure_house},
};

/// What the server says to a client whose certificate it does not take.
async fn refusal(house: &House, device: &Device) -> String {
    // With TLS 1.3 a client is done before the server has judged it.
    let line = house.dial().await;
    let mut tls = secure(line.io, house, Some(device)).await.unwrap();
    tls.read_u8().await.unwrap_err().to_string()
}

#[tokio::test(start_paused = true)]
async fn a_device_is_known_by_its_certificate() {
    let house = house(Limits::default());
    let device = house.device(7, DAY);
    let mut client = connect(&house, Some(&device)).await;
    let headers = client.ask("/who").await.unwrap();
    assert_eq!(headers["who"], "7:device-7");
    assert_eq!(headers["address"], "192.0.2.1:1000");
}

#[tokio::test(start_paused = true)]
async fn without_a_certificate_it_is_nobody() {
    let house = house(Limits::default());
    assert_eq!(connect(&house, None).await.who().await, "nobody");
    let mut client = connect(&house, None).await;
    let claim = Request::post("http://house/who").header(INSECURE_CLIENT_KEY, "7").body(Body::empty()).unwrap();
    assert_eq!(client.send(claim).await.unwrap()["who"], "nobody", "the header counts on insecure listeners only");
}

#[tokio::test(start_paused = true)]
async fn a_revocation_works_at_the_next_request() {
    let house = house(Limits::default());
    let device = house.device(7, DAY);
    let mut client = connect(&house, Some(&device)).await;
    assert_eq!(client.who().await, "7:device-7");
    house.book.revoke(&device);
    assert_eq!(client.who().await, "nobody");
    assert_eq!(connect(&house, Some(&device)).await.who().await, "nobody", "it can tell this from a broken network");
}

#[tokio::test(start_paused = true)]
async fn a_device_is_not_nobody_because_nothing_can_be_looked_up() {
    let house = house(Limits::default());
    let device = house.device(7, DAY);
    let mut client = connect(&house, Some(&device)).await;
    house.book.is_lost.store(true, SeqCst);
    assert_eq!(client.who().await, "cannot be said");
    let mut other = connect(&house, Some(&device)).await;
    assert_eq!(other.who().await, "cannot be said");
    house.book.is_lost.store(false, SeqCst);
    assert_eq!((client.who().await, other.who().await), ("7:device-7".into(), "7:device-7".into()));
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_ends_is_refused() {
    let house = house(Limits::default());
    let device = house.device(7, DAY);
    let mut client = connect(&house, Some(&device)).await;
    assert_eq!(client.who().await, "7:device-7");
    house.at(NOW + DAY.as_secs() + 1);
    assert_eq!(client.who().await, "nobody", "on an open connection");
    let refusal = refusal(&house, &device).await;
    assert!(refusal.contains("CertificateExpired"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_another_authority_is_refused() {
    let (house, other) = (house(Limits::default()), house(Limits::default()));
    let refusal = refusal(&house, &other.device(7, DAY)).await;
    assert!(refusal.contains("fatal alert"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn a_certificate_of_the_server_is_no_device() {
    let house = house(Limits::default());
    let pem = |name: &str| std::fs::read(house.dir().join(name)).unwrap();
    let key = rcgen::KeyPair::from_pem(&String::from_utf8(pem("server-key.pem")).unwrap()).unwrap();
    let der =
        <rustls_pki_types::CertificateDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(&pem("server.pem"));
    let mut device = house.device(7, DAY);
    device.key = key;
    device.issued.der = der.unwrap().to_vec();
    let refusal = refusal(&house, &device).await;
    assert!(refusal.contains("fatal alert"), "{refusal}");
}

#[tokio::test(start_paused = true)]
async fn tls_1_2_is_refused() {
    let house = house(Limits::default());
    let connector = TlsConnector::from(config(&house, None, &TLS12));
    let name = ServerName::try_from("fl.example.org").unwrap();
    let error = connector.connect(name, house.dial().await.io).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_insecure_client_is_who_each_request_says() {
    let house = insecure_house(Limits::default());
    let mut client = converse(house.dialer.dial("127.0.0.1:1000").await.unwrap().io).await;
    for (claim, who) in [
        (Some("7"), "7:client-7"),
        (Some("18446744073709551615"), "18446744073709551615:client-18446744073709551615"),
        (Some("18446744073709551616"), "nobody"),
        (Some("-7"), "nobody"),
        (Some("+7"), "nobody"),
        (Some("7 "), "nobody"),
        (Some(""), "nobody"),
        (None, "nobody"),
        (Some("8"), "8:client-8"),
    ] {
        let mut request = Request::post("http://house/who");
        if let Some(claim) = claim {
            request = request.header(INSECURE_CLIENT_KEY, claim);
        }
        let headers = client.send(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(headers["who"], who, "{claim:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_insecure_listener_serves_loopback_only() {
    let house = insecure_house(Limits::default());
    for (address, served) in [
        ("127.0.0.1:1", true),
        ("127.8.8.8:1", true),
        ("[::1]:1", true),
        ("[::ffff:127.0.0.1]:1", true),
        ("192.0.2.1:1", false),
        ("[2001:db8::1]:1", false),
        ("[::ffff:192.0.2.1]:1", false),
    ] {
        let line = house.dialer.dial(address).await.unwrap();
        if served {
            assert_eq!(converse(line.io).await.who().await, "nobody", "{address}");
        } else {
            assert_eq!(line.wires.down.await.unwrap(), 0, "{address}");
        }
    }
    assert_eq!(house.meters.connections().refused, 3);
}
