//! What is believed after earlier runs, and how far. Pure: records in, lessons out.
//!
//! Each lesson is the median of the newest few, so that one odd run changes nothing once there are three; of an even number
//! that of the two in the middle which makes a plan longer. What a record says beyond what is possible is not believed.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::record::{Dirtied, Hosts, Migrated, Record, Shown};
use crate::profile::Profile;
use crate::profile::learned::{Crossing, Learned, Teacher, Writes};

/// How many of the newest migrations of a domain count, and how many paces of a pair of hosts. Chosen: enough that one odd run
/// among them changes nothing, few enough that what has changed for good is learned within three runs.
const NEWEST: usize = 5;

/// How many domains must have moved between two hosts for others to be judged by them. Chosen: of two, one may be odd.
const FEWEST_OTHERS: usize = 3;

/// How far it is believed what of a domain's resident memory crosses. Chosen: less than a fiftieth of it was not seen, and would
/// make any plan look short.
const SHARES: (f64, f64) = (0.02, 1.0);

/// Passes that are shorter, in seconds, even taken together, tell too little of how fast memory is written to. Chosen: when a pass
/// began is known only to a tenth of a second or worse, which is a quarter of this; and a small set that is written to fast is full
/// within little more.
const SHORTEST_SPELL: f64 = 0.4;

/// A set that would have been written to so many times over by the end of the longest pass was seen whole.
const SEEN_WHOLE: f64 = 1.5;

/// Adds to the profile of the source what is known of its domains and of the way to the destination.
/// `link` is the capacity of the slower of the two links, in bits per second.
pub(crate) fn teach(records: &[Record], hosts: &Hosts, link: f64, source: &mut Profile) {
    source.crossing = crossing(records, hosts, Some(link));
    // Where nothing is known of this way, the way back stands for it.
    let others = share_of_others(records, hosts).or_else(|| share_of_others(records, &hosts.reversed()));
    for domain in &mut source.domains {
        let bytes = domain.backed_bytes();
        let learned = |lesson: DomainLesson, of| Learned {
            // What is all zeros is resident at the source, and is not at the destination: on the way back as much crosses of less.
            crossing_bytes: ((lesson.crosses * bytes as f64) as u64).max(lesson.crossed_bytes.min(bytes)),
            writes: lesson.writes,
            migrations: lesson.migrations,
            of,
        };
        let own = DomainLesson::of(records, &domain.uuid).map(|lesson| learned(lesson, Teacher::Itself));
        domain.learned = own.or_else(|| others.map(|lesson| learned(lesson, Teacher::Others)));
    }
}

/// What is believed of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
pub(crate) struct DomainLesson {
    /// What of its resident memory crosses, from 0 to 1.
    pub(crate) crosses: f64,
    /// How much that was, in bytes; 0 if it is not its own.
    pub(crate) crossed_bytes: u64,
    /// What it writes of its own, if that was seen.
    pub(crate) writes: Option<Writes>,
    /// How many migrations that is from.
    pub(crate) migrations: usize,
}

impl DomainLesson {
    /// By its own migrations: a domain is what it is, whichever hosts it moved between.
    pub(crate) fn of(records: &[Record], uuid: &str) -> Option<Self> {
        let own = records.iter().rev().filter_map(|record| match &record.shown {
            Shown::Migration(migrated) if migrated.uuid == uuid && share(migrated).is_some() => Some(migrated),
            _ => None,
        });
        let own: Vec<&Migrated> = own.take(NEWEST).collect();
        let crosses = median(own.iter().filter_map(|migrated| share(migrated)))?;
        let crossed = median(own.iter().map(|migrated| migrated.crossed as f64))?;
        Some(Self { crosses, crossed_bytes: crossed as u64, writes: writes(&own), migrations: own.len() })
    }
}

