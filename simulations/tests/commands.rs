//! Every command as a user types it: what it prints, what it writes, and how it refuses.

mod support;

use std::fs;

use nibble_codec::Layout;
use nibble_sim::model_file;
use support::{Sandbox, json};

const TINY: [&str; 8] = ["--rounds", "2", "--seeds", "0,1", "--schemes", "fp32,int8,int4", "--set", "data.clients=20"];

fn update(sandbox: &Sandbox, name: &str, values: &[f32]) {
    let layout = Layout::new([("a.weight", vec![values.len() - 2]), ("b.bias", vec![2])]).expect("two tensors");
    model_file::write(&sandbox.path(name), &layout, values).expect("a writable directory");
}

fn wave(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * 0.37).sin() * (i % 17) as f32 * 1e-3).collect()
}

#[test]
fn compare_prints_the_promised_object_and_writes_the_promised_files() {
    let sandbox = Sandbox::new();
    let args = [&["compare", "--out", "out", "--format", "json"], &TINY[..]].concat();
    let printed = json(&sandbox.ok(&args));
    let results = printed["results"].as_array().unwrap();
    assert_eq!(results.len(), 6);
    let keys = [
        "scheme",
        "seed",
        "rounds",
        "final_accuracy",
        "mean_last5_accuracy",
        "uplink_bytes_per_update",
        "bits_per_coordinate",
        "uplink_bytes_total",
        "downlink_bytes_total",
        "model_hash",
        "round_seconds_median",
        "peak_rss_bytes",
    ];
    for run in results {
        let run = run.as_object().unwrap();
        assert!(keys.iter().all(|key| run.contains_key(*key)) && run.len() == keys.len(), "{run:?}");
    }
    // 2 rounds of 10 clients; the model goes down as fp32, updates come up as counted.
    let bytes = |run: usize, key: &str| results[run][key].as_f64().unwrap();
    let fp32 = bytes(0, "uplink_bytes_per_update");
    assert!(fp32 > 4.0 * 199_210.0 && fp32 < 4.001 * 199_210.0, "{fp32}");
    assert_eq!(bytes(0, "uplink_bytes_total"), 20.0 * fp32);
    assert_eq!(bytes(4, "downlink_bytes_total"), 20.0 * fp32);
    assert!(bytes(2, "uplink_bytes_per_update") <= 0.255 * fp32 && bytes(4, "uplink_bytes_per_update") <= 0.13 * fp32);
    for file in ["experiment.toml", "rounds.csv", "summary.json", "accuracy_vs_bytes.svg", "accuracy_vs_bytes.png"] {
        assert!(sandbox.path("out").join(file).exists(), "{file}");
    }
    assert_eq!(json(&fs::read_to_string(sandbox.path("out/summary.json")).unwrap()), printed);
    let (layout, model) = model_file::read(&sandbox.path("out/models/int4-seed1.safetensors")).unwrap();
    assert_eq!((layout.coordinates(), model.iter().all(|x| x.is_finite())), (199_210, true));
    let page = fs::read_to_string(sandbox.path("out/report.html")).unwrap();
    assert!(page.contains("int4") && page.contains("nibble-sim compare --out out"));
    assert_eq!(fs::read_to_string(sandbox.path("out/rounds.csv")).unwrap().lines().count(), 1 + 6 * 2);
    assert!(!sandbox.path("out/state").exists());
    sandbox.ok(&args); // finished results may be made again
}

#[test]
fn the_table_answers_in_text() {
    let sandbox = Sandbox::new();
    let table = sandbox.ok(&[&["compare"], &TINY[..]].concat());
    for part in ["fp32", "int8", "int4", "bits", "Report: results/levels/report.html"] {
        assert!(table.contains(part), "{part} in {table}");
    }
    assert!(!table.contains('\x1b'), "no colours where nobody sees them");
}

