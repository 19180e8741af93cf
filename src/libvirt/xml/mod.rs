//! What libvirt's XML says.

pub(super) mod domain;
pub(super) mod nic;