/// What is believed of migrations from one host to another, by the newest runs on a link of that capacity, in bits per second; by
/// default that of the last run.
pub(crate) fn crossing(records: &[Record], hosts: &Hosts, link: Option<f64>) -> Option<Crossing> {
    let back = hosts.reversed();
    let link = link.or_else(|| runs(records, hosts).next().map(|run| run.link_bits_per_second))?;
    let newest =
        |hosts: &Hosts| -> Vec<Crossing> { runs(records, hosts).filter(|run| run.is_of(link)).take(NEWEST).collect() };
    let (there, back) = (newest(hosts), newest(&back));
    // Where nothing is known of this way, the way back stands for it.
    let known = if there.is_empty() { &back } else { &there };
    let apart = |runs: &[Crossing]| -> Vec<f64> { runs.iter().filter_map(|run| run.setups_apart_seconds).collect() };
    let (mut apart, of_back) = (apart(&there), apart(&back));
    // One run tells little of how setups hold each other up, so the last one of the way back is heard, too; but two that agree tell
    // more, since it is the destination that is busy with them.
    let heard = match apart.len() {
        0 => NEWEST,
        1 | 2 => 1,
        _ => 0,
    };
    apart.extend(of_back.into_iter().take(heard));
    let believed = |value: f64, (least, most): (f64, f64)| value.clamp(least, most);
    Some(Crossing {
        // The slower of two makes a plan longer.
        pace: -median(known.iter().map(|run| -believed(run.pace, Crossing::PACES)))?,
        setup_seconds: median(known.iter().map(|run| believed(run.setup_seconds, Crossing::SETUPS)))?,
        setups_apart_seconds: median(apart.into_iter().map(|seconds| believed(seconds, Crossing::APART))),
        link_bits_per_second: link,
        runs: known.len(),
    })
}

/// What each run from the one host to the other showed, the newest first.
fn runs<'a>(records: &'a [Record], hosts: &'a Hosts) -> impl Iterator<Item = Crossing> + 'a {
    records.iter().rev().filter(|record| hosts.are_of(record)).filter_map(|record| match record.shown {
        Shown::Run { pace, setup_seconds, setups_apart_seconds, link_bits_per_second, .. } => {
            let run = Crossing { pace, setup_seconds, setups_apart_seconds, link_bits_per_second, runs: 1 };
            Some(run).filter(|_| link_bits_per_second > 0.0)
        }
        _ => None,
    })
}

/// Of a domain that never moved, by the others that moved from the one host to the other.
fn share_of_others(records: &[Record], hosts: &Hosts) -> Option<DomainLesson> {
    let mut seen = HashSet::new();
    let migrations =
        records.iter().rev().filter(|record| hosts.are_of(record)).filter_map(|record| match &record.shown {
            Shown::Migration(migrated) => Some(migrated),
            _ => None,
        });
    let newest = migrations.filter(|migrated| seen.insert(&migrated.uuid));
    let shares: Vec<f64> = newest.filter_map(share).collect();
    let crosses = median(shares.iter().copied())?;
    let lesson = DomainLesson { crosses, crossed_bytes: 0, writes: None, migrations: shares.len() };
    (shares.len() >= FEWEST_OTHERS).then_some(lesson)
}

/// What crossed of a domain's resident memory; `None` if that can't be.
fn share(migrated: &Migrated) -> Option<f64> {
    let share = migrated.crossed as f64 / migrated.resident as f64;
    (share.is_finite() && share > 0.0 && migrated.resident <= migrated.memory).then(|| share.clamp(SHARES.0, SHARES.1))
}

/// What a domain writes of its own, by the passes of its migrations: within t seconds a guest writes to `min(rate t, set)` bytes.
///
/// The rate is the one in the middle of those that each migration showed. Whether a migration showed all of the set is then judged by
/// that rate, if it is higher than its own: what wrote slowly for once has not shown that the set has no end. If half of the migrations
/// showed all of it, all of it was seen.
fn writes(migrations: &[&Migrated]) -> Option<Writes> {
    let seen: Vec<Written> = migrations.iter().filter_map(|migrated| Written::of(migrated)).collect();
    let rate = median(seen.iter().map(|written| written.bytes_per_second))?;
    let most = median(seen.iter().map(|written| written.most))?;
    let mut open: Vec<&Written> = seen.iter().filter(|written| !written.shows_all_at(rate)).collect();
    open.sort_by(|a, b| a.growth().total_cmp(&b.growth()));
    let of_most = open.get(open.len() / 2).filter(|_| 2 * open.len() > seen.len());
    // What the others were seen to write to is the least.
    let most_seen = seen.iter().max_by(|a, b| a.growth().total_cmp(&b.growth())).filter(|most| most.shows_all_at(rate));
    let of_most = of_most.map(|open| most_seen.unwrap_or(open));
    Some(Writes {
        bytes_per_second: rate,
        most_bytes: of_most.map_or(most, |written| written.most) as u64,
        open_after_seconds: of_most.map(|written| written.longest_seconds),
    })
}

