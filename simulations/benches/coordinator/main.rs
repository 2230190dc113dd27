//! What a coordinator costs: rounds in which nobody trains, over loopback, with a real `nibble-server` process.
//!
//! ```text
//! cargo build --release --workspace && cargo bench -p nibble-sim --bench coordinator
//! ```
//!
//! Every client downloads the model (1,663,370 parameters) as fp32 and sends as much back. The clients are tasks of this
//! process, on the same cores; they keep nothing on disk. A round is the time between the records of two closed rounds,
//! evaluation excluded; its processor time is that of the coordinator alone. With `-- idle` nothing is played: 10,000 devices
//! are connected and wait. Bytes of the kernel are those that TCP delivered (`ss --info`), headers of TCP and IP excluded.

#![allow(clippy::print_stdout)]

mod client;
mod idle;
mod server;

use client::Clients;
use server::Prepared;

const ROUNDS: usize = 8;

fn main() -> anyhow::Result<()> {
    // `cargo test --benches` only asks whether it builds and starts.
    if std::env::args().any(|arg| arg == "--test") {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if std::env::args().any(|arg| arg == "idle") {
        return runtime.block_on(idle::measure(10_000));
    }
    println!(
        "{:>8} {:>7} {:>7} {:>11} {:>13} {:>10} {:>13} {:>13} {:>15}",
        "security",
        "clients",
        "scheme",
        "s a round",
        "CPU s a round",
        "peak MiB",
        "overhead up",
        "overhead down",
        "against kernel"
    );
    for (secure, clients, scheme) in [
        (false, 10, "fp32"),
        (true, 10, "fp32"),
        (false, 50, "fp32"),
        (true, 50, "fp32"),
        (true, 10, "int4"),
        (true, 50, "int4"),
    ] {
        let server = Prepared::new(clients, scheme, ROUNDS)?.start(secure)?;
        let moved = runtime.block_on(Clients::play(&server, clients, scheme))?;
        let seen = server.finish()?;
        let percent = |more: u64, than: u64| 100.0 * (more as f64 / than as f64 - 1.0);
        println!(
            "{:>8} {clients:>7} {scheme:>7} {:>11.3} {:>13.3} {:>10} {:>11.2} % {:>11.2} % {:>13.3} %",
            if secure { "mTLS" } else { "none" },
            seen.round_seconds,
            seen.cpu_seconds / ROUNDS as f64,
            seen.peak_bytes >> 20,
            percent(seen.wire_up, seen.payload_up),
            percent(seen.wire_down, seen.payload_down),
            percent(seen.wire_up + seen.wire_down, moved),
        );
    }
    Ok(())
}
