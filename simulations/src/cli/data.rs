//! `data list`, `data fetch` and `data describe`.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use nibble_learning::data::{self, Found, Places, Remote};
use nibble_sim::{
    error::SimError,
    experiment::{Override, Source},
    federation::Federation,
};
use serde_json::json;

use super::{
    args::{DataCommand, Format},
    print_json,
};

pub(super) fn data(command: DataCommand) -> Result<(), SimError> {
    match command {
        DataCommand::List { format } => list(format),
        DataCommand::Fetch { name } => fetch(&name),
        DataCommand::Describe { name, partition, clients, seed, all, sets, format } => {
            let mut overrides = sets;
            overrides.extend(name.map(|name| Override::new("data.dataset", name)));
            overrides.extend(clients.map(|clients| Override::new("data.clients", clients as i64).by("--clients")));
            overrides.extend(seed.map(|seed| Override::new("data.partition_seed", seed as i64).by("--seed")));
            if let Some(partition) = partition {
                overrides.push(Override::new("data.partition", partition_table(&partition)?).by("--partition"));
            }
            // A population smaller than the default cohort is no mistake here.
            overrides.push(Override::new("cohort.size", 1));
            describe(&Source { file: None, overrides }, all, format)
        }
    }
}

fn list(format: Format) -> Result<(), SimError> {
    let entries = data::catalogue(&places());
    let place = |found: &Found| match found {
        Found::Embedded => "built in".to_owned(),
        Found::Directory(directory) => directory.display().to_string(),
        Found::Missing => "not here".to_owned(),
    };
    if format == Format::Json {
        let entry = |entry: &data::Entry| {
            json!({
                "name": entry.name, "description": entry.description, "train_samples": entry.train_samples,
                "test_samples": entry.test_samples, "classes": entry.classes, "licence": entry.licence,
                "found": place(&entry.found),
            })
        };
        return print_json(&entries.iter().map(entry).collect::<Vec<_>>());
    }
    for entry in &entries {
        say!("{:14} {} ({})", entry.name, entry.description, entry.licence);
        say!(
            "{:14} {} training and {} test samples; {}",
            "",
            entry.train_samples,
            entry.test_samples,
            place(&entry.found)
        );
        if entry.found == Found::Missing {
            say!("{:14} get it: nibble-sim data fetch {}", "", entry.name);
        }
    }
    Ok(())
}

fn fetch(name: &str) -> Result<(), SimError> {
    let remote = Remote::named(name)?;
    let cache = data::cache_directory(|name| std::env::var_os(name))?;
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(remote.bytes()) } else { ProgressBar::hidden() };
    let template = "{msg:28} {bar:30.cyan/dim} {bytes}/{total_bytes}  {bytes_per_sec}  ETA {eta}";
    bar.set_style(ProgressStyle::with_template(template).expect("a template of this program").progress_chars("━╸─"));
    let fetched = data::fetch(&remote, &cache, &mut |progress| {
        bar.set_message(progress.file.to_owned());
        bar.set_position(progress.done_bytes);
    });
    bar.finish_and_clear();
    let fetched = fetched?;
    let how = if fetched.downloaded > 0 { "downloaded and checked" } else { "already there, checked" };
    say!("{name}: {how} in {}", fetched.directory.display());
    Ok(())
}

fn describe(source: &Source, all: bool, format: Format) -> Result<(), SimError> {
    let experiment = source.load()?;
    let federation = Federation::load(&experiment)?;
    let dataset = federation.dataset();
    let (channels, height, width) = dataset.shape;
    let description = federation.assignment().describe(&dataset.train, dataset.classes);
    if format == Format::Json {
        return print_json(&json!({
            "dataset": experiment.raw.data.dataset, "shape": [channels, height, width], "classes": dataset.classes,
            "train_samples": dataset.train.len(), "test_samples": dataset.test.len(),
            "clients": description.histogram,
        }));
    }
    say!("{}", federation.describe_data(&experiment));
    say!("{} classes, samples of {channels} x {height} x {width}", dataset.classes);
    say!("");
    if all {
        say!("{description:#}");
        return Ok(());
    }
    say!("{description}");
    if description.is_shortened() {
        say!("--all shows every client and class, --format json for programs");
    }
    Ok(())
}

/// `dirichlet:0.3` and the like as the table an experiment has.
fn partition_table(text: &str) -> Result<toml::Table, SimError> {
    let (kind, argument) = text.split_once(':').map_or((text, None), |(kind, argument)| (kind, Some(argument)));
    let unclear =
        |mend: &str| SimError::Usage { problem: format!("--partition {text:?} is unclear"), mend: mend.into() };
    let key = match kind {
        "dirichlet" => Some("alpha"),
        "shard" => Some("shards_per_client"),
        "pathological" => Some("classes_per_client"),
        "size-skewed" => Some("sigma"),
        "file" | "counts" => Some("path"),
        _ => None,
    };
    let mut table = toml::Table::new();
    table.insert("kind".into(), kind.into());
    match (key, argument) {
        (None, None) => {}
        (None, Some(_)) => return Err(unclear(&format!("{kind} takes no argument"))),
        (Some(key), None) => return Err(unclear(&format!("write {kind}:VALUE; the value is its {key}"))),
        (Some("path"), Some(path)) => {
            table.insert("path".into(), path.into());
        }
        (Some(key), Some(value)) => {
            let number = value.parse::<i64>().map(toml::Value::from).or_else(|_| value.parse::<f64>().map(Into::into));
            let number = number.map_err(|_| unclear(&format!("the {key} of {kind} is a number")))?;
            table.insert(key.into(), number);
        }
    }
    Ok(table)
}

fn places() -> Places {
    Places::from_environment(|name| std::env::var_os(name))
}
