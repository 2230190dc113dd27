//! `codec eval`, `codec encode` and `codec decode`.

use std::{fs, path::Path};

use nibble_codec::{DecodeError, EncodeError, Encoder, Payload, PayloadId, Scheme, SchemeError};
use nibble_seed::{RoundId, Seed};
use nibble_sim::{
    codec_eval::{Law, evaluate},
    codec_plan,
    error::SimError,
    files::{read_named, write_whole},
    model_file, report,
};

use super::{
    args::{CodecCommand, Format, PlanRounding},
    print_json,
};

pub(super) fn codec(command: CodecCommand) -> Result<(), SimError> {
    match command {
        CodecCommand::Eval { file, schemes, repeat, plot, format } => {
            eval(&file, &schemes, repeat, plot.as_deref(), format)
        }
        CodecCommand::Plan { file, budget, rounding, weights, format } => {
            let rounding = match rounding {
                PlanRounding::Stochastic => "stochastic",
                PlanRounding::Nearest => "nearest",
                PlanRounding::Dithered => "dithered",
            };
            let scheme = format!("plan:{budget}:{rounding}").parse().map_err(|error: SchemeError| SimError::Usage {
                problem: error.to_string(),
                mend: "write the bytes after --budget with their unit, e.g. 64KiB, 100kB or 5000B".into(),
            })?;
            plan(&file, scheme, &weights, format)
        }
        CodecCommand::Encode { file, scheme, seed, round, output } => {
            refuse_same(&file, &output)?;
            let (layout, x) = model_file::read(&file)?;
            let id = PayloadId { round: RoundId(round), seed: Seed(seed) };
            let mut payload = Vec::new();
            Encoder::new(scheme).encode(&layout, &x, id, &mut payload).map_err(|error| unencodable(&file, &error))?;
            write_whole(&output, &payload)?;
            let rate = match layout.coordinates() {
                0 => "no coordinates".into(),
                coordinates => format!("{:.4} bits a coordinate", 8.0 * payload.len() as f64 / coordinates as f64),
            };
            say!("{}: {} bytes, {rate}", output.display(), payload.len());
            Ok(())
        }
        CodecCommand::Decode { payload, like, output } => {
            refuse_same(&payload, &output)?;
            refuse_same(&like, &output)?;
            let (layout, _) = model_file::read(&like)?;
            let bytes = read_named(&payload, "a payload that `codec encode` wrote")?;
            let parsed = Payload::parse(&bytes, &layout).map_err(|error| undecodable(&payload, &error))?;
            let mut values = vec![0.0; layout.coordinates()];
            parsed.decode(&mut values).map_err(|error| undecodable(&payload, &error))?;
            model_file::write(&output, &layout, &values)?;
            let header = parsed.header();
            say!("{}: {}, round {}, seed {}", output.display(), header.coding, header.round, header.seed.0);
            Ok(())
        }
    }
}

fn eval(file: &Path, schemes: &[Scheme], repeat: u64, plot: Option<&Path>, format: Format) -> Result<(), SimError> {
    if repeat == 0 {
        return Err(SimError::Usage { problem: "--repeat 0 measures nothing".into(), mend: "give at least 1".into() });
    }
    let (layout, x) = match Law::named(file) {
        Some(law) => law.vector(),
        None => model_file::read(file)?,
    };
    let measure = |scheme: &Scheme| evaluate(*scheme, &layout, &x, repeat).map_err(|error| unencodable(file, &error));
    let rows = schemes.iter().map(measure).collect::<Result<Vec<_>, _>>()?;
    if let Some(plot) = plot {
        let stem = file.file_stem().unwrap_or(file.as_os_str()).to_string_lossy();
        report::write_rates(&format!("Error against rate: {stem}"), &rows, plot)?;
    }
    if format == Format::Json {
        return print_json(&rows);
    }
    say!("{} coordinates in {} tensors, {repeat} encodings a scheme", x.len(), layout.tensors().len());
    say!(
        "{:22} {:>10} {:>8} {:>11} {:>11} {:>9} {:>9}",
        "scheme",
        "bytes",
        "bits",
        "NMSE",
        "bias²",
        "enc GB/s",
        "dec GB/s"
    );
    for row in &rows {
        let bias2 = row.bias2.map_or_else(|| "-".into(), |bias2| format!("{bias2:.3e}"));
        say!(
            "{:22} {:>10} {:>8.4} {:>11.4e} {bias2:>11} {:>9.2} {:>9.2}",
            row.scheme,
            row.bytes,
            row.bits_per_coordinate,
            row.nmse,
            row.encode_gbps,
            row.decode_gbps
        );
    }
    Ok(())
}

