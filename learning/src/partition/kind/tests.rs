use ndarray::Array2;
use proptest::prelude::*;

use super::*;
use crate::data::Features;

const SEED: Seed = Seed(1234);
const IID: Partition = Partition::Iid {};

fn samples(labels: Vec<u8>) -> Samples {
    Samples { features: Features::Bytes(Array2::zeros((labels.len(), 1))), labels, owners: None }
}

/// `n` samples of `classes` classes in turn.
fn even(n: usize, classes: usize) -> Samples {
    samples((0..n).map(|i| (i % classes) as u8).collect())
}

fn dirichlet(alpha: f64) -> Partition {
    Partition::Dirichlet { alpha, min_samples: 1 }
}

fn used(assignment: &Assignment) -> Vec<u32> {
    let mut used = assignment.clients.concat();
    used.sort_unstable();
    used
}

fn error(partition: &Partition, samples: &Samples, classes: usize, clients: usize) -> String {
    partition.split(samples, classes, clients, SEED).unwrap_err().to_string()
}

#[test]
fn iid_is_that_of_the_reference_workload() {
    let samples = even(60_000, 10);
    let s1 = IID.split(&samples, 10, 100, SEED).unwrap();
    assert_eq!(s1.clients[0][..5], [53100, 1314, 30701, 16819, 48775]);
    assert!(s1.clients.iter().all(|client| client.len() == 600));
    let s3 = IID.split(&samples, 10, 1000, SEED).unwrap();
    assert_eq!(s3.clients.concat(), s1.clients.concat());
    assert!(s3.clients.iter().all(|client| client.len() == 60));
}

#[test]
fn counts_are_those_of_the_reference_workload() {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/s2_counts.csv"));
    let samples = even(60_000, 10);
    let s2 = Partition::Counts { path }.split(&samples, 10, 100, SEED).unwrap();
    let description = s2.describe(&samples, 10);
    assert_eq!(description.histogram[0], [318, 0, 0, 0, 117, 10, 36, 14, 0, 0]);
    assert_eq!(description.spread(), (64, 551.5, 1898));
    assert_eq!(used(&s2), (0..60_000).collect::<Vec<u32>>());
    // Class 0's i-th sample is sample 10 i here, and its stream is (Partition, 1, 0).
    let order = SEED.derive(nibble_seed::Purpose::Partition, 1, 0).permutation(6000);
    let expected: Vec<u32> = order.iter().map(|i| 10 * i).collect();
    assert_eq!(s2.clients[0][..318], expected[..318]);
    assert_eq!(s2.clients[1][..5], expected[318..323]);
}

/// A change here changes every result that was ever reported.
#[test]
fn draws_are_what_they_were() {
    let samples = even(1000, 10);
    let cases = [
        (dirichlet(0.3), [91, 770, 490, 450, 89]),
        (Partition::Shard { shards_per_client: 2 }, [50, 774, 754, 964, 733]),
        (Partition::Pathological { classes_per_client: 2 }, [42, 662, 272, 592, 727]),
        (Partition::SizeSkewed { sigma: 1.0 }, [43, 946, 39, 281, 744]),
    ];
    for (partition, expected) in cases {
        let split = partition.split(&samples, 10, 20, SEED).unwrap();
        let client = &split.clients[7];
        let found = [client.len() as u32, client[0], client[1], client[2], client[client.len() - 1]];
        assert_eq!(found, expected, "{partition:?}");
    }
}

