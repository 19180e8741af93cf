//! Hosts with more than one port: only traffic on the migrations' own wire is in their way.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use crate::properties::{hosts, ordinary};
use crate::support::{balanced, by, domain, host};
use tsmig::domain::Technique;
use tsmig::plan::{Demands, Plan, plan};
use tsmig::profile::learned::{Learned, Teacher, Writes};
use tsmig::profile::{DomainProfile, NicProfile, Profile, Steady};
use tsmig::topology::{Binding, CapacityOrigin, Hashed, Member, Outlet, Plug, Port, RouteOrigin};

fn plug(name: &str) -> Plug {
    Plug::Device(name.to_owned())
}

/// A NIC with this traffic in bits per second that is plugged into a bridge of the source, which leads to `port`.
fn nic(bridge: &str, port: Binding, outbound: f64, inbound: f64) -> NicProfile {
    NicProfile {
        name: format!("NIC on {bridge}"),
        outbound_bits_per_second: outbound,
        inbound_bits_per_second: inbound,
        steady: Steady::default(),
        plug: Some(plug(bridge)),
        port,
    }
}

/// The domain with all its traffic by one NIC.
fn by_one_nic(domain: DomainProfile, bridge: &str, port: Binding) -> DomainProfile {
    let nic = nic(bridge, port, domain.outbound_bits_per_second, domain.inbound_bits_per_second);
    DomainProfile { nics: vec![nic], ..domain }
}

/// The host with migrations on `eth1`, and with these bridges: `br0` leads to `eth0`, `br1` to `eth1`, `quiet` nowhere.
fn wired(profile: Profile) -> Profile {
    let outlet = |name: &str, port| Outlet { plug: plug(name), port };
    let port = |name: &str, like: &Port| Port { name: name.to_owned(), ..like.clone() };
    Profile {
        migration_port: port("eth1", &profile.migration_port),
        route: RouteOrigin::Detected,
        other_ports: vec![port("eth0", &profile.migration_port)],
        outlets: vec![
            outlet("br0", Binding::to("eth0")),
            outlet("br1", Binding::to("eth1")),
            outlet("quiet", Binding::Internal),
        ],
        ..profile
    }
}

/// Both hosts wired so, with all domains of both on this bridge.
fn all_on(bridge: &str, (source, destination): &(Profile, Profile)) -> (Profile, Profile) {
    let lead = match bridge {
        "br0" => Binding::to("eth0"),
        "br1" => Binding::to("eth1"),
        _ => Binding::Internal,
    };
    let on = |profile: &Profile| {
        let domains = profile.domains.iter().map(|domain| by_one_nic(domain.clone(), bridge, lead.clone()));
        wired(Profile { domains: domains.collect(), ..profile.clone() })
    };
    (on(source), on(destination))
}

fn planned((source, destination): &(Profile, Profile)) -> Plan {
    plan(source, destination, &[], &Demands::default())
}

/// What a plan comes to, by its steps.
fn schedule(plan: &Plan) -> Vec<(String, Technique, Option<f64>, Option<f64>)> {
    let step = |step: &tsmig::plan::Step| {
        (step.domain.clone(), step.technique(), step.predicted.start_seconds, step.predicted.end_seconds)
    };
    plan.migrations.iter().map(step).collect()
}

#[test]
fn on_a_wire_of_their_own_all_go_by_pre_copy_at_full_speed() {
    for bridge in ["br0", "quiet"] {
        let plan = planned(&all_on(bridge, &balanced()));
        assert_eq!(by(&plan, Technique::PostCopy), Vec::<&str>::new(), "{bridge}");
        // 4 x 115 MiB and 4 x 2 MiB of what their traffic writes again, at 97 Mbit/s; 0.9 s to begin and end.
        let seconds = plan.predicted.total_seconds.unwrap();
        assert!((39.0..42.0).contains(&seconds), "{bridge}: {seconds}");
        assert!(plan.predicted.lost_bits.unwrap() < 6e7, "{bridge}: {:?}", plan.predicted);
    }
}

#[test]
fn pre_copies_that_share_a_wire_of_their_own_end_since_the_last_passes_get_most_of_it() {
    // What receiving 30 Mbit/s was seen to write to, beside what is expected of the traffic: once a set that was seen whole, once so
    // little at a time that it was not.
    for case in [(3.1, 2_400_000, None), (0.2, 2_100_000, Some(10.0))] {
        let (mib_per_second, most_bytes, open_after_seconds) = case;
        let writes = Writes { bytes_per_second: mib_per_second * 1048576.0, most_bytes, open_after_seconds };
        let mut hosts = all_on("br0", &balanced());
        let learned =
            |crossing_bytes| Learned { crossing_bytes, writes: Some(writes), migrations: 2, of: Teacher::Itself };
        hosts.0.domains.iter_mut().for_each(|domain| domain.learned = Some(learned(domain.resident_bytes)));
        let plan = planned(&hosts);
        assert_eq!(by(&plan, Technique::PostCopy), Vec::<&str>::new(), "{case:?}");
        let all_at_once = plan.alternatives.iter().find(|other| other.policy == "pre-copy-only").unwrap();
        assert!(all_at_once.predicted.total_seconds.is_some(), "{all_at_once:?}");
    }
}

