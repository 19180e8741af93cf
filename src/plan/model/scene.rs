//! What the model sees of two hosts: link capacities, the guests that move, and the traffic that stays.
//!
//! Profiles are in the units of their sources; here everything is in bits and bits per second, clamped to what
//! can be computed with, and every flow knows its place on the NICs that it may use.

use std::cmp::Ordering::Equal;
use std::collections::BTreeMap;

use crate::domain::{DomainState, Rewritten};
use crate::plan::Situation;
use crate::plan::gate::Gate;
use crate::plan::model::port::{Levels, Nic};
use crate::plan::model::{EFFICIENCY, LOOK, SETUP, Simulated};
use crate::profile::learned::Crossing;
use crate::profile::{DIRTY_NOISE, DomainProfile, NicProfile, Processors, Profile};
use crate::topology::{Binding, CapacityOrigin, Hashed, Port, Side, idle_below};

/// No rate above this is computed with, in bits per second. Chosen: a thousand times the fastest link on the
/// market, and small enough that sums over any host stay exact to a bit per second.
const MOST_BITS_PER_SECOND: f64 = 1e15;

/// Share of its traffic that a guest dirties: bytes of memory per byte sent or received.
///
/// Fitted to `docs/bench`. Counted, too: 550-780 pages of 4 KiB per second at 30 Mbit/s, 0.6-0.85 of the traffic, in
/// pre-copies that squeezed the traffic meanwhile.
pub(crate) const DIRTIED_BY_TRAFFIC: f64 = 0.95;

/// Bits that traffic keeps dirtying again: the network buffers, which are recycled. Fitted to `docs/bench`: 1 MiB.
pub(crate) const TRAFFIC_HOT_BITS: f64 = 1024.0 * 1024.0 * 8.0;

/// Share of the memory that a guest calls free that is all zeros, or not backed, and so does not cross.
///
/// Measured on guests of 128 MiB: with 65.6 MiB free 93 MiB crossed, with 17.6 MiB free 115 MiB: 0.53 and 0.71 of it
/// did not. A guest that has run for long has used more of what it calls free now.
const FREE_IS_ZERO: f64 = 0.6;

/// A guest that writes no more than this part of the link, nor [`DIRTY_NOISE`], is idle as far as its memory goes. Chosen: a pass
/// that leaves a tenth of what it sent is followed by one more, or two.
const IDLE_WRITES: f64 = 0.1;

/// Share of its traffic that a guest keeps while it pulls its memory by post-copy, by direction.
///
/// Measured: senders kept 0.63, 0.63, 0.50, 0.50 in the right mix (all at once, three of four senders, two
/// together, one by one) and 0.70 in post-copy for all. Every packet received lands on a page that may not be there
/// yet, so receiving suffers more: 0.46 is fitted to the times in `docs/bench`, where equal runs differ by up to 7 s.
pub(crate) const OUTBOUND_KEPT: f64 = 0.58;
/// See [`OUTBOUND_KEPT`].
pub(crate) const INBOUND_KEPT: f64 = 0.46;

/// By what part of itself a total may be off where nothing was seen of the guests yet, and where each was seen to move.
/// `docs/model.md` has what they were chosen by.
pub const SPREAD_ASSUMED: f64 = 0.18;
/// See [`SPREAD_ASSUMED`].
pub const SPREAD_KNOWN: f64 = 0.08;

/// Seconds of the destination's processors that setting up a migration takes, of which two at once take twice as long.
///
/// Measured: with 1.4 processors idle the first bytes of migrations that were launched together came 0 to 0.7 s apart, with next to
/// none idle 0.7 to 1.2 s (30 guests). Both hosts and the client were on one machine with two.
const SETUP_WORK: f64 = 0.7;

/// On a host whose processors are all busy, a setup gets this part of them all the same. Chosen: its few processes against those of
/// the guests.
const LEAST_IDLE: f64 = 0.25;

/// So many migrations of a guest make it known. Chosen: there and back.
const ENOUGH_MIGRATIONS: usize = 2;

