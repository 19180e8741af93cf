//! What a post-copy waits for beside its turn: until another guest of its kind has shown that the destination can load
//! it, and until fewer guests than the limit are in post-copy.
//!
//! A destination that can't load the state of a guest's devices leaves the guest at the source in a pre-copy, and
//! loses it in a post-copy. So a migration that came through proves the ground for the others of its kind.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::launch::Launch;
use crate::domain::Technique;

/// What parts, in [`Ground::key`], the NICs that a guest uses from all else.
pub(crate) const IN_USE: &str = "; in use: ";

/// A kind of guest, by all that is known to decide whether the destination can load the state of its devices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ground {
    /// Its machine, such as `pc-i440fx-10.0`.
    pub machine: String,
    /// The same for guests of one kind: the versions of QEMU that the guest runs in and that the destination has, the
    /// machine, the processor, the models of devices. `None` if the first is not known: they may differ in it, so
    /// that one guest proves nothing for another.
    pub key: Option<String>,
    /// Whether a guest of this kind has come through before, or needs no proof: its QEMU gives it back to the source where
    /// the destination can't load it.
    pub proven: bool,
}

/// What it costs that nothing has proven yet that the destination can load the guests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProofCost {
    /// The machines of guests that would go by post-copy at once on proven ground.
    pub machines: Vec<String>,
    /// Domains that go first, by pre-copy, and prove the ground for post-copies after them.
    pub provers: Vec<String>,
    /// Whether it is known of any in which version of QEMU it runs, so that something can prove it.
    pub known: bool,
    /// How much longer the plan takes than on proven ground, in seconds; `None` if it does not end.
    pub seconds: Option<f64>,
}

/// When post-copies may be launched. Guests are indexes, of domains or in a scene.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Gate {
    /// The unproven ground that each guest is on; empty if all are on proven ground.
    pub(super) unproven: Vec<Option<usize>>,
    /// How many grounds there are, if one is not proven.
    pub(super) grounds: usize,
    /// The grounds on which one guest proves nothing for another.
    pub(super) unprovable: Vec<usize>,
    /// Whether each guest may be the first in post-copy on its ground, alone until it is loaded; as long as `unproven`.
    pub(super) trusted: Vec<bool>,
    /// The most guests in post-copy at once.
    pub(super) limit: Option<usize>,
}

impl Gate {
    /// The same for the guests of a scene, which are these domains.
    pub(super) fn of(&self, domains: &[usize]) -> Self {
        if self.unproven.is_empty() {
            return self.clone();
        }
        let unproven = domains.iter().map(|&domain| self.unproven[domain]).collect();
        let trusted = domains.iter().map(|&domain| self.trusted[domain]).collect();
        Self { unproven, trusted, unprovable: self.unprovable.clone(), ..*self }
    }

    /// The same if all were on proven ground.
    pub(super) fn all_proven(&self) -> Self {
        Self { limit: self.limit, ..Self::default() }
    }

    /// The unproven ground that a guest is on.
    pub(super) fn ground(&self, guest: usize) -> Option<usize> {
        self.unproven.get(guest).copied().flatten()
    }

    pub(super) fn is_trusted(&self, guest: usize) -> bool {
        self.trusted.get(guest).is_none_or(|trusted| *trusted)
    }

    /// What is proven at the start.
    pub(super) fn start(&self) -> Vec<bool> {
        vec![false; self.grounds]
    }

    /// A guest runs at the destination.
    pub(super) fn prove(&self, guest: usize, proven: &mut [bool]) {
        if let Some(ground) = self.ground(guest).filter(|ground| !self.unprovable.contains(ground)) {
            proven[ground] = true;
        }
    }

