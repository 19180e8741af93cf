//! Hosts and domains to plan with.

use std::path::Path;

use tsmig::domain::{DomainState, Technique};
use tsmig::files;
use tsmig::obstacle::Eligibility;
use tsmig::plan::{Plan, Step};
use tsmig::profile::{Both, DomainProfile, Profile};
use tsmig::topology::{CapacityOrigin, Port, RouteOrigin};

/// 115 MiB: what crosses of a guest of 128 MiB.
pub(crate) const IMAGE: u64 = 115 << 20;

/// A running domain with this traffic in Mbit/s.
pub(crate) fn domain(name: &str, outbound: f64, inbound: f64) -> DomainProfile {
    DomainProfile {
        name: name.to_owned(),
        uuid: format!("uuid of {name}"),
        state: DomainState::Running,
        persistent: true,
        memory_bytes: 128 << 20,
        resident_bytes: IMAGE,
        unused_bytes: None,
        filled_bytes: None,
        rewritten: None,
        learned: None,
        dirty_bytes_per_second: 0.0,
        dirty_rate_unknown: false,
        outbound_bits_per_second: outbound * 1e6,
        inbound_bits_per_second: inbound * 1e6,
        nics: Vec::new(),
        post_copy: Eligibility::default(),
        migration: Eligibility::default(),
    }
}

/// A host with a link of so many Mbit/s.
pub(crate) fn host(name: &str, link: f64, domains: Vec<DomainProfile>) -> Profile {
    Profile {
        host: name.to_owned(),
        window_seconds: 10.0,
        migration_port: Port::unnamed(link * 1e6, CapacityOrigin::Option),
        route: RouteOrigin::default(),
        address: None,
        other_ports: Vec::new(),
        outlets: Vec::new(),
        processors: None,
        crossing: None,
        domains,
    }
}

/// Two senders and two receivers of 30 Mbit/s on links of 100 Mbit/s.
pub(crate) fn balanced() -> (Profile, Profile) {
    let domains =
        vec![domain("o1", 30.0, 0.0), domain("o2", 30.0, 0.0), domain("i1", 0.0, 30.0), domain("i2", 0.0, 30.0)];
    (host("host-a", 100.0, domains), host("host-b", 100.0, vec![]))
}

/// A profile that ships with the project.
pub(crate) fn example(name: &str) -> (Profile, Profile) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/profiles").join(name).with_extension("json");
    let Both { source, destination } = files::load(&path).expect("the examples are valid");
    (source, destination)
}

/// The plan's step for a domain.
pub(crate) fn step<'a>(plan: &'a Plan, domain: &str) -> &'a Step {
    plan.migrations.iter().find(|step| step.domain == domain).expect("the domain moves")
}

/// The names of the domains that go by `technique`, sorted.
pub(crate) fn by(plan: &Plan, technique: Technique) -> Vec<&str> {
    let steps = plan.migrations.iter().filter(|step| step.technique() == technique);
    let mut names: Vec<&str> = steps.map(|step| step.domain.as_str()).collect();
    names.sort_unstable();
    names
}

/// The most migrations that the plan predicts to be in flight at once, of those that `counted` selects.
pub(crate) fn most_in_flight(plan: &Plan, counted: impl Fn(&Step) -> bool) -> usize {
    let span = |step: &Step| Some((step.predicted.start_seconds?, step.predicted.end_seconds.unwrap_or(f64::INFINITY)));
    let spans: Vec<(f64, f64)> = plan.migrations.iter().filter(|step| counted(step)).filter_map(span).collect();
    let at = |now: f64| spans.iter().filter(|(start, end)| *start <= now && now < *end).count();
    spans.iter().map(|(start, _)| at(*start)).max().unwrap_or(0)
}

/// What a post-copy has to gain: this part of the time that its memory takes on the empty link (`docs/model.md`).
pub(crate) const LEAST_GAIN: f64 = 0.15;

/// Seconds that the post-copies of `domains` of `source` have to gain together, on a link of so many bits per second.
pub(crate) fn least_gain<'a>(source: &Profile, domains: impl IntoIterator<Item = &'a str>, link: f64) -> f64 {
    let bytes = |name: &str| source.domains.iter().find(|d| d.name == name).map_or(0, |d| d.resident_bytes);
    let bits: f64 = domains.into_iter().map(|name| bytes(name) as f64 * 8.0).sum();
    LEAST_GAIN * bits / (0.97 * link)
}
