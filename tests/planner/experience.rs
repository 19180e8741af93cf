//! What earlier migrations have shown takes the place of what is assumed, and nothing of it is believed without limit.

use tsmig::domain::{Rewritten, Technique};
use tsmig::obstacle::{Eligibility, Obstacle};
use tsmig::plan::{Demands, Plan, Rule, plan};
use tsmig::profile::Profile;
use tsmig::profile::learned::{Crossing, Learned, Teacher, Writes};

use crate::support::{IMAGE, balanced, by, domain, host, step};

fn planned(source: &Profile, destination: &Profile) -> Plan {
    plan(source, destination, &[], &Demands::default())
}

fn seconds(plan: &Plan) -> f64 {
    plan.predicted.total_seconds.expect("it ends")
}

fn learned(crossing_bytes: u64, writes: Option<Writes>) -> Option<Learned> {
    Some(Learned { crossing_bytes, writes, migrations: 2, of: Teacher::Itself })
}

/// One idle guest on links of 100 Mbit/s.
fn lone() -> (Profile, Profile) {
    (host("a", 100.0, vec![domain("x", 0.0, 0.0)]), host("b", 100.0, vec![]))
}

#[test]
fn what_was_seen_to_cross_is_predicted_to_cross_again() {
    let (mut source, destination) = lone();
    assert_eq!(step(&planned(&source, &destination), "x").predicted.bytes, Some(IMAGE));
    source.domains[0].learned = learned(IMAGE / 2, None);
    assert_eq!(step(&planned(&source, &destination), "x").predicted.bytes, Some(IMAGE / 2));
    source.domains[0].learned = learned(u64::MAX, None);
    assert_eq!(step(&planned(&source, &destination), "x").predicted.bytes, Some(128 << 20), "no more than it has");
}

#[test]
fn a_pace_counts_on_the_link_that_it_was_seen_on() {
    let (mut source, destination) = lone();
    let before = seconds(&planned(&source, &destination));
    let crossing = |pace, link_bits_per_second| Crossing {
        pace,
        setup_seconds: 0.4,
        setups_apart_seconds: None,
        link_bits_per_second,
        runs: 3,
    };
    source.crossing = Some(crossing(0.5, 1e8));
    let slower = seconds(&planned(&source, &destination));
    assert!(slower > 1.8 * before && slower < 2.0 * before, "{slower} s instead of {before} s");
    source.crossing = Some(crossing(0.5, 1e9));
    assert_eq!(seconds(&planned(&source, &destination)), before);
}

#[test]
fn setups_that_wait_for_each_other_take_their_time() {
    let small = |name: &str| {
        let mut guest = domain(name, 0.0, 0.0);
        (guest.memory_bytes, guest.resident_bytes) = (8 << 20, 8 << 20);
        guest
    };
    let names: Vec<String> = (0..20).map(|number| format!("g{number}")).collect();
    let (mut source, destination) =
        (host("a", 1000.0, names.iter().map(|name| small(name)).collect()), host("b", 1000.0, vec![]));
    let before = seconds(&planned(&source, &destination));
    source.crossing = Some(Crossing {
        pace: 1.0,
        setup_seconds: 1.0,
        setups_apart_seconds: Some(0.8),
        link_bits_per_second: 1e9,
        runs: 1,
    });
    let after = seconds(&planned(&source, &destination));
    assert!(before < 5.0 && after > 20.0 * 0.8 && after < 20.0 * 0.8 + 3.0, "{before} s, and then {after} s");
}