    /// Whether a launch may begin while these guests are in post-copy, each with whether it runs at the destination.
    pub(super) fn is_open(
        &self,
        launch: &Launch,
        in_post_copy: impl Iterator<Item = (usize, bool)>,
        proven: &[bool],
    ) -> bool {
        if !launch.technique.pulls() {
            return true;
        }
        let ground = self.ground(launch.guest).filter(|ground| !proven[*ground]);
        if self.limit.is_none() && ground.is_none() {
            return true;
        }
        let (mut others, mut loading) = (0, false);
        for (guest, is_loaded) in in_post_copy {
            others += 1;
            loading |= !is_loaded && self.ground(guest).is_some_and(|ground| !proven[ground]);
        }
        let waits = ground.is_some() && (loading || !self.is_trusted(launch.guest));
        !waits && self.limit.is_none_or(|limit| others < limit)
    }

    /// Whether nothing before some post-copy proves its ground.
    pub(super) fn is_shut(&self, launches: &[Launch]) -> bool {
        let mut proven = self.start();
        launches.iter().any(|launch| {
            let Some(ground) = self.ground(launch.guest) else { return false };
            let passes = !launch.technique.pulls() || self.is_trusted(launch.guest) || proven[ground];
            proven[ground] |= passes;
            !passes
        })
    }

