//! Gives the guest's cards their addresses and brings them up, over netlink: there is no `ip` in the guest.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{LinkFlags, LinkMessage},
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use tsmig_lab_guest::config::NicConfig;

/// A card may appear a moment after its driver was loaded.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sets the addresses of `eth0` and the cards that follow, and brings them up.
pub(crate) fn configure(nics: &[NicConfig]) -> Result<()> {
    for (number, nic) in nics.iter().enumerate() {
        configure_nic(&name(number), nic)?;
    }
    Ok(())
}

/// Takes all cards down.
pub(crate) fn take_down() -> Result<()> {
    for number in 0.. {
        let name = name(number);
        let Some(index) = index(&name)? else { break };
        set_flags(index, LinkFlags::empty()).with_context(|| format!("taking {name} down"))?;
    }
    Ok(())
}

fn name(number: usize) -> String {
    format!("eth{number}")
}

fn configure_nic(name: &str, nic: &NicConfig) -> Result<()> {
    let index = wait_for_index(name)?;
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = nic.prefix;
    message.header.index = index;
    let address = IpAddr::V4(nic.address);
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    request(RouteNetlinkMessage::NewAddress(message)).with_context(|| format!("setting the address of {name}"))?;
    set_flags(index, LinkFlags::Up).with_context(|| format!("bringing {name} up"))?;
    match nic.gateway {
        Some(gateway) => add_default_route(gateway).with_context(|| format!("setting the gateway of {name}")),
        None => Ok(()),
    }
}

fn set_flags(index: u32, flags: LinkFlags) -> Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = flags;
    message.header.change_mask = LinkFlags::Up;
    request(RouteNetlinkMessage::SetLink(message))
}

fn add_default_route(gateway: Ipv4Addr) -> Result<()> {
    let mut message = RouteMessage::default();
    message.header = RouteHeader {
        address_family: AddressFamily::Inet,
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Boot,
        scope: RouteScope::Universe,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    };
    message.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway))];
    request(RouteNetlinkMessage::NewRoute(message))
}

/// The number that the kernel gave a card; none if there is no such card.
fn index(name: &str) -> Result<Option<u32>> {
    match fs::read_to_string(format!("/sys/class/net/{name}/ifindex")) {
        Ok(index) => index.trim().parse().map(Some).with_context(|| format!("index of {name}")),
        Err(_) => Ok(None),
    }
}

fn wait_for_index(name: &str) -> Result<u32> {
    let start = Instant::now();
    loop {
        match index(name)? {
            Some(index) => return Ok(index),
            None if start.elapsed() > PATIENCE => bail!("there is no {name}"),
            // No event is to be had without udev.
            None => thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Sends one request and waits for the kernel's answer to it.
fn request(message: RouteNetlinkMessage) -> Result<()> {
    let mut socket = Socket::new(NETLINK_ROUTE).context("opening a netlink socket")?;
    socket.bind_auto().context("binding the netlink socket")?;
    let mut packet = NetlinkMessage::from(message);
    packet.header.flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
    packet.finalize();
    let mut buffer = vec![0; packet.buffer_len()];
    packet.serialize(&mut buffer);
    socket.send(&buffer, 0)?;

    let (answer, _) = socket.recv_from_full()?;
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)?.payload {
        NetlinkPayload::Error(error) if error.code.is_some() => Err(error.to_io().into()),
        NetlinkPayload::Error(_) => Ok(()),
        other => bail!("unexpected answer from the kernel: {other:?}"),
    }
}