#[test]
fn nothing_is_believed_beyond_what_can_be() {
    for (mut source, destination) in [lone(), balanced()] {
        let before = seconds(&planned(&source, &destination));
        for value in [f64::NAN, f64::INFINITY, -1e300, 0.0, 1e300] {
            for link_bits_per_second in [1e8, value] {
                source.crossing = Some(Crossing {
                    pace: value,
                    setup_seconds: value,
                    setups_apart_seconds: Some(value),
                    link_bits_per_second,
                    runs: 1,
                });
                let writes = Some(Writes {
                    bytes_per_second: value.min(1e3),
                    most_bytes: u64::MAX,
                    open_after_seconds: Some(value),
                });
                source.domains[0].learned = learned(IMAGE, writes);
                let plan = planned(&source, &destination);
                let (total, bound) = (seconds(&plan), plan.bound_seconds.expect("it ends"));
                assert!(total > 0.5 * before && total < 5.0 * before + 20.0, "{value}: {total} s, not {before} s");
                assert!(bound > 0.0 && bound <= total + 1e-9, "{value}: {bound} s, {total} s");
            }
            (source.crossing, source.domains[0].learned) = (None, None);
            for (bytes, is_most) in [(u64::MAX, false), (0, true)] {
                source.domains[0].rewritten = Some(Rewritten { bytes, is_most, seconds: value });
                let total = seconds(&planned(&source, &destination));
                assert!(total > 0.5 * before && total < 5.0 * before + 20.0, "{value}: {total} s, not {before} s");
            }
            source.domains[0].rewritten = None;
        }
    }
}

#[test]
fn a_guest_that_was_seen_to_write_too_fast_for_pre_copy_goes_by_post_copy() {
    let (mut source, destination) = lone();
    assert_eq!(by(&planned(&source, &destination), Technique::PostCopy), [] as [&str; 0]);
    // 11 MiB/s: less than a measurement of dirty rates errs by on two guests, and as much as the link carries.
    let writes = |most_bytes| Some(Writes { bytes_per_second: 12e6, most_bytes, open_after_seconds: None });
    source.domains[0].learned = learned(IMAGE, writes(64 << 20));
    assert_eq!(by(&planned(&source, &destination), Technique::PostCopy), ["x"]);
    // A set that crosses within the downtime is no obstacle.
    source.domains[0].learned = learned(IMAGE, writes(2 << 20));
    assert_eq!(by(&planned(&source, &destination), Technique::PreCopy), ["x"]);
    // Today it writes faster than it was ever seen to, over nobody knows how much.
    source.domains[0].dirty_bytes_per_second = 2e8;
    assert_eq!(by(&planned(&source, &destination), Technique::PostCopy), ["x"]);
}

#[test]
fn a_guest_of_which_much_has_changed_at_a_second_look_goes_by_post_copy() {
    let (mut source, destination) = lone();
    let mut technique = |rewritten: Option<(u64, bool)>, measured| {
        let domain = &mut source.domains[0];
        domain.rewritten = rewritten.map(|(mib, is_most)| Rewritten { bytes: mib << 20, is_most, seconds: 8.0 });
        domain.dirty_bytes_per_second = measured;
        step(&planned(&source, &destination), "x").technique()
    };
    assert_eq!(technique(Some((100, false)), 0.0), Technique::PostCopy, "12.5 MiB/s, and the link carries less");
    assert_eq!(technique(Some((2, false)), 0.0), Technique::PreCopy);
    // As much as a measurement errs by.
    assert_eq!(technique(None, 6e6), Technique::PreCopy);
    assert_eq!(technique(Some((32, false)), 6e6), Technique::PostCopy);
    // It has begun to write since it was looked at.
    assert_eq!(technique(Some((2, true)), 2e8), Technique::PostCopy);
    assert_eq!(technique(Some((2, true)), 6e6), Technique::PreCopy);
    // Of a large guest a few pages stand for a lot.
    assert_eq!(
        technique(Some((100, true)), 5e7),
        Technique::PostCopy,
        "measured, whatever few looked-at pages have changed"
    );
    assert_eq!(technique(Some((100, true)), 6e6), Technique::PreCopy);
    source.domains[0].learned =
        learned(IMAGE, Some(Writes { bytes_per_second: 1e3, most_bytes: 1 << 20, open_after_seconds: None }));
    source.domains[0].rewritten = Some(Rewritten { bytes: 100 << 20, is_most: false, seconds: 8.0 });
    source.domains[0].dirty_bytes_per_second = 0.0;
    let by_passes = planned(&source, &destination);
    assert_eq!(step(&by_passes, "x").technique(), Technique::PreCopy, "its passes have shown more than looks can");
}