#[test]
fn run_does_one_scheme_and_seed() {
    let sandbox = Sandbox::new();
    let args = ["run", "--scheme", "int2:nearest+ef", "--seed", "7", "--rounds", "1", "--format", "json"];
    let results = json(&sandbox.ok(&args));
    assert_eq!(results["results"].as_array().unwrap().len(), 1);
    assert_eq!((results["results"][0]["seed"].as_u64(), results["results"][0]["rounds"].as_u64()), (Some(7), Some(1)));
    assert!(sandbox.path("results/levels-int2-nearest+ef-seed7/report.html").exists());
}

#[test]
fn stragglers_and_drop_outs_are_accounted_for() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "rough.toml",
        "seeds = [0]\nrounds = 12\n[data]\nclients = 60\n[cohort]\nsize = 8\nover_select = 0.5\nquorum = 5\n\
         deadline_seconds = 30.0\n[availability]\ndropout = 0.3\nseconds = 15.0\nspread = 0.8\n\
         [compression]\nuplink = [\"int4+ef\"]\n",
    );
    sandbox.ok(&["compare", "rough.toml", "--out", "out"]);
    let rows = fs::read_to_string(sandbox.path("out/rounds.csv")).unwrap();
    let mut lines = rows.lines();
    let header: Vec<_> = lines.next().unwrap().split(',').collect();
    let column = |name: &str| header.iter().position(|column| *column == name).unwrap();
    let (mut closed, mut discarded) = (std::collections::BTreeSet::new(), 0);
    for row in lines {
        let row: Vec<_> = row.split(',').collect();
        let number = |name: &str| row[column(name)].parse::<u64>().unwrap();
        let why = row[column("closed_by")];
        assert_eq!(number("selected"), 12);
        assert!(number("counted") <= 8 && number("counted") + number("uncounted") <= 12);
        assert_eq!(number("counted") >= 5, !why.starts_with("abandoned"), "{row:?}");
        discarded += number("uncounted");
        closed.insert(why.to_owned());
    }
    assert!(closed.len() >= 2 && discarded > 0, "{closed:?}, {discarded} discarded");
}

#[test]
fn config_shows_what_it_reads_and_checks_what_it_can() {
    let sandbox = Sandbox::new();
    let shown = sandbox.ok(&["config", "show", "--set", "local.lr=0.25"]);
    assert!(shown.contains("lr = 0.25") && shown.contains("alpha = 0.3"));
    sandbox.write("shown.toml", &shown);
    assert_eq!(sandbox.ok(&["config", "show", "shown.toml"]), shown);
    let checked = sandbox.ok(&["config", "check", "shown.toml"]);
    for line in ["fp32: 796936 bytes an update", "int4+ef: 102836 bytes an update", "int2: 53034 bytes an update"] {
        assert!(checked.contains(line), "{checked}");
    }
    assert!(checked.ends_with("ok\n"));
}

#[test]
fn data_is_listed_and_described() {
    let sandbox = Sandbox::new();
    let listed = sandbox.ok(&["data", "list"]);
    assert!(["mnist-10k", "fashion-mnist", "mnist", "built in"].iter().all(|part| listed.contains(part)), "{listed}");
    assert!(json(&sandbox.ok(&["data", "list", "--format", "json"])).as_array().unwrap().len() >= 3);
    for partition in ["iid", "dirichlet:0.1", "shard:2", "pathological:2", "size-skewed:1.0"] {
        let described = sandbox.ok(&["data", "describe", "mnist-10k", "--partition", partition, "--clients", "12"]);
        assert!(described.contains("8000 training") && described.contains("12 clients"), "{described}");
    }
    let args = ["data", "describe", "mnist-10k", "--partition", "shard:2", "--clients", "50"];
    let (short, all) = (sandbox.ok(&args), sandbox.ok(&[&args[..], &["--all"]].concat()));
    assert!(short.contains("32 more clients") && short.contains("--all"), "{short}");
    assert!(all.lines().count() == short.lines().count() + 30 && all.contains("\n    40 "), "{all}");
    let described = json(&sandbox.ok(&[&args[..], &["--format", "json"]].concat()));
    let clients = described["clients"].as_array().unwrap();
    let samples =
        |client: &serde_json::Value| client.as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).sum::<u64>();
    assert_eq!((clients.len(), clients.iter().map(samples).sum::<u64>()), (50, 8000));
    sandbox.write("owners.csv", "client,sample\n0,0\n0,1\n1,2\n");
    let by_file = ["data", "describe", "mnist-10k", "--partition", "file:owners.csv", "--clients", "2"];
    assert!(sandbox.ok(&by_file).contains("2 clients, 3 of 8000 samples"));
    assert!(sandbox.fails(&["data", "describe", "mnist-10k", "--partition", "dirichlet"], 2).contains("alpha"));
    assert!(sandbox.fails(&["data", "fetch", "cifar"], 2).contains("cifar"));
}