#[test]
fn on_the_shared_wire_the_plan_is_what_it_is_without_ports() {
    let plain = planned(&balanced());
    assert_eq!(by(&plain, Technique::PostCopy), ["o1", "o2"]);
    assert_eq!(schedule(&planned(&all_on("br1", &balanced()))), schedule(&plain));
}

#[test]
fn where_the_migrations_port_is_only_assumed_everything_that_leaves_the_host_counts() {
    let unsure = |mut profile: Profile| {
        profile.route = RouteOrigin::Assumed;
        profile
    };
    let (source, destination) = all_on("br0", &balanced());
    let plan = planned(&(unsure(source), unsure(destination)));
    assert_eq!(schedule(&plan), schedule(&planned(&balanced())));
    let (source, destination) = all_on("quiet", &balanced());
    let plan = planned(&(unsure(source), unsure(destination)));
    assert_eq!(by(&plan, Technique::PostCopy), Vec::<&str>::new(), "what never leaves it does not");
}

#[test]
fn what_a_bridge_leads_to_at_the_destination_counts_there() {
    // Receivers that are on a wire of their own at the source, and on the migrations' at the destination.
    let domains = (0..4).map(|i| domain(&format!("i{i}"), 0.0, 20.0)).collect();
    let (source, mut destination) = all_on("br0", &(host("host-a", 100.0, domains), host("host-b", 100.0, vec![])));
    let one_by_one = Demands { concurrency: Some(1), ..Demands::default() };
    let seconds = |destination: &Profile| plan(&source, destination, &[], &one_by_one).predicted.total_seconds.unwrap();
    let apart = seconds(&destination);
    destination.outlets[0].port = Binding::to("eth1");
    let met = seconds(&destination);
    assert!(met > apart * 1.3, "{met} {apart}");
    destination.outlets.clear();
    assert_eq!(seconds(&destination), met, "what is not known counts");
}

#[test]
fn each_nic_of_a_guest_counts_where_it_is() {
    let split = |on_wire: f64| {
        let nics =
            vec![nic("br1", Binding::to("eth1"), on_wire, 0.0), nic("br0", Binding::to("eth0"), 4e7 - on_wire, 0.0)];
        let guest = DomainProfile { nics, ..domain("g", 40.0, 0.0) };
        let hosts = (wired(host("host-a", 100.0, vec![guest])), wired(host("host-b", 100.0, vec![])));
        let rule = tsmig::plan::Rule { technique: Some(Technique::PreCopy), ..Default::default() };
        plan(&hosts.0, &hosts.1, &[rule], &Demands::default()).predicted.total_seconds.unwrap()
    };
    let (none, half, all) = (split(0.0), split(2e7), split(4e7));
    // At 100, 80 and 60 Mbit/s.
    let (half, all) = ((half - 0.9) / (none - 0.9), (all - 0.9) / (none - 0.9));
    assert!((1.2..1.3).contains(&half) && (1.6..1.75).contains(&all), "{half} {all}");
}

fn random(cases: u32) -> TestRunner {
    let seed = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    TestRunner::new_with_rng(Config { cases, failure_persistence: None, ..Config::default() }, seed)
}

