//! Links from files: measured devices.

use std::{collections::BTreeMap, fs, path::Path};

use serde::Deserialize;

use super::{Kind, Online};

/// A row of a CSV file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    down_bits_per_second: f64,
    up_bits_per_second: f64,
    #[serde(default)]
    latency_seconds: f64,
    #[serde(default)]
    jitter_seconds: f64,
    #[serde(default)]
    loss: f64,
    seconds_per_sample: Option<f64>,
    online_period_seconds: Option<f64>,
    online_share: Option<f64>,
}

/// A device in FedScale's `client_device_capacity`, a Python pickle.
#[derive(Deserialize)]
struct Device {
    /// Milliseconds of inference for a sample.
    computation: f64,
    /// kbit/s, both ways.
    communication: f64,
}

/// Training takes so many times inference, as FedScale has it.
const TRAINING: f64 = 3.0;

/// The links in a file: CSV if its name ends so, else FedScale's device capacities, in the order of their keys.
///
/// # Errors
/// Says what is wrong, and in which line.
pub fn read(path: &Path) -> Result<Vec<Kind>, String> {
    let is_csv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let kinds = if is_csv { read_csv(path)? } else { read_fedscale(path)? };
    if kinds.is_empty() {
        return Err("no links are in it".into());
    }
    for (row, kind) in kinds.iter().enumerate() {
        check(kind).map_err(|problem| format!("row {}: {problem}", row + 1))?;
    }
    Ok(kinds)
}

/// What is wrong with a kind.
pub(crate) fn check(kind: &Kind) -> Result<(), String> {
    let number = |name: &str, value: f64, within: bool| match within {
        true => Ok(()),
        false => Err(format!("{value} is no {name}")),
    };
    number("rate (above 0, to 1e12 bits a second)", kind.down, kind.down > 0.0 && kind.down <= 1e12)?;
    number("rate (above 0, to 1e12 bits a second)", kind.up, kind.up > 0.0 && kind.up <= 1e12)?;
    number("latency (0 to 3600 seconds)", kind.latency, (0.0..=3600.0).contains(&kind.latency))?;
    number("jitter (0 to 3600 seconds)", kind.jitter, (0.0..=3600.0).contains(&kind.jitter))?;
    number("loss (0 to below 1)", kind.loss, (0.0..1.0).contains(&kind.loss))?;
    let speed = kind.seconds_per_sample.unwrap_or(1.0);
    number("time for a sample (above 0 seconds)", speed, speed > 0.0 && speed <= 1e6)?;
    if let Some(online) = kind.online {
        number("period (above 0 seconds)", online.period, online.period > 0.0 && online.period <= 1e9)?;
        number("share online (above 0, to 1)", online.share, online.share > 0.0 && online.share <= 1.0)?;
    }
    Ok(())
}

fn read_csv(path: &Path) -> Result<Vec<Kind>, String> {
    let mut reader = csv::Reader::from_path(path).map_err(|error| error.to_string())?;
    let rows = reader.deserialize::<Row>().map(|row| row.map(Kind::from).map_err(|error| error.to_string()));
    rows.collect()
}

fn read_fedscale(path: &Path) -> Result<Vec<Kind>, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let devices: BTreeMap<i64, Device> = serde_pickle::from_slice(&bytes, serde_pickle::DeOptions::new())
        .map_err(|error| format!("neither a .csv file nor FedScale's client_device_capacity: {error}"))?;
    Ok(devices.into_values().map(Kind::from).collect())
}

impl From<Row> for Kind {
    fn from(row: Row) -> Self {
        let online = row.online_period_seconds.zip(row.online_share);
        Self {
            down: row.down_bits_per_second,
            up: row.up_bits_per_second,
            latency: row.latency_seconds,
            jitter: row.jitter_seconds,
            loss: row.loss,
            joules_down: 0.0,
            joules_up: 0.0,
            seconds_per_sample: row.seconds_per_sample,
            online: online.map(|(period, share)| Online { period, share }),
        }
    }
}

impl From<Device> for Kind {
    fn from(device: Device) -> Self {
        let rate = device.communication * 1e3;
        Self {
            down: rate,
            up: rate,
            latency: 0.0,
            jitter: 0.0,
            loss: 0.0,
            joules_down: 0.0,
            joules_up: 0.0,
            seconds_per_sample: Some(TRAINING * device.computation / 1e3),
            online: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: &[u8]) -> Result<Vec<Kind>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        read(&path)
    }

    #[test]
    fn csv_columns_that_are_not_needed_may_be_left_out() {
        let kinds = file("links.csv", b"up_bits_per_second,down_bits_per_second\n1000,2000\n5,6\n").unwrap();
        assert_eq!((kinds[1].down, kinds[1].up, kinds[1].latency, kinds[1].online), (6.0, 5.0, 0.0, None));
        let all = "down_bits_per_second,up_bits_per_second,latency_seconds,jitter_seconds,loss,seconds_per_sample,\
                   online_period_seconds,online_share\n1e6,2e6,0.1,0.05,0.01,0.002,86400,0.5\n";
        let kinds = file("all.CSV", all.as_bytes()).unwrap();
        let online = Some(Online { period: 86_400.0, share: 0.5 });
        let Kind { jitter, loss, seconds_per_sample, .. } = kinds[0];
        assert_eq!((jitter, loss, seconds_per_sample, kinds[0].online), (0.05, 0.01, Some(0.002), online));
    }

    #[test]
    fn a_pickle_of_device_capacities_as_fedscale_has_it() {
        // pickle.dumps({7: {'computation': 162.0, 'communication': 5845.5}, 2: {...: 10.0, ...: 100.0}}, protocol=2)
        let pickle =
            b"\x80\x02}q\x00(K\x07}q\x01(X\x0b\x00\x00\x00computationq\x02G@d@\x00\x00\x00\x00\x00X\r\x00\x00\x00\
            communicationq\x03G@\xb6\xd5\x80\x00\x00\x00\x00uK\x02}q\x04(h\x02G@$\x00\x00\x00\x00\x00\x00h\x03G@Y\x00\
            \x00\x00\x00\x00\x00uu.";
        let kinds = file("client_device_capacity", pickle).unwrap();
        assert_eq!(kinds.len(), 2);
        assert_eq!((kinds[0].up, kinds[0].seconds_per_sample), (100e3, Some(0.03)));
        assert_eq!((kinds[1].down, kinds[1].seconds_per_sample), (5_845_500.0, Some(0.486)));
    }

    #[test]
    fn mistakes_name_their_row() {
        for (name, text, expected) in [
            ("a.csv", "down_bits_per_second,up_bits_per_second\n1,fast\n", "line: 2"),
            ("a.csv", "down_bits_per_second,up_bits_per_second\n1,1\n1,0\n", "row 2: 0 is no rate"),
            ("a.csv", "down_bits_per_second,up_bits_per_second,loss\n1,1,1\n", "row 1: 1 is no loss"),
            ("a.csv", "down_bits_per_second,up_bits_per_second\n", "no links"),
            ("a.csv", "down,up\n1,1\n", "unknown field `down`"),
            ("capacity", "not a pickle", "neither a .csv file nor"),
        ] {
            let error = file(name, text.as_bytes()).unwrap_err();
            assert!(error.contains(expected), "{error:?} should say {expected:?}");
        }
    }
}