/// Samples whose label their values tell: label, then four values.
fn samples(count: usize) -> impl Iterator<Item = (u8, [u8; 4])> {
    let level = |label: u8, at: usize| if usize::from(label) == at { 200 + (at as u8) * 10 } else { 20 };
    (0..count).map(move |i| {
        let label = (i % 3) as u8;
        (label, std::array::from_fn(|at| level(label, at).wrapping_add((i * 7 % 30) as u8)))
    })
}

#[test]
fn data_of_ones_own_is_trained_on() {
    let sandbox = Sandbox::new();
    let row = |(i, (label, values)): (usize, (u8, [u8; 4]))| {
        let values = values.map(|value| format!("{}", f32::from(value) / 255.0)).join(",");
        format!("{values},{},site-{}\n", ["low", "mid", "high"][usize::from(label)], i / 50)
    };
    let rows: String = samples(400).enumerate().map(row).collect();
    sandbox.write("readings.csv", &format!("a,b,c,d,kind,site\n{rows}"));
    sandbox.write(
        "own.toml",
        "seeds = [0]\nrounds = 15\n[data]\ndataset = \"readings.csv\"\nlabel = \"kind\"\nowner = \"site\"\nclients = 8\n\
         test_fraction = 0.2\npartition = { kind = \"natural\" }\n[model]\nname = \"logreg\"\n[local]\nlr = 1.0\n\
         [cohort]\nsize = 4\n[compression]\nuplink = [\"int4\"]\n",
    );
    fs::create_dir(sandbox.path("images")).unwrap();
    let labels = |count: usize| samples(count).map(|(label, _)| label).collect::<Vec<_>>();
    let images = |count: usize| samples(count).flat_map(|(_, values)| values).collect::<Vec<_>>();
    for (part, count) in [("train", 300usize), ("t10k", 60)] {
        let number = |n: u32| n.to_be_bytes();
        let count_bytes = number(count as u32);
        let head = [number(0x0803), count_bytes, number(2), number(2)].concat();
        let file = |name: &str, bytes: Vec<u8>| fs::write(sandbox.path("images").join(name), bytes).unwrap();
        file(&format!("{part}-images-idx3-ubyte"), [head, images(count)].concat());
        file(&format!("{part}-labels-idx1-ubyte"), [[number(0x0801), count_bytes].concat(), labels(count)].concat());
    }
    let idx = ["--set", "data.dataset=images", "--set", "data.partition={kind=\"iid\"}", "--set", "data.clients=10"];
    let idx = [&["run", "--rounds", "15", "--set", "model.name=logreg", "--set", "local.lr=1.0"], &idx[..]].concat();
    for args in [&["run", "own.toml"][..], &idx] {
        let printed = json(&sandbox.ok(&[args, &["--format", "json"]].concat()));
        let accuracy = printed["results"][0]["final_accuracy"].as_f64().unwrap();
        assert!(accuracy > 0.95, "{args:?}: {accuracy}");
    }
    let row = ["bench", "--row", "mlp10-of100", "--dataset", "mnist-10k", "--rounds", "2", "--format", "json"];
    let measured = json(&sandbox.ok(&row));
    assert!(measured[0]["round_seconds_median"].as_f64().unwrap() > 0.0 && measured[0]["rounds"] == 2, "{measured}");
}