/// A guest is taken to write so much faster than it must to have written to its set once between two looks. Chosen: it may have
/// done that in half of the time. To think of it as slower costs a pre-copy that does not end, as faster a post-copy too many.
const ABOVE_LEAST: f64 = 2.0;

/// Memory that is dirtied at a steady rate within a set of a limited size.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Dirtying {
    bits_per_second: f64,
    most_bits: f64,
    /// Seconds after which the set grows beyond that; infinite if it never does.
    open_after: f64,
}

impl Dirtying {
    /// What two looks at its pages tell, less what its traffic explains. How fast it writes within the set they do not tell, only how
    /// fast at the least. The measured rate, `own` beyond the traffic, is believed beside them if it is more than it errs by in its
    /// one second, or if looks have shown a set that is.
    fn looked_at(looked: Rewritten, own: f64, by_traffic: f64) -> Self {
        let explained = (by_traffic * looked.seconds).min(TRAFFIC_HOT_BITS);
        let set = (looked.bytes as f64 * 8.0 - explained).max(0.0);
        let least = if looked.is_most { 0.0 } else { rate(set / looked.seconds) };
        let noise = if looked.is_most || set < DIRTY_NOISE { DIRTY_NOISE } else { 0.0 };
        let believed = if own > noise { own } else { 0.0 };
        Self { bits_per_second: believed.max(ABOVE_LEAST * least), most_bits: set, open_after: looked.seconds }
    }

