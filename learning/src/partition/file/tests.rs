use super::*;

#[test]
fn a_file_states_its_clients() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("clients.csv");
    let with = |text: &str| {
        std::fs::write(&path, text).unwrap();
        rows(&path, 6, 2).map_err(|error| error.to_string())
    };
    assert_eq!(with("client,sample\n1,5\n0,2\n1, 0\n").unwrap(), [vec![2], vec![5, 0]]);
    let cases = [
        ("client,sample\n0,1\n1,1\n", "line 3: sample 1 was given to client 0 already"),
        ("client,sample\n0,1\n2,2\n", "line 3: `2` is not a client, 0 to 1"),
        ("client,sample\n0,6\n", "line 2: `6` is not a sample, 0 to 5"),
        ("client,sample\n0,x\n", "line 2: `x` is not a sample"),
        ("client,sample\n0,1,2\n", "line 2: its columns are `0,1,2`, not a client and a sample"),
        ("client,sample\n0,1\n", "client 1 has no samples"),
        ("sample,client\n0,1\n", "line 1: its columns are `sample,client`, not the header `client,sample`"),
        ("", "line 1: its columns are ``, not the header"),
    ];
    for (text, expected) in cases {
        let found = with(text).unwrap_err();
        assert!(found.contains("clients.csv") && found.contains(expected), "{text:?}: {found}");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(rows(&path, 6, 2).unwrap_err().to_string().starts_with("cannot read "));
}

#[test]
fn counts_must_fit_the_data() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("counts.csv");
    let cases = [
        ("1,1\n2,2\n0,0\n", "there are 3 clients in the data, but 2 are asked for"),
        ("1,1\n2\n", "line 2: its columns are `2`, not 2 counts"),
        ("1,1\n-2,2\n", "line 2: `-2` is not a number of samples there are"),
        ("1,1\n4294967295,2\n", "line 2: `4294967295` is not a number"),
        ("1,1\n3,2\n", "column 0 adds up to 4, but class 0 has 3 samples"),
        ("1,1\n0,0\n", "client 1 has no samples"),
    ];
    for (text, expected) in cases {
        std::fs::write(&path, text).unwrap();
        let found = counts(&path, &[0, 1, 0, 1, 0, 1], 2, 2, Seed(0)).unwrap_err().to_string();
        assert!(found.contains("counts.csv") && found.contains(expected), "{text:?}: {found}");
    }
}