#[test]
fn what_is_not_blank_now_counts_rather_than_what_crossed_when_it_moved() {
    let (mut source, destination) = lone();
    source.domains[0].learned = learned(IMAGE / 2, None);
    source.domains[0].filled_bytes = Some(IMAGE / 4);
    assert_eq!(step(&planned(&source, &destination), "x").predicted.bytes, Some(IMAGE / 4));
    source.domains[0].filled_bytes = Some(u64::MAX);
    assert_eq!(step(&planned(&source, &destination), "x").predicted.bytes, Some(128 << 20), "no more than it has");
}

#[test]
fn the_range_is_narrower_for_what_is_known_and_a_window_has_to_hold_its_upper_end() {
    let (mut source, destination) = lone();
    let range = |plan: &Plan| {
        let of = |extreme: Option<tsmig::plan::Extreme>| extreme.expect("a range").total_seconds;
        (of(plan.predicted.low), of(plan.predicted.high))
    };
    let new = planned(&source, &destination);
    source.domains[0].learned = learned(IMAGE, None);
    let known = planned(&source, &destination);
    assert_eq!((new.migrations[0].earlier_migrations, known.migrations[0].earlier_migrations), (0, 2));
    let ((low, high), (lower, higher)) = (range(&known), range(&new));
    assert!(lower < low && low < seconds(&known) && seconds(&known) < high && high < higher);
    for (limit, fits) in [(higher + 0.1, true), (higher - 0.1, false)] {
        let demands = Demands { window_limit_seconds: Some(limit), ..Demands::default() };
        source.domains[0].learned = None;
        assert_eq!(plan(&source, &destination, &[], &demands).window.expect("a window").fits, fits, "{limit}");
    }
}

#[test]
fn what_writes_too_much_to_little_of_its_memory_makes_a_pass_and_pulls_the_rest() {
    let (mut source, destination) = lone();
    // More than the link carries, so that no pass ends it.
    let writes = |most_bytes| Some(Writes { bytes_per_second: 15e6, most_bytes, open_after_seconds: None });
    source.domains[0].learned = learned(IMAGE, writes(5 << 20));
    let free = planned(&source, &destination);
    let hybrid = step(&free, "x");
    assert_eq!((hybrid.technique(), hybrid.predicted.bytes), (Technique::Hybrid, Some(IMAGE + (5 << 20))));
    let reason = "hybrid, a pass of pre-copy and then post-copy (by pre-copy the plan would not be predicted to end)";
    assert!(hybrid.to_string().contains(reason), "{hybrid}");
    source.domains[0].learned = learned(IMAGE, writes(IMAGE));
    assert_eq!(by(&planned(&source, &destination), Technique::PostCopy), ["x"], "all would cross twice");
    source.domains[0].learned = learned(IMAGE, writes(5 << 20));
    let forced = Rule { technique: Some(Technique::PostCopy), ..Rule::default() };
    let forced = plan(&source, &destination, &[forced], &Demands::default());
    assert_eq!(by(&forced, Technique::PostCopy), ["x"], "the user's word");
    let asked = Rule { technique: Some(Technique::Hybrid), ..Rule::default() };
    let asked = plan(&source, &destination, &[asked], &Demands::default());
    assert_eq!(by(&asked, Technique::Hybrid), ["x"]);
    source.domains[0].post_copy = Eligibility::no(Obstacle::MemoryInFile);
    assert_eq!(by(&planned(&source, &destination), Technique::PreCopy), ["x"], "it can't post-copy");
}
