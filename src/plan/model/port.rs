//! One direction of one NIC: what application traffic it carries, and what it leaves for migrations.
//!
//! Application flows come and go by the thousand while an evacuation runs, so the flows are kept as counts per
//! distinct demand in Fenwick trees: adding one, removing one and sharing the link are logarithmic.

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

    /// The place of a demand that was given to [`Levels::new`].
    pub(crate) fn rank(&self, demand: f64) -> usize {
        self.0.partition_point(|&level| level < demand)
    }

    pub(crate) fn demand(&self, rank: usize) -> f64 {
        self.0[rank]
    }
}

/// The application flows on one direction of a NIC.
#[derive(Debug, Clone)]
pub(crate) struct Nic<'a> {
    capacity: f64,
    levels: &'a Levels,
    /// Fenwick trees over the levels: flows, and bits per second that they ask for.
    flows: Vec<f64>,
    demands: Vec<f64>,
    number: f64,
    demand: f64,
}

impl<'a> Nic<'a> {
    /// An idle NIC of `capacity` bits per second.
    pub(crate) fn new(capacity: f64, levels: &'a Levels) -> Self {
        let size = levels.0.len();
        Self { capacity, levels, flows: vec![0.0; size], demands: vec![0.0; size], number: 0.0, demand: 0.0 }
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

    fn nic<'a>(capacity: f64, levels: &'a Levels, demands: &[f64]) -> Nic<'a> {
        let mut nic = Nic::new(capacity, levels);
        for &demand in demands {
            nic.add(levels.rank(demand));
        }
        nic
    }

    #[test]
    fn small_flows_get_all_they_ask_for() {
        let levels = Levels::new(vec![10.0, 5.0]);
        let nic = nic(100.0, &levels, &[10.0, 5.0, 5.0]);
        assert_eq!(nic.left_for(1), 80.0);
        assert_eq!(nic.lost(80.0), 0.0);
    }

    #[test]
    fn the_fair_share_is_max_min_fair() {
        let levels = Levels::new(vec![30.0, 5.0, 0.0, 60.0]);
        let nic = nic(100.0, &levels, &[30.0, 30.0, 5.0, 0.0]);
        assert!((nic.fair_share(1) - 35.0).abs() < 1e-9);
        assert!((nic.fair_share(2) - 23.75).abs() < 1e-9);
    }

    #[test]
    fn large_flows_are_squeezed_to_little_more_than_a_fair_share() {
        let levels = Levels::new(vec![30.0]);
        let nic = nic(100.0, &levels, &[30.0, 30.0]);
        assert!((nic.left_for(1) - 40.0).abs() < 1e-9);
        assert!((nic.left_for(2) - 49.0).abs() < 1e-9);
        assert!((nic.lost(49.0) - 9.0).abs() < 1e-9);
    }

    #[test]
    fn a_flow_that_ended_leaves_nothing_behind() {
        let levels = Levels::new(vec![30.0, 7.0]);
        let mut nic = nic(100.0, &levels, &[30.0, 7.0]);
        nic.remove(levels.rank(30.0));
        assert_eq!(nic.left_for(3), 93.0);
    }
}
