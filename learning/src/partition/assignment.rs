//! The result of a partition, and its description for people.

use core::fmt;

use nibble_seed::{Purpose, Seed};

use crate::data::Samples;

/// Clients and classes of a [`Description`] that are shown in full; of more clients, the first and the last are.
const SHOWN_CLIENTS: usize = 20;
const FIRST_CLIENTS: usize = 15;
const LAST_CLIENTS: usize = 3;
const SHOWN_CLASSES: usize = 12;

/// Which samples each client has, as indices into the training part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// For each client its samples, in the order its training numbers them.
    pub clients: Vec<Vec<u32>>,
}

/// Label counts of each client; displays as a table with a summary below, shortened where it is long, unless asked for
/// with `{:#}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// For each client, how many samples of each class it has.
    pub histogram: Vec<Vec<u32>>,
    /// Samples of the training part, used or not.
    pub samples: usize,
}

impl Assignment {
    /// Takes `share` of every client's samples, rounded down, from it, and gives them. Both keep their order; which they
    /// are follows from `seed`, the partition's. A client that has any keeps at least one.
    #[must_use]
    pub fn hold_out(&mut self, share: f64, seed: Seed) -> Vec<Vec<u32>> {
        let hold = |(client, samples): (u64, &mut Vec<u32>)| {
            let count = ((samples.len() as f64 * share) as usize).min(samples.len().saturating_sub(1));
            let order = seed.derive(Purpose::TestSplit, 1 + client, 0).permutation(samples.len()); // 0 is the data set's
            let mut kept = vec![true; samples.len()];
            order.iter().take(count).for_each(|&at| kept[at as usize] = false);
            let (mut kept, mut held) = (kept.into_iter(), Vec::with_capacity(count));
            samples.retain(|&sample| {
                let stays = kept.next().unwrap_or(true);
                held.extend((!stays).then_some(sample));
                stays
            });
            held
        };
        (0..).zip(&mut self.clients).map(hold).collect()
    }

    /// For each client, how many samples of each class it has.
    ///
    /// # Panics
    /// If `samples` are not those that were split, or have labels of `classes` or more.
    #[must_use]
    pub fn histogram(&self, samples: &Samples, classes: usize) -> Vec<Vec<u32>> {
        let count = |client: &Vec<u32>| {
            let mut counts = vec![0; classes];
            client.iter().for_each(|&sample| counts[usize::from(samples.labels[sample as usize])] += 1);
            counts
        };
        self.clients.iter().map(count).collect()
    }

    /// The assignment as a table of label counts.
    ///
    /// # Panics
    /// As [`histogram`](Self::histogram).
    #[must_use]
    pub fn describe(&self, samples: &Samples, classes: usize) -> Description {
        Description { histogram: self.histogram(samples, classes), samples: samples.len() }
    }
}

impl Description {
    /// Samples of each client.
    #[must_use]
    pub fn sizes(&self) -> Vec<u32> {
        self.histogram.iter().map(|counts| counts.iter().sum()).collect()
    }

    /// Whether the table leaves clients or classes out.
    #[must_use]
    pub fn is_shortened(&self) -> bool {
        self.histogram.len() > SHOWN_CLIENTS
            || self.histogram.first().is_some_and(|counts| counts.len() > SHOWN_CLASSES)
    }

    /// Smallest, median and largest number of samples of a client; the median of an even number is between two.
    #[must_use]
    pub fn spread(&self) -> (u32, f64, u32) {
        spread(self.sizes())
    }
}

