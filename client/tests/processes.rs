//! The program itself: real processes, a real port, real signals.
#![allow(clippy::unwrap_used)]

mod support;

use std::{path::Path, process::Output, sync::Arc};

use nibble_client::{config::Source, data::LocalData, state::Store};
use nibble_learning::{Model, SgdTrainer, data::Places};
use nibble_proto::v1::Outcome::{self, Accepted, Discarded};
use support::{CLIENT, Coordinator, Script};
use tokio::process::{Child, Command};

/// A run of the built-in logistic regression.
fn script(outcomes: &[Outcome]) -> Script {
    let model = Model::from_name("logreg", (1, 28, 28), 10).unwrap();
    let (architecture, tensors) = ("logreg".into(), model.tensors().to_vec());
    Script { architecture, tensors, ..Script::new("int4+ef", outcomes) }
}

const SHARE: &str = "{ index = 7, clients = 20, partition = { kind = \"dirichlet\", alpha = 0.3 }, seed = 1234 }";

fn config(server: &str, dir: &Path) -> std::path::PathBuf {
    let file = dir.join("client.toml");
    let (state, client) = (dir.join("state"), CLIENT.0);
    let text = format!("server = {server:?}\nstate = {state:?}\ninsecure_client = {client}\n[data]\nshare = {SHARE}\n");
    std::fs::write(&file, text).unwrap();
    file
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nibble-client"));
    command.args(args).env_remove("NIBBLE_LOG").kill_on_drop(true);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command
}

async fn output(args: &[&str]) -> (i32, String, String) {
    told(command(args).output().await.unwrap())
}

fn told(Output { status, stdout, stderr }: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// Holds what arrived against what the core makes of the share that the configuration names.
fn check(script: &Script, coordinator: &Coordinator, dir: &Path) {
    let config = Source { file: Some(dir.join("client.toml")), overrides: Vec::new() }.load().unwrap();
    let data = LocalData::load(&config, &Places::default()).unwrap();
    let dataset = Arc::new(data.dataset().clone());
    let model = Model::from_name("logreg", dataset.shape, dataset.classes).unwrap();
    let trainer = Box::new(SgdTrainer::new(model, dataset).unwrap());
    support::check(&support::core(script, trainer, data.samples()), coordinator, &dir.join("state"));
}

#[tokio::test]
async fn a_run_ends_with_0_and_the_bytes_of_the_core() {
    let script = script(&[Accepted, Discarded, Accepted]);
    let coordinator = Coordinator::new(script.clone());
    let dir = tempfile::tempdir().unwrap();
    let file = config(&coordinator.listen().await, dir.path());
    let (code, stdout, stderr) = output(&["run", file.to_str().unwrap(), "--log-format", "json"]).await;
    assert_eq!((code, stdout.as_str()), (0, ""), "{stderr}");
    check(&script, &coordinator, dir.path());
    let lines: Vec<serde_json::Value> = stderr.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let phases: Vec<_> = lines.iter().filter_map(|line| line["fields"]["phase"].as_str()).collect();
    assert_eq!(phases[..5], ["download", "train", "encode", "upload", "settle"]);
    let encoded = lines.iter().find(|line| line["fields"]["phase"] == "encode").unwrap();
    assert_eq!((&encoded["span"]["run"], &encoded["span"]["round"]), (&"levels".into(), &0.into()));
    assert!(stderr.contains("INSECURE"));
}

#[cfg(unix)]
async fn signal(child: &Child, name: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().await.unwrap().success());
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_ends_a_client_with_0_at_once() {
    for name in ["-TERM", "-INT"] {
        let coordinator = Coordinator::new(Script { hold: true, ..script(&[Accepted]) });
        let dir = tempfile::tempdir().unwrap();
        let file = config(&coordinator.listen().await, dir.path());
        let child = command(&["run", file.to_str().unwrap()]).spawn().unwrap();
        coordinator.held.notified().await;
        signal(&child, name).await;
        let (code, _, stderr) = told(child.wait_with_output().await.unwrap());
        assert_eq!(code, 0, "{stderr}");
        assert!(stderr.contains("stopped by a signal"), "{stderr}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_killed_client_goes_on_where_it_was() {
    let script = Script { hold: true, ..script(&[Accepted, Discarded, Accepted, Accepted, Discarded, Accepted]) };
    let coordinator = Coordinator::new(script.clone());
    let dir = tempfile::tempdir().unwrap();
    let file = config(&coordinator.listen().await, dir.path());
    // Killed when it has just said something new: at the start, with an update on its way, after a receipt, ...
    for heard in ["starting", "download", "train", "encode", "upload", "settle"] {
        let mut child = command(&["run", file.to_str().unwrap()]).spawn().unwrap();
        let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(child.stderr.take().unwrap()));
        loop {
            tokio::select! {
                line = lines.next_line() => if line.unwrap().is_none_or(|line| line.contains(heard)) { break },
                // The kills before came late, and nothing is left to do.
                () = coordinator.held.notified() => break,
            }
        }
        signal(&child, "-KILL").await;
        child.wait().await.unwrap();
    }
    let child = command(&["run", file.to_str().unwrap()]).spawn().unwrap();
    coordinator.held.notified().await;
    signal(&child, "-TERM").await;
    assert_eq!(told(child.wait_with_output().await.unwrap()).0, 0);
    check(&script, &coordinator, dir.path());
}

#[tokio::test]
async fn a_refused_client_ends_with_3() {
    let coordinator = Coordinator::new(Script { refusal: Some(tonic::Code::PermissionDenied), ..script(&[]) });
    let dir = tempfile::tempdir().unwrap();
    let file = config(&coordinator.listen().await, dir.path());
    let (code, _, stderr) = output(&["run", file.to_str().unwrap()]).await;
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("error: the coordinator refuses this device: no"), "{stderr}");
}

#[tokio::test]
async fn mistakes_end_with_2_and_say_how_to_mend_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = config("http://127.0.0.1:1", dir.path());
    let (file, state) = (file.to_str().unwrap(), dir.path().to_str().unwrap());
    let good = format!("nibble1.secret.{}", "ab".repeat(32));
    for (args, expected) in [
        (&["run", file, "--set", "hold_seconds=-1"][..], "--set hold_seconds"),
        (&["run", file, "--set", "data.dataset=nowhere"], "there is no data set `nowhere`"),
        (&["config", "check", file, "--set", "data.share.index=20"], "no part 20 of 20"),
        (&["run", file, "--log", "loud"], "does not say what to log"),
        (&["enroll", "--server", "h:1", "--token", "secret", "--state", state], "--token: this is not a token"),
        (&["enroll", "--server", "h", "--token", &good, "--state", state], "--server: \"https://h\" is not an address"),
        (&["status", "--state", state], "holds no client's state"),
        (&["run", "--set", "server=https://h:1", "--set", &format!("state={state}")], "run `nibble-client enroll`"),
        (&["walk"], "unrecognized subcommand"),
    ] {
        let (code, stdout, stderr) = output(args).await;
        assert_eq!((code, stdout.as_str()), (2, ""), "{args:?}: {stderr}");
        assert!(stderr.contains(expected), "{expected:?} is not in {stderr}");
        assert!(!stderr.contains("secret.") && !stderr.contains("panicked"), "{stderr}");
    }
}

