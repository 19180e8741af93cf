//! Gives `eth0` its address and brings it up, over netlink: there is no `ip` in the guest.

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
};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};

/// The card may appear a moment after its driver was loaded.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sets the address of `eth0` and brings it up.
pub(crate) fn configure(address: Ipv4Addr, prefix: u8) -> Result<()> {
    let index = wait_for_index()?;
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.attributes =
        vec![AddressAttribute::Local(IpAddr::V4(address)), AddressAttribute::Address(IpAddr::V4(address))];
    request(RouteNetlinkMessage::NewAddress(message)).context("setting the address of eth0")?;
    set_flags(index, LinkFlags::Up).context("bringing eth0 up")
}

/// Takes `eth0` down.
pub(crate) fn take_down() -> Result<()> {
    set_flags(wait_for_index()?, LinkFlags::empty()).context("taking eth0 down")
}

fn set_flags(index: u32, flags: LinkFlags) -> Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = flags;
    message.header.change_mask = LinkFlags::Up;
    request(RouteNetlinkMessage::SetLink(message))
}

fn wait_for_index() -> Result<u32> {
    let start = Instant::now();
    loop {
        match fs::read_to_string("/sys/class/net/eth0/ifindex") {
            Ok(index) => return index.trim().parse().context("index of eth0"),
            Err(error) if start.elapsed() > PATIENCE => return Err(error).context("there is no eth0"),
            Err(_) => thread::sleep(Duration::from_millis(20)),
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
