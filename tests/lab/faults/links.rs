//! A cable that is pulled.

use std::time::Duration;

use anyhow::Result;
use tsmig_lab::{Lab, Node};

use super::{assert_moved, begin};
use crate::harness::Test;

pub const TESTS: &[(&str, Test)] = &[("fault_link_cut_for_20_s_in_post_copy_the_guest_arrives_whole", in_post_copy)];

/// A cable that is plugged in again whatever happens.
struct Cut<'a>(&'a Lab);

impl<'a> Cut<'a> {
    fn new(lab: &'a Lab) -> Result<Self> {
        lab.set_link(Node::HostB, false)?;
        Ok(Self(lab))
    }
}

impl Drop for Cut<'_> {
    fn drop(&mut self) {
        // The next thing that needs the link will say that it is not there.
        let _ = self.0.set_link(Node::HostB, true);
    }
}

fn in_post_copy(lab: &Lab) -> Result<()> {
    let (guests, running) = begin(lab, "post-copy", "post-copy")?;
    let cut = Cut::new(lab)?;
    std::thread::sleep(Duration::from_secs(20));
    drop(cut);
    running.end()?.expect(0, "o1", "migrated")?;
    assert_moved(lab, &guests, "o1")
}