#[test]
fn alpha_and_sigma_order_the_skew() {
    let samples = even(10_000, 10);
    let largest_class = |partition: &Partition| {
        let histogram = partition.split(&samples, 10, 20, SEED).unwrap().histogram(&samples, 10);
        let share =
            |counts: &Vec<u32>| f64::from(*counts.iter().max().unwrap()) / f64::from(counts.iter().sum::<u32>());
        histogram.iter().map(share).sum::<f64>() / 20.0
    };
    let shares = [1e-6, 0.1, 1.0, 1e6].map(|alpha| largest_class(&dirichlet(alpha)));
    // At 1e-6 each class goes to one client whole; at 1e6 each client gets 50 of 1000 but for rounding: 51/500 at most.
    assert!(shares.is_sorted_by(|a, b| a > b) && shares[0] > 0.9 && (shares[3] - 0.1).abs() < 0.005, "{shares:?}");

    let spread = |sigma| {
        let split = Partition::SizeSkewed { sigma }.split(&samples, 10, 20, SEED).unwrap();
        let (min, _, max) = split.describe(&samples, 10).spread();
        max - min
    };
    let spreads = [0.0, 0.5, 2.0, 100.0].map(spread);
    assert!(spreads.is_sorted_by(|a, b| a < b) && spreads[0] <= 1 && spreads[3] > 9_900, "{spreads:?}");
}

#[test]
fn too_small_clients_are_repaired() {
    let samples = even(1000, 10);
    for min_samples in [1, 7, 10] {
        let partition = Partition::Dirichlet { alpha: 1e-3, min_samples };
        let split = partition.split(&samples, 10, 100, SEED).unwrap();
        assert_eq!(split.clients.iter().map(Vec::len).min(), Some(min_samples));
        assert_eq!(used(&split), (0..1000).collect::<Vec<u32>>());
    }
}

#[test]
fn few_classes_a_client() {
    let samples = even(60_000, 10);
    let classes_held = |partition: Partition, clients| {
        let split = partition.split(&samples, 10, clients, SEED).unwrap();
        let histogram = split.histogram(&samples, 10);
        let held: Vec<usize> = histogram.iter().map(|counts| counts.iter().filter(|&&n| n > 0).count()).collect();
        (held, used(&split).len())
    };
    let (held, used) = classes_held(Partition::Shard { shards_per_client: 2 }, 100);
    assert!(held.iter().all(|&held| held <= 2) && used == 60_000, "shards of 300 lie within classes of 6000");
    let (held, used) = classes_held(Partition::Pathological { classes_per_client: 3 }, 100);
    assert!(held.iter().all(|&held| held == 3) && used == 60_000);
    let (held, used) = classes_held(Partition::Pathological { classes_per_client: 1 }, 4);
    assert!(held == [1; 4] && used == 24_000, "classes nobody holds are not used");
}

#[test]
fn natural_clients_are_the_owners() {
    let mut samples = even(5, 2);
    samples.owners = Some(vec![70, 3, 70, 9, 3]);
    let split = Partition::Natural {}.split(&samples, 2, 3, SEED).unwrap();
    assert_eq!(split.clients, [vec![1, 4], vec![3], vec![0, 2]]);
    let found = error(&Partition::Natural {}, &samples, 2, 2);
    assert_eq!(found, "natural: there are 3 clients in the data, but 2 are asked for: ask for 3");
    assert!(error(&Partition::Natural {}, &even(5, 2), 2, 2).contains("name the `owner` column"));
}

#[test]
fn impossible_requests_are_answered_with_the_mend() {
    let data = even(100, 10);
    let sigma = |sigma| Partition::SizeSkewed { sigma };
    let shard = |shards_per_client| Partition::Shard { shards_per_client };
    let pathological = |classes_per_client| Partition::Pathological { classes_per_client };
    let cases = [
        (IID, 0, "ask for at least 1"),
        (IID, 101, "ask for at most 100 clients"),
        (dirichlet(0.0), 10, "alpha = 0 is not in"),
        (dirichlet(f64::NAN), 10, "alpha = NaN"),
        (dirichlet(f64::INFINITY), 10, "alpha = inf"),
        (Partition::Dirichlet { alpha: 1.0, min_samples: 0 }, 10, "min_samples = 0 is not possible"),
        (Partition::Dirichlet { alpha: 1.0, min_samples: 11 }, 10, "for 10 clients: take 1 to 10"),
        (sigma(-1.0), 10, "sigma = -1 is not in 0 to 100"),
        (sigma(f64::NAN), 10, "sigma = NaN"),
        (shard(0), 10, "shards_per_client = 0 is not possible"),
        (shard(11), 10, "take 1 to 10"),
        (shard(usize::MAX), 10, "take 1 to 10"),
        (pathological(0), 10, "classes_per_client = 0"),
        (pathological(11), 10, "take 1 to 10, the classes"),
        (pathological(10), 11, "class 0 falls to 11 clients, but has 10 samples"),
    ];
    for (partition, clients, expected) in cases {
        let found = error(&partition, &data, 10, clients);
        assert!(found.contains(expected), "{partition:?}: {found}");
    }
    assert!(error(&IID, &data, 9, 10).starts_with("sample 9 has label 9, but there are 9 classes"));
}