#[test]
fn codec_encodes_decodes_and_measures() {
    let sandbox = Sandbox::new();
    let x = wave(5000);
    update(&sandbox, "x.safetensors", &x);
    sandbox.ok(&["codec", "encode", "x.safetensors", "--scheme", "int8", "--seed", "4", "-o", "x.nibble"]);
    sandbox.ok(&["codec", "decode", "x.nibble", "--like", "x.safetensors", "-o", "y.safetensors"]);
    let (_, y) = model_file::read(&sandbox.path("y.safetensors")).unwrap();
    let nmse = x.iter().zip(&y).map(|(x, y)| (x - y).powi(2)).sum::<f32>() / x.iter().map(|x| x * x).sum::<f32>();
    assert!(nmse > 0.0 && nmse < 1e-4, "{nmse}");
    let args = ["codec", "eval", "x.safetensors", "--schemes", "int4,int4:nearest,fp16", "--repeat", "5"];
    assert!(sandbox.ok(&args).contains("int4:nearest"));
    let rows = json(&sandbox.ok(&[&args[..], &["--format", "json"]].concat()));
    for row in rows.as_array().unwrap() {
        for key in ["scheme", "bytes", "bits_per_coordinate", "nmse", "bias2", "encode_gbps", "decode_gbps"] {
            assert!(row.get(key).is_some(), "{key} in {row}");
        }
    }
}

#[test]
fn damaged_payloads_are_refused_and_nothing_is_written() {
    let sandbox = Sandbox::new();
    update(&sandbox, "x.safetensors", &wave(300));
    sandbox.ok(&["codec", "encode", "x.safetensors", "--scheme", "int4", "-o", "x.nibble"]);
    let good = fs::read(sandbox.path("x.nibble")).unwrap();
    let decode = ["codec", "decode", "x.nibble", "--like", "x.safetensors", "-o", "y.safetensors"];
    for at in (0..good.len()).step_by(5) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        fs::write(sandbox.path("x.nibble"), bytes).unwrap();
        assert!(sandbox.fails(&decode, 1).contains("x.nibble"), "flipped at {at}");
    }
    fs::write(sandbox.path("x.nibble"), &good[..good.len() / 2]).unwrap();
    assert!(sandbox.fails(&decode, 1).contains("truncated"));
    assert!(!sandbox.path("y.safetensors").exists());
}

#[test]
fn a_delta_with_nan_is_refused_by_name() {
    let sandbox = Sandbox::new();
    let mut x = wave(100);
    x[99] = f32::NAN;
    update(&sandbox, "x.safetensors", &x);
    for command in [
        &["codec", "encode", "x.safetensors", "--scheme", "int4", "-o", "x.nibble"][..],
        &["codec", "eval", "x.safetensors", "--schemes", "int4"],
    ] {
        let error = sandbox.fails(command, 1);
        assert!(error.contains("b.bias") && error.contains("NaN") && error.contains("coordinate 1"), "{error}");
        assert!(error.contains("help: training diverged there"), "{error}");
    }
    update(&sandbox, "y.safetensors", &[1e6; 100]);
    let encode = |scheme| ["codec", "encode", "y.safetensors", "--scheme", scheme, "-o", "x.nibble"];
    assert!(sandbox.fails(&encode("fp16"), 1).contains("help: take a scheme that scales"));
    let poor = sandbox.fails(&encode("auto:40B"), 1);
    let least = poor.split("give at least ").nth(1).unwrap().split('B').next().unwrap().to_owned();
    sandbox.ok(&encode(&format!("auto:{least}B")));
    fs::remove_file(sandbox.path("x.nibble")).unwrap();
    assert!(!sandbox.path("x.nibble").exists());
}

