//! Devices whose data is their own: a CSV file each, or a directory of IDX files each, and what the coordinator evaluates on.
//!
//! Absent on purpose: broken files, which the tests of `learning` and the command line know.

use std::{fmt::Write as _, fs, path::Path};

use crate::harness::{Deployment, Process};

/// Rows of two columns that the kind follows from; every device has other rows.
fn csv(salt: usize) -> String {
    let mut text = String::from("width,height,kind\n");
    for row in 0..60 {
        let kind = row % 3;
        let noise = |k: usize| (((row + 60 * salt) * 37 + k * 11) % 100) as f64 / 100.0;
        let (width, height) = (4.0 * (kind % 2) as f64 + noise(1), 4.0 * (kind / 2) as f64 + noise(2));
        writeln!(text, "{width},{height},{}", ["low", "wide", "tall"][kind]).unwrap();
    }
    text
}

/// The four files of a data set of images with ten classes: which of ten bands is bright.
fn write_idx(directory: &Path, salt: usize) {
    fs::create_dir_all(directory).unwrap();
    for (name, count) in [("train", 100_usize), ("t10k", 50)] {
        let mut images =
            [&[0, 0, 8, 3][..], &(count as u32).to_be_bytes(), &28u32.to_be_bytes(), &28u32.to_be_bytes()].concat();
        let mut labels = [&[0, 0, 8, 1][..], &(count as u32).to_be_bytes()].concat();
        for image in 0..count {
            let label = image % 10;
            labels.push(label as u8);
            images.extend((0..28 * 28).map(|pixel: usize| match pixel / 78 == label {
                true => 200 + ((pixel + image + salt) % 50) as u8,
                false => ((pixel * 7 + image + salt) % 40) as u8,
            }));
        }
        fs::write(directory.join(format!("{name}-images-idx3-ubyte")), images).unwrap();
        fs::write(directory.join(format!("{name}-labels-idx1-ubyte")), labels).unwrap();
    }
}

/// Lets two devices train on `dataset(device)`; gives the accuracy on the coordinator's.
fn accuracy(
    model: &str,
    rounds: u64,
    evaluated: &Path,
    more: &str,
    dataset: impl Fn(&Deployment, usize) -> String,
) -> f64 {
    let mut deployment = Deployment::insecure(&format!(
        "[run]\nname = \"own\"\nrounds = {rounds}\n[model]\nname = {model:?}\n[data]\ndataset = {evaluated:?}\n{more}\
         [cohort]\nsize = 2\n[local]\nlr = 0.5\nbatch = 10\n"
    ));
    let coordinator = deployment.start();
    let client = |index: usize| -> Process {
        let (data, address) = (dataset(&deployment, index), deployment.address());
        let config = format!(
            "server = \"http://{address}\"\ninsecure_client = {index}\nstate = {:?}\n[data]\ndataset = {data:?}\n{more}",
            deployment.state_of(index)
        );
        deployment.start_client(index, &config)
    };
    deployment.finish(coordinator, vec![client(0), client(1)]);
    assert!(deployment.rounds().iter().all(|round| round.accepted == 2));
    deployment.status()["accuracy"].as_f64().expect("it is evaluated")
}

#[test]
fn devices_train_on_csv_files_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let file = |salt: usize| directory.path().join(format!("{salt}.csv"));
    (0..3).for_each(|salt| fs::write(file(salt), csv(salt)).unwrap());
    let own = |_: &Deployment, index: usize| file(index).display().to_string();
    let accuracy = accuracy("logreg", 25, &file(2), "label = \"kind\"\n", own);
    assert!(accuracy > 0.9, "{accuracy}");
}

#[test]
fn devices_train_on_idx_directories_of_their_own() {
    let directory = tempfile::tempdir().unwrap();
    let files = |salt: usize| directory.path().join(salt.to_string());
    (0..3).for_each(|salt| write_idx(&files(salt), salt));
    let own = |_: &Deployment, index: usize| files(index).display().to_string();
    let accuracy = accuracy("logreg", 8, &files(2), "", own);
    assert!(accuracy > 0.9, "{accuracy}");
}