fn plan(file: &Path, scheme: Scheme, weights: &[String], format: Format) -> Result<(), SimError> {
    let (layout, x) = model_file::read(file)?;
    let weights = codec_plan::weights(&layout, weights)?;
    let report = codec_plan::report(scheme, &layout, &x, &weights).map_err(|error| unencodable(file, &error))?;
    if format == Format::Json {
        return print_json(&report);
    }
    let name = report.tensors.iter().map(|row| row.tensor.chars().count()).max().unwrap_or(0).max(6);
    say!(
        "{:name$} {:>12} {:>9} {:>7} {:>6} {:>10} {:>10} {:>9}  widths",
        "tensor",
        "coordinates",
        "RMS",
        "weight",
        "bits",
        "bytes",
        "NMSE",
        "of error"
    );
    for row in &report.tensors {
        say!(
            "{:name$} {:>12} {:>9.2e} {:>7} {:>6.2} {:>10} {:>10.3e} {:>7.1} %  {}",
            row.tensor,
            row.coordinates,
            row.rms,
            row.weight,
            row.bits_per_coordinate,
            row.bytes,
            row.nmse,
            100.0 * row.share_of_error,
            codec_plan::widths(row)
        );
    }
    say!("");
    say!(
        "{} of {} bytes, {:.3} bits a coordinate, NMSE {:.4e}",
        report.bytes,
        report.budget,
        8.0 * report.bytes as f64 / layout.coordinates() as f64,
        report.nmse
    );
    say!(
        "A piece of 1024 coordinates gets more bits while they take {:.3} % of the weighted error away for a kB.",
        100.0 * 1000.0 * report.price
    );
    Ok(())
}

/// Output that would replace an input is a slip of the hand.
fn refuse_same(input: &Path, output: &Path) -> Result<(), SimError> {
    let (from, to) = (fs::canonicalize(input), fs::canonicalize(output));
    if from.is_ok() && from.ok() == to.ok() {
        let problem = format!("{} is both input and output", input.display());
        return Err(SimError::Usage { problem, mend: "give another file after -o".into() });
    }
    Ok(())
}

/// Why `file` holds nothing that can be encoded, and what to do about it.
fn unencodable(file: &Path, error: &EncodeError) -> SimError {
    let mend = match error {
        EncodeError::NonFinite { .. } => {
            "training diverged there: lower its learning rate or clip its gradients, and write the update again".into()
        }
        EncodeError::OutOfRange { .. } => "take a scheme that scales: int8, int4 or auto; or fp32".into(),
        EncodeError::Budget { needed, .. } => format!("give at least {needed}B, or a scheme without a budget"),
        _ => "give a .safetensors file of finite F32 tensors".into(),
    };
    SimError::File { path: file.into(), problem: error.to_string(), mend }
}

/// Why `file` is no payload of this model, and what to do about it.
fn undecodable(file: &Path, error: &DecodeError) -> SimError {
    let mend = match error {
        DecodeError::Magic { .. } => "give a payload that `codec encode` wrote",
        DecodeError::Version { .. } => "decode it with the version of nibble-sim that wrote it",
        DecodeError::Layout { .. } => "let --like name a file with the tensors of the vector that was encoded",
        _ => "it was damaged or cut off: encode or copy it again",
    };
    SimError::File { path: file.into(), problem: error.to_string(), mend: mend.into() }
}