    /// Bits that are dirtied within `seconds`. A set of which no end was seen is taken to grow with the square root of the time.
    /// Chosen: programs come back to what they wrote to before, so that it grows less than the time does; and that it does
    /// not grow at all was not seen.
    fn within(&self, seconds: f64) -> f64 {
        let grown = if seconds > self.open_after { (seconds / self.open_after).sqrt() } else { 1.0 };
        (self.bits_per_second * seconds).min(self.most_bits * grown)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Guest {
    /// Bits that must cross the wire once.
    pub(crate) image: f64,
    /// Bits per second that it sends.
    pub(crate) outbound: f64,
    /// Bits per second that it receives.
    pub(crate) inbound: f64,
    /// What of [`Self::outbound`] leaves the source by the port that migrations leave it by.
    pub(crate) leaving: f64,
    /// What of [`Self::inbound`] enters the destination by the port that migrations enter it by.
    pub(crate) arriving: f64,
    /// Seconds from its launch to its first byte, with those in which its blank memory is looked at; no link is used in them.
    pub(super) setup: f64,
    /// The downtime in milliseconds that its pre-copy may be allowed if it makes no headway.
    pub(super) max_downtime_ms: Option<u64>,
    /// Whether its pre-copy is switched to post-copy if it makes no headway.
    pub(super) may_switch: bool,
    /// Whether its pre-copies have shown what it writes, and it writes no faster now. That all of the set was seen is not needed.
    pub(super) writes_are_known: bool,
    /// Bits that its traffic keeps dirtying again, at most.
    buffers: f64,
    memory: Dirtying,
}

impl Guest {
    /// The guest of a profile's entry, with all its traffic beside migrations. One that does not run has no traffic and
    /// dirties nothing.
    pub(crate) fn new(domain: &DomainProfile) -> Self {
        let (outbound, inbound) = traffic(domain);
        let crosses = |unused: u64| (domain.memory_bytes as f64 - FREE_IS_ZERO * unused as f64).max(0.0);
        let assumed = domain.unused_bytes.map_or(f64::INFINITY, crosses).min(domain.backed_bytes() as f64);
        // What it is now says more than what it was when it moved.
        let seen = domain.filled_bytes.or(domain.learned.map(|learned| learned.crossing_bytes));
        let image = seen.map_or(assumed, |bytes| bytes.min(domain.memory_bytes) as f64) * 8.0;
        let by_traffic = DIRTIED_BY_TRAFFIC * (outbound + inbound);
        // libvirt measures what the traffic dirties, too.
        let measured = if runs(domain) { rate(domain.dirty_bytes_per_second * 8.0) } else { 0.0 };
        let own = measured - by_traffic;
        let noticed = if own > DIRTY_NOISE { own } else { 0.0 };
        // How large the set is that the guest itself keeps writing to is not known until it was seen: it may be all of it.
        let writes = domain.learned.and_then(|learned| learned.writes).filter(|_| runs(domain));
        // A guest that writes faster than it was seen to may write to all of it.
        let set = writes.filter(|writes| writes.bytes_per_second * 8.0 >= noticed);
        let looked = domain.rewritten.filter(|looked| set.is_none() && runs(domain) && looked.seconds > 0.0);
        // It is measured over a second: what is more than the set was not written yet when that was looked at.
        let looked = looked.filter(|looked| looked.bytes as f64 * 8.0 >= noticed);
        let memory = match looked {
            Some(looked) => Dirtying::looked_at(looked, own, by_traffic),
            None => Dirtying {
                bits_per_second: writes.map_or(0.0, |writes| rate(writes.bytes_per_second * 8.0)).max(noticed),
                most_bits: set.map_or(image, |set| (set.most_bytes as f64 * 8.0).min(image)),
                open_after: set.and_then(|set| set.open_after_seconds).unwrap_or(f64::INFINITY),
            },
        };
        Self {
            image,
            outbound,
            inbound,
            leaving: outbound,
            arriving: inbound,
            setup: SETUP + LOOK * (domain.memory_bytes as f64 * 8.0 - image).max(0.0),
            max_downtime_ms: None,
            may_switch: false,
            writes_are_known: set.is_some(),
            buffers: TRAFFIC_HOT_BITS.min(image),
            memory,
        }
    }

    /// Bits that it dirties within `seconds` at the source: those of each kind, at most their sets, at most all.
    ///
    /// Its traffic counts in full even if migrations squeeze it: a pre-copy that would end only since its guest is
    /// squeezed is not relied on, and would take longer on a wider link.
    pub(crate) fn dirtied(&self, seconds: f64) -> f64 {
        let by_traffic = DIRTIED_BY_TRAFFIC * (self.outbound + self.inbound);
        let traffic = (by_traffic * seconds).min(self.buffers);
        (traffic + self.memory.within(seconds)).min(self.image)
    }

    /// Bits per second that it dirties over a short time.
    pub(crate) fn dirty_rate(&self) -> f64 {
        DIRTIED_BY_TRAFFIC * (self.outbound + self.inbound) + self.memory.bits_per_second
    }

    /// What post-copy spares the links, for each bit of traffic that it costs the guest: what it sends leaves the
    /// source at once and nothing is sent again, but what it receives is in the way at the destination.
    pub(crate) fn gain_by_post_copy(&self) -> f64 {
        let spared = self.leaving + self.dirty_rate() - INBOUND_KEPT * self.arriving;
        let cost = (1.0 - OUTBOUND_KEPT) * self.outbound + (1.0 - INBOUND_KEPT) * self.inbound;
        // A guest without traffic loses none; the bit per second keeps the order by what is spared.
        spared / cost.max(1.0)
    }

    /// Bits per second that it writes to its memory beside what its traffic explains, as far as that was seen when it moved or is
    /// too much for an error of the measurement.
    pub(crate) fn writes(&self) -> f64 {
        self.memory.bits_per_second
    }
}

/// By what part of itself a total may be off: what is known of each guest counts by the memory that it has to move.
fn spread<'a>(leaving: impl Iterator<Item = (&'a DomainProfile, &'a Guest)>) -> f64 {
    let (mut known, mut all) = (0.0, 0.0);
    for (domain, guest) in leaving {
        all += guest.image;
        if domain.earlier_migrations() >= ENOUGH_MIGRATIONS {
            known += guest.image;
        }
    }
    let known = if all > 0.0 { known / all } else { 0.0 };
    SPREAD_ASSUMED + known * (SPREAD_KNOWN - SPREAD_ASSUMED)
}

/// Seconds of each setup in which the destination can begin no other, by what its processors have left.
pub(crate) fn setups_apart(destination: &Profile) -> f64 {
    let processors = |seen: Processors| seen.idle.max(LEAST_IDLE * f64::from(seen.count));
    destination.processors.map_or(0.0, |seen| within(SETUP_WORK / processors(seen), Crossing::APART))
}

fn runs(domain: &DomainProfile) -> bool {
    matches!(domain.state, DomainState::Running | DomainState::ShuttingDown)
}

/// Outbound and inbound traffic in bits per second; none if it does not run.
fn traffic(domain: &DomainProfile) -> (f64, f64) {
    if runs(domain) {
        (rate(domain.outbound_bits_per_second), rate(domain.inbound_bits_per_second))
    } else {
        (0.0, 0.0)
    }
}

/// The traffic of domains that do not move, sorted, since sums of rates depend on their order in the last digit.
fn background(mut domains: Vec<Asked>) -> Vec<Asked> {
    domains.sort_by(|a, b| a.along.total_cmp(&b.along).then_with(|| a.loads.partial_cmp(&b.loads).unwrap_or(Equal)));
    domains
}

/// A value that is believed within a range; what is no number is the least.
fn within(value: f64, (least, most): (f64, f64)) -> f64 {
    value.max(least).min(most)
}

/// A rate that can be computed with: from 0 to [`MOST_BITS_PER_SECOND`]; what is no number counts as 0.
pub(crate) fn rate(bits_per_second: f64) -> f64 {
    if bits_per_second.is_nan() { 0.0 } else { bits_per_second.clamp(0.0, MOST_BITS_PER_SECOND) }
}

/// The places of one guest's flows on the NICs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FlowPlaces {
    /// Outbound at the source.
    pub(crate) leaving: usize,
    /// Inbound at the destination.
    pub(crate) arriving: usize,
    /// Inbound at the destination while it pulls its memory.
    pub(crate) pulling: usize,
}

