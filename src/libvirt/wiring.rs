//! How a host's network devices are connected, and which of them leads to another host: as its shell tells it, which sees
//! all of it, else as far as its libvirt does, which knows no routes and often not even bridges.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use virt::connect::Connect;
use virt::sys;

use super::facts::{DeviceKind, NetDevice, Way, Wiring};
use super::host::Host;
use super::shell::quoted;
use super::xml::net_device;
use super::xml::network::Reach;
use super::{HostError, uri};

/// The devices with their addresses and their speeds in Mbit/s.
const DEVICES: &str = r#"
PATH=$PATH:/usr/sbin:/sbin
devices=$(ip -j -d address) && echo "devices $devices"
for file in /sys/class/net/*/speed; do
  speed=$(cat "$file" 2> /dev/null) && name=${file%/speed} && echo "speed ${name##*/} $speed"
done
default=$(ip -j route show default) && echo "default $default"
listening=$(ss -Hltn) && echo "listening" && echo "$listening" | while read -r state queued sent address rest; do
  echo "taken ${address##*:}"
done
for entry in /sys/class/net/*/device/physfn/net/*; do
  [ -e "$entry" ] && device=${entry#/sys/class/net/} && echo "function ${device%%/*} ${entry##*/}"
done
conf=/etc/libvirt/qemu.conf
if [ -r $conf ]; then
  echo "host $(sed -n 's/^[[:space:]]*migration_host[[:space:]]*=[[:space:]]*"\([^"]*\)".*/\1/p' $conf | tail -n 1)"
fi
"#;

/// The way to a host, whose name the shell looks up as QEMU does: it tries the addresses in this order.
const WAY: &str = r#"
case $to in
  *[!0-9.]*) addresses=$(command -v getent > /dev/null && getent ahosts "$to" | while read -r address rest; do echo "$address"; done) ;;
  *) addresses=$to ;;
esac
if [ -n "$addresses" ] || command -v getent > /dev/null; then
  echo "way" $(echo "$addresses" | sort -u)
  first=$(echo "$addresses" | head -n 1)
  echo "first $first"
  [ -z "$first" ] || { route=$(ip -j route get "$first" 2>&1) && echo "route $route" || echo "noroute" $route; }
fi
"#;

/// The host that a migration URI names, and the port if it names one, too; `None` if memory does not go by TCP.
pub fn server(migration_uri: &str) -> Option<(&str, Option<u16>)> {
    let (_, rest) = migration_uri.split_once("://").filter(|(scheme, _)| *scheme == "tcp")?;
    let (host, port) = uri::host_and_port(rest.trim_end_matches('/'));
    Some((host, port.and_then(|port| port.parse().ok())))
}

impl Host {
    /// How the host's devices are connected, and its way `to` another host, of which a name or an address is given.
    ///
    /// # Errors
    /// The host's libvirt did not answer.
    pub fn wiring(&self, to: Option<&str>) -> Result<Wiring, HostError> {
        let networks = self.networks()?;
        let to = to.map(|to| format!("to={}{WAY}", quoted(to)));
        let script = format!("{DEVICES}{}", to.unwrap_or_default());
        let Some(wiring) = self.shell(&script)?.and_then(|told| read(&told)) else {
            return Ok(Wiring { devices: self.devices()?, networks, ..Wiring::default() });
        };
        Ok(Wiring { networks, ..wiring })
    }

    /// The name that libvirt has migrations to this host take, unless it is told another.
    ///
    /// # Errors
    /// The host's libvirt did not answer.
    pub fn own_name(&self) -> Result<String, HostError> {
        self.line.ask(Connect::hostname)
    }

    /// libvirt's networks that are active; none if it has no driver for them.
    fn networks(&self) -> Result<Vec<(String, Reach)>, HostError> {
        let networks = self.line.ask_raw(|connection| {
            let networks = connection.list_all_networks(sys::VIR_CONNECT_LIST_NETWORKS_ACTIVE)?;
            // One that vanishes meanwhile is none.
            let read = networks
                .iter()
                .filter_map(|network| Some((network.name().ok()?, Reach::read(&network.xml_desc(0).ok()?)?)));
            Ok(read.collect())
        })?;
        Ok(networks.unwrap_or_default())
    }

