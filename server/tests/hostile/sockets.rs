//! Peers that do not even speak the protocol, and a thousand that say nothing: closed, while an honest round goes on.

use std::time::Duration;

use nibble_server::listener::Limits;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tonic::Code::{Ok, OutOfRange, Unauthenticated};

use crate::{
    client::{Got, secure, tls},
    house::Options,
    table::{Before, Leaves, Stage},
};

const STALLED: usize = 1_000;

/// Limits as they are, but in tenths of their time.
fn hasty() -> Limits {
    let (default, tenth) = (Limits::default(), |time: Duration| time / 10);
    Limits {
        handshake: tenth(default.handshake),
        first_request: tenth(default.first_request),
        anonymous: tenth(default.anonymous),
        ..default
    }
}

/// Sends `bytes`, and reads until the coordinator closes.
async fn until_closed(mut stream: impl AsyncReadExt + AsyncWriteExt + Unpin, bytes: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    // A peer that was cut off already cannot write; what it was told is read all the same.
    let _ = stream.write_all(bytes).await;
    let _ = stream.read_to_end(&mut answer).await;
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_grpc_over_tls_1_3_gets_nowhere() {
    let stage = Stage::open(Options { limits: hasty(), ..Options::of(2) }).await;
    let address = stage.house.address;
    let before = Before::row(&stage.house);
    let hello_of_tls_1_2 =
        [&[0x16, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3][..], &[7; 32], &[0, 0, 2, 0xC0, 0x2B, 1, 0]].concat();
    for (name, bytes) in [
        ("HTTP/1.1 without TLS", &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..]),
        ("HTTP/2 without TLS", &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..]),
        ("bytes without sense", &[0xA5; 5_000][..]),
        ("a hello of TLS 1.2", &hello_of_tls_1_2),
        ("half a hello", &hello_of_tls_1_2[..20]),
        ("nothing", &[][..]),
    ] {
        let stream = TcpStream::connect(address).await.unwrap();
        let closed = timeout(Duration::from_secs(20), until_closed(stream, bytes)).await;
        let answer = closed.unwrap_or_else(|_| panic!("{name}: the connection stays open"));
        assert!(!answer.windows(5).any(|window| window == b"grpc-"), "{name}: {answer:?}");
        stage.check(name, &before, 0, Leaves::Nothing).await;
    }
    for (name, bytes) in [
        ("HTTP/1.1 in TLS", &b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"[..]),
        ("bytes without sense in TLS", &[0xA5; 5_000][..]),
        ("half of HTTP/2's preface", &b"PRI * HTTP"[..]),
        ("a handshake and nothing more", &[][..]),
    ] {
        let stream = secure(address, tls(&stage.house, None)).await.unwrap();
        let closed = timeout(Duration::from_secs(20), until_closed(stream, bytes)).await;
        assert!(closed.is_ok(), "{name}: the connection stays open");
        stage.check(name, &before, 0, Leaves::Nothing).await;
    }
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_room_is_made_for_messages_larger_than_any_that_is_due() {
    let stage = Stage::open(Options::of(2)).await;
    let (nobody, member) = (stage.house.connect_nobody().await, stage.members[0].device.connect(&stage.house).await);
    for (path, most) in [
        ("/grpc.health.v1.Health/Check", 4 * 1024),
        ("/nibble.v1.EnrolmentService/Enrol", 16 * 1024),
        ("/nibble.v1.EnrolmentService/Renew", 16 * 1024),
    ] {
        assert_eq!(nobody.announce(path, most + 1).await, Some(OutOfRange), "{path}");
        assert_eq!(nobody.announce(path, u32::MAX).await, Some(OutOfRange), "{path}");
    }
    assert_eq!(nobody.announce("/nibble.v1.EnrolmentService/Enrol", 16 * 1024).await, None, "that much may come");
    // Reflection answers a stream of questions, and ends it at one that is too long.
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    assert_eq!(nobody.announce(reflection, 4 * 1024 + 1).await, Some(Ok));
    for path in ["CheckIn", "UploadUpdate", "DownloadModel", "GetUpload", "Decline"] {
        let path = format!("/nibble.v1.CoordinatorService/{path}");
        assert_eq!(member.announce(&path, 96 * 1024 + 1).await, Some(OutOfRange), "{path}");
        let refused = nobody.announce(&path, 96 * 1024 + 1).await;
        assert!(matches!(refused, Some(OutOfRange | Unauthenticated)), "{path}: {refused:?}");
    }
    // Whoever may be anybody has two requests at a time; a third waits on its own side.
    let waits = || nobody.announce("/nibble.v1.EnrolmentService/Enrol", 16 * 1024);
    let third = async {
        sleep(Duration::from_millis(200)).await;
        nobody.announce("/grpc.health.v1.Health/Check", 4 * 1024 + 1).await
    };
    let asked = tokio::join!(waits(), waits(), timeout(Duration::from_millis(100), third));
    assert!(matches!(asked, (None, None, Err(_))), "{asked:?}");
    stage.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_stalled_sockets_are_closed_and_stop_no_round() {
    let longest = [Limits::default().handshake, Limits::default().first_request];
    assert!(longest.iter().all(|limit| *limit <= Duration::from_secs(30)), "by default too they are closed in 30 s");
    let mut stage = Stage::open(Options { limits: hasty(), ..Options::of(2) }).await;
    let mut stalled = Vec::new();
    for number in 0..STALLED {
        let mut stream = TcpStream::connect(stage.house.address).await.unwrap();
        if number % 2 == 1 {
            stream.write_all(&[0x16, 3, 1, 2, 0, 1]).await.unwrap(); // half a hello
        }
        stalled.push(tokio::spawn(async move { until_closed(stream, &[]).await }));
    }
    stage.opened.check_left("a thousand stalled sockets, both ends", STALLED * (32 << 10));
    let began = Instant::now();
    assert_eq!(stage.members[1].send_honestly().await, Got::Stored, "an honest update beside them");
    stage.sent.push(1);
    stage.commit().await;
    for stalled in stalled {
        timeout(Duration::from_secs(30), stalled).await.expect("a stalled socket stays open").unwrap();
    }
    println!("{STALLED} stalled sockets were closed {:.1} s after the last came", began.elapsed().as_secs_f64());
    stage.close().await;
}