/// A direction of a port that no migration takes, and what guests ask of it. Both in bits per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Load {
    pub(crate) capacity: f64,
    pub(crate) demand: f64,
}

/// What one guest asks of the [`Load`]s.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Share {
    /// While it is at the source, by the load's place: bits per second.
    pub(crate) at_source: Vec<(usize, f64)>,
    /// Once it is at the destination: bits per second, and the part of it while it pulls its memory.
    pub(crate) at_destination: Vec<(usize, f64, f64)>,
}

/// The ports of one host, by their names, and where the traffic of its guests goes.
struct Ports<'a> {
    host: &'a Profile,
    /// By name, the place among the loads of its outbound direction, before that of its inbound one.
    places: BTreeMap<&'a str, usize>,
    /// The place among the loads of the direction of the migrations' port that no migration takes.
    beside: usize,
}

/// What a guest asks of a host's port that migrations cross, in the direction in which they do, and of everything else.
#[derive(Default)]
struct Asked {
    along: f64,
    loads: Vec<(usize, f64, f64)>,
}

impl<'a> Ports<'a> {
    /// Adds the loads of a host. Migrations take its migration port's other direction than `beside`.
    fn new(host: &'a Profile, loads: &mut Vec<Load>) -> Self {
        let load = |port: &Port| Load { capacity: rate(port.bits_per_second), demand: 0.0 };
        // What is only assumed of a port that no migration crosses is no reason to foretell a loss.
        let other = |port: &Port| match port.origin {
            CapacityOrigin::Assumed => Load { capacity: f64::INFINITY, demand: 0.0 },
            _ => load(port),
        };
        let beside = loads.len();
        loads.push(load(&host.migration_port));
        let mut places = BTreeMap::new();
        for port in &host.other_ports {
            places.insert(&*port.name, loads.len());
            loads.extend([other(port); 2]);
        }
        Self { host, places, beside }
    }

