//! How virtual clients behave: who is lost in a round, and how long the others take.

use std::time::Duration;

use nibble_seed::{ClientId, Purpose, RoundId, Seed};

use crate::experiment::Availability;

/// When the client's update arrives after its assignment; `None` if it is lost.
pub(super) fn duration(availability: &Availability, seed: Seed, round: RoundId, client: ClientId) -> Option<Duration> {
    let mut stream = seed.derive(Purpose::Behaviour, round.0, client.0).stream();
    if stream.next_unit() < availability.dropout {
        return None;
    }
    // Box-Muller; 1 - u is never 0.
    let (radius, angle) = ((-2.0 * (1.0 - stream.next_unit()).ln()).sqrt(), std::f64::consts::TAU * stream.next_unit());
    let seconds = availability.seconds * (availability.spread * radius * angle.cos()).exp();
    Some(Duration::from_secs_f64(seconds.clamp(1e-9, 1e12)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_outs_and_durations_follow_the_experiment() {
        let availability = Availability { dropout: 0.3, seconds: 20.0, spread: 0.5 };
        let draw = |client| duration(&availability, Seed(1), RoundId(2), ClientId(client));
        let n = 10_000;
        let mut arrived: Vec<_> = (0..n).filter_map(draw).map(|d| d.as_secs_f64().ln()).collect();
        // 10,000 draws: deviation of the rate 0.0046, of the median of logs 1.25 x 0.5 / sqrt(7000) = 0.0075; 5 of each.
        assert!((arrived.len() as f64 / n as f64 - 0.7).abs() < 0.023);
        arrived.sort_by(f64::total_cmp);
        assert!((arrived[arrived.len() / 2] - 20f64.ln()).abs() < 0.038);
        let steady = Availability { dropout: 0.0, seconds: 2.0, spread: 0.0 };
        assert_eq!(duration(&steady, Seed(1), RoundId(0), ClientId(0)), Some(Duration::from_secs(2)));
    }
}