#[test]
fn moving_traffic_off_the_migrations_wire_makes_no_plan_slower() {
    let seconds = |hosts: &(Profile, Profile)| planned(hosts).fastest_seconds;
    let bridges = prop_oneof![Just("br0"), Just("quiet")];
    let check = |(hosts, bridge): ((Profile, Profile), &str)| {
        let (on, off) = (seconds(&all_on("br1", &hosts)), seconds(&all_on(bridge, &hosts)));
        if let Some(on) = on {
            let off = off.expect("it ends as well");
            // The search is exhaustive for few guests, in steps of its model.
            prop_assert!(off <= on * (1.0 + 1e-9), "{off} s off the wire, {on} s on it");
        }
        Ok(())
    };
    random(150).run(&(hosts(1..=5, ordinary), bridges), check).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn capacity_on_a_port_that_nothing_uses_changes_nothing() {
    let check = |(hosts, capacity): ((Profile, Profile), f64)| {
        let hosts = all_on("br1", &hosts);
        let mut more = hosts.clone();
        for profile in [&mut more.0, &mut more.1] {
            profile.other_ports[0].bits_per_second = capacity;
            profile
                .other_ports
                .push(Port { name: "eth9".to_owned(), ..Port::unnamed(capacity, CapacityOrigin::Detected) });
        }
        let (before, after) = (planned(&hosts), planned(&more));
        prop_assert_eq!(schedule(&before), schedule(&after));
        prop_assert_eq!(before.predicted, after.predicted);
        Ok(())
    };
    random(60).run(&(hosts(1..=6, ordinary), 1e6..1e11), check).unwrap_or_else(|error| panic!("{error}"));
}

/// A guest of so many GiB, of which so many are not blank, and which does nothing.
fn large(name: &str, gib: f64, used: f64) -> DomainProfile {
    let bytes = |gib: f64| (gib * f64::from(1 << 30)) as u64;
    DomainProfile { memory_bytes: bytes(gib), resident_bytes: bytes(used), ..domain(name, 0.0, 0.0) }
}

fn seconds_of(gbit: f64, domains: Vec<DomainProfile>) -> f64 {
    let hosts = (host("host-a", gbit * 1e3, domains), host("host-b", gbit * 1e3, vec![]));
    planned(&hosts).predicted.total_seconds.expect("it ends")
}

/// Migrations that others measured, by QEMU over one connection. Two of its kind made the two constants: about 22 Gbit/s by
/// one connection on a Xeon Gold 6430 (QEMU 8.2.2, while the guest dirties 1.5 GiB/s); 100 GB of zeros in 9.6 s (qemu-devel,
/// "Introduce multifd zero page checking") and an idle guest of 192 GiB in 8.8 s (that Xeon), which differ by a factor of
/// two, so that neither is met within 20 %. None of the rows below made any.
#[test]
fn migrations_that_others_measured_are_predicted_within_a_fifth() {
    let begin_and_end = seconds_of(100.0, vec![large("g", 0.0, 0.0)]);
    let hundred = seconds_of(100.0, vec![large("g", 100.0, 100.0)]) - begin_and_end;
    for (what, measured, predicted) in [
        // The same Xeon while the guest is idle: at its peak 26.1 Gbit/s, which is 100 GiB in 32.9 s.
        ("one connection, 100 Gbit/s", 32.9, hundred),
        // QEMU, docs/devel/migration/qatzip-compression.rst, the row without compression: 54 GB at 10.8 Gbit/s.
        ("54 GB at 10.8 Gbit/s", 46.1, seconds_of(10.8, vec![large("g", 54.0, 54.0)])),
        // OPNFV: an idle guest of 8 GiB. How much of it is not blank is not told: a Linux that does nothing has 0.6 to 1.1 GiB.
        ("8 GiB, 0.6 of them used", 2.271, seconds_of(10.0, vec![large("g", 8.0, 0.6)])),
        ("8 GiB, 1.1 of them used", 2.271, seconds_of(10.0, vec![large("g", 8.0, 1.1)])),
    ] {
        assert!((predicted / measured - 1.0).abs() < 0.2, "{what}: {measured} s measured, {predicted} s predicted");
    }
}

#[test]
fn on_a_fast_link_several_connections_fill_it() {
    let eight = || (0..8).map(|i| large(&format!("g{i}"), 64.0, 64.0)).collect::<Vec<_>>();
    let bits = 8.0 * 64.0 * f64::from(1 << 30) * 8.0;
    for (gbit, rate) in [(25.0, 24.25e9), (100.0, 97e9)] {
        let seconds = seconds_of(gbit, eight());
        assert!((1.0..1.1).contains(&(seconds / (bits / rate))), "{gbit} Gbit/s: {seconds} s");
    }
    let alone = seconds_of(100.0, vec![large("g", 64.0, 64.0)]);
    assert!(alone > 0.9 * bits / 8.0 / 22e9, "one alone can't: {alone} s");
}

#[test]
fn a_bond_carries_migrations_by_its_members() {
    let seconds = |hashed: Option<Hashed>| {
        let guests = (0..6).map(|i| large(&format!("g{i}"), 4.0, 4.0)).collect();
        let bond = |mut profile: Profile| {
            profile.migration_port.member = hashed.map(|hashed| Member { bits_per_second: 1e9, hashed });
            profile
        };
        let hosts = (bond(host("host-a", 2e3, guests)), bond(host("host-b", 2e3, vec![])));
        planned(&hosts).predicted.total_seconds.expect("it ends")
    };
    let (whole, by_connection, by_hosts) =
        (seconds(None), seconds(Some(Hashed::Connection)), seconds(Some(Hashed::Hosts)));
    assert!((0.99..1.05).contains(&(by_connection / whole)), "two at once fill it: {by_connection} {whole}");
    assert!((1.9..2.05).contains(&(by_hosts / whole)), "all take one member: {by_hosts} {whole}");
}
