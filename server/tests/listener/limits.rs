//! How many connections there may be.

use nibble_server::listener::{Connections, Limits};
use tokio::{
    io::AsyncReadExt as _,
    time::{Duration, Instant},
};

use crate::{
    client::{connect, converse, secure},
    house::{DAY, house, insecure_house},
};

#[tokio::test(start_paused = true)]
async fn in_all() {
    let house = house(Limits { total: 2, ..Limits::default() });
    let (first, _second) = (house.dial().await, house.dial().await);
    let began = Instant::now();
    assert_eq!(house.dial().await.wires.down.await.unwrap(), 0);
    assert_eq!(began.elapsed(), Duration::ZERO, "closed at once");
    assert_eq!(house.meters.connections(), Connections { open: 2, handshaking: 2, refused: 1, ..Default::default() });
    drop(first.io);
    house.until(|house| house.meters.connections().open == 1).await;
    assert_eq!(connect(&house, None).await.who().await, "nobody");
}

#[tokio::test(start_paused = true)]
async fn from_an_address() {
    let house = insecure_house(Limits { per_address: 2, ..Limits::default() });
    let mut held = Vec::new();
    for (address, served) in [
        ("127.0.0.1:1", true),
        ("127.0.0.1:2", true),
        ("127.0.0.1:3", false),
        ("[::ffff:127.0.0.1]:4", false),
        ("127.0.0.2:1", true),
        ("[::1]:1", true),
    ] {
        let line = house.dialer.dial(address).await.unwrap();
        if served {
            let mut client = converse(line.io).await;
            client.who().await;
            held.push(client);
        } else {
            assert_eq!(line.wires.down.await.unwrap(), 0, "{address}");
        }
    }
    drop(held);
    house.until(|house| house.meters.connections().open == 0).await;
    converse(house.dialer.dial("127.0.0.1:5").await.unwrap().io).await.who().await;
}

#[tokio::test(start_paused = true)]
async fn a_network_of_ipv6_is_one_address() {
    let house = house(Limits { per_address: 1, ..Limits::default() });
    let _first = house.dialer.dial("[2001:db8:1:2::1]:1").await.unwrap();
    let neighbour = house.dialer.dial("[2001:db8:1:2:ffff::1]:1").await.unwrap();
    assert_eq!(neighbour.wires.down.await.unwrap(), 0);
    let stranger = house.dialer.dial("[2001:db8:1:3::1]:1").await.unwrap();
    let tls = secure(stranger.io, &house, None).await.unwrap();
    assert_eq!(converse(tls).await.who().await, "nobody");
}

#[tokio::test(start_paused = true)]
async fn of_a_device_the_oldest_makes_way() {
    let house = house(Limits { per_identity: 2, ..Limits::default() });
    let (device, other) = (house.device(7, DAY), house.device(8, DAY));
    let mut bystander = connect(&house, Some(&other)).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = connect(&house, Some(&device)).await;
        assert_eq!(client.who().await, "7:device-7");
        clients.push(client);
    }
    house.until(|house| house.meters.connections().identified == 3).await;
    for (index, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.ask("/who").await.is_ok(), index >= 3, "connection {index}");
    }
    assert_eq!(bystander.who().await, "8:device-8");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_silent_sockets_keep_nobody_out() {
    let house = house(Limits::default());
    let device = house.device(7, DAY);
    let mut silent = Vec::new();
    for index in 0..1000 {
        let address = format!("10.0.{}.{}:1", index / 250, index % 250);
        silent.push(house.dialer.dial(&address).await.unwrap());
    }
    house.until(|house| house.meters.connections().open == 1000).await;
    let began = Instant::now();
    let mut client = connect(&house, Some(&device)).await;
    assert_eq!(client.who().await, "7:device-7");
    assert_eq!(began.elapsed(), Duration::ZERO, "it does not wait for the others");
    for mut line in silent {
        assert_eq!(line.io.read(&mut [0; 1]).await.unwrap(), 0);
    }
    assert!((9..=10).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    assert_eq!(client.who().await, "7:device-7");
    assert_eq!(house.meters.connections(), Connections { open: 1, identified: 1, ..Default::default() });
}
