//! Every byte has one owner and is reported once.

use http::Request;
use nibble_proto::INSECURE_CLIENT_KEY;
use nibble_seed::ClientId;
use nibble_server::listener::{Limits, Traffic};
use tokio::io::AsyncWriteExt as _;
use tonic::body::Body;

use crate::{
    client::{Client, converse, secure},
    house::{DAY, Device, House, house, insecure_house},
    network::{Line, Wires},
};

async fn dial(house: &House, device: Option<&Device>) -> (Client, Wires) {
    let Line { io, wires } = house.dial().await;
    (converse(secure(io, house, device).await.unwrap()).await, wires)
}

/// Closes a connection and returns what its wires carried.
async fn close(house: &House, client: Client, wires: Wires) -> (u64, u64) {
    let open = house.meters.connections().open;
    drop(client.requests);
    let carried = (wires.up.await.unwrap(), wires.down.await.unwrap());
    house.until(|house| house.meters.connections().open < open).await;
    carried
}

fn sum(parts: &[Vec<Traffic>], client: Option<ClientId>) -> (u64, u64) {
    let own = parts.iter().flatten().filter(|traffic| traffic.client == client);
    own.fold((0, 0), |sum, traffic| (sum.0 + traffic.received, sum.1 + traffic.sent))
}

#[tokio::test(start_paused = true)]
async fn what_is_metered_is_what_the_wires_carried() {
    let house = house(Limits::default());
    let device = house.device(7, DAY);
    let (mut client, wires) = dial(&house, Some(&device)).await;
    let mut parts = Vec::new();
    for path in ["/who", "/big", "/who", "/read"] {
        let body = Body::new("x".repeat(100_000));
        client.send(Request::post(format!("http://house{path}")).body(body).unwrap()).await.unwrap();
        parts.push(house.meters.take());
    }
    assert!(parts.iter().all(|part| part.len() == 1), "{parts:?}");
    let carried = close(&house, client, wires).await;
    parts.push(house.meters.take());
    assert_eq!(sum(&parts, Some(ClientId(7))), carried);
    assert_eq!(sum(&parts, None), (0, 0));
    assert!(carried.0 > 100_000 && carried.1 > 4 << 20, "{carried:?}");
    assert_eq!(house.meters.take(), []);
}

#[tokio::test(start_paused = true)]
async fn bytes_wait_until_their_owner_is_known() {
    let house = house(Limits::default());
    let mut line = house.dial().await;
    line.io.write_all(&[22, 3, 1]).await.unwrap();
    house.until(|house| house.meters.connections().handshaking == 1).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(house.meters.take(), [], "it may become a device yet");
    drop(line.io);
    house.until(|house| house.meters.connections().open == 0).await;
    let sent = line.wires.down.await.unwrap();
    assert_eq!(house.meters.take(), [Traffic { client: None, received: 3, sent }]);
}

#[tokio::test(start_paused = true)]
async fn nobody_and_devices_are_told_apart() {
    let house = house(Limits::default());
    let (first, second) = (house.device(1, DAY), house.device(2, DAY));
    let mut carried = Vec::new();
    for device in [Some(&first), Some(&second), None, Some(&first)] {
        let (mut client, wires) = dial(&house, device).await;
        client.who().await;
        carried.push(close(&house, client, wires).await);
    }
    let add = |a: (u64, u64), b: (u64, u64)| (a.0 + b.0, a.1 + b.1);
    let parts = [house.meters.take()];
    assert_eq!(sum(&parts, Some(ClientId(1))), add(carried[0], carried[3]));
    assert_eq!(sum(&parts, Some(ClientId(2))), carried[1]);
    assert_eq!(sum(&parts, None), carried[2]);
}

#[tokio::test(start_paused = true)]
async fn an_insecure_connection_is_of_whoever_asked_last() {
    let house = insecure_house(Limits::default());
    let Line { io, wires } = house.dialer.dial("127.0.0.1:1").await.unwrap();
    let mut client = converse(io).await;
    for name in ["1", "1", "2"] {
        let request = Request::post("http://house/who").header(INSECURE_CLIENT_KEY, name);
        client.send(request.body(Body::empty()).unwrap()).await.unwrap();
    }
    let carried = close(&house, client, wires).await;
    let parts = [house.meters.take()];
    let (one, two) = (sum(&parts, Some(ClientId(1))), sum(&parts, Some(ClientId(2))));
    assert_eq!((one.0 + two.0, one.1 + two.1), carried);
    assert!(one.0 > two.0 && two.0 > 0, "{parts:?}");
}
