//! What a result was made on, in words.

/// Version, processor and threads.
#[must_use]
pub fn describe(threads: usize) -> String {
    let threads = if threads == 1 { "1 thread".into() } else { format!("{threads} threads") };
    format!("nibble {} on {} ({}), {threads}", env!("CARGO_PKG_VERSION"), processor(), std::env::consts::OS)
}

/// The processor's name, or its architecture where the system does not tell.
#[must_use]
pub fn processor() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    name.unwrap_or(std::env::consts::ARCH).trim().to_owned()
}