#[test]
fn mistakes_get_exit_code_2_and_a_mend_and_leave_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("unknown.toml", "rounds = 2\n[cohort]\nsize = 5\nsice = 3\n");
    sandbox.write("budget.toml", "[compression]\nuplink = [\"int8\"]\nuplink_budget_bytes = 120000\n");
    sandbox.write("text.csv", "x,label\n1.0,a\nnot-a-number,b\n");
    for (args, parts) in [
        (&["compare", "unknown.toml"][..], &["unknown.toml", "line 4", "sice", "size"][..]),
        (&["compare", "missing.toml"], &["missing.toml", "help: give the path of a TOML file"]),
        (&["compare", "--set", "data.dataset=missing.csv"], &["missing.csv", "check the path"]),
        (
            &["compare", "--set", "data.partition={kind=\"file\",path=\"missing.csv\"}"],
            &["missing.csv", "give the path"],
        ),
        (
            &["codec", "eval", "missing.safetensors", "--schemes", "int4"],
            &["missing.safetensors", "help: give the path"],
        ),
        (&["codec", "encode", "missing.safetensors", "--scheme", "int4", "-o", "x"], &["missing.safetensors", "help"]),
        (&["codec", "decode", "missing.nibble", "--like", "x.safetensors", "-o", "y"], &["x.safetensors", "help"]),
        (&["compare", "--set", "data.clients=0"], &["data.clients", "help"]),
        (&["compare", "--set", "cohort.size=1000"], &["--set cohort.size", "only 100"]),
        (&["compare", "--set", "compression.uplink_budget_bytes=0"], &["a budget of 0 bytes"]),
        (&["compare", "budget.toml"], &["int8", "120000", "help: int4 is the widest that fits"]),
        (
            &["config", "check", "--set", "compression.uplink=[\"fp32\",\"auto:50B\"]"],
            &["compression.uplink: auto:50B asks", "help: name 1"],
        ),
        (&["compare", "--schemes", "plan:90B+ef"], &["plan:90B+ef asks", "help: name 1"]),
        (&["compare", "--schemes", "int9"], &["--schemes", "int9", "int2 to int8"]),
        (&["run", "--scheme", "int9"], &["--scheme:", "int9", "int2 to int8"]),
        (&["compare", "--schemes", "int4", "--set", "compression.uplink=int9"], &["--set compression.uplink", "int9"]),
        (&["compare", "--set", "model.name=resnet"], &["resnet", "mlp", "cnn", "logreg"]),
        (&["compare", "--set", "data.dataset=nowhere"], &["nowhere", "mnist-10k"]),
        (&["compare", "--set", "data.dataset=text.csv"], &["text.csv", "3", "x"]),
        (&["compare", "--set", "data.partition.alpha=-1.0"], &["alpha"]),
        (&["compare", "--set", "data.clients=9000"], &["9000", "8000"]),
        (&["compare", "--threads", "0"], &["--threads 0"]),
        (&["compare", "--rounds", "0"], &["--rounds:", "help"]),
        (&["comprae"], &["comprae"]),
    ] {
        let error = sandbox.fails(args, 2);
        assert!(parts.iter().all(|part| error.contains(part)), "{args:?} said {error}");
    }
    let mut names: Vec<_> = fs::read_dir(sandbox.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["budget.toml", "text.csv", "unknown.toml"]);
}

#[test]
fn a_run_that_fails_at_once_leaves_the_way_free_and_results_stand_alone() {
    let sandbox = Sandbox::new();
    let small = ["--seeds", "0", "--rounds", "1", "--set", "model.name=logreg", "--out", "out"];
    let diverges = ["compare", "--schemes", "fp32"];
    let diverges = [&diverges[..], &small, &["--set", "model.name=mlp", "--set", "local.lr=1000"]].concat();
    assert!(sandbox.fails(&diverges, 1).contains("diverged"));
    let links = ["--schemes", "int8,int4", "--set", "links.profile=lte"];
    sandbox.ok(&[&["compare"], &links[..], &small].concat());
    assert!(sandbox.path("out/clients.csv").exists() && sandbox.path("out/models/int8-seed0.safetensors").exists());
    sandbox.ok(&[&["compare", "--schemes", "int4,fp32"], &small[..]].concat());
    let models = fs::read_dir(sandbox.path("out/models")).unwrap();
    let mut models: Vec<_> = models.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    models.sort();
    assert_eq!(models, ["fp32-seed0.safetensors", "int4-seed0.safetensors"], "and none of the comparison before");
    assert!(!sandbox.path("out/clients.csv").exists());
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "not a directory");
    assert!(sandbox.fails(&["compare", "--out", "file/out"], 1).contains("file/out"));
}

