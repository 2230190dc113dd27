//! A real coordinator process, from its configuration to its records.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

pub(crate) struct Server {
    directory: tempfile::TempDir,
    program: PathBuf,
    child: Child,
    pub(crate) address: String,
    pub(crate) secure: bool,
}

/// What the coordinator recorded.
pub(crate) struct Seen {
    pub(crate) round_seconds: f64,
    /// Processor time of the coordinator, from its start to the end of the last round.
    pub(crate) cpu_seconds: f64,
    pub(crate) peak_bytes: u64,
    pub(crate) payload_up: u64,
    pub(crate) payload_down: u64,
    pub(crate) wire_up: u64,
    pub(crate) wire_down: u64,
}

/// A coordinator that is configured and not started yet.
pub(crate) struct Prepared {
    directory: tempfile::TempDir,
    program: PathBuf,
}

impl Prepared {
    pub(crate) fn new(clients: usize, scheme: &str, rounds: usize) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        // Benches lie in target/PROFILE/deps, programs in target/PROFILE.
        let this = std::env::current_exe()?;
        let program = this.ancestors().nth(2).context("no target directory")?.join("nibble-server");
        if !program.exists() {
            bail!("{} is missing: cargo build --release --workspace", program.display());
        }
        let parts = directory.path().join("coordinator");
        run(&program, &["init", &text(&parts), "--host", "127.0.0.1"])?;
        let config = format!(
            "listen = \"127.0.0.1:0\"\n[run]\nname = \"noop\"\nrounds = {rounds}\n[model]\nname = \"cnn\"\ninitial = \
             \"../model.safetensors\"\n[data]\ndataset = \"none\"\n[cohort]\nsize = {clients}\n[compression]\nuplink = \
             \"{scheme}\"\n"
        );
        fs::write(parts.join("nibble-server.toml"), config)?;
        let layout = super::client::layout();
        let zeros = vec![0.0; layout.coordinates()];
        nibble_sim::model_file::write(&directory.path().join("model.safetensors"), &layout, &zeros)?;
        Ok(Self { directory, program })
    }

    fn parts(&self) -> PathBuf {
        self.directory.path().join("coordinator")
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.parts().join("authority")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.parts().join("state")
    }

    pub(crate) fn start(self, secure: bool) -> Result<Server> {
        let parts = self.parts();
        let Self { directory, program } = self;
        let mut command = Command::new(&program);
        command.args(["serve", "--log-format", "json", "--until-stdin-closes", "--config"]);
        command.arg(parts.join("nibble-server.toml")).stdin(Stdio::piped()).stderr(Stdio::piped());
        if !secure {
            command.arg("--insecure");
        }
        let mut child = command.spawn()?;
        let mut lines = BufReader::new(child.stderr.take().context("stderr")?).lines();
        let address = loop {
            let line = lines.next().context("the coordinator ended")??;
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            if let Some(address) = line["fields"]["address"].as_str() {
                break address.to_owned();
            }
        };
        std::thread::spawn(move || lines.for_each(drop));
        Ok(Server { directory, program, child, address, secure })
    }
}

impl Server {
    pub(crate) fn config(&self) -> PathBuf {
        self.directory.path().join("coordinator").join("nibble-server.toml")
    }

    pub(crate) fn authority_pem(&self) -> Result<Vec<u8>> {
        Ok(fs::read(self.directory.path().join("coordinator").join("authority").join("ca.pem"))?)
    }

    pub(crate) fn token(&self, number: usize) -> Result<String> {
        let (name, number) = (format!("c{number}"), number.to_string());
        let token =
            run(&self.program, &["token", "--config", &text(&self.config()), "--name", &name, "--client", &number])?;
        Ok(token.trim().to_owned())
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Its memory now.
    pub(crate) fn resident_bytes(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    fn memory(&self, which: &'static str) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let found = status.lines().find_map(|line| line.strip_prefix(which)).context(which)?;
        Ok(1024 * found.trim().trim_end_matches("kB").trim().parse::<u64>()?)
    }

    /// User and system time so far, which Linux counts in hundredths of a second.
    fn cpu_seconds(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<_> = stat.rsplit_once(')').context("a name")?.1.split_whitespace().collect();
        let ticks = |field: usize| fields.get(field).and_then(|ticks| ticks.parse::<f64>().ok()).context("ticks");
        Ok((ticks(11)? + ticks(12)?) / 100.0)
    }

    pub(crate) fn finish(mut self) -> Result<Seen> {
        let (peak_bytes, cpu_seconds) = (self.memory("VmHWM:")?, self.cpu_seconds()?);
        drop(self.child.stdin.take());
        self.child.wait()?;
        let read = |what: &str| -> Result<Value> {
            let json = run(&self.program, &[what, "--format", "json", "--config", &text(&self.config())])?;
            Ok(serde_json::from_str(&json)?)
        };
        let rounds = read("rounds")?;
        // From one counted set to the next: folding, storing, choosing, sending down and up.
        let closed: Vec<f64> =
            rounds.as_array().into_iter().flatten().filter_map(|round| round["closed_unix"].as_f64()).collect();
        let mut seconds: Vec<f64> = closed.windows(2).map(|pair| pair[1] - pair[0]).collect();
        seconds.sort_by(f64::total_cmp);
        let sum = |entries: &Value, key: &str| -> u64 {
            entries.as_array().into_iter().flatten().filter_map(|entry| entry[key].as_u64()).sum()
        };
        let ledger = read("ledger")?;
        Ok(Seen {
            round_seconds: seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN),
            cpu_seconds,
            peak_bytes,
            payload_up: sum(&ledger, "payload_up"),
            payload_down: sum(&ledger, "payload_down"),
            wire_up: sum(&ledger, "wire_up"),
            wire_down: sum(&ledger, "wire_down"),
        })
    }
}

fn run(program: &Path, args: &[&str]) -> Result<String> {
    let output = Command::new(program).args(args).output()?;
    if !output.status.success() {
        bail!("{} {}: {}", program.display(), args.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}
