//! Runs the real `nibble-sim` in a directory of its own.
#![allow(dead_code, unreachable_pub)] // each test file uses its part

pub mod runs;

use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    time::{Duration, Instant},
};

/// A directory that goes when the test ends.
pub struct Sandbox(tempfile::TempDir);

impl Sandbox {
    pub fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory for the test"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file for the test");
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nibble-sim"));
        command.current_dir(self.0.path()).args(args).env("NIBBLE_CACHE", self.path("cache"));
        command
    }

    pub fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("nibble-sim starts")
    }

    /// Stdout of a command that must succeed.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.output(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?} failed: {stderr}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Stderr of a command that must fail with this exit code and print nothing else.
    pub fn fails(&self, args: &[&str], code: i32) -> String {
        let output = self.output(args);
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty(), "{args:?} printed {:?}", String::from_utf8_lossy(&output.stdout));
        stderr
    }
}

pub fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

/// Asks until there is an answer; `None` after `limit`.
#[allow(clippy::disallowed_methods)]
pub fn wait_for<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    while start.elapsed() < limit {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        std::thread::yield_now();
    }
    None
}
