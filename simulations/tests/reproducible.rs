//! One seed, one model: on any number of threads, with residuals on disk or in memory, interrupted or not.

mod support;

use std::{fs, process::Stdio, time::Duration};

use support::{Sandbox, json};

const SMALL: &str = "seeds = [5]\nrounds = 6\n[data]\nclients = 100\n[cohort]\nsize = 5\n\
                     [availability]\ndropout = 0.1\n[links]\nprofiles = { lte-m = 1, dsl = 1 }\nspread = 0.3\n\
                     [compression]\nuplink = [\"int2+ef/auto:1\", \"int4\"]\n";

fn hashes(stdout: &str) -> Vec<String> {
    let results = json(stdout)["results"].as_array().expect("results").clone();
    results.iter().map(|run| run["model_hash"].as_str().expect("a hash").to_owned()).collect()
}

#[test]
fn threads_and_spilling_do_not_change_the_model() {
    let sandbox = Sandbox::new();
    sandbox.write("small.toml", SMALL);
    let run = |out: &str, extra: &[&str]| {
        let args = ["compare", "small.toml", "--format", "json", "--out", out];
        hashes(&sandbox.ok(&[&args, extra].concat()))
    };
    let one = run("one", &["--threads", "1"]);
    assert_eq!(one.len(), 2);
    assert_ne!(one[0], one[1]);
    assert_eq!(run("two", &["--threads", "2"]), one);
    assert_eq!(run("five", &["--threads", "5", "--set", "compression.residual_memory_mib=1"]), one);
    let clipped = ["--set", "aggregation.rule=centered-clipping", "--set", "aggregation.norm_bound=1"];
    let clipped = |out, threads| run(out, &[&clipped[..], &["--threads", threads]].concat());
    let robust = clipped("clipped-one", "1");
    assert!(robust[0] != one[0] && clipped("clipped-five", "5") == robust);
    assert_eq!(run("disk", &["--threads", "2", "--set", "compression.residual_memory_mib=0"]), one);
}

#[test]
fn a_killed_run_goes_on_to_the_same_model() {
    let sandbox = Sandbox::new();
    sandbox.write("small.toml", SMALL);
    let args = ["compare", "small.toml", "--format", "json", "--checkpoint-every", "0"];
    let whole = hashes(&sandbox.ok(&[&args[..], &["--out", "whole"]].concat()));
    // Killed again and again, each time once it has come one file further; then left to end.
    let broken = [&args[..], &["--out", "broken", "--resume"]].concat();
    let mut kills = 0;
    loop {
        let mut child = sandbox.command(&broken).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let ended = support::wait_for(Duration::from_secs(120), || {
            let before = sandbox.path("broken/state/int2+ef-auto-1-seed5/checkpoint.json");
            let rounds = fs::read_to_string(before).map_or(0, |text| text.matches("\"accuracy\"").count());
            child.try_wait().unwrap().map(|_| true).or((rounds > kills).then_some(false))
        });
        kills += 1;
        if ended.expect("the run goes on") {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills >= 3, "the run was killed {} times only", kills - 1);
    let resumed = fs::read_to_string(sandbox.path("broken/summary.json")).unwrap();
    assert_eq!(hashes(&resumed), whole);
}

#[test]
fn a_killed_sweep_goes_on_where_it_was() {
    let sandbox = Sandbox::new();
    sandbox.write("small.toml", &SMALL.replace("int2+ef/auto:1\", \"int4", "fp32"));
    let sweep = ["--sweep", "local.lr=0.05,0.1,0.2", "--sweep", "cohort.size=4,5"];
    let args = [&["compare", "small.toml", "--format", "json", "--checkpoint-every", "0"], &sweep[..]].concat();
    let whole = hashes(&sandbox.ok(&[&args[..], &["--out", "whole"]].concat()));
    assert_eq!(whole.iter().collect::<std::collections::BTreeSet<_>>().len(), 6);
    let broken = [&args[..], &["--out", "broken"]].concat();
    let mut child = sandbox.command(&broken).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Some runs of it are done, one is under way.
    let is_under_way = |name: &str| name.contains("lr-0.1-size-5");
    support::wait_for(Duration::from_secs(120), || {
        let runs = fs::read_dir(sandbox.path("broken/state")).ok()?.flatten();
        let mut under_way = runs.filter(|run| is_under_way(&run.file_name().to_string_lossy()));
        under_way.any(|run| run.path().join("checkpoint.json").exists()).then_some(())
    })
    .expect("its fourth run begins");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!sandbox.path("broken/summary.json").exists(), "it was killed before its end");
    assert_eq!(hashes(&sandbox.ok(&[&broken[..], &["--resume"]].concat())), whole);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_says_so_keeps_what_there_is_and_goes_on() {
    let sandbox = Sandbox::new();
    sandbox.write("long.toml", &SMALL.replace("rounds = 6", "rounds = 25"));
    let args = ["compare", "long.toml", "--format", "json", "--out", "out", "--checkpoint-every", "0"];
    let child = sandbox.command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    support::wait_for(Duration::from_secs(120), || {
        sandbox.path("out/state/int2+ef-auto-1-seed5/checkpoint.json").exists().then_some(())
    })
    .expect("a first checkpoint");
    let pid = child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("--resume goes on"), "{stderr}");
    assert!(sandbox.path("out/report.html").exists(), "what there is was written");
    let models = fs::read_dir(sandbox.path("out/models")).unwrap().count();
    assert_eq!(
        models,
        json(&fs::read_to_string(sandbox.path("out/summary.json")).unwrap())["results"].as_array().unwrap().len()
    );
    let refused = sandbox.fails(&args, 2);
    assert!(refused.contains("unfinished") && refused.contains("--resume"), "{refused}");
    let other = sandbox.fails(&[&args[..], &["--resume", "--rounds", "3"]].concat(), 2);
    assert!(other.contains("another experiment"), "{other}");
    let resumed = hashes(&sandbox.ok(&[&args[..], &["--resume"]].concat()));
    let whole = hashes(&sandbox.ok(&["compare", "long.toml", "--format", "json", "--out", "whole"]));
    assert_eq!(resumed, whole);
    assert!(!sandbox.path("out/state").exists(), "nothing is left to resume");
}
