//! Models come back as they were stored, stay as long as somebody needs them, and damage is noticed.

use super::*;
use crate::broadcast::Span;

fn layout() -> Layout {
    Layout::new([("w", vec![3])]).unwrap()
}

#[tokio::test]
async fn a_model_comes_back_under_its_name_also_from_the_bucket_alone() {
    let (local, bucket) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = format!("file://{}", bucket.path().display());
    let models = Models::open(local.path().into(), Some(Bucket::at(&url).unwrap().of("run"))).unwrap();
    let (name, bytes) = models.put(&layout(), RoundId(0), &[1.0, -2.0, 0.5]).unwrap();
    assert_eq!(name, name_of(&[1.0, -2.0, 0.5]));
    assert_eq!(models.get(&layout(), &name).unwrap(), [1.0, -2.0, 0.5]);
    models.copy(&name).await.unwrap();
    models.keep_only(&[], 0).unwrap();
    assert!(models.frame(&name).is_none());
    assert_eq!(models.fetch(&layout(), &name).await.unwrap(), [1.0, -2.0, 0.5]);
    assert!(models.fetch(&layout(), &[9; 32]).await.is_err());
    let frame = models.frame(&name).unwrap();
    assert_eq!(frame.len_bytes(), bytes);
    assert_eq!(frame.read(bytes - 1, 100).unwrap().len(), 1);
    assert!(frame.read(bytes + 5, 100).unwrap().is_empty());
}

#[test]
fn delta_frames_are_served_one_after_the_other_in_any_pieces() {
    let local = tempfile::tempdir().unwrap();
    let models = Models::open(local.path().into(), None).unwrap();
    let frames = [&b"first"[..], b"", b"the second"].map(|frame| models.put_delta(frame).unwrap());
    models.set_chain(Chain::new(Span::new(1).unwrap(), [0; 32], (1..4).map(|i| (frames[i as usize - 1], [i; 32]))));
    let whole = b"firstthe second";
    let open = models.deltas(&[0; 32], &[3; 32]).unwrap();
    assert_eq!(open.len_bytes(), 15);
    for (from, most) in (0..17).flat_map(|from| (0..17).map(move |most| (from, most))) {
        let expected = &whole[from.min(15)..(from + most).min(15)];
        assert_eq!(open.read(from as u64, most).unwrap(), expected, "{most} bytes from {from}");
    }
    assert_eq!(models.deltas(&[3; 32], &[3; 32]).unwrap().len_bytes(), 0);
    assert!(models.deltas(&[3; 32], &[0; 32]).is_none());
    models.keep_only(&[], 0).unwrap();
    assert!(models.deltas(&[0; 32], &[3; 32]).is_none(), "only the newest are wanted");
    assert_eq!(models.deltas(&[2; 32], &[3; 32]).unwrap().read(0, 99).unwrap(), &b"the second"[..]);
}

#[test]
fn what_somebody_keeps_is_removed_once_nobody_does() {
    let local = tempfile::tempdir().unwrap();
    let models = Models::open(local.path().into(), None).unwrap();
    let (name, _) = models.put(&layout(), RoundId(0), &[1.0, -2.0, 0.5]).unwrap();
    let (first, second) = (models.keep(name), models.keep(name));
    for kept in [first, second] {
        models.keep_only(&[], 0).unwrap();
        assert_eq!(models.get(&layout(), kept.name()).unwrap(), [1.0, -2.0, 0.5]);
    }
    models.keep_only(&[], 0).unwrap();
    assert!(models.frame(&name).is_none());
}

#[tokio::test]
async fn a_bucket_that_was_away_gets_every_model_in_the_end() {
    let (local, bucket) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let url = format!("file://{}", bucket.path().display());
    let models = Models::open(local.path().into(), Some(Bucket::at(&url).unwrap().of("run"))).unwrap();
    let models = Arc::new(models);
    fs::write(bucket.path().join("run"), "in the way of the directory").unwrap();
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let copying = tokio::spawn(copy(Arc::clone(&models), receiver));
    let mut names = Vec::new();
    for round in 0..3 {
        let (name, _) = models.put(&layout(), RoundId(round), &[round as f32; 3]).unwrap();
        drop(sender.send(NewModel { round: RoundId(round), model: models.keep(name) }));
        models.keep_only(&[], 0).unwrap();
        names.push(name);
    }
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    fs::remove_file(bucket.path().join("run")).unwrap();
    drop(sender);
    copying.await.unwrap();
    models.keep_only(&[], 0).unwrap();
    for (round, name) in names.iter().enumerate() {
        assert!(models.frame(name).is_none());
        assert_eq!(models.fetch(&layout(), name).await.unwrap(), [round as f32; 3]);
    }
}

#[test]
fn damage_and_divergence_are_noticed() {
    let local = tempfile::tempdir().unwrap();
    let models = Models::open(local.path().into(), None).unwrap();
    let (name, _) = models.put(&layout(), RoundId(0), &[1.0, -2.0, 0.5]).unwrap();
    let (other, _) = models.put(&layout(), RoundId(0), &[1.0, -2.0, 0.25]).unwrap();
    fs::copy(models.path(&other), models.path(&name)).unwrap();
    assert!(matches!(models.get(&layout(), &name), Err(ModelError::Damaged { .. })));
    fs::write(models.path(&name), b"NIBL").unwrap();
    assert!(matches!(models.get(&layout(), &name), Err(ModelError::Damaged { .. })));
    let diverged = models.put(&layout(), RoundId(0), &[1.0, f32::NAN, 0.25]);
    assert!(matches!(diverged, Err(ModelError::Parameters(_))));
}

#[test]
fn an_address_that_is_not_understood_says_what_is() {
    for url in ["ftp://x/y", "not an address"] {
        let error = Bucket::at(url).unwrap_err();
        assert!(matches!(error, ModelError::Address { .. }), "{error}");
    }
}