    /// What a domain asks for whose NICs are bound by `binding`, of which `side` the host is.
    fn asked(&self, domain: &DomainProfile, side: Side, binding: impl Fn(&NicProfile) -> Binding) -> Asked {
        let (mut outbound, mut inbound) = traffic(domain);
        let mut asked = Asked::default();
        for nic in domain.nics.iter().filter(|_| runs(domain)) {
            let binding = binding(nic);
            if self.host.contends(&binding) {
                continue;
            }
            let sent = rate(nic.outbound_bits_per_second).min(outbound);
            let received = rate(nic.inbound_bits_per_second).min(inbound);
            (outbound, inbound) = (outbound - sent, inbound - received);
            if let Binding::Port { name } = binding {
                let place = self.places.get(&*name).into_iter();
                asked.loads.extend(
                    place.flat_map(|place| [(*place, sent, OUTBOUND_KEPT), (*place + 1, received, INBOUND_KEPT)]),
                );
            }
        }
        let (along, beside) = match side {
            Side::Source => (outbound, (self.beside, inbound, INBOUND_KEPT)),
            Side::Destination => (inbound, (self.beside, outbound, OUTBOUND_KEPT)),
        };
        asked.along = along;
        asked.loads.push(beside);
        asked
    }
}

/// What one connection carries at the most that is not encrypted, in bits per second: the thread that sends it is a
/// processor's.
///
/// Measured by others: QEMU 8.2.2 on a Xeon Gold 6430 over the loopback, a guest of 192 GiB, at its peak 26.1 Gbit/s, and
/// about 22 Gbit/s while the guest dirties 1.5 GiB/s; vMotion sends about 15 Gbit/s by each of its helpers (Broadcom,
/// KB 323379).
const CONNECTION: f64 = 22e9;

/// Two hosts as the model sees them.
#[derive(Debug, Clone)]
pub(crate) struct Scene {
    /// The guests that move: those still to be launched, then those in flight.
    pub(crate) guests: Vec<Guest>,
    pub(super) in_flight: Vec<Simulated>,
    /// When post-copies may be launched.
    pub(crate) gate: Gate,
    /// By guest.
    pub(crate) places: Vec<FlowPlaces>,
    /// Capacity of the source's link each way, in bits per second.
    pub(crate) source_capacity: f64,
    /// Capacity of the destination's link each way, in bits per second.
    pub(crate) destination_capacity: f64,
    /// Most that all migrations may take together, in bits of memory per second; infinite without a cap.
    pub(crate) bandwidth: f64,
    /// Most that one migration takes, in bits of memory per second.
    pub(crate) connection: f64,
    /// How fast memory crosses, as a part of what it does by all of this.
    pub(super) pace: f64,
    /// Seconds of each setup in which no other can be begun.
    pub(super) turn: f64,
    /// Whether the next is set up while one in flight ends.
    pub(super) launches_ahead: bool,
    /// Whether the engine sets what each migration gets: it can't where it knows no capacity.
    pub(super) sets_shares: bool,
    /// By what part of itself what is predicted may be off, either way.
    pub(super) spread: f64,
    /// Of both hosts, with what is asked of them at the start.
    pub(super) loads: Vec<Load>,
    /// By guest.
    pub(super) shares: Vec<Share>,
    /// The source's outbound direction with everyone still there.
    pub(crate) source_nic: Nic,
    /// The destination's inbound direction with nobody arrived yet.
    pub(crate) destination_nic: Nic,
    staying: Vec<usize>,
    resident: Vec<usize>,
}

