//! Writes the report of made-up runs, to work on its looks without training anything:
//! `cargo run -p nibble-sim --example report_sample -- DIR`.

#[path = "../tests/report/sample.rs"]
mod sample;

use std::path::PathBuf;

#[allow(clippy::print_stdout)]
fn main() -> Result<(), nibble_sim::report::ReportError> {
    let dir = PathBuf::from(std::env::args_os().nth(1).unwrap_or_else(|| "report-sample".into()));
    let comparison = sample::comparison(&sample::LEVELS, 3, 20);
    nibble_sim::report::write(&comparison, &dir)?;
    println!("{}", nibble_sim::report::headline(&comparison));
    print!("{}", nibble_sim::report::table(&comparison, nibble_sim::report::Style::Plain));
    Ok(())
}
