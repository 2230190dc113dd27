//! Programs beside this one, and processes that do not outlive their owner.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use crate::error::SimError;

/// A program of the same build.
pub(super) struct Program(PathBuf);

/// A process that is killed when it is dropped.
pub(super) struct Running {
    child: Child,
    what: String,
    log: PathBuf,
}

impl Program {
    /// The program of this name in this program's directory.
    pub(super) fn beside(name: &str) -> Result<Self, SimError> {
        let this = std::env::current_exe().map_err(SimError::io("this program"))?;
        let path = this.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX));
        if path.exists() {
            return Ok(Self(path));
        }
        let build =
            if cfg!(debug_assertions) { "cargo build --workspace" } else { "cargo build --release --workspace" };
        Err(SimError::Usage {
            problem: format!("--transport grpc needs the program {}", path.display()),
            mend: format!("build it with {build}, or install it beside nibble-sim"),
        })
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.0);
        // Ctrl-C in a terminal is for this process alone, which then ends the others when it is ready to.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdin(Stdio::null());
        command
    }

    /// The command of a process that ends with this one, however this one ends: its standard input is a pipe from here.
    pub(super) fn leashed(&self) -> Command {
        let mut command = self.command();
        command.stdin(Stdio::piped());
        command
    }

    /// Runs it to its end and gives what it printed.
    pub(super) fn output(&self, args: &[&str]) -> Result<String, SimError> {
        let output = self.command().args(args).output().map_err(SimError::io(&self.0))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let problem = String::from_utf8_lossy(&output.stderr).trim().trim_start_matches("error: ").to_owned();
        Err(SimError::Usage { problem, mend: format!("{} {} failed", self.0.display(), args.join(" ")) })
    }

    /// Starts it; what it says of itself goes to the file `log`.
    pub(super) fn start(&self, args: &[&str], what: String, log: &Path) -> Result<Running, SimError> {
        let file = File::create(log).map_err(SimError::io(log))?;
        let child = self.leashed().args(args).stdout(Stdio::null()).stderr(file).spawn();
        let child = child.map_err(SimError::io(&self.0))?;
        Ok(Running { child, what, log: log.into() })
    }
}

impl Running {
    /// # Errors
    /// If the process has failed.
    pub(super) fn check(&mut self) -> Result<(), SimError> {
        match self.child.try_wait().map_err(SimError::io(&self.what))? {
            Some(status) if !status.success() => {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let last = log.lines().last().unwrap_or("it said nothing");
                Err(SimError::Process { what: self.what.clone(), status: status.to_string(), said: last.into() })
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and that is all that can go wrong.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
