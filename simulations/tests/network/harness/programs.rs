//! The programs under test, built from the same sources in the same profile as the tests.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Once,
};

/// A program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    Server,
    Client,
    Sim,
}

static BUILT: Once = Once::new();

impl Program {
    /// A command that runs it, with nothing to read.
    pub(crate) fn command(self) -> Command {
        let sim = Path::new(env!("CARGO_BIN_EXE_nibble-sim"));
        let path = match self {
            Self::Server => beside(sim, "nibble-server"),
            Self::Client => beside(sim, "nibble-client"),
            Self::Sim => sim.into(),
        };
        let mut command = Command::new(path);
        command.stdin(Stdio::null()).env_remove("NIBBLE_CRASH_AT").env_remove("RUST_LOG").env_remove("NIBBLE_LOG");
        command
    }

    /// What a command that must succeed prints.
    pub(crate) fn ok(self, args: &[&str]) -> String {
        let output = self.command().args(args).output().expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?} {args:?} failed: {said}");
        String::from_utf8(output.stdout).expect("text")
    }
}

/// A program in the directory of `sim`. Cargo builds only the programs of the package under test, so that the others
/// are missing or old unless someone builds them: the first who asks.
fn beside(sim: &Path, name: &str) -> PathBuf {
    let directory = sim.parent().expect("a program lies in a directory");
    BUILT.call_once(|| {
        let profile = match directory.file_name().and_then(|name| name.to_str()).expect("a profile's directory") {
            "debug" => "dev",
            other => other,
        };
        let target = directory.parent().expect("a profile's directory lies in the target directory");
        let mut cargo = Command::new(env!("CARGO"));
        // What cargo tells a test about its package, build scripts would take for a change, and build everything anew.
        for (key, _) in std::env::vars_os() {
            if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| key.to_string_lossy().starts_with(start)) {
                cargo.env_remove(key);
            }
        }
        let output = cargo
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args(["build", "--profile", profile, "-p", "nibble-server", "-p", "nibble-client", "--target-dir"])
            .arg(target)
            .output()
            .expect("cargo starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    directory.join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}