    /// What libvirt says of the devices; nothing if it has no drivers for them.
    fn devices(&self) -> Result<Vec<NetDevice>, HostError> {
        let nodes = self.line.ask_raw(|connection| {
            let devices = connection.list_all_node_devices(sys::VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET)?;
            // One request each. libvirt names the guests' taps vnetN; they carry no migration, and are many.
            let devices = devices.iter().filter(|device| !device.name().is_ok_and(|name| name.starts_with("net_vnet")));
            // One that vanishes meanwhile is no NIC that carries anything.
            Ok(devices.filter_map(|device| net_device::device(&device.xml_desc(0).ok()?)).collect())
        })?;
        // Many builds of libvirt come without the interface driver.
        let interfaces = self.line.ask_raw(|connection| {
            let interfaces = connection.list_all_interfaces(sys::VIR_CONNECT_LIST_INTERFACES_ACTIVE)?;
            let xml = interfaces.iter().filter_map(|interface| interface.xml_desc(0).ok());
            Ok(xml.flat_map(|xml| net_device::interfaces(&xml)).collect())
        })?;
        Ok(merged(nodes.unwrap_or_default(), interfaces.unwrap_or_default()))
    }
}

/// What both of libvirt's drivers say: that of node devices knows hardware and speeds, that of interfaces what is connected.
fn merged(nodes: Vec<NetDevice>, interfaces: Vec<NetDevice>) -> Vec<NetDevice> {
    let mut merged: Vec<NetDevice> = nodes;
    for interface in interfaces {
        match merged.iter_mut().find(|device| device.name == interface.name) {
            None => merged.push(interface),
            Some(device) if device.kind == DeviceKind::Other || interface.kind != DeviceKind::Other => {
                // An interface may be told twice: alone, and as a member.
                if interface.kind != DeviceKind::Other {
                    device.kind = interface.kind;
                    device.below = interface.below;
                }
                device.mtu = device.mtu.or(interface.mtu);
                device.up |= interface.up;
                device.bits_per_second = device.bits_per_second.or(interface.bits_per_second);
            }
            Some(_) => {}
        }
    }
    merged
}

/// Reads what the script printed; `None` if it does not tell of the devices.
fn read(told: &str) -> Option<Wiring> {
    let mut wiring = Wiring::default();
    let (mut speeds, mut functions) = (HashMap::new(), HashMap::new());
    for (key, rest) in told.lines().map(|line| line.split_once(' ').unwrap_or((line, ""))) {
        match key {
            "way" => {
                let to = rest.split(' ').filter_map(|address| address.split('%').next()?.parse().ok()).collect();
                wiring.way = Some(Way { to, ..Way::default() });
            }
            "listening" => wiring.taken = Some(BTreeSet::new()),
            "taken" => wiring.taken.iter_mut().for_each(|taken| taken.extend(rest.parse::<u16>())),
            "function" => functions.extend(rest.split_once(' ')),
            "host" => wiring.migration_host = Some(Some(rest.to_owned()).filter(|host| !host.is_empty())),
            "devices" => {
                wiring.devices = devices(rest)?;
                wiring.complete = true;
            }
            "speed" => {
                let speed = rest.split_once(' ').and_then(|(name, speed)| Some((name, speed.parse::<i64>().ok()?)));
                speeds.extend(speed.filter(|(_, speed)| *speed > 0 && *speed < i64::from(u32::MAX)));
            }
            "first" => {
                let first = rest.split('%').next().and_then(|address| address.parse().ok());
                if let (Some(way), Some(first)) = (&mut wiring.way, first) {
                    way.to.retain(|address| *address != first);
                    way.to.insert(0, first);
                }
            }
            "noroute" => {
                if let Some(way) = &mut wiring.way {
                    way.unreachable = rest.contains("unreachable") || rest.contains("No route to host");
                }
            }
            "default" => wiring.default_route = device_of_route(rest),
            "route" => {
                if let Some(way) = &mut wiring.way {
                    way.device = device_of_route(rest);
                }
            }
            _ => {}
        }
    }
    for device in &mut wiring.devices {
        device.bits_per_second = speeds.get(&*device.name).map(|speed| *speed as f64 * 1e6);
        // A function of a NIC shares its wire.
        if let Some(nic) = functions.get(&*device.name) {
            (device.kind, device.below) = (DeviceKind::Stacked, vec![(*nic).to_owned()]);
        }
    }
    Some(wiring).filter(|wiring| wiring.complete)
}

/// The device in what `ip -j route` prints.
fn device_of_route(json: &str) -> Option<String> {
    let routes: Vec<Value> = serde_json::from_str(json).ok()?;
    Some(routes.first()?["dev"].as_str()?.to_owned())
}

