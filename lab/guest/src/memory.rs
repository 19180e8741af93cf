//! Memory that a migration has to carry: filled once, or written to over and over.

use std::{fs, hint::black_box};

use anyhow::{Context, Result, ensure};
use tsmig_lab_guest::pacer::Pacer;

const PAGE: usize = 4096;

/// Memory, in bytes, without which the rest of the guest cannot work.
const RESERVE: u64 = 8 << 20;

/// That many bytes of memory that neither compress nor are zero: a migration must send them.
pub(crate) fn fill(bytes: u64) -> Result<Vec<u8>> {
    let available = available()?.saturating_sub(RESERVE);
    ensure!(
        bytes <= available,
        "asked to use {} MiB of memory, but only {} MiB are free",
        bytes >> 20,
        available >> 20
    );
    let mut memory = vec![0; bytes as usize];
    fastrand::fill(&mut memory);
    Ok(black_box(memory))
}

/// The kernel's estimate of what may be allocated, in bytes.
fn available() -> Result<u64> {
    let info = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let kib: u64 = info
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:")?.strip_suffix("kB")?.trim().parse().ok())
        .context("no MemAvailable in /proc/meminfo")?;
    Ok(kib << 10)
}

/// Writes to the pages of a working set, round and round, for ever.
///
/// `rate` is in bytes per second and counts whole pages: each write dirties one.
pub(crate) fn keep_dirty(rate: u64, mut memory: Vec<u8>) {
    let mut pacer = Pacer::new(rate as f64);
    let chunk = pacer.chunk(PAGE);
    let mut pages = (0..memory.len()).step_by(PAGE).cycle();
    loop {
        pacer.wait(chunk);
        for page in pages.by_ref().take(chunk / PAGE) {
            memory[page] = memory[page].wrapping_add(1);
        }
        black_box(&mut memory);
    }
}