impl Scene {
    /// The scene in which `moving` (indexes of the source's domains) are still to be launched.
    pub(crate) fn at(
        situation: &Situation,
        source: &Profile,
        destination: &Profile,
        moving: &[usize],
        bandwidth: Option<f64>,
        gate: &Gate,
    ) -> Self {
        let Situation { in_flight, arrived, pace, launches_ahead, .. } = situation;
        let domains = &source.domains;
        let leaves: Vec<usize> = moving.iter().copied().chain(in_flight.iter().map(|(domain, _)| *domain)).collect();
        let crossing = source.crossing.filter(|seen| seen.is_of(source.link_to(destination)));
        let mut guests: Vec<Guest> = leaves.iter().map(|&i| Guest::new(&domains[i])).collect();
        let apart = crossing.and_then(|seen| seen.setups_apart_seconds);
        let turn = apart.map_or_else(|| setups_apart(destination), |seen| within(seen, Crossing::APART));
        let setup = crossing.map_or(SETUP.max(turn), |seen| within(seen.setup_seconds, Crossing::SETUPS));
        guests.iter_mut().for_each(|guest| guest.setup += setup - SETUP);
        let mut loads = Vec::new();
        let [here, there] = [source, destination].map(|host| Ports::new(host, &mut loads));
        let at_source = |domain| here.asked(domain, Side::Source, |nic| nic.port.clone());
        let at_destination = |domain| there.asked(domain, Side::Destination, |nic| destination.arrival(nic).clone());
        let mut shares = Vec::with_capacity(guests.len());
        for (guest, &domain) in guests.iter_mut().zip(&leaves) {
            let (before, after) = (at_source(&domains[domain]), at_destination(&domains[domain]));
            (guest.leaving, guest.arriving) = (before.along, after.along);
            let at_source = before.loads.into_iter().map(|(place, demand, _)| (place, demand)).collect();
            shares.push(Share { at_source, at_destination: after.loads });
        }
        let mut stays = vec![true; domains.len()];
        leaves.iter().chain(arrived).for_each(|&i| stays[i] = false);
        let stay = domains.iter().zip(stays).filter(|(_, stays)| *stays).map(|(domain, _)| at_source(domain));
        let stay = background(stay.collect());
        let resident = destination.domains.iter().map(|d| there.asked(d, Side::Destination, |nic| nic.port.clone()));
        let resident = background(resident.chain(arrived.iter().map(|&i| at_destination(&domains[i]))).collect());
        let moving_loads = shares.iter().flat_map(|share| &share.at_source).copied();
        let other_loads = stay.iter().chain(&resident).flat_map(|asked| &asked.loads);
        for (place, demand) in moving_loads.chain(other_loads.map(|(place, demand, _)| (*place, *demand))) {
            loads[place].demand += demand;
        }
        let leaving = Levels::new(guests.iter().map(|g| g.leaving).chain(stay.iter().map(|t| t.along)).collect());
        let arriving = Levels::new(
            guests
                .iter()
                .flat_map(|g| [g.arriving, g.arriving * INBOUND_KEPT])
                .chain(resident.iter().map(|t| t.along))
                .collect(),
        );
        let source_capacity = rate(source.migration_port.bits_per_second);
        let destination_capacity = rate(destination.migration_port.bits_per_second);
        let mut source_nic = Nic::new(source_capacity, leaving);
        let mut destination_nic = Nic::new(destination_capacity, arriving);
        let places = guests.iter().map(|g| FlowPlaces {
            leaving: source_nic.rank(g.leaving),
            arriving: destination_nic.rank(g.arriving),
            pulling: destination_nic.rank(g.arriving * INBOUND_KEPT),
        });
        let places: Vec<FlowPlaces> = places.collect();
        let staying: Vec<usize> = stay.iter().map(|t| source_nic.rank(t.along)).collect();
        let resident: Vec<usize> = resident.iter().map(|t| destination_nic.rank(t.along)).collect();
        places.iter().map(|p| p.leaving).chain(staying.iter().copied()).for_each(|rank| source_nic.add(rank));
        resident.iter().for_each(|&rank| destination_nic.add(rank));
        let ports = [&source.migration_port, &destination.migration_port];
        let member = |hashed| {
            let members = ports.iter().filter_map(|port| port.member).filter(move |member| member.hashed == hashed);
            members.map(|member| rate(member.bits_per_second) * EFFICIENCY).fold(f64::INFINITY, f64::min)
        };
        let spread = spread(leaves.iter().zip(&guests).map(|(&domain, guest)| (&domains[domain], guest)));
        Self {
            gate: gate.of(&leaves),
            places,
            source_capacity,
            destination_capacity,
            bandwidth: bandwidth.map_or(f64::INFINITY, rate).min(member(Hashed::Hosts)),
            connection: CONNECTION.min(member(Hashed::Connection)),
            pace: *pace * crossing.map_or(1.0, |seen| within(seen.pace, Crossing::PACES)),
            turn: turn.min(setup),
            launches_ahead: *launches_ahead,
            sets_shares: bandwidth.is_some() || ports.iter().any(|port| port.origin != CapacityOrigin::Assumed),
            spread,
            loads,
            shares,
            staying,
            resident,
            source_nic,
            destination_nic,
            in_flight: (moving.len()..)
                .zip(in_flight)
                .map(|(guest, (_, at))| Simulated::new(guest, *at, &guests[guest]))
                .collect(),
            guests,
        }
    }