#[test]
fn configs_name_kinds_and_refuse_unknown_keys() {
    let texts = [
        ("kind = 'iid'", IID),
        ("kind = 'dirichlet'\nalpha = 0.3", dirichlet(0.3)),
        ("kind = 'shard'\nshards_per_client = 2", Partition::Shard { shards_per_client: 2 }),
        ("kind = 'pathological'\nclasses_per_client = 2", Partition::Pathological { classes_per_client: 2 }),
        ("kind = 'size-skewed'\nsigma = 1.0", Partition::SizeSkewed { sigma: 1.0 }),
        ("kind = 'natural'", Partition::Natural {}),
        ("kind = 'file'\npath = 'a.csv'", Partition::File { path: "a.csv".into() }),
        ("kind = 'counts'\npath = 'a.csv'", Partition::Counts { path: "a.csv".into() }),
    ];
    for (text, expected) in texts {
        assert_eq!(toml::from_str::<Partition>(text).unwrap(), expected);
        assert_eq!(toml::from_str::<Partition>(&toml::to_string(&expected).unwrap()).unwrap(), expected);
        assert!(toml::from_str::<Partition>(&format!("{text}\nbeta = 1")).is_err(), "{text}");
    }
}

fn kinds() -> impl Strategy<Value = Partition> {
    prop_oneof![
        Just(IID),
        (-6.0..6.0).prop_map(|exponent| dirichlet(f64::powf(10.0, exponent))),
        (1usize..4).prop_map(|shards_per_client| Partition::Shard { shards_per_client }),
        (1usize..4).prop_map(|classes_per_client| Partition::Pathological { classes_per_client }),
        (0.0..10.0).prop_map(|sigma| Partition::SizeSkewed { sigma }),
    ]
}

proptest! {
    /// 400 samples of 5 classes: enough that each kind is possible for 1 to 40 clients, unless a class is drawn small.
    #[test]
    fn every_client_has_samples_and_no_sample_two_clients(
        partition in kinds(),
        labels in prop::collection::vec(0u8..5, 400),
        clients in 1usize..=40,
        seed: u64,
    ) {
        let samples = samples(labels);
        let split = partition.split(&samples, 5, clients, Seed(seed)).unwrap();
        prop_assert_eq!(split.clients.len(), clients);
        prop_assert!(split.clients.iter().all(|client| !client.is_empty()));
        let used = used(&split);
        prop_assert!(used.windows(2).all(|pair| pair[0] < pair[1]) && used.iter().all(|&sample| sample < 400));
        if !matches!(partition, Partition::Pathological { .. }) {
            prop_assert_eq!(used.len(), 400);
        }
        if matches!(partition, Partition::Iid {}) {
            prop_assert!(split.clients.iter().all(|client| client.len().abs_diff(400 / clients) <= 1));
        }
        prop_assert_eq!(&split, &partition.split(&samples, 5, clients, Seed(seed)).unwrap());
        prop_assert_ne!(split, partition.split(&samples, 5, clients, Seed(seed ^ 1)).unwrap());
    }

    #[test]
    fn no_seed_gives_a_client_nothing_at_the_limit(partition in kinds(), n in 1usize..50, seed: u64) {
        // As many clients as samples: possible or refused, never an empty client.
        if let Ok(split) = partition.split(&even(n, 5), 5, n, Seed(seed)) {
            prop_assert!(split.clients.iter().all(|client| client.len() == 1));
        }
    }
}
