use super::*;

const IRIS: &str = "width, label ,height,who\n1.0,b,2,ann\n-3e1,a,4,bob\n5,b,6,ann\n7,c,8,cid\n9,a,10,bob\n";
const ROLES: Roles<'static> = Roles { label: "label", owner: None };
const HALF: TestPart<'static> = TestPart::Fraction(0.4, Seed(1));

fn with(text: &str, roles: Roles<'_>, test: &TestPart<'_>) -> Result<Dataset, DataError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("data.csv");
    std::fs::write(&path, text).unwrap();
    dataset("mine", &path, roles, test)
}

fn error(text: &str) -> String {
    let roles = Roles { label: "label", owner: text.contains("who").then_some("who") };
    with(text, roles, &HALF).unwrap_err().to_string()
}

fn row(samples: &Samples, index: usize) -> Vec<f32> {
    let mut row = vec![0.0; samples.features.width()];
    samples.features.read(index, &mut row);
    row
}

#[test]
fn rows_become_features_labels_and_owners() {
    let data = with(IRIS, Roles { label: "label", owner: Some("who") }, &HALF).unwrap();
    assert_eq!((data.classes, data.shape, data.train.len(), data.test.len()), (3, (1, 1, 2), 3, 2));
    let whole = [([1.0, 2.0], 1, 0), ([-30.0, 4.0], 0, 1), ([5.0, 6.0], 1, 0), ([7.0, 8.0], 2, 2), ([9.0, 10.0], 0, 1)];
    let mut seen = Vec::new();
    for part in [&data.train, &data.test] {
        for i in 0..part.len() {
            let found = (row(part, i), part.labels[i], part.owners.as_ref().unwrap()[i]);
            let place = whole.iter().position(|(x, label, owner)| (x.to_vec(), *label, *owner) == found);
            seen.push(place.unwrap_or_else(|| panic!("{found:?} is no row of the file")));
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4]);
}

#[test]
fn the_test_part_depends_on_the_seed_alone() {
    let rows: String = (0..100).map(|i| format!("{i},{}\n", i % 2)).collect();
    let text = format!("x,label\n{rows}");
    let part = |seed| with(&text, ROLES, &TestPart::Fraction(0.2, Seed(seed))).unwrap().test;
    let (first, again, other) = (part(1), part(1), part(2));
    let values = |samples: &Samples| (0..20).map(|i| row(samples, i)[0] as u32).collect::<Vec<u32>>();
    assert_eq!((first.len(), values(&first)), (20, values(&again)));
    assert_ne!(values(&first), values(&other));
    assert!(values(&first).is_sorted(), "both parts keep the order of the file");
}

#[test]
fn labels_sort_by_value_if_all_are_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let (train, test) = (directory.path().join("train.csv"), directory.path().join("test.csv"));
    std::fs::write(&train, "x,label\n0,10\n0,9\n0,-1\n0,9.0\n").unwrap();
    std::fs::write(&test, "x,label\n0,9\n0,10.0\n").unwrap();
    let data = dataset("mine", &train, ROLES, &TestPart::File(&test)).unwrap();
    assert_eq!((data.classes, data.train.labels, data.test.labels), (3, vec![2, 1, 0, 1], vec![1, 2]));
    std::fs::write(&train, "x,label\n0,10\n0,9\n0,x\n").unwrap();
    std::fs::write(&test, "x,label\n0,9\n").unwrap();
    let data = dataset("mine", &train, ROLES, &TestPart::File(&test)).unwrap();
    assert_eq!((data.classes, data.train.labels, data.test.labels), (3, vec![0, 1, 2], vec![1]));
}

#[test]
fn a_test_file_must_agree_with_the_training_file() {
    let directory = tempfile::tempdir().unwrap();
    let (train, test) = (directory.path().join("train.csv"), directory.path().join("test.csv"));
    std::fs::write(&train, IRIS).unwrap();
    let roles = Roles { label: "label", owner: Some("who") };
    let load = |text: &str| {
        std::fs::write(&test, text).unwrap();
        dataset("mine", &train, roles, &TestPart::File(&test))
    };
    let data = load("width,height,label\n1,2,c\n").unwrap();
    assert_eq!((data.train.len(), data.test.labels, data.test.owners), (5, vec![2], None));
    let error = load("height,width,label\n1,2,c\n").unwrap_err().to_string();
    assert!(error.contains(r#"its features are ["height", "width"]"#), "{error}");
    let error = load("width,height,label\n1,2,d\n").unwrap_err().to_string();
    assert!(error.contains("label `d` of column `label` does not occur"), "{error}");
}

#[test]
fn errors_say_where_and_how_to_mend() {
    let cases = [
        ("x,label\n1,a\nNaN,b\n", "data.csv, line 3, column `x`: `NaN` is not a finite number"),
        ("x,label\n1,a\n1e39,b\n", "`1e39` is not a finite number"),
        ("x,label\n1,a\n,b\n", "line 3, column `x`: `` is not a finite number"),
        ("x,label\n1,\n", "line 2, column `label`: `` is not a name"),
        ("x,class\n1,a\n", r#"it has no column `label`: set `label` to one of ["x", "class"]"#),
        ("x,label,x\n1,a,2\n", "column 3 is a second `x`"),
        ("label,who\na,ann\n", "no feature columns"),
        ("x,label\n1,a\n2\n", "not readable as CSV"),
        ("x,label\n1,a\n2,a\n", "has 1 different labels"),
        ("", "it has no column `label`"),
        ("x,label\n", "has 0 different labels"),
    ];
    for (text, expected) in cases {
        let found = error(text);
        assert!(found.contains(expected), "{text:?}: {found}");
    }
    let many: String = (0..257).map(|i| format!("1,{i}\n")).collect();
    assert!(error(&format!("x,label\n{many}")).contains("257 different labels"));
    let error = with(IRIS, Roles { label: "who", owner: Some("who") }, &HALF).unwrap_err().to_string();
    assert!(error.contains("both name column `who`"), "{error}");
    for fraction in [0.0, 1.0, -0.5, f64::NAN, 0.01, 0.99] {
        let roles = Roles { label: "label", owner: Some("who") };
        let error = with(IRIS, roles, &TestPart::Fraction(fraction, Seed(0))).unwrap_err();
        assert!(matches!(error, DataError::Fraction { samples: 5, .. }), "{fraction}: {error}");
    }
    let missing = dataset("mine", Path::new("/nowhere/data.csv"), ROLES, &HALF).unwrap_err().to_string();
    assert!(missing.starts_with("cannot open /nowhere/data.csv"), "{missing}");
}
