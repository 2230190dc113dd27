//! A process that is followed by what it writes to stderr, and that does not outlive its test.

use std::{
    io::{BufRead, BufReader},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use nibble_seed::{Purpose, Seed, Stream};

/// How long anything may take before a test gives up. Nothing takes nearly as long on an idle machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A running process; killed when dropped.
pub(crate) struct Process {
    what: String,
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Process {
    pub(crate) fn start(what: impl Into<String>, command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let stderr = child.stderr.take().expect("it is piped");
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return; // nobody listens any more
                }
            }
        });
        Self { what: what.into(), child, lines, said: Vec::new() }
    }

    /// The next line that `is` it.
    pub(crate) fn line(&mut self, is: impl Fn(&str) -> bool) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.said.push(line.clone());
                    if is(&line) {
                        return line;
                    }
                }
                Err(RecvTimeoutError::Timeout) => panic!("{} does not say it: {}", self.what, self.said()),
                Err(RecvTimeoutError::Disconnected) => panic!("{} ended: {}", self.what, self.said()),
            }
        }
    }

    /// How it ends, by itself.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Timeout) => panic!("{} does not end: {}", self.what, self.said()),
                Err(RecvTimeoutError::Disconnected) => return self.child.wait().expect("it can be waited for"),
            }
        }
    }

    /// Waits for it to end by itself, with this exit code.
    pub(crate) fn ends_with(&mut self, code: i32) {
        let status = self.ends();
        assert_eq!(status.code(), Some(code), "{} ended with {status}: {}", self.what, self.said());
    }

    /// Waits for it to be killed by a hand that is not the test's.
    pub(crate) fn is_killed(&mut self) {
        let status = self.ends();
        assert_eq!(status.signal(), Some(9), "{} ended with {status}: {}", self.what, self.said());
    }

    /// `kill -9`, after `delay`. It must still be running then.
    pub(crate) fn kill_after(mut self, delay: Duration) {
        self.passes(delay);
        self.kill();
    }

    /// Lets it run for a time. It must not end.
    pub(crate) fn passes(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => self.said.push(line),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => panic!("{} ended too early: {}", self.what, self.said()),
            }
        }
    }

    /// `kill -9`. It must still be running.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it can be killed");
        let status = self.child.wait().expect("it can be waited for");
        assert_eq!(status.signal(), Some(9), "{} ended with {status} before it was killed: {}", self.what, self.said());
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill starts").success(), "{} has no process", self.what);
    }

    /// What it wrote so far, as far as it was listened to.
    pub(crate) fn said(&self) -> String {
        self.said.join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and that is all that can go wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Seeded moments.
pub(crate) struct Moments(Stream);

impl Moments {
    pub(crate) fn of(seed: u64) -> Self {
        Self(Seed(seed).derive(Purpose::Behaviour, 0, 0).stream())
    }

    /// A time, uniform below `limit`.
    pub(crate) fn below(&mut self, limit: Duration) -> Duration {
        limit.mul_f64(self.0.next_unit())
    }

    /// An index, uniform below `count`.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        (self.0.next_u64() % count as u64) as usize
    }
}