/// Reads what `ip -j -d address` prints.
fn devices(json: &str) -> Option<Vec<NetDevice>> {
    let links: Vec<Value> = serde_json::from_str(json).ok()?;
    let mut devices: Vec<NetDevice> = links.iter().filter_map(device).collect();
    // A member names its bridge or bond, and not the other way round.
    for link in &links {
        let (Some(member), Some(master)) = (link["ifname"].as_str(), link["master"].as_str()) else { continue };
        let is_guest = devices.iter().any(|device| device.name == member && device.kind == DeviceKind::Tap);
        let above = if is_guest { member } else { master };
        let below = if is_guest { master } else { member };
        if let Some(device) = devices.iter_mut().find(|device| device.name == above) {
            device.below.push(below.to_owned());
        }
    }
    Some(devices)
}

fn device(link: &Value) -> Option<NetDevice> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let (info, data) = (&link["linkinfo"], &link["linkinfo"]["info_data"]);
    // sysfs has the bus of hardware only; iproute2 before 5.13 does not print it, and says nothing of a kind either.
    let physical = !link["parentbus"].is_null() || (info["info_kind"].is_null() && link["link_type"] == "ether");
    let kind = match info["info_kind"].as_str() {
        None if physical => DeviceKind::Nic,
        Some("veth") => DeviceKind::Nic,
        Some("bridge") => DeviceKind::Bridge,
        Some("bond") => DeviceKind::Bond { mode: text(&data["mode"]), hash: text(&data["xmit_hash_policy"]) },
        Some("vlan" | "macvlan") => DeviceKind::Stacked,
        Some("tun" | "macvtap" | "ipvtap") => DeviceKind::Tap,
        _ => DeviceKind::Other,
    };
    let flags = link["flags"].as_array();
    let addresses = link["addr_info"].as_array().into_iter().flatten();
    Some(NetDevice {
        name: text(&link["ifname"])?,
        address: text(&link["address"]).unwrap_or_default(),
        bits_per_second: None,
        up: flags.is_some_and(|flags| flags.iter().any(|flag| flag == "LOWER_UP")),
        physical,
        kind,
        below: text(&link["link"]).into_iter().collect(),
        mtu: link["mtu"].as_u64().and_then(|mtu| u32::try_from(mtu).ok()),
        addresses: addresses.filter_map(|info| info["local"].as_str()?.parse().ok()).collect(),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// What the script prints on a host with a bond, VLANs on it that guests and the host use, a NIC for storage and
    /// migrations, and a bridge of containers: lines of `ip -j -d address`, of which what is not read is left out.
    const SERVER: &str = concat!(
        r#"devices [{"ifname":"lo","flags":["LOOPBACK","UP","LOWER_UP"],"mtu":65536,"link_type":"loopback","address":"00:00:00:00:00:00","addr_info":[{"family":"inet","local":"127.0.0.1"}]},"#,
        r#"{"ifname":"eno1","flags":["BROADCAST","MULTICAST","SLAVE","UP","LOWER_UP"],"mtu":1500,"master":"bond0","link_type":"ether","address":"3c:ec:ef:00:00:01","parentbus":"pci","parentdev":"0000:19:00.0","linkinfo":{"info_slave_kind":"bond","info_slave_data":{"state":"ACTIVE"}},"addr_info":[]},"#,
        r#"{"ifname":"eno2","flags":["BROADCAST","MULTICAST","SLAVE","UP","LOWER_UP"],"mtu":1500,"master":"bond0","link_type":"ether","address":"3c:ec:ef:00:00:01","parentbus":"pci","parentdev":"0000:19:00.1","linkinfo":{"info_slave_kind":"bond"},"addr_info":[]},"#,
        r#"{"ifname":"ens5","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":9000,"link_type":"ether","address":"3c:ec:ef:00:00:05","parentbus":"pci","parentdev":"0000:5e:00.0","addr_info":[{"family":"inet","local":"10.1.0.1"}]},"#,
        r#"{"ifname":"ens5v0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":9000,"link_type":"ether","address":"3c:ec:ef:00:00:55","parentbus":"pci","parentdev":"0000:5e:02.0","addr_info":[]},"#,
        r#"{"ifname":"qvbx","link":"qvox","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"02:00:00:00:00:07","linkinfo":{"info_kind":"veth"},"addr_info":[]},"#,
        r#"{"ifname":"ens6","flags":["NO-CARRIER","BROADCAST","MULTICAST","UP"],"mtu":1500,"link_type":"ether","address":"3c:ec:ef:00:00:06","parentbus":"pci","addr_info":[]},"#,
        r#"{"ifname":"bond0","flags":["BROADCAST","MULTICAST","MASTER","UP","LOWER_UP"],"mtu":1500,"master":"br0","link_type":"ether","address":"3c:ec:ef:00:00:01","linkinfo":{"info_kind":"bond","info_data":{"mode":"802.3ad","miimon":100,"xmit_hash_policy":"layer3+4"},"info_slave_kind":"bridge"},"addr_info":[]},"#,
        r#"{"ifname":"br0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"3c:ec:ef:00:00:01","linkinfo":{"info_kind":"bridge","info_data":{"stp_state":0}},"addr_info":[{"family":"inet","local":"192.0.2.1"}]},"#,
        r#"{"ifname":"bond0.42","link":"bond0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"master":"br42","link_type":"ether","address":"3c:ec:ef:00:00:01","linkinfo":{"info_kind":"vlan","info_data":{"protocol":"802.1Q","id":42},"info_slave_kind":"bridge"},"addr_info":[]},"#,
        r#"{"ifname":"br42","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"3c:ec:ef:00:00:01","linkinfo":{"info_kind":"bridge"},"addr_info":[]},"#,
        r#"{"ifname":"vnet0","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"master":"br42","link_type":"ether","address":"fe:54:00:00:00:01","linkinfo":{"info_kind":"tun","info_data":{"type":"tap"},"info_slave_kind":"bridge"},"addr_info":[]},"#,
        r#"{"ifname":"macvtap0","link":"ens5","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":9000,"link_type":"ether","address":"52:54:00:00:00:02","linkinfo":{"info_kind":"macvtap","info_data":{"mode":"bridge"}},"addr_info":[]},"#,
        r#"{"ifname":"virbr1","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"52:54:00:4e:55:6b","linkinfo":{"info_kind":"bridge"},"addr_info":[{"family":"inet","local":"192.168.122.1"}]},"#,
        r#"{"ifname":"vethc1","link_index":2,"flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"master":"br42","link_type":"ether","address":"02:00:00:00:00:03","link_netnsid":1,"linkinfo":{"info_kind":"veth","info_slave_kind":"bridge"},"addr_info":[]},"#,
        r#"{"ifname":"ovs-br","flags":["BROADCAST","MULTICAST","UP","LOWER_UP"],"mtu":1500,"link_type":"ether","address":"02:00:00:00:00:04","linkinfo":{"info_kind":"openvswitch"},"addr_info":[]}]"#,
        "\ndefault [{\"dst\":\"default\",\"gateway\":\"192.0.2.254\",\"dev\":\"br0\",\"flags\":[]}]",
        "\nspeed eno1 10000\nspeed eno2 10000\nspeed ens5 25000\nspeed ens6 -1\nspeed br0 20000\nfunction ens5v0 ens5\nhost \nway 10.1.0.2\nfirst 10.1.0.2\n",
        r#"route [{"dst":"10.1.0.2","dev":"ens5","prefsrc":"10.1.0.1","flags":[],"uid":0,"cache":[]}]"#,
        "\n",
    );

    fn wiring(told: &str) -> Wiring {
        read(told).expect("it tells of devices")
    }

    /// How that host is wired.
    pub(crate) fn server_wiring() -> Wiring {
        wiring(SERVER)
    }

    #[test]
    fn a_shell_tells_what_every_device_is_on() {
        let wiring = wiring(SERVER);
        let below = |name: &str| {
            let device = wiring.devices.iter().find(|device| device.name == name).expect(name);
            (device.kind.clone(), device.below.join(" "))
        };
        let bond = DeviceKind::Bond { mode: Some("802.3ad".to_owned()), hash: Some("layer3+4".to_owned()) };
        for (name, kind, members) in [
            ("lo", DeviceKind::Other, ""),
            ("eno1", DeviceKind::Nic, ""),
            ("bond0", bond, "eno1 eno2"),
            ("br0", DeviceKind::Bridge, "bond0"),
            ("bond0.42", DeviceKind::Stacked, "bond0"),
            ("br42", DeviceKind::Bridge, "bond0.42 vethc1"),
            ("vnet0", DeviceKind::Tap, "br42"),
            ("macvtap0", DeviceKind::Tap, "ens5"),
            ("vethc1", DeviceKind::Nic, ""),
            ("ovs-br", DeviceKind::Other, ""),
        ] {
            assert_eq!(below(name), (kind, members.to_owned()), "{name}");
        }
        let ens5 = wiring.devices.iter().find(|device| device.name == "ens5").expect("ens5");
        assert_eq!((ens5.bits_per_second, ens5.mtu, ens5.up), (Some(2.5e10), Some(9000), true));
        let ens6 = wiring.devices.iter().find(|device| device.name == "ens6").expect("ens6");
        assert_eq!((ens6.bits_per_second, ens6.up), (None, false), "no carrier");
        let to = vec!["10.1.0.2".parse().unwrap()];
        let way = Way { to, device: Some("ens5".to_owned()), unreachable: false };
        assert_eq!(wiring.way, Some(way));
        assert_eq!(wiring.owner("10.1.0.1".parse().unwrap()), Some("ens5"));
        assert_eq!(wiring.default_route.as_deref(), Some("br0"));
    }

    #[test]
    fn an_answer_without_devices_is_none() {
        assert_eq!(read("speed eno1 1000\n"), None);
        assert_eq!(read("devices Object \"-d\" is unknown, try \"ip help\".\n"), None);
        let unreachable = "devices []\nlistening\ntaken 49153\nhost 10.1.0.9\nway 10.9.0.1 172.17.0.1\nfirst 172.17.0.1\n\
                           noroute RTNETLINK answers: Network is unreachable\n";
        let wiring = wiring(unreachable);
        let to = ["172.17.0.1", "10.9.0.1"].map(|address| address.parse().unwrap()).to_vec();
        assert_eq!(wiring.way, Some(Way { to, device: None, unreachable: true }));
        assert_eq!(wiring.taken, Some([49153].into()));
        assert_eq!(wiring.migration_host, Some(Some("10.1.0.9".to_owned())));
        let unknown = read("devices []\nway\nfirst \n").expect("devices");
        assert_eq!((unknown.way, unknown.taken), (Some(Way::default()), None), "the name is not known there");
        let old = read("devices []\nway 10.1.0.2\nfirst 10.1.0.2\nroute 10.1.0.2 dev ens5 src 10.1.0.1\n");
        assert!(
            old.and_then(|old| old.way).is_some_and(|way| way.device.is_none() && !way.unreachable),
            "ip without JSON"
        );
    }

    #[test]
    fn this_shell_tells_its_devices() {
        let output = std::process::Command::new("sh").arg("-c").arg(format!("to=127.0.0.1{DEVICES}{WAY}")).output();
        let told = String::from_utf8(output.unwrap().stdout).unwrap();
        let wiring = wiring(&told);
        let to = vec!["127.0.0.1".parse().unwrap()];
        assert_eq!(wiring.way.as_ref().map(|way| &way.to), Some(&to), "{told}");
        assert_eq!(wiring.owner("127.0.0.1".parse().unwrap()), Some("lo"), "{told}");
    }

    #[test]
    fn both_of_libvirt_s_drivers_are_heard() {
        let nic = |name: &str| NetDevice {
            name: name.to_owned(),
            bits_per_second: Some(1e10),
            up: true,
            physical: true,
            ..NetDevice::default()
        };
        let veth = NetDevice { physical: false, kind: DeviceKind::Other, ..nic("uplink") };
        let bridge = "<interface type='bridge' name='br0'><bridge stp='off'>\
            <interface type='ethernet' name='eno1'><link speed='10000' state='up'/></interface>\
            <interface type='ethernet' name='uplink'/><interface type='ethernet' name='vnet0'/></bridge></interface>";
        let alone = "<interface type='ethernet' name='uplink'/>";
        let interfaces = [bridge, alone].into_iter().flat_map(net_device::interfaces).collect();
        let found: Vec<_> = merged(vec![nic("eno1"), veth], interfaces)
            .into_iter()
            .map(|device| (device.name, device.physical, device.kind, device.below.join(" ")))
            .collect();
        let expected = [
            ("eno1", true, DeviceKind::Nic, ""),
            ("uplink", false, DeviceKind::Nic, ""),
            ("br0", false, DeviceKind::Bridge, "eno1 uplink vnet0"),
            ("vnet0", false, DeviceKind::Tap, ""),
        ];
        let expected =
            expected.map(|(name, hardware, kind, below)| (name.to_owned(), hardware, kind, below.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn the_server_of_a_migration_uri() {
        for (uri, expected) in [
            ("tcp://10.1.0.2", Some(("10.1.0.2", None))),
            ("tcp://[fe80::1]:49152/", Some(("fe80::1", Some(49152)))),
            ("rdma://b.example:1/", None),
            ("unix:///run/x", None),
        ] {
            assert_eq!(server(uri), expected, "{uri}");
        }
    }
}