    /// Whether the post-copies among these techniques, by guest, can be launched in some order.
    pub(super) fn can_open(&self, techniques: &[Technique]) -> bool {
        (0..self.grounds).all(|ground| {
            let mut post_copies = false;
            let mut proves = false;
            for guest in (0..techniques.len()).filter(|&guest| self.ground(guest) == Some(ground)) {
                match techniques[guest].pulls() && !self.is_trusted(guest) {
                    true => post_copies = true,
                    false => proves = true,
                }
            }
            proves || !post_copies
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

    use super::*;
    use crate::domain::DomainState;
    use crate::plan::draft::{Findings, Seen};
    use crate::plan::model::scene::Scene;
    use crate::plan::search::orders::every_pattern;
    use crate::plan::{Demands, Plan, Situation, fresh, model};
    use crate::profile::{Profile, fixture};

    /// A guest: its kind, its traffic out and in, in Mbit/s, and its memory in MiB.
    type Guest = (usize, f64, f64, u64);

    /// A kind of guest: whether it is proven, and whether it is known in which QEMU its guests run.
    type Kind = (bool, bool);

    const KINDS: usize = 3;

    /// Those guests on links of 100 Mbit/s.
    fn hosts(guests: &[Guest], kinds: [Kind; KINDS]) -> (Profile, Profile, Findings) {
        let names: Vec<_> = (0..guests.len()).map(|index| format!("n{index}")).collect();
        let running: Vec<_> = names.iter().map(|name| (name.as_str(), name.as_str(), DomainState::Running)).collect();
        let (mut source, mut destination) = (fixture::host("a", &running), fixture::host("b", &[]));
        for profile in [&mut source, &mut destination] {
            profile.migration_port.bits_per_second = 1e8;
        }
        for (domain, (_, outbound, inbound, mib)) in source.domains.iter_mut().zip(guests) {
            (domain.memory_bytes, domain.resident_bytes) = (mib << 20, mib << 20);
            (domain.outbound_bits_per_second, domain.inbound_bits_per_second) = (outbound * 1e6, inbound * 1e6);
        }
        let ground = |(kind, (proven, known)): (usize, Kind)| Ground {
            machine: format!("m{kind}"),
            key: known.then(|| kind.to_string()),
            proven,
        };
        let grounds = kinds.into_iter().enumerate().map(ground).collect();
        let ground_of: HashMap<_, _> = names.iter().cloned().zip(guests.iter().map(|guest| guest.0)).collect();
        (source, destination, Findings { grounds, ground_of, ..Findings::default() })
    }

    fn guests(number: usize) -> impl Strategy<Value = Vec<Guest>> {
        let rate = || prop_oneof![2 => Just(0.0), 1 => 0.0..5.0, 3 => 5.0..60.0];
        let guest = (0..KINDS, rate(), rate(), 16u64..512);
        // Many hosts have guests that are alike.
        let copies = prop::collection::vec(prop::option::weighted(0.3, 0..number), number);
        (prop::collection::vec(guest, number), copies).prop_map(|(guests, copies)| {
            let copied = |(&guest, copy): (&Guest, Option<usize>)| copy.map_or(guest, |copy| guests[copy]);
            guests.iter().zip(copies).map(copied).collect()
        })
    }

    /// Checks hosts with so many guests, the same ones in every run.
    fn each<T: Strategy>(cases: u32, strategy: T, check: impl Fn(T::Value) -> Result<(), TestCaseError>) {
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        runner.run(&strategy, check).expect("it holds for each");
    }

    fn plan((source, destination, findings): &(Profile, Profile, Findings)) -> Plan {
        fresh::plan(&Seen { source, destination, rules: &[], findings }, &Demands::default())
    }

    /// Seconds of the fastest schedule of all: every order, technique and concurrency.
    fn fastest_of_all((source, destination, findings): &(Profile, Profile, Findings)) -> f64 {
        let seen = Seen { source, destination, rules: &[], findings };
        let guests: Vec<usize> = (0..source.domains.len()).collect();
        let scene = Scene::at(&Situation::default(), source, destination, &guests, None, &seen.gate(false, None));
        let mut fastest = f64::INFINITY;
        let mut orders = vec![Vec::new()];
        for _ in &guests {
            let longer = |order: &Vec<usize>| {
                let rest = guests.iter().filter(|guest| !order.contains(guest));
                rest.map(|guest| [order.as_slice(), &[*guest]].concat()).collect::<Vec<_>>()
            };
            orders = orders.iter().flat_map(longer).collect();
        }
        let patterns = every_pattern(guests.len(), guests.len());
        for order in &orders {
            for choice in 0..1_u32 << guests.len() {
                let post_copy = |guest: usize| choice >> guest & 1 == 1;
                if guests.iter().any(|&guest| post_copy(guest) && scene.is_idle(guest)) {
                    continue;
                }
                let technique = |guest: usize| if post_copy(guest) { Technique::PostCopy } else { Technique::PreCopy };
                for pattern in &patterns {
                    let launch = |(&guest, &concurrency): (&usize, &usize)| Launch {
                        guest,
                        technique: technique(guest),
                        concurrency,
                    };
                    let launches: Vec<_> = order.iter().zip(pattern).map(launch).collect();
                    if !scene.gate.is_shut(&launches) {
                        fastest = fastest.min(model::outcome(&scene, &launches, fastest).fast());
                    }
                }
            }
        }
        fastest
    }

    /// The plan takes no longer than the fastest schedule of all, and nobody in it goes unproven.
    fn check(guests: Vec<Guest>, kinds: [Kind; KINDS]) -> Result<(), TestCaseError> {
        let hosts = hosts(&guests, kinds);
        let plan = plan(&hosts);
        let best = fastest_of_all(&hosts);
        let found = plan.fastest_seconds.unwrap_or(f64::INFINITY);
        prop_assert!(found <= best * (1.0 + 1e-9), "{found} against {best}");
        prop_assert!(plan.bound_seconds.is_none_or(|bound| bound <= best + 1e-9));
        let mut proven = kinds.map(|(proven, _)| proven);
        for step in &plan.migrations {
            let Some(ground) = step.ground else { continue };
            prop_assert!(step.technique() == Technique::PreCopy || proven[ground], "{}", step.domain);
            proven[ground] |= kinds[ground].1;
        }
        Ok(())
    }

    fn kinds() -> impl Strategy<Value = [Kind; KINDS]> {
        prop::array::uniform3((prop::bool::weighted(0.3), prop::bool::weighted(0.8)))
    }

    #[test]
    fn of_up_to_four_guests_the_plan_with_its_proofs_is_the_fastest_there_is() {
        for number in 2..=4 {
            each(200, (guests(number), kinds()), |(guests, kinds)| check(guests, kinds));
        }
    }

    #[test]
    fn of_five_guests_as_well() {
        each(4, (guests(5), kinds()), |(guests, kinds)| check(guests, kinds));
    }

    #[test]
    fn on_proven_ground_a_plan_is_what_it_is_without_the_rule() {
        for (number, cases) in [(2, 64), (3, 64), (4, 64), (5, 6)] {
            each(cases, (guests(number), prop::array::uniform3(any::<bool>())), |(guests, known)| {
                let hosts = hosts(&guests, known.map(|known| (true, known)));
                let free = crate::plan::plan(&hosts.0, &hosts.1, &[], &Demands::default());
                let mut proven = plan(&hosts);
                proven.grounds.clear();
                proven.migrations.iter_mut().for_each(|step| step.ground = None);
                prop_assert_eq!(proven, free);
                Ok(())
            });
        }
    }

    #[test]
    fn no_more_than_the_limit_are_in_post_copy_at_once() {
        let guests = [(0, 30.0, 0.0, 128); 4];
        let (source, destination, _) = hosts(&guests, [(true, true); KINDS]);
        let plan = |post_copy_limit| {
            let demands = Demands { post_copy_limit, ..Demands::default() };
            let rule = crate::plan::Rule { technique: Some(Technique::PostCopy), ..crate::plan::Rule::default() };
            crate::plan::plan(&source, &destination, &[rule; 4], &demands)
        };
        let spans = |plan: &Plan| -> Vec<(f64, f64)> {
            let steps = plan.migrations.iter().map(|step| step.predicted);
            steps.filter_map(|predicted| Some((predicted.start_seconds?, predicted.end_seconds?))).collect()
        };
        let most = |plan: &Plan| {
            let spans = spans(plan);
            spans.iter().map(|(start, _)| spans.iter().filter(|(s, e)| s <= start && start < e).count()).max()
        };
        assert_eq!(most(&plan(Some(2))), Some(2));
        assert_eq!(most(&plan(Some(1))), Some(1));
        assert!(plan(Some(2)).launch_ahead, "the engine counts them by itself");
    }

    #[test]
    fn a_trusted_guest_goes_alone_until_it_is_loaded() {
        let trust = |unproven: &[Option<usize>], trusted: bool| Gate {
            unproven: unproven.to_vec(),
            grounds: 2,
            trusted: vec![trusted; unproven.len()],
            unprovable: Vec::new(),
            limit: None,
        };
        let launch = |guest| Launch { guest, technique: Technique::PostCopy, concurrency: 9 };
        let gate = trust(&[Some(0), Some(0), Some(1), None], true);
        let unknown = Gate { unprovable: vec![0], ..gate.clone() };
        assert!(gate.is_open(&launch(0), [].into_iter(), &[false; 2]));
        assert!(!gate.is_open(&launch(1), [(0, false)].into_iter(), &[false; 2]), "the first is not loaded yet");
        assert!(!gate.is_open(&launch(2), [(0, false)].into_iter(), &[false; 2]), "one of another kind waits, too");
        assert!(gate.is_open(&launch(3), [(0, false)].into_iter(), &[false; 2]), "one that is proven does not");
        assert!(gate.is_open(&launch(1), [(0, false)].into_iter(), &[true, false]));
        let loaded = || [(0, true)].into_iter();
        assert!(unknown.is_open(&launch(1), loaded(), &[false; 2]) && gate.is_open(&launch(2), loaded(), &[false; 2]));
        let mut proven = [false; 2];
        unknown.prove(0, &mut proven);
        assert!(!unknown.is_open(&launch(1), [(0, false)].into_iter(), &proven), "it proves nothing for another");
        let careful = trust(&[Some(0), Some(0)], false);
        assert!(!careful.is_open(&launch(0), [].into_iter(), &[false; 2]));
        let pre_copy = Launch { technique: Technique::PreCopy, ..launch(0) };
        assert!(careful.is_open(&pre_copy, [].into_iter(), &[false; 2]));
        assert!(careful.is_shut(&[launch(0), pre_copy]) && !careful.is_shut(&[pre_copy, launch(1)]));
        assert!(
            careful.can_open(&[Technique::PreCopy, Technique::PostCopy])
                && !careful.can_open(&[Technique::PostCopy; 2])
        );
    }
}
