//! How the listener ends.

use std::{sync::atomic::Ordering::SeqCst, time::Duration};

use nibble_server::listener::Limits;
use tokio::time::Instant;

use crate::{
    client::connect,
    house::{DAY, house},
};

#[tokio::test(start_paused = true)]
async fn running_requests_end_and_new_connections_are_refused() {
    let mut house = house(Limits::default());
    let device = house.device(7, DAY);
    let mut client = connect(&house, Some(&device)).await;
    let held = async {
        house.back.held.notified().await;
        house.stop.take().unwrap().send(()).unwrap();
        // The listener has stopped once it takes no more connections.
        while let Some(line) = house.dialer.dial("192.0.2.1:1").await {
            drop(line);
            tokio::task::yield_now().await;
        }
        house.back.release.add_permits(1);
    };
    let (answer, ()) = tokio::join!(client.ask("/hold"), held);
    assert_eq!(answer.unwrap()["who"], "7:device-7");
    house.task.await.unwrap();
    assert!(client.ask("/who").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn requests_that_never_end_are_dropped_after_the_drain_time() {
    let mut house = house(Limits::default());
    let device = house.device(7, DAY);
    let mut client = connect(&house, Some(&device)).await;
    let asked = tokio::spawn(async move { client.ask("/hold").await.map_err(|error| error.to_string()) });
    house.back.held.notified().await;
    let began = Instant::now();
    house.shut_down();
    house.task.await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    assert_eq!(house.back.ended.load(SeqCst), 1, "no handler outlives the listener");
    assert!(asked.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn peers_without_an_identity_do_not_delay_it() {
    let mut house = house(Limits::default());
    let mut client = connect(&house, None).await;
    let asked = tokio::spawn(async move { client.ask("/hold").await.map_err(|error| error.to_string()) });
    house.back.held.notified().await;
    let began = Instant::now();
    house.shut_down();
    house.task.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(asked.await.unwrap().is_err());
}

#[tokio::test(start_paused = true)]
async fn idle_and_silent_connections_do_not_delay_it() {
    let mut house = house(Limits::default());
    let device = house.device(7, DAY);
    let mut idle = connect(&house, Some(&device)).await;
    idle.who().await;
    let _silent = house.dial().await;
    let _unasking = connect(&house, None).await;
    let began = Instant::now();
    house.shut_down();
    house.task.await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(house.meters.connections().open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_ends_with_its_connection() {
    let house = house(Limits::default());
    let device = house.device(7, DAY);
    let mut client = connect(&house, Some(&device)).await;
    tokio::select! {
        _ = client.ask("/hold") => panic!("nobody released it"),
        () = house.back.held.notified() => {}
    }
    drop(client);
    house.until(|house| house.back.ended.load(SeqCst) == 1).await;
}