fn spread(mut numbers: Vec<u32>) -> (u32, f64, u32) {
    numbers.sort_unstable();
    let n = numbers.len();
    let at = |i: usize| numbers.get(i).copied().unwrap_or(0);
    let median = (f64::from(at(n.saturating_sub(1) / 2)) + f64::from(at(n / 2))) / 2.0;
    (at(0), median, at(n.saturating_sub(1)))
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (clients, sizes) = (self.histogram.len(), self.sizes());
        let classes = self.histogram.first().map_or(0, Vec::len);
        let held: Vec<u32> =
            self.histogram.iter().map(|counts| counts.iter().filter(|&&n| n > 0).count() as u32).collect();
        let (most_clients, most_classes) =
            if f.alternate() { (clients, classes) } else { (SHOWN_CLIENTS, SHOWN_CLASSES) };
        let more_classes = if classes > most_classes { "  ..." } else { "" };

        write!(f, "{:>6}  {:>8}  {:>7}  |", "client", "samples", "classes")?;
        (0..classes.min(most_classes)).try_for_each(|class| write!(f, "{class:>7}"))?;
        writeln!(f, "{more_classes}")?;
        let hidden = if clients > most_clients { FIRST_CLIENTS..clients - LAST_CLIENTS } else { 0..0 };
        for (client, counts) in self.histogram.iter().enumerate() {
            if hidden.contains(&client) {
                if client == hidden.start {
                    writeln!(f, "{:>6}  {} more clients", "...", hidden.len())?;
                }
                continue;
            }
            write!(f, "{client:>6}  {:>8}  {:>7}  |", sizes[client], held[client])?;
            counts.iter().take(most_classes).try_for_each(|n| write!(f, "{n:>7}"))?;
            writeln!(f, "{more_classes}")?;
        }
        let used: u64 = sizes.iter().copied().map(u64::from).sum();
        writeln!(f, "{clients} clients, {used} of {} samples", self.samples)?;
        let (min, median, max) = spread(sizes);
        writeln!(f, "samples per client: min {min}, median {median}, max {max}")?;
        let (min, median, max) = spread(held);
        write!(f, "classes per client: min {min}, median {median}, max {max}")
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::data::Features;

    fn describe(clients: &[&[u32]], labels: &[u8], classes: usize) -> Description {
        let features = Features::Bytes(Array2::zeros((labels.len(), 1)));
        let samples = Samples { features, labels: labels.to_vec(), owners: None };
        Assignment { clients: clients.iter().map(|client| client.to_vec()).collect() }.describe(&samples, classes)
    }

    #[test]
    fn a_small_population_is_shown_in_full() {
        let expected = "\
client   samples  classes  |      0      1      2
     0         3        2  |      2      1      0
     1         1        1  |      0      0      1
2 clients, 4 of 5 samples
samples per client: min 1, median 2, max 3
classes per client: min 1, median 1.5, max 2";
        assert_eq!(describe(&[&[0, 1, 2], &[4]], &[0, 1, 0, 0, 2], 3).to_string(), expected);
    }

    #[test]
    fn what_is_held_out_is_a_share_of_each_and_nobody_is_left_with_nothing() {
        let all = Assignment { clients: vec![(10..30).collect(), vec![1, 2], vec![3], vec![], (40..49).collect()] };
        let mut rest = all.clone();
        let held = rest.hold_out(0.5, Seed(7));
        assert_eq!(held.iter().map(Vec::len).collect::<Vec<_>>(), [10, 1, 0, 0, 4]);
        for ((all, rest), held) in all.clients.iter().zip(&rest.clients).zip(&held) {
            assert!(rest.is_sorted() && held.is_sorted());
            let mut both = [&rest[..], &held[..]].concat();
            both.sort_unstable();
            assert_eq!(both, *all);
        }
        let again = |seed| all.clone().hold_out(0.5, seed);
        assert!(again(Seed(7)) == held && again(Seed(8)) != held);
        assert!(all.clone().hold_out(0.0, Seed(7)).iter().all(Vec::is_empty));
        assert_eq!(all.clone().hold_out(0.999, Seed(7))[1].len(), 1);
    }

    #[test]
    fn a_long_population_and_many_classes_are_shortened() {
        let labels: Vec<u8> = (0..100).collect();
        let clients: Vec<[u32; 1]> = (0..100).map(|i| [i]).collect();
        let clients: Vec<&[u32]> = clients.iter().map(<[u32; 1]>::as_slice).collect();
        let text = describe(&clients, &labels, 100).to_string();
        assert!(text.contains("   ...  82 more clients\n    97 "), "{text}");
        assert_eq!(text.lines().count(), 1 + 15 + 1 + 3 + 3);
        let all = format!("{:#}", describe(&clients, &labels, 100));
        assert!(all.lines().count() == 1 + 100 + 3 && !all.contains("..."), "{all}");
        assert!(text.lines().all(|line| line.len() < 120), "{text}");
    }
}
