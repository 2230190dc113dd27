use std::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use super::*;

const BODY: &[u8] = b"the quick brown fox";
/// `sha256sum` of BODY.
const SHA256: &str = "9ecb36561341d18eb65484e833efea61edc74b84cf5e6ae1b81c63533e25fc8f";

/// A server on a free port that answers one connection after another with these bytes, then is gone.
struct Server {
    base_url: String,
    requests: mpsc::Receiver<String>,
    thread: std::thread::JoinHandle<()>,
}

impl Server {
    fn start(answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}/", listener.local_addr().unwrap());
        let (sender, requests) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                sender.send(read_request(&mut stream)).unwrap();
                stream.write_all(&answer).unwrap();
            }
        });
        Self { base_url, requests, thread }
    }

    /// The requests, after the last answer was given.
    fn finish(self) -> Vec<String> {
        self.thread.join().unwrap();
        self.requests.iter().collect()
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap().lines().next().unwrap().to_owned()
}

fn answer(status: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n").into_bytes();
    bytes.extend(body);
    bytes
}

fn ok(body: &[u8]) -> Vec<u8> {
    answer("200 OK", body.len(), body)
}

struct Outcome {
    result: Result<Fetched, DataError>,
    requests: Vec<String>,
    progress: Vec<u64>,
    /// Everything in the data set's directory.
    files: Vec<String>,
}

/// Fetches a data set of one file from a server with these answers.
fn run(cache: &Path, answers: Vec<Vec<u8>>) -> Outcome {
    let server = Server::start(answers);
    let file = RemoteFile { name: "fox.gz".to_owned(), bytes: BODY.len() as u64, sha256: SHA256.to_owned() };
    let remote = Remote { name: "fox".to_owned(), base_url: server.base_url.clone(), files: vec![file] };
    let agent = Agent::config_builder().proxy(None).build().new_agent();
    let mut progress = Vec::new();
    let mut report = |step: Progress<'_>| {
        assert_eq!((step.file, step.total_bytes), ("fox.gz", BODY.len() as u64));
        progress.push(step.done_bytes);
    };
    let result = fetch_with(&agent, Duration::ZERO, &remote, cache, &mut report);
    let requests = server.finish();
    let files = fs::read_dir(cache.join("fox")).unwrap();
    let files = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    Outcome { result, requests, progress, files }
}

#[test]
fn a_file_is_fetched_once() {
    let cache = tempfile::tempdir().unwrap();
    let first = run(cache.path(), vec![ok(BODY)]);
    assert_eq!(first.result.unwrap(), Fetched { directory: cache.path().join("fox"), downloaded: 1 });
    assert_eq!((first.requests, first.files), (vec!["GET /fox.gz HTTP/1.1".to_owned()], vec!["fox.gz".to_owned()]));
    assert_eq!(first.progress.last(), Some(&(BODY.len() as u64)));
    assert_eq!(fs::read(cache.path().join("fox/fox.gz")).unwrap(), BODY);

    let second = run(cache.path(), Vec::new());
    assert_eq!(second.result.unwrap().downloaded, 0);
    assert_eq!(second.progress, [BODY.len() as u64]);
}

#[test]
fn a_damaged_file_in_the_cache_is_fetched_again() {
    let cache = tempfile::tempdir().unwrap();
    fs::create_dir(cache.path().join("fox")).unwrap();
    for damaged in [&b"the quick brown fix"[..], b"the"] {
        fs::write(cache.path().join("fox/fox.gz"), damaged).unwrap();
        assert_eq!(run(cache.path(), vec![ok(BODY)]).result.unwrap().downloaded, 1);
        assert_eq!(fs::read(cache.path().join("fox/fox.gz")).unwrap(), BODY);
    }
}

#[test]
fn failures_that_may_pass_are_tried_again() {
    let cache = tempfile::tempdir().unwrap();
    let busy = answer("503 Service Unavailable", 0, b"");
    let cut = answer("200 OK", BODY.len(), &BODY[..7]);
    let outcome = run(cache.path(), vec![busy, cut, ok(BODY)]);
    assert_eq!(outcome.result.unwrap().downloaded, 1);
    assert_eq!(outcome.requests.len(), 3);
}

#[test]
fn a_truncated_file_fails_after_three_attempts_and_leaves_nothing() {
    let cache = tempfile::tempdir().unwrap();
    for cut in [ok(&BODY[..7]), answer("200 OK", BODY.len(), &BODY[..7])] {
        let outcome = run(cache.path(), vec![cut.clone(), cut.clone(), cut]);
        let error = outcome.result.unwrap_err();
        assert!(matches!(error, DataError::Download { attempts: ATTEMPTS, .. }), "{error}");
        assert!(outcome.files.is_empty(), "{:?}", outcome.files);
    }
}

#[test]
fn another_file_is_refused_at_once_and_leaves_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let outcome = run(cache.path(), vec![ok(b"the quick brown fix")]);
    let error = outcome.result.unwrap_err().to_string();
    assert!(error.contains("/fox.gz has SHA-256 ") && error.contains(&format!("expected {SHA256}")), "{error}");
    assert!(outcome.files.is_empty(), "{:?}", outcome.files);

    let mut endless = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    endless.extend([b'x'; 1000]);
    let outcome = run(cache.path(), vec![endless]);
    assert!(outcome.result.unwrap_err().to_string().contains(", attempt 1: it has more than 19 bytes"));
    assert!(outcome.files.is_empty(), "{:?}", outcome.files);
}

#[test]
fn a_missing_file_is_asked_for_once() {
    let cache = tempfile::tempdir().unwrap();
    let outcome = run(cache.path(), vec![answer("404 Not Found", 0, b"")]);
    let error = outcome.result.unwrap_err().to_string();
    assert!(error.ends_with("/fox.gz, attempt 1: HTTP status 404"), "{error}");
    assert!(outcome.files.is_empty(), "{:?}", outcome.files);
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let remote = Remote { name: "fox".to_owned(), base_url: String::new(), files: Vec::new() };
    let error = fetch(&remote, file.path(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot create {}", file.path().display())), "{error}");
}