    /// Lets the pre-copies of the guests that are still to be launched have more downtime, in milliseconds, in their order.
    pub(crate) fn allow_downtimes(&mut self, limits: impl Iterator<Item = Option<u64>>) {
        self.guests.iter_mut().zip(limits).for_each(|(guest, limit)| guest.max_downtime_ms = limit);
    }

    /// Whether the pre-copies of the guests, in their order, are switched to post-copy if they make no headway.
    pub(crate) fn allow_switches(&mut self, may_switch: impl Iterator<Item = bool>) {
        self.guests.iter_mut().zip(may_switch).for_each(|(guest, may)| guest.may_switch = may);
    }

    /// The same if every guest's kind were proven.
    pub(crate) fn on_proven_ground(&self) -> Self {
        Self { gate: self.gate.all_proven(), ..self.clone() }
    }

    /// The destination's inbound direction with everyone arrived.
    fn full_destination_nic(&self) -> Nic {
        let mut nic = self.destination_nic.clone();
        self.places.iter().for_each(|places| nic.add(places.arriving));
        nic
    }

    /// Whether neither the traffic of `guest` nor its writes can tell one technique from the other.
    pub(crate) fn is_idle(&self, guest: usize) -> bool {
        let Guest { outbound, inbound, .. } = self.guests[guest];
        self.writes_little(guest) && outbound.max(inbound) < idle_below(self.link().min(self.bandwidth))
    }

    /// Whether what `guest` writes of its own is too little to matter.
    pub(crate) fn writes_little(&self, guest: usize) -> bool {
        self.guests[guest].writes() <= (IDLE_WRITES * self.link().min(self.bandwidth)).min(DIRTY_NOISE)
    }

    /// Seconds that the memory of `guest` takes on the empty link, within the caps.
    pub(crate) fn seconds_alone(&self, guest: usize) -> f64 {
        self.guests[guest].image / self.goodput(self.link(), 1)
    }

    /// Memory that `migrations` move together of which the links leave `wire`, in bits per second.
    pub(super) fn goodput(&self, wire: f64, migrations: usize) -> f64 {
        self.pace * (wire * EFFICIENCY).min(self.bandwidth).min(migrations as f64 * self.connection)
    }

    /// Capacity of the slower link, in bits per second.
    pub(crate) fn link(&self) -> f64 {
        self.source_capacity.min(self.destination_capacity)
    }

    /// The least that is left for `migrations` together, with everyone at the source and everyone at the
    /// destination, in bits per second.
    pub(crate) fn least_left_for(&self, migrations: usize) -> f64 {
        self.source_nic.left_for(migrations).min(self.full_destination_nic().left_for(migrations))
    }

    /// The least that one flow gets of the source's and of the destination's NIC, however many others there are,
    /// beside `migrations`; flows that ask for less get what they ask for.
    pub(crate) fn least_shares(&self, migrations: usize) -> (f64, f64) {
        (self.source_nic.fair_share(migrations), self.full_destination_nic().fair_share(migrations))
    }

    /// What guests that do not move take of both NICs at least, given the [`least_shares`](Self::least_shares).
    pub(crate) fn least_background(&self, shares: (f64, f64)) -> (f64, f64) {
        let staying = self.staying.iter().map(|&rank| self.source_nic.demand_of(rank).min(shares.0)).sum();
        let resident = self.resident.iter().map(|&rank| self.destination_nic.demand_of(rank).min(shares.1)).sum();
        (staying, resident)
    }
}
