//! `export`.

use nibble_sim::{error::SimError, export};

use super::args::{ExportArgs, ExportFormat};

pub(super) fn export(args: &ExportArgs) -> Result<(), SimError> {
    let rows = export::read(&args.results)?;
    match args.to {
        ExportFormat::Tensorboard => {
            let out = args.out.clone().unwrap_or_else(|| args.results.join("tensorboard"));
            let runs = export::tensorboard(&rows, &out)?.len();
            say!(
                "{runs} runs of {} rounds in all; look at them with: tensorboard --logdir {}",
                rows.len(),
                out.display()
            );
        }
        #[cfg(feature = "parquet")]
        ExportFormat::Parquet => {
            let out = args.out.clone().unwrap_or_else(|| args.results.join("rounds.parquet"));
            export::parquet(&rows, &out)?;
            say!("{} rounds in {}", rows.len(), out.display());
        }
        #[cfg(not(feature = "parquet"))]
        ExportFormat::Parquet => {
            return Err(SimError::Usage {
                problem: "this build cannot write Parquet".into(),
                mend: "build it with: cargo build --release -p nibble-sim --features parquet".into(),
            });
        }
    }
    Ok(())
}