/// What the passes of one migration showed of what the guest writes of its own.
struct Written {
    /// The most that any pass showed, or short ones that followed each other.
    bytes_per_second: f64,
    /// The most that was written to in any pass, in bytes.
    most: f64,
    longest_seconds: f64,
}

impl Written {
    fn of(migrated: &Migrated) -> Option<Self> {
        let traffic = migrated.traffic_bits_per_second;
        if !(traffic.is_finite() && traffic >= 0.0) {
            return None;
        }
        let possible =
            |pass: &&Dirtied| pass.seconds.is_finite() && pass.seconds > 0.0 && pass.bytes <= migrated.memory;
        let own = |pass: &Dirtied| {
            let by_traffic = crate::plan::dirtied_by_traffic(traffic, pass.seconds);
            (pass.seconds, pass.bytes as f64 - by_traffic)
        };
        let passes: Vec<(f64, f64)> = migrated.dirtied.iter().filter(possible).map(own).collect();
        Some(Self {
            bytes_per_second: fastest(&passes)?,
            most: passes.iter().map(|(_, bytes)| *bytes).fold(0.0, f64::max),
            longest_seconds: passes.iter().map(|(seconds, _)| *seconds).fold(0.0, f64::max),
        })
    }

    /// Whether all of the set was seen, of a guest that writes at `rate`.
    fn shows_all_at(&self, rate: f64) -> bool {
        let without_end = rate.max(self.bytes_per_second) * self.longest_seconds;
        without_end > 0.0 && without_end >= SEEN_WHOLE * self.most
    }

    /// How fast the set grows that was not seen whole, as the model takes it: with the square root of the time.
    fn growth(&self) -> f64 {
        self.most / self.longest_seconds.sqrt()
    }
}

/// The highest rate in bytes per second over any pass, or over neighbours that are short together; each with its seconds, and the
/// bytes beyond those of its traffic. `None` if all of them are too short. How much a pass was to send is known well, if not when it
/// began, so that what one of two neighbours has too much the other lacks.
fn fastest(passes: &[(f64, f64)]) -> Option<f64> {
    let from = |first: usize| {
        let (mut seconds, mut bytes) = (0.0, 0.0);
        for (place, pass) in passes[first..].iter().enumerate() {
            if place > 0 && pass.0 >= SHORTEST_SPELL {
                return None;
            }
            (seconds, bytes) = (seconds + pass.0, bytes + pass.1);
            if seconds >= SHORTEST_SPELL {
                return Some((bytes / seconds).max(0.0));
            }
        }
        None
    };
    (0..passes.len()).filter_map(from).reduce(f64::max)
}