#[test]
fn an_output_that_is_an_input_or_no_file_is_refused() {
    let sandbox = Sandbox::new();
    update(&sandbox, "x.safetensors", &wave(300));
    let before = fs::read(sandbox.path("x.safetensors")).unwrap();
    let same = sandbox.fails(&["codec", "encode", "x.safetensors", "--scheme", "int4", "-o", "./x.safetensors"], 2);
    assert!(same.contains("both input and output"), "{same}");
    assert_eq!(fs::read(sandbox.path("x.safetensors")).unwrap(), before);
    fs::create_dir(sandbox.path("dir")).unwrap();
    let directory = sandbox.fails(&["codec", "encode", "x.safetensors", "--scheme", "int4", "-o", "dir"], 1);
    assert!(directory.contains("not an ordinary file"), "{directory}");
}

#[test]
fn an_output_directory_in_use_is_left_alone() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("out")).unwrap();
    let file = fs::File::create(sandbox.path("out/.lock")).unwrap();
    file.lock().unwrap();
    let args = ["run", "--rounds", "1", "--set", "model.name=logreg", "--out", "out"];
    assert!(sandbox.fails(&args, 2).contains("another process"));
    assert!(!sandbox.path("out/state").exists());
    drop(file);
    sandbox.ok(&args);
}

#[test]
fn rounds_that_all_fail_are_not_passed_over() {
    let sandbox = Sandbox::new();
    let sets = ["--set", "availability.dropout=0.999999", "--set", "model.name=logreg"];
    let output = sandbox.output(&[&["run", "--rounds", "2", "--format", "json"], &sets[..]].concat());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.contains("2 of 2 rounds were abandoned"), "{stderr}");
}

#[test]
fn a_sweep_runs_every_combination_and_its_results_are_exported() {
    let sandbox = Sandbox::new();
    let args = ["--rounds", "2", "--seeds", "0", "--set", "data.clients=20", "--set", "model.name=logreg"];
    let sweeps = ["--sweep", "compression.uplink=int4,fit", "--sweep", "links.profile=lte,nb-iot"];
    let budget = ["--set", "budget.uplink_bytes=20000", "--format", "json", "--out", "out"];
    let printed = json(&sandbox.ok(&[&["compare"], &args[..], &sweeps, &budget].concat()));
    let names =
        |run: &serde_json::Value| format!("{} {}", run["scheme"].as_str().unwrap(), run["variant"].as_str().unwrap());
    let results = printed["results"].as_array().unwrap();
    let found: Vec<_> = results.iter().map(names).collect();
    assert_eq!(found, ["int4 profile=lte", "int4 profile=nb-iot", "fit profile=lte", "fit profile=nb-iot"]);
    assert_eq!(results[0]["model_hash"], results[1]["model_hash"], "links change times, not models");
    let clients = fs::read_to_string(sandbox.path("out/clients.csv")).unwrap();
    assert!(clients.lines().count() == 5 && clients.contains("fit,profile=nb-iot,0,nb-iot,20,"), "{clients}");
    let said = sandbox.ok(&["export", "out", "--to", "tensorboard"]);
    assert!(said.contains("4 runs of 8 rounds"), "{said}");
    let events = fs::read(sandbox.path("out/tensorboard/fit-profile=lte-seed0/events.out.tfevents.0.nibble")).unwrap();
    assert!(events.windows(8).any(|bytes| bytes == b"accuracy"));
}
