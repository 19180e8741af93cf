//! A lab on one machine: KVM hosts with libvirt, a switch with shaped links between them, guests
//! with traffic and a heartbeat, and a client from which `tsmig` evacuates one host to the other.
//!
//! Everything is real except the wires: each host runs Debian's libvirtd, QEMU and sshd in its own
//! namespaces. [`Lab::up`] brings a lab up, [`Lab::add_guests`] boots guests, [`Lab::command`] runs
//! programs in any [`Node`], and [`Lab::pulse`], [`Lab::assert_unbroken`], [`Lab::flow`] and
//! [`Lab::traffic`] tell what a migration did to the guests.
//!
//! ```no_run
//! use tsmig_lab::{GuestSpec, Lab, LabSpec, Node, Rate};
//!
//! # fn main() -> anyhow::Result<()> {
//! let lab = Lab::up(&LabSpec::named("example"))?; // goes down when dropped
//! lab.add_guests(&[GuestSpec::new("o1").send(Rate::mbit(30))])?;
//! let before = lab.pulse("o1")?;
//! let migrate = "virsh -c qemu+tcp://host-a/system migrate --live --p2p o1 qemu+tcp://host-b/system";
//! lab.run(Node::Client, &["sh", "-c", migrate])?;
//! lab.assert_unbroken("o1", &before)?;
//! # Ok(())
//! # }
//! ```

mod cache;
mod census;
mod client_view;
mod console;
mod deps;
mod domain_xml;
mod flow;
mod guest;
mod guests;
mod hold;
mod host_faults;
mod host_root;
mod initramfs;
mod kernel;
mod lab;
mod networks;
mod node;
mod paths;
mod peer;
mod rate;
mod rootfs;
mod run;
mod spec;
mod ssh;
mod wiring;

pub mod cli;

pub use console::Pulse;
pub use flow::{Delivered, Flow};
pub use guest::{GuestSpec, Nic, Start};
pub use lab::{Lab, all_labs, down};
pub use networks::{MigrationNetwork, Network};
pub use node::Node;
pub use rate::Rate;
pub use rootfs::Release;
pub use spec::{Accelerator, DEFAULT_LINK, DEFAULT_NAME, LabSpec};
