//! Real sockets, sockets that fail, and peers that break off.

use std::{io, time::Duration};

use nibble_server::listener::Limits;
use tokio::{net::TcpListener, net::TcpStream, time::Instant};

use crate::{
    client::{connect, converse, secure},
    house::{DAY, house, open},
    network::network,
};

#[tokio::test]
async fn a_bound_socket_is_served() {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let mut house = open(socket, network().1, Limits::default(), false);
    let device = house.device(7, DAY);
    let stream = TcpStream::connect(address).await.unwrap();
    let mine = stream.local_addr().unwrap().to_string();
    let mut client = converse(secure(stream, &house, Some(&device)).await.unwrap()).await;
    let headers = client.ask("/who").await.unwrap();
    assert_eq!((&headers["who"], &headers["address"]), (&"7:device-7".parse().unwrap(), &mine.parse().unwrap()));
    house.shut_down();
    house.task.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn failures_to_accept_end_nothing() {
    let (mut network, dialer) = network();
    let too_many_files = || io::Error::from_raw_os_error(24);
    network.failures.extend([too_many_files(), io::ErrorKind::ConnectionAborted.into(), too_many_files()]);
    let house = open(network, dialer, Limits::default(), false);
    let began = Instant::now();
    assert_eq!(connect(&house, None).await.who().await, "nobody");
    assert_eq!(began.elapsed().as_millis() / 10, 20, "a tenth of a second for each that concerns all");
}

#[tokio::test(start_paused = true)]
async fn the_same_server_goes_on_after_a_peer_breaks_off() {
    let house = house(Limits::default());
    for _ in 0..20 {
        drop(house.dial().await);
        drop(secure(house.dial().await.io, &house, None).await.unwrap());
        drop(connect(&house, None).await);
    }
    house.until(|house| house.meters.connections().open == 0).await;
    assert!(!house.task.is_finished());
    tokio::time::timeout(Duration::from_secs(1), async {
        assert_eq!(connect(&house, None).await.who().await, "nobody");
    })
    .await
    .unwrap();
}
