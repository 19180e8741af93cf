//! The guests of each scenario. Their memory is mostly full, as that of a guest in use is: about 110 MiB of 128. Where
//! several send, they also write 1 MB/s to memory of their own: without that it hangs on chance whether they converge side
//! by side (`docs/model.md`).

use tsmig_lab::{GuestSpec, Rate};

/// One set of guests.
pub struct Scenario {
    pub name: &'static str,
    guests: &'static [Guest],
}

struct Guest {
    name: &'static str,
    memory_mib: u64,
    fill_mib: u64,
    send_mbit: u64,
    receive_mbit: u64,
    /// Rate in bytes per second and working set in MiB.
    dirty: Option<(u64, u64)>,
}

const SENDER: Guest = Guest { name: "", memory_mib: 128, fill_mib: 48, send_mbit: 30, receive_mbit: 0, dirty: None };
const BUSY_SENDER: Guest = Guest { dirty: Some((1_000_000, 4)), ..SENDER };
const RECEIVER: Guest = Guest { send_mbit: 0, receive_mbit: 30, ..SENDER };

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "balanced",
        guests: &[
            Guest { name: "o1", ..BUSY_SENDER },
            Guest { name: "o2", ..BUSY_SENDER },
            Guest { name: "r1", ..RECEIVER },
            Guest { name: "r2", ..RECEIVER },
        ],
    },
    Scenario {
        name: "mostly senders",
        guests: &[
            Guest { name: "o1", send_mbit: 20, ..BUSY_SENDER },
            Guest { name: "o2", send_mbit: 20, ..BUSY_SENDER },
            Guest { name: "o3", send_mbit: 20, ..BUSY_SENDER },
            Guest { name: "r1", receive_mbit: 15, ..RECEIVER },
        ],
    },
    Scenario {
        name: "mostly receivers",
        guests: &[
            Guest { name: "o1", send_mbit: 8, ..SENDER },
            Guest { name: "r1", receive_mbit: 12, ..RECEIVER },
            Guest { name: "r2", receive_mbit: 12, ..RECEIVER },
            Guest { name: "r3", receive_mbit: 10, ..RECEIVER },
        ],
    },
    Scenario {
        name: "different sizes, one writes to memory",
        guests: &[
            Guest { name: "o1", memory_mib: 192, fill_mib: 110, send_mbit: 20, ..SENDER },
            Guest { name: "o2", send_mbit: 20, ..SENDER },
            Guest { name: "r1", memory_mib: 160, fill_mib: 80, receive_mbit: 20, ..RECEIVER },
            Guest { name: "w1", fill_mib: 24, send_mbit: 0, dirty: Some((10_000_000, 24)), ..SENDER },
        ],
    },
];

impl Scenario {
    /// Where its profile is kept, from the project's top.
    pub fn profile(&self) -> String {
        let name = self.name.split(',').next().unwrap_or_default().replace(' ', "-");
        format!("docs/bench/profiles/{name}.json")
    }

    /// The guests, senders first.
    pub fn guests(&self) -> Vec<GuestSpec> {
        let spec = |guest: &Guest| {
            let spec = GuestSpec::new(guest.name)
                .memory_mib(guest.memory_mib)
                .fill_mib(guest.fill_mib)
                .send(Rate::mbit(guest.send_mbit))
                .receive(Rate::mbit(guest.receive_mbit));
            match guest.dirty {
                Some((bytes_per_second, working_set)) => spec.dirty(Rate(bytes_per_second * 8), working_set),
                None => spec,
            }
        };
        self.guests.iter().map(spec).collect()
    }
}
