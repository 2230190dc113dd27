//! What an operator looks at while a coordinator serves: health, reflection, metrics, and its reports as text; and what
//! becomes of a device that is revoked.
//!
//! Absent on purpose: what the numbers should be after crashes (`kills`), and clients of other languages.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
};

use futures_util::stream;
use nibble_codec::Layout;
use nibble_proto::v1::Outcome;
use nibble_sim::model_file;
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::harness::{Deployment, Peer, Program, Update, connection, runtime};

/// What `GET path` answers, head and body.
fn http(address: &str, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("metrics are served");
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Values of metrics, by name and labels.
fn metrics(address: &str) -> BTreeMap<String, f64> {
    let answer = http(address, "GET", "/metrics");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let values = body.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let value = |line: &str| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
    values.map(|line| value(line).expect("a name and a value")).collect()
}

/// A report as an operator reads it: its lines, each as its words.
fn report(deployment: &Deployment, what: &str) -> Vec<Vec<String>> {
    let text = Program::Server.ok(&[what, "--config", &deployment.config()]);
    text.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// Two clients send one update each, and the round closes.
async fn play_a_round(peers: &[Peer; 2]) {
    let (first, second) = tokio::join!(peers[0].assigned(), peers[1].assigned());
    let mut updates = Vec::new();
    for (peer, assignment) in peers.iter().zip([first, second]) {
        let update = Update::encode(&assignment, &[0.5; 100], 1);
        peer.model(&assignment.model.unwrap().sha256, &layout()).await.expect("the model");
        peer.send(&update).await.expect("it is taken");
        updates.push((peer, update));
    }
    for (peer, update) in updates {
        assert_eq!(peer.receipt(&update).await.outcome(), Outcome::Accepted);
    }
}

fn layout() -> Layout {
    Layout::new([("all", vec![100])]).unwrap()
}

#[test]
fn an_operator_sees_what_goes_on() {
    let metrics_address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut deployment = Deployment::insecure(&format!(
        "metrics = {metrics_address:?}\n[run]\nname = \"watched\"\nrounds = 9\n[model]\nname = \"none\"\n\
         initial = \"zero.safetensors\"\n[data]\ndataset = \"none\"\n[compression]\nuplink = \"fp32\"\n[cohort]\nsize = 2\n"
    ));
    model_file::write(&deployment.path("coordinator/zero.safetensors"), &layout(), &[0.0; 100]).unwrap();
    let mut coordinator = deployment.start();
    runtime().block_on(async {
        let peers = [0, 1].map(|client| Peer::new(deployment.address(), client));
        play_a_round(&peers).await;

        let channel = connection(deployment.address());
        let mut health = HealthClient::new(channel.clone());
        for service in ["", "nibble.v1.CoordinatorService", "nibble.v1.EnrolmentService"] {
            let asked = health.check(HealthCheckRequest { service: service.into() }).await;
            assert_eq!(asked.unwrap().into_inner().status(), ServingStatus::Serving, "{service:?}");
        }
        let unknown = health.check(HealthCheckRequest { service: "nibble.v1.Other".into() }).await;
        assert_eq!(unknown.unwrap_err().code(), Code::NotFound);

        let ask = |asked: MessageRequest| {
            let mut reflection = ServerReflectionClient::new(channel.clone());
            async move {
                let request = ServerReflectionRequest { host: String::new(), message_request: Some(asked) };
                let mut answers =
                    reflection.server_reflection_info(stream::iter([request])).await.unwrap().into_inner();
                answers.message().await.unwrap().unwrap().message_response.unwrap()
            }
        };
        let MessageResponse::ListServicesResponse(services) = ask(MessageRequest::ListServices(String::new())).await
        else {
            panic!("no list of services")
        };
        let names: Vec<_> = services.service.into_iter().map(|service| service.name).collect();
        for name in ["nibble.v1.CoordinatorService", "nibble.v1.EnrolmentService", "grpc.health.v1.Health"] {
            assert!(names.iter().any(|listed| listed == name), "{name} is not in {names:?}");
        }
        let symbol = MessageRequest::FileContainingSymbol("nibble.v1.CheckInRequest".into());
        let MessageResponse::FileDescriptorResponse(file) = ask(symbol).await else { panic!("no file of it") };
        let (file, message) = (&file.file_descriptor_proto[0], b"CheckInRequest");
        assert!(file.windows(message.len()).any(|bytes| bytes == message), "the file describes it");
    });

    let seen = metrics(&metrics_address);
    for (name, value) in [
        ("nibble_rounds_total{closed=\"cohort complete\"}", 1.0),
        ("nibble_updates_total{outcome=\"accepted\"}", 2.0),
        ("nibble_round", 1.0),
        ("nibble_fold_seconds_count", 1.0),
        ("nibble_round_seconds_count", 1.0),
    ] {
        assert_eq!(seen.get(name), Some(&value), "{name}: {seen:#?}");
    }
    assert!(http(&metrics_address, "GET", "/").starts_with("HTTP/1.1 404 "));
    assert!(http(&metrics_address, "POST", "/metrics").starts_with("HTTP/1.1 405 "));

    coordinator.terminate();
    coordinator.ends_with(0);
    let status = report(&deployment, "status");
    assert_eq!(status[0], ["run", "watched", "(going", "on)"]);
    assert_eq!(status[1], ["rounds", "1", "of", "9", "ended"]);
    let rounds = report(&deployment, "rounds");
    assert_eq!(rounds[1][..6], ["0", "cohort", "complete", "2", "2", "0"]);
    // The ledger's last line is the sum of those before it.
    let ledger = report(&deployment, "ledger");
    let (all, rows) = ledger.split_last().unwrap();
    let column = |row: &[String], index: usize| row[index].parse::<u64>().unwrap();
    for index in 2..8 {
        let sum: u64 = rows[1..].iter().map(|row| column(row, index)).sum();
        assert_eq!(column(all, index), sum, "column {index}");
        assert!(sum > 0, "column {index}");
    }
    assert_eq!(column(all, 2), 2 * 472, "two payloads of 100 parameters");
}

#[test]
fn a_revoked_device_is_told_to_stop_and_is_listed_as_revoked() {
    let mut deployment = Deployment::secure("[run]\nname = \"revoked\"\nrounds = 2\n[cohort]\nsize = 2\n");
    let coordinator = deployment.start();
    (0..2).for_each(|index| deployment.enrol(index));
    let revoke = |name: &str| {
        let mut command = Program::Server.command();
        let output = command.args(["revoke", "--config", &deployment.config(), name]).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(revoke("client-1").0, Some(0));
    let (code, said) = revoke("client-1");
    assert!(code == Some(2) && said.contains("was revoked before"), "{code:?} {said}");
    let (code, said) = revoke("client-7");
    assert!(code == Some(2) && said.contains("no device is named \"client-7\""), "{code:?} {said}");
    let listed = report(&deployment, "clients");
    assert_eq!(listed[1][..2], ["0", "client-0"]);
    assert!(!listed[1].contains(&"revoked".into()) && listed[2].contains(&"revoked".into()), "{listed:?}");

    deployment.client(1, 2).ends_with(3);
    drop(coordinator);
}