#[tokio::test]
async fn check_and_status_say_what_there_is() {
    let coordinator = Coordinator::new(script(&[Accepted]));
    let dir = tempfile::tempdir().unwrap();
    let file = config(&coordinator.listen().await, dir.path());
    let (code, stdout, _) = output(&["config", "check", file.to_str().unwrap()]).await;
    assert!(code == 0 && stdout.contains("INSECURE, as client 3") && stdout.ends_with("ok\n"), "{stdout}");
    assert!(stdout.contains(" of 8000 training samples"), "{stdout}");

    let state = dir.path().join("state");
    let state_arg = state.to_str().unwrap();
    let store = Store::open(&state).unwrap();
    let (code, stdout, _) = output(&["status", "--state", state_arg]).await;
    assert!(code == 0 && stdout.contains("none so far"), "a client in use is not disturbed: {stdout}");
    let (code, _, stderr) = output(&["run", file.to_str().unwrap()]).await;
    assert!(code == 1 && stderr.contains("is in use by another client"), "{stderr}");
    drop(store);

    assert_eq!(output(&["run", file.to_str().unwrap()]).await.0, 0);
    let (_, stdout, _) = output(&["status", "--state", state_arg, "--format", "json"]).await;
    let status: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&status["run"], &status["parameters"]), (&"levels".into(), &7850.into()));
    assert!(status["pending"].is_null() && status["kept_norm"].as_f64().unwrap() > 0.0);
    let (_, stdout, _) = output(&["status", "--state", state_arg]).await;
    assert!(
        stdout.contains("run          levels: 7850 parameters") && stdout.contains("residual     norm"),
        "{stdout}"
    );
}
