//! What a guest and the lab must agree on: the configuration on the kernel command line, the
//! heartbeat on the console, the announcement that opens a flow, the pace of a flow and its other end.
//!
//! Each format is written and read in one module, so that the two sides cannot drift apart. The
//! lab links this library; the binary of this package is the guests' `/init`.

pub mod config;
pub mod flow;
pub mod pacer;
pub mod serve;
pub mod tick;

/// TCP port of a guest that takes one-word orders; the only one is [`POWER_OFF`].
pub const ORDER_PORT: u16 = 9;

/// The order that makes a guest power itself off, as a user in the guest would.
pub const POWER_OFF: &str = "poweroff";

/// Modules that the Debian cloud kernel needs for a virtio network card and balloon, in the order
/// in which they must be loaded.
pub const MODULES: [&str; 9] = [
    "virtio_ring",
    "virtio",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
    "virtio_balloon",
];
