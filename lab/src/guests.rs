//! Adding guests to a lab, watching over them, and removing them.

use std::{collections::BTreeMap, fs, thread, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use nix::fcntl::FlockArg;
use serde::{Deserialize, Serialize};
use tsmig_lab_guest::{ORDER_PORT, POWER_OFF};

use crate::{
    domain_xml::domain_xml,
    guest::{GuestSpec, Start},
    lab::{Lab, join, lock},
    networks::Network,
    node::{FIRST_GUEST, Node},
    rate::Rate,
    run::{feed, wait_for},
};

/// Until then, a guest has booted and its traffic runs, even beside many others.
const BOOT_PATIENCE: Duration = Duration::from_secs(120);

/// Until then, libvirt has let go of a domain.
const REMOVE_PATIENCE: Duration = Duration::from_secs(60);

/// The span over which a flow is looked at to see whether it lives.
const FLOW_WINDOW: Duration = Duration::from_secs(1);

/// A guest as the lab remembers it.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    /// Last byte of its addresses.
    number: u8,
    spec: GuestSpec,
}

type Records = BTreeMap<String, Record>;

impl Lab {
    /// Starts guests side by side, and waits until each has its heartbeat and its traffic.
    pub fn add_guests(&self, guests: &[GuestSpec]) -> Result<()> {
        let numbers = &self.enrol(guests)?;
        thread::scope(|scope| {
            let threads: Vec<_> = guests
                .iter()
                .map(|guest| {
                    scope
                        .spawn(move || self.add_guest(guest, numbers).with_context(|| format!("adding {}", guest.name)))
                })
                .collect();
            threads.into_iter().try_for_each(join)
        })
    }

    /// The guests that were added and not removed.
    pub fn guests(&self) -> Result<Vec<GuestSpec>> {
        Ok(self.records()?.into_values().map(|record| record.spec).collect())
    }

    /// Stops and undefines one guest, on all hosts.
    pub fn remove_guest(&self, name: &str) -> Result<()> {
        self.remove_domains(&|domain| domain == name)?;
        self.forget(&|guest| guest == name)
    }

    /// Stops and undefines all domains on all hosts, whoever defined them.
    pub fn remove_all_guests(&self) -> Result<()> {
        self.remove_domains(&|_| true)?;
        self.forget(&|_| true)
    }

