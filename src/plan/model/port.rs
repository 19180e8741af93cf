//! One direction of one NIC: what application traffic it carries, and what it leaves for migrations.
//!
//! Application flows come and go by the thousand while an evacuation runs, so the flows are kept as counts per
//! distinct demand in Fenwick trees: adding one, removing one and sharing the link are logarithmic.

use std::sync::Arc;

/// How much of the way from a fair share to all that it asks for a squeezed application flow gets: a rate-limited TCP
/// flow catches up whenever the bulk flows back off, so it does a little better than a fair share.
///
/// Fitted to `docs/bench`.
const HELD: f64 = 0.1;

/// The distinct demands, in bits per second, that flows on a NIC can have; shared by all simulations of a scene.
#[derive(Debug, Clone)]
pub(crate) struct Levels(Vec<f64>);

impl Levels {
    pub(crate) fn new(mut demands: Vec<f64>) -> Self {
        demands.sort_by(f64::total_cmp);
        demands.dedup();
        Self(demands)
    }
}

/// The application flows on one direction of a NIC.
#[derive(Debug, Clone)]
pub(crate) struct Nic {
    capacity: f64,
    levels: Arc<Levels>,
    /// Fenwick trees over the levels: flows, and bits per second that they ask for.
    flows: Vec<f64>,
    demands: Vec<f64>,
    number: f64,
    demand: f64,
}

impl Nic {
    /// An idle NIC of `capacity` bits per second.
    pub(crate) fn new(capacity: f64, levels: Levels) -> Self {
        let size = levels.0.len();
        let (flows, demands) = (vec![0.0; size], vec![0.0; size]);
        Self { capacity, levels: Arc::new(levels), flows, demands, number: 0.0, demand: 0.0 }
    }

    /// The place of a demand among its levels.
    pub(crate) fn rank(&self, demand: f64) -> usize {
        self.levels.0.partition_point(|&level| level < demand)
    }

    /// The demand at a place among its levels.
    pub(crate) fn demand_of(&self, rank: usize) -> f64 {
        self.levels.0[rank]
    }

    /// A flow that asks for the demand of `rank` begins.
    pub(crate) fn add(&mut self, rank: usize) {
        self.change(rank, 1.0);
    }

    /// A flow that asks for the demand of `rank` ends.
    pub(crate) fn remove(&mut self, rank: usize) {
        self.change(rank, -1.0);
    }

    fn change(&mut self, rank: usize, by: f64) {
        let demand = self.levels.0[rank] * by;
        self.number += by;
        self.demand += demand;
        let mut i = rank;
        while i < self.flows.len() {
            self.flows[i] += by;
            self.demands[i] += demand;
            i |= i + 1;
        }
    }

    /// Bits per second left for `migrations` bulk flows (at least one) beside the application flows.
    pub(crate) fn left_for(&self, migrations: usize) -> f64 {
        let bulk = migrations as f64;
        let highest = self.levels.0.last().copied().unwrap_or(0.0);
        let residual = (self.capacity - self.demand.max(0.0)).max(0.0);
        if residual >= bulk * highest {
            return residual;
        }
        HELD * residual + (1.0 - HELD) * bulk * self.fair_share(migrations)
    }

    /// Bits per second that applications want and do not get while migrations take `taken`.
    pub(crate) fn lost(&self, taken: f64) -> f64 {
        (self.demand - (self.capacity - taken).max(0.0)).max(0.0)
    }

    /// The max-min fair share of a flow that takes all it can get, among `migrations` of them: the level L with
    /// sum(min(demand, L)) + migrations * L = capacity.
    pub(crate) fn fair_share(&self, migrations: usize) -> f64 {
        let migrations = migrations as f64;
        // Descends to the longest prefix of levels that are below the share of those above them.
        let size = self.levels.0.len();
        let (mut at, mut flows, mut demand) = (0, 0.0, 0.0);
        let mut step = size.next_power_of_two();
        while step > 0 {
            let next = at + step;
            if next <= size {
                let (more_flows, more_demand) = (flows + self.flows[next - 1], demand + self.demands[next - 1]);
                if more_demand + (self.number - more_flows + migrations) * self.levels.0[next - 1] <= self.capacity {
                    (at, flows, demand) = (next, more_flows, more_demand);
                }
            }
            step /= 2;
        }
        ((self.capacity - demand) / (self.number - flows + migrations)).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With flows that ask for these demands, of which each is one of the levels.
    fn nic(capacity: f64, levels: &[f64], demands: &[f64]) -> Nic {
        let mut nic = Nic::new(capacity, Levels::new(levels.to_vec()));
        for &demand in demands {
            nic.add(nic.rank(demand));
        }
        nic
    }

    #[test]
    fn small_flows_get_all_they_ask_for() {
        let nic = nic(100.0, &[10.0, 5.0], &[10.0, 5.0, 5.0]);
        assert_eq!(nic.left_for(1), 80.0);
        assert_eq!(nic.lost(80.0), 0.0);
    }

    #[test]
    fn the_fair_share_is_max_min_fair() {
        let nic = nic(100.0, &[30.0, 5.0, 0.0, 60.0], &[30.0, 30.0, 5.0, 0.0]);
        assert!((nic.fair_share(1) - 35.0).abs() < 1e-9);
        assert!((nic.fair_share(2) - 23.75).abs() < 1e-9);
    }

    #[test]
    fn large_flows_are_squeezed_to_little_more_than_a_fair_share() {
        let nic = nic(100.0, &[30.0], &[30.0, 30.0]);
        assert!((nic.left_for(1) - 40.0).abs() < 1e-9);
        assert!((nic.left_for(2) - 49.0).abs() < 1e-9);
        assert!((nic.lost(49.0) - 9.0).abs() < 1e-9);
    }

    #[test]
    fn a_flow_that_ended_leaves_nothing_behind() {
        let mut nic = nic(100.0, &[30.0, 7.0], &[30.0, 7.0]);
        nic.remove(nic.rank(30.0));
        assert_eq!(nic.left_for(3), 93.0);
    }
}
