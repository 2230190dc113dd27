use std::{fs, io::Write};

use super::{
    super::{Entry, Found, catalogue::catalogue},
    *,
};

const SEED: Seed = Seed(0);

fn error(config: &DataConfig, places: &Places) -> String {
    load(config, places, SEED).unwrap_err().to_string()
}

/// Writes a data set of two 1 x 1 images and one for the test.
fn write_idx(directory: &Path) {
    fs::create_dir_all(directory).unwrap();
    let write = |name: &str, magic: u32, dimensions: &[u32], body: &[u8]| {
        let mut file = fs::File::create(directory.join(name)).unwrap();
        file.write_all(&magic.to_be_bytes()).unwrap();
        dimensions.iter().for_each(|n| file.write_all(&n.to_be_bytes()).unwrap());
        file.write_all(body).unwrap();
    };
    write("train-images-idx3-ubyte", 0x803, &[2, 1, 1], &[0, 255]);
    write("train-labels-idx1-ubyte", 0x801, &[2], &[0, 1]);
    write("t10k-images-idx3-ubyte", 0x803, &[1, 1, 1], &[0]);
    write("t10k-labels-idx1-ubyte", 0x801, &[1], &[0]);
}

#[test]
fn the_embedded_data_set_needs_no_place() {
    let data = load(&DataConfig::named("mnist-10k"), &Places::default(), SEED).unwrap();
    assert_eq!((data.name.as_str(), data.train.len()), ("mnist-10k", 8_000));
}

#[test]
fn registered_names_are_looked_up_in_order() {
    let (system, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let places = Places { system: vec![system.path().to_owned()], cache: Some(cache.path().to_owned()) };
    let missing = error(&DataConfig::named("fashion-mnist"), &places);
    for part in
        ["`nibble-sim data fetch fashion-mnist`", "package dataset-fashion-mnist", &*cache.path().display().to_string()]
    {
        assert!(missing.contains(part), "{missing}");
    }
    assert!(!error(&DataConfig::named("mnist"), &places).contains("Debian"));

    let found = |places: &Places| catalogue(places).iter().map(|entry| entry.found.clone()).collect::<Vec<Found>>();
    assert_eq!(found(&places), [Found::Embedded, Found::Missing, Found::Missing]);
    for place in [&cache, &system] {
        let directory = place.path().join("fashion-mnist");
        fs::create_dir(&directory).unwrap();
        assert_ne!(found(&places)[1], Found::Directory(directory.clone()), "an empty directory is no data set");
        write_idx(&directory);
        assert_eq!(load(&DataConfig::named("fashion-mnist"), &places, SEED).unwrap().train.len(), 2);
        assert_eq!(found(&places)[1], Found::Directory(directory));
    }
}

#[test]
fn the_catalogue_tells_the_truth_about_the_embedded_data_set() {
    let entries = catalogue(&Places::default());
    let Entry { train_samples, test_samples, classes, .. } = entries[0];
    let data = load(&DataConfig::named(entries[0].name), &Places::default(), SEED).unwrap();
    assert_eq!((train_samples, test_samples, classes), (data.train.len(), data.test.len(), data.classes));
}

#[test]
fn paths_are_data_sets_too() {
    let directory = tempfile::tempdir().unwrap();
    write_idx(directory.path());
    let config = DataConfig::named(directory.path().to_str().unwrap());
    assert_eq!(load(&config, &Places::default(), SEED).unwrap().shape, (1, 1, 1));

    let path = directory.path().join("mine.csv");
    fs::write(&path, "x,kind\n1,a\n2,b\n3,a\n4,b\n5,a\n").unwrap();
    let config = DataConfig { label: Some("kind".into()), ..DataConfig::named(path.to_str().unwrap()) };
    let data = load(&config, &Places::default(), SEED).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (4, 1));
    let config = DataConfig { test: Some(path), ..config };
    let data = load(&config, &Places::default(), SEED).unwrap();
    assert_eq!((data.train.len(), data.test.len()), (5, 5));
    let config = DataConfig { test_fraction: Some(0.1), ..config };
    assert!(error(&config, &Places::default()).starts_with("both `test` and `test_fraction`"));
}

#[test]
fn mistakes_are_answered_with_the_mend() {
    let unknown = error(&DataConfig::named("minst"), &Places::default());
    assert!(unknown.starts_with("there is no data set `minst`: known names are mnist-10k, fashion-mnist, mnist;"));
    let config = DataConfig { owner: Some("who".into()), ..DataConfig::named("mnist-10k") };
    let found = error(&config, &Places::default());
    assert_eq!(found, "`owner` is for CSV files, but `mnist-10k` is not one: remove the option");
    assert!(toml::from_str::<DataConfig>("dataset = 'mnist'\nlabels = 'x'").is_err());
    let config: DataConfig = toml::from_str("dataset = 'a.csv'\nlabel = 'y'\ntest_fraction = 0.5").unwrap();
    assert_eq!((config.label.as_deref(), config.test_fraction), (Some("y"), Some(0.5)));
}

#[test]
fn the_cache_is_found_as_documented() {
    let all = [("NIBBLE_CACHE", "/n"), ("XDG_CACHE_HOME", "/x"), ("HOME", "/h")];
    let cases = [(&all[..], "/n"), (&all[1..], "/x/nibble"), (&all[2..], "/h/.cache/nibble")];
    for (variables, expected) in cases {
        let lookup = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
        assert_eq!(cache_directory(lookup).unwrap(), Path::new(expected));
        let places = Places::from_environment(lookup);
        assert_eq!(places.cache.as_deref(), Some(Path::new(expected)));
        assert_eq!(places.system, [Path::new("/usr/share/datasets")]);
    }
    assert!(matches!(cache_directory(|_| Some(OsString::new())), Err(DataError::NoCache)));
}