    /// A domain's state on a host with its reason, as in `running (booted)`; none if the host does
    /// not know the domain.
    pub fn state(&self, host: Node, guest: &str) -> Result<Option<String>> {
        match self.virsh(host, &["domstate", "--reason", guest]) {
            Ok(state) => Ok(Some(state.trim().to_owned())),
            // The second where it goes between the look-up and the question.
            Err(error)
                if ["failed to get domain", "Domain not found"].iter().any(|gone| error.to_string().contains(gone)) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a guest power itself off, as its user would.
    pub fn power_off(&self, guest: &str) -> Result<()> {
        let records = self.records()?;
        let record = records.get(guest).with_context(|| format!("no guest named {guest} was added"))?;
        let address = Network::Lan.address(record.number);
        ensure!(record.spec.nics.iter().any(|nic| nic.network == Network::Lan), "{guest} is not in the LAN");
        let order = format!("echo {POWER_OFF} > /dev/tcp/{address}/{ORDER_PORT}");
        self.run(Node::Peer, &["bash", "-c", &order])?;
        Ok(())
    }

    /// Bytes that a guest has sent over its card in a network and received there, since it came to its host.
    pub fn carried(&self, guest: &str, network: Network) -> Result<(u64, u64)> {
        let records = self.records()?;
        let record = records.get(guest).with_context(|| format!("no guest named {guest} was added"))?;
        let mac = network.guest_mac(record.number);
        for &host in self.hosts() {
            if self.state(host, guest)?.is_some_and(|state| state.starts_with("running")) {
                let text = self.virsh(host, &["domifstat", guest, &mac])?;
                let count = |key: &str| {
                    let value = text.lines().find_map(|line| line.split_once(key)?.1.trim().parse().ok());
                    value.with_context(|| format!("no {key} of {guest} in {text:?}"))
                };
                // libvirt counts what the guest sends and receives, not what its tap does.
                return Ok((count("tx_bytes")?, count("rx_bytes")?));
            }
        }
        bail!("{guest} does not run")
    }

    /// Waits until a guest's traffic runs: that with the peer at no less than half of its rate, that with other guests
    /// until as much has run as half of its rate is in [`FLOW_WINDOW`].
    pub fn wait_for_flow(&self, guest: &GuestSpec, timeout: Duration) -> Result<()> {
        let enough = |measured: f64, asked: u64| measured >= asked as f64 / 2.0;
        wait_for(&format!("the traffic of {}", guest.name), timeout, || {
            let flow = self.flow(&guest.name, FLOW_WINDOW)?;
            let lives = enough(flow.outbound_bits_per_second, guest.sends().bits_per_second())
                && enough(flow.inbound_bits_per_second, guest.receives().bits_per_second());
            Ok(lives.then_some(()))
        })?;
        for nic in guest.nics.iter().filter(|nic| nic.other_end.is_some()) {
            let before = self.carried(&guest.name, nic.network)?;
            wait_for(&format!("the traffic of {} to other guests", guest.name), timeout, || {
                let now = self.carried(&guest.name, nic.network)?;
                let bits = |now: u64, before: u64| now.saturating_sub(before) as f64 * 8.0 / FLOW_WINDOW.as_secs_f64();
                let lives = enough(bits(now.0, before.0), nic.send.bits_per_second())
                    && enough(bits(now.1, before.1), nic.receive.bits_per_second());
                Ok(lives.then_some(()))
            })?;
        }
        Ok(())
    }

    fn add_guest(&self, guest: &GuestSpec, numbers: &BTreeMap<String, u8>) -> Result<()> {
        let xml = domain_xml(self.spec(), guest, numbers)?;
        let host = guest.host;
        let define = |action: &str| {
            let mut virsh = self.command(host, "virsh");
            feed(virsh.args(["--quiet", "--connect", "qemu:///system", action, "/dev/stdin"]), &xml)
        };
        match (guest.transient, guest.start) {
            (true, Start::Inactive) => bail!("a transient domain cannot be inactive"),
            (true, _) => define("create")?,
            (false, Start::Inactive) => return define("define").map(drop),
            (false, _) => {
                define("define")?;
                self.virsh(host, &["start", &guest.name])?
            }
        };
        self.wait_alive(&guest.name, BOOT_PATIENCE)?;
        self.wait_for_flow(guest, BOOT_PATIENCE)?;
        if guest.start == Start::Paused {
            self.virsh(host, &["suspend", &guest.name])?;
        }
        Ok(())
    }

    /// Records new guests, and gives each a number that no other has; returns those of all guests.
    fn enrol(&self, guests: &[GuestSpec]) -> Result<BTreeMap<String, u8>> {
        self.with_records(|records| {
            for spec in guests {
                let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
                ensure!(
                    !spec.name.is_empty() && spec.name.chars().all(plain),
                    "a guest's name consists of letters, digits and -_. , unlike {:?}",
                    spec.name
                );
                ensure!(self.hosts().contains(&spec.host), "{} runs no guests", spec.host);
                self.check_nics(spec)?;
                ensure!(!records.contains_key(&spec.name), "there is a guest {} already", spec.name);
                let taken = |number: &u8| records.values().any(|record| record.number == *number);
                let number = (FIRST_GUEST..u8::MAX)
                    .find(|number| !taken(number))
                    .context("the lab has no address left for another guest")?;
                records.insert(spec.name.clone(), Record { number, spec: spec.clone() });
            }
            for spec in guests {
                check_other_ends(spec, records)?;
            }
            Ok(records.iter().map(|(name, record)| (name.clone(), record.number)).collect())
        })
    }

    fn check_nics(&self, guest: &GuestSpec) -> Result<()> {
        let name = &guest.name;
        for (number, nic) in guest.nics.iter().enumerate() {
            let network = nic.network.name();
            ensure!(self.spec().bridge(nic.network).is_some(), "this lab has no network {network} for {name}");
            let twice = guest.nics[..number].iter().any(|other| other.network == nic.network);
            ensure!(!twice, "{name} is twice in the network {network}");
            let silent = nic.send.max(nic.receive) == Rate::ZERO;
            ensure!(
                silent || nic.other_end.is_some() || nic.network.peer().is_some(),
                "the peer is not in the network {network}; name a guest for the traffic of {name}"
            );
        }
        Ok(())
    }

    fn forget(&self, wanted: &dyn Fn(&str) -> bool) -> Result<()> {
        self.with_records(|records| {
            for name in records.keys().filter(|name| wanted(name)) {
                // A guest that never started has no console.
                let _ = fs::remove_file(self.dir().console(name));
            }
            records.retain(|name, _| !wanted(name));
            Ok(())
        })
    }

    fn remove_domains(&self, wanted: &(dyn Fn(&str) -> bool + Sync)) -> Result<()> {
        thread::scope(|scope| {
            let remove = |host| move || self.remove_domains_of(host, wanted);
            let hosts: Vec<_> = self.hosts().iter().map(|&host| scope.spawn(remove(host))).collect();
            hosts.into_iter().try_for_each(join)
        })
    }

    fn remove_domains_of(&self, host: Node, wanted: &dyn Fn(&str) -> bool) -> Result<()> {
        let names = |arguments: &[&str]| -> Result<Vec<String>> {
            let list = self.virsh(host, arguments)?;
            let names = list.lines().map(str::trim).filter(|name| !name.is_empty() && wanted(name));
            Ok(names.map(str::to_owned).collect())
        };
        wait_for(&format!("the domains of {host} to go"), REMOVE_PATIENCE, || {
            // Failures are no concern yet: a domain may go by itself, or be held for a moment by
            // a migration.
            for name in names(&["list", "--name"])? {
                let _ = self.virsh(host, &["destroy", &name]);
            }
            for name in names(&["list", "--all", "--name"])? {
                let _ = self.virsh(host, &["undefine", "--managed-save", &name]);
            }
            Ok(names(&["list", "--all", "--name"])?.is_empty().then_some(()))
        })
    }

    fn records(&self) -> Result<Records> {
        let path = self.dir().guests();
        if !path.exists() {
            return Ok(Records::new());
        }
        let text = fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is damaged", path.display()))
    }

    /// Changes the records, with no other process doing so at the same time.
    fn with_records<T>(&self, change: impl FnOnce(&mut Records) -> Result<T>) -> Result<T> {
        let _lock = lock(self.dir().path(), FlockArg::LockExclusive)?;
        let mut records = self.records()?;
        let result = change(&mut records)?;
        let text = serde_json::to_string_pretty(&records).context("encoding the guests")?;
        fs::write(self.dir().guests(), text).context("recording the guests")?;
        Ok(result)
    }
}

/// The other ends of a guest's traffic are there, and in the same networks.
fn check_other_ends(guest: &GuestSpec, records: &Records) -> Result<()> {
    for nic in &guest.nics {
        if let Some(other) = &nic.other_end {
            let record = records.get(other).with_context(|| format!("no guest named {other} was added"))?;
            let there = record.spec.nics.iter().any(|end| end.network == nic.network);
            ensure!(there, "{other} is not in the network {} of {}", nic.network.name(), guest.name);
        }
    }
    Ok(())
}