/// The value in the middle, of an even number the larger of the two.
fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::super::store::tests::{hosts, migrated};
    use super::*;
    use crate::domain::DomainState;
    use crate::profile::fixture;

    const MIB: u64 = 1 << 20;

    /// What a domain of 1,000 bytes learns, of the hosts a and b with one domain "x".
    fn taught(records: &[Record]) -> Profile {
        let mut source = fixture::host("a", &[("x", "x", DomainState::Running)]);
        (source.domains[0].memory_bytes, source.domains[0].resident_bytes) = (2000, 1000);
        teach(records, &hosts("a", "b"), 1e9, &mut source);
        source
    }

    fn crossing(records: &[Record]) -> Option<(u64, Teacher)> {
        taught(records).domains[0].learned.map(|learned| (learned.crossing_bytes, learned.of))
    }

    fn seen(from: &str, to: &str, uuid: &str, crossed: u64) -> Record {
        hosts(from, to).record(Shown::Migration(migrated(uuid, crossed)))
    }

    #[test]
    fn one_odd_run_changes_nothing() {
        let usual = || seen("a", "b", "x", 500);
        assert_eq!(crossing(&[]), None);
        assert_eq!(crossing(&[usual()]), Some((500, Teacher::Itself)));
        assert_eq!(crossing(&[usual(), seen("b", "a", "x", 20), usual()]), Some((500, Teacher::Itself)));
        assert_eq!(crossing(&[usual(), seen("a", "b", "x", 600)]), Some((600, Teacher::Itself)), "the larger of two");
        // What has changed for good is learned.
        let changed = [500, 500, 500, 500, 500, 900, 900, 900].map(|crossed| seen("a", "b", "x", crossed));
        assert_eq!(crossing(&changed), Some((900, Teacher::Itself)));
    }

    #[test]
    fn one_that_never_moved_is_judged_by_others_on_these_hosts() {
        let others = |from, to| ["p", "q", "r"].map(|uuid| seen(from, to, uuid, 400));
        assert_eq!(crossing(&others("a", "b")), Some((400, Teacher::Others)));
        assert_eq!(crossing(&others("b", "a")), Some((400, Teacher::Others)), "the way back");
        assert_eq!(crossing(&others("a", "c")), None);
        assert_eq!(crossing(&others("a", "b")[..2]), None, "too few");
    }

    #[test]
    fn what_can_not_be_is_not_believed() {
        let record = |change: fn(&mut Migrated)| {
            let mut seen = migrated("x", 500);
            change(&mut seen);
            hosts("a", "b").record(Shown::Migration(seen))
        };
        assert_eq!(crossing(&[record(|seen| seen.crossed = u64::MAX)]), Some((1000, Teacher::Itself)));
        for change in [
            |seen: &mut Migrated| seen.resident = 0,
            |seen: &mut Migrated| seen.crossed = 0,
            |seen: &mut Migrated| seen.resident = u64::MAX,
        ] {
            assert_eq!(crossing(&[record(change)]), None);
        }
        let run = |pace, setup_seconds, link_bits_per_second| {
            let setups_apart_seconds = Some(setup_seconds).filter(|seconds| *seconds != 1.0);
            hosts("a", "b").record(Shown::Run {
                pace,
                seconds: 1.0,
                setup_seconds,
                setups_apart_seconds,
                link_bits_per_second,
            })
        };
        let crossing = |records: &[Record]| {
            let seen = taught(records).crossing;
            seen.map(|seen| (seen.pace, seen.setup_seconds, seen.setups_apart_seconds))
        };
        assert_eq!(
            crossing(&[run(1e9, -1.0, 1e9)]),
            Some((Crossing::PACES.1, Crossing::SETUPS.0, Some(Crossing::APART.0)))
        );
        assert_eq!(
            crossing(&[run(-1e9, 1e300, 1e9)]),
            Some((Crossing::PACES.0, Crossing::SETUPS.1, Some(Crossing::APART.1)))
        );
        assert_eq!(crossing(&[run(1.0, 1.0, 0.0)]), None);
        assert_eq!(
            crossing(&[run(1.0, 0.5, 1e9), run(1.0, 1.0, 1e9)]).unwrap().2,
            Some(0.5),
            "the other saw none together"
        );
        assert_eq!(crossing(&[run(0.6, 1.0, 1e9), run(1.2, 1.0, 1e9)]).unwrap().0, 0.6, "the slower of two");
        assert_eq!(
            crossing(&[run(1.2, 1.0, 1e9), run(0.6, 1.0, 1e8)]).unwrap().0,
            1.2,
            "another link is another thing"
        );
        assert_eq!(crossing(&[run(0.6, 1.0, 1e8)]), None);
        let mut hostile = Migrated { traffic_bits_per_second: -1e308, ..migrated("x", 500) };
        hostile.dirtied.push(Dirtied { seconds: 1.0, bytes: 10 });
        assert_eq!(writes(&[&hostile]), None);
    }

    #[test]
    fn both_ways_tell_how_setups_hold_each_other_up() {
        let run = |from, to, pace, apart: f64| {
            let setups_apart_seconds = Some(apart).filter(|apart| apart.is_finite());
            let link_bits_per_second = 1e9;
            let shown =
                Shown::Run { pace, seconds: 1.0, setup_seconds: 1.0, setups_apart_seconds, link_bits_per_second };
            hosts(from, to).record(shown)
        };
        let learned = |records: &[Record]| {
            taught(records).crossing.map(|seen| (seen.pace, seen.setups_apart_seconds.unwrap(), seen.runs))
        };
        let (there, back) = (|apart| run("a", "b", 0.8, apart), |apart| run("b", "a", 0.5, apart));
        assert_eq!(learned(&[back(0.9)]), Some((0.5, 0.9, 1)));
        assert_eq!(
            learned(&[there(0.1), back(0.9)]),
            Some((0.8, 0.9, 1)),
            "the larger of two, and each way has its pace"
        );
        assert_eq!(learned(&[there(0.9), back(0.1), back(0.1), back(0.1)]), Some((0.8, 0.9, 1)), "no more are heard");
        assert_eq!(learned(&[there(0.1), there(0.2), back(0.9), back(0.8)]), Some((0.8, 0.2, 2)));
        let one_by_one = || there(f64::NAN);
        assert_eq!(learned(&[one_by_one(), one_by_one(), one_by_one(), back(0.9)]), Some((0.8, 0.9, 3)));
        let enough = [back(0.9), back(0.9), there(0.1), there(0.2), there(0.3)];
        assert_eq!(learned(&enough), Some((0.8, 0.2, 3)));
    }

    #[test]
    fn on_the_way_back_less_is_resident_and_as_much_crosses() {
        let mut both = migrated("x", 400);
        (both.memory, both.resident) = (4000, 4000);
        assert_eq!(crossing(&[hosts("a", "b").record(Shown::Migration(both))]), Some((400, Teacher::Itself)));
    }

    #[test]
    fn passes_tell_how_fast_a_guest_writes_and_over_how_much() {
        // 2 MiB/s over a set of 6 MiB, and a set that was never seen whole.
        let seen = |list: &[(f64, u64)]| {
            let dirtied = list.iter().map(|&(seconds, mib)| Dirtied { seconds, bytes: mib * MIB }).collect();
            Migrated { memory: 100 * MIB, resident: 100 * MIB, dirtied, ..migrated("x", 90 * MIB) }
        };
        let passes = |list: &[(f64, u64)]| writes(&[&seen(list)]).unwrap();
        let whole = passes(&[(10.0, 6), (1.0, 2)]);
        let expected = Writes { bytes_per_second: 2.0 * MIB as f64, most_bytes: 6 * MIB, open_after_seconds: None };
        assert_eq!(whole, expected);
        let none = passes(&[(10.0, 0), (1.0, 0)]).open_after_seconds;
        assert_eq!(none, Some(10.0), "what was never written to was never seen");
        let open = passes(&[(10.0, 20), (2.0, 4)]);
        assert_eq!(open, Writes { most_bytes: 20 * MIB, open_after_seconds: Some(10.0), ..expected });
        // How long short passes took is not known well; together they tell.
        let short = passes(&[(10.0, 6), (0.25, 3), (0.125, 0), (0.125, 1), (0.5, 0), (0.125, 9)]);
        assert_eq!((short.bytes_per_second, short.most_bytes), (8.0 * MIB as f64, 9 * MIB));
        assert_eq!(passes(&[(0.25, 9), (0.5, 1)]).bytes_per_second, 2.0 * MIB as f64, "a long one by itself");
        assert!(writes(&[&seen(&[(0.25, 6), (0.125, 1)])]).is_none());
        // That it wrote slowly, or nothing, for once does not make a set without end of what is written fast.
        for slow in [2, 0] {
            let both = writes(&[&seen(&[(20.0, slow)]), &seen(&[(10.0, 3), (1.0, 2)])]).unwrap();
            assert_eq!(both, Writes { most_bytes: 3 * MIB, ..expected }, "{slow}");
        }
        // And what one has shown whole stays known though the others wrote more slowly.
        let one = [seen(&[(2.0, 4)]), seen(&[(5.0, 6), (1.0, 2)]), seen(&[(3.0, 6), (1.0, 4)])];
        assert_eq!(writes(&one.each_ref()), Some(Writes { open_after_seconds: None, ..expected }));
        // Of two that have shown an end of it or none, one is enough; and none says how far it was seen.
        let [short, long] = [seen(&[(8.0, 4)]), seen(&[(20.0, 5)])];
        let rate = 0.5 * MIB as f64;
        let both = Writes { bytes_per_second: rate, most_bytes: 5 * MIB, open_after_seconds: None };
        assert_eq!(writes(&[&short, &long]), Some(both));
        let open = Writes { most_bytes: 4 * MIB, open_after_seconds: Some(8.0), ..both };
        assert_eq!(writes(&[&short, &short]), Some(open));
        // Where one migration showed more than the others let expect, that counts.
        let [brief, long] = [seen(&[(2.0, 4)]), seen(&[(60.0, 50)])];
        let both = writes(&[&brief, &brief, &brief, &long, &long]).unwrap();
        assert_eq!((both.most_bytes, both.open_after_seconds), (50 * MIB, Some(60.0)));
    }
}
