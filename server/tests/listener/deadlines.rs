//! Peers that say nothing, half of something, or something slowly.

use std::{
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use hyper::body::Body as _;
use nibble_server::listener::Limits;
use rustls::{ClientConnection, version::TLS13};
use rustls_pki_types::ServerName;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
    sync::mpsc,
    time::{Instant, sleep},
};
use tonic::body::Body;

use crate::{
    client::{Client, Failure, Pieces, config, connect, converse, secure},
    house::{DAY, House, house},
    network::Line,
};

/// Seconds, rounded, until `event`.
async fn seconds(event: impl Future) -> u64 {
    let began = Instant::now();
    event.await;
    began.elapsed().as_secs_f64().round() as u64
}

async fn end_of(mut io: DuplexStream) {
    let _ = io.read_to_end(&mut Vec::new()).await;
}

/// The first bytes that a client sends.
fn client_hello(house: &House) -> Vec<u8> {
    let name = ServerName::try_from("fl.example.org").unwrap();
    let mut hello = Vec::new();
    ClientConnection::new(Arc::clone(&config(house, None, &TLS13)), name).unwrap().write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_closed() {
    let house = house(Limits::default());
    assert_eq!(seconds(end_of(house.dial().await.io)).await, 10);
}

#[tokio::test(start_paused = true)]
async fn half_a_hello_is_closed_even_if_it_grows() {
    let house = house(Limits::default());
    let mut line = house.dial().await;
    let hello = client_hello(&house);
    let drip = async {
        for byte in &hello[..hello.len() / 2] {
            sleep(Duration::from_millis(900)).await;
            if line.io.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
    };
    let closed = seconds(line.wires.down);
    tokio::select! {
        seconds = closed => assert_eq!(seconds, 10),
        () = drip => panic!("the hello was taken for longer than a handshake may last"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_handshake_and_nothing_more_is_closed() {
    let house = house(Limits::default());
    for device in [None, Some(house.device(7, DAY))] {
        let mut tls = secure(house.dial().await.io, &house, device.as_ref()).await.unwrap();
        assert_eq!(seconds(tls.read_to_end(&mut Vec::new())).await, 10);
    }
}

#[tokio::test(start_paused = true)]
async fn http_without_a_request_is_closed() {
    let house = house(Limits::default());
    let device = house.device(7, DAY);
    let client = connect(&house, Some(&device)).await;
    assert_eq!(seconds(client.task).await, 10);
}

#[tokio::test(start_paused = true)]
async fn garbage_is_closed_at_once() {
    let house = house(Limits::default());
    let mut line = house.dial().await;
    line.io.write_all(b"GET / HTTP/1.1\r\nhost: house\r\n\r\n").await.unwrap();
    assert_eq!(seconds(line.wires.down).await, 0);
    let mut tls = secure(house.dial().await.io, &house, None).await.unwrap();
    tls.write_all(b"GET / HTTP/1.1\r\nhost: house\r\n\r\n").await.unwrap();
    assert_eq!(seconds(tls.read_to_end(&mut Vec::new())).await, 0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_device_stays_and_a_dead_one_goes() {
    let house = house(Limits::default());
    let (idle, dead) = (house.device(1, DAY), house.device(2, DAY));
    let mut idle = connect(&house, Some(&idle)).await;
    assert_eq!(idle.who().await, "1:device-1");

    let Line { io, wires } = house.dial().await;
    let mut dead = converse(secure(io, &house, Some(&dead)).await.unwrap()).await;
    assert_eq!(dead.who().await, "2:device-2");
    wires.cut();
    let closed = house.until(|house| house.meters.connections().open == 1);
    let seconds = seconds(closed).await;
    assert!((20..=31).contains(&seconds), "closed after {seconds} s");

    sleep(Duration::from_secs(3600)).await;
    assert_eq!(idle.who().await, "1:device-1");
}

#[tokio::test(start_paused = true)]
async fn nobody_may_stay_for_long() {
    let house = house(Limits::default());
    let mut client = connect(&house, None).await;
    assert_eq!(client.who().await, "nobody");
    assert_eq!(seconds(client.task).await, 60);
}

#[tokio::test(start_paused = true)]
async fn who_takes_no_bytes_is_closed() {
    let hour = Duration::from_secs(3600);
    let house = house(Limits { ping_interval: hour, ..Limits::default() });
    let device = house.device(7, DAY);
    let Line { io, wires } = house.dial().await;
    let mut client = converse(secure(io, &house, Some(&device)).await.unwrap()).await;
    assert_eq!(client.who().await, "7:device-7");
    wires.cut[1].notify_one();
    // Far more than the wires and windows hold.
    let asked = tokio::spawn(async move { client.ask("/big").await.is_err() });
    let closed = house.until(|house| house.meters.connections().open == 0);
    assert_eq!(seconds(closed).await, 30);
    asked.abort();
}

/// Sends `pieces` of 100 bytes, one every `every`, to `path`.
#[tokio::test(start_paused = true)]
async fn who_leaves_no_room_for_a_response_is_closed_though_it_answers_pings() {
    let house = house(Limits::default());
    let mut client = connect(&house, Some(&house.device(7, DAY))).await;
    let request = Request::post("http://house/stream").body(Body::empty()).unwrap();
    let response = client.requests.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    // Its body is never read, so that HTTP/2's window stays full.
    let waited = seconds(async {
        for _ in 0..100 {
            if house.meters.connections().open == 0 {
                return;
            }
            sleep(Duration::from_secs(1)).await;
        }
    });
    let waited = waited.await;
    assert!((30..=61).contains(&waited), "{waited} s");
    drop(response);
}

#[tokio::test(start_paused = true)]
async fn a_response_of_which_little_is_taken_at_a_time_goes_on() {
    let house = house(Limits::default());
    let mut client = connect(&house, Some(&house.device(7, DAY))).await;
    let request = Request::post("http://house/stream").body(Body::empty()).unwrap();
    let mut body = client.requests.send_request(request).await.unwrap().into_body();
    let mut read = 0;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        read += frame.unwrap().data_ref().map_or(0, Bytes::len);
        sleep(Duration::from_secs(20)).await;
    }
    assert_eq!(read, 4 << 20);
}

async fn drip(client: &mut Client, path: &str, pieces: usize, every: Duration) -> Result<http::HeaderMap, Failure> {
    let (sender, receiver) = mpsc::channel(1);
    let request = Request::post(format!("http://house{path}")).body(Body::new(Pieces(receiver))).unwrap();
    let sending = tokio::spawn(async move {
        for _ in 0..pieces {
            if sender.send(Bytes::from_static(&[b'x'; 100])).await.is_err() {
                break;
            }
            sleep(every).await;
        }
    });
    let answer = client.send(request).await;
    sending.abort();
    answer
}

#[tokio::test(start_paused = true)]
async fn a_body_must_not_come_too_slowly() {
    let house = house(Limits::default());
    let device = house.device(7, DAY);
    let mut client = connect(&house, Some(&device)).await;
    assert_eq!(client.who().await, "7:device-7");
    let answer = drip(&mut client, "/read", 600, Duration::from_millis(500)).await.unwrap();
    assert_eq!(answer["bytes"], "60000", "200 bytes a second are enough");

    let began = Instant::now();
    let answer = drip(&mut client, "/read", 600, Duration::from_secs(2)).await.unwrap();
    let error = answer["error"].to_str().unwrap();
    assert!(error.contains("at least 1024 must"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(21), "{:?}", began.elapsed());
    assert_eq!(client.who().await, "7:device-7", "only the request is given up");
}

#[tokio::test(start_paused = true)]
async fn a_busy_handler_does_its_client_no_harm() {
    let house = house(Limits::default());
    let device = house.device(7, DAY);
    let mut client = connect(&house, Some(&device)).await;
    let answer = drip(&mut client, "/nap", 20, Duration::from_millis(100)).await.unwrap();
    assert_eq!(answer["bytes"], "2000");
}
