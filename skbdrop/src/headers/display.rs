//! Headers as one line that a person reads, in the manner of tcpdump.

use super::{
    Arp, Headers, Icmp, IcmpVersion, Ipv4, Ipv6, Network, Tcp, TcpFlags, Transport, Tunnel,
    TunnelKind, VlanTag,
};
use crate::EtherType;
use etherparse::{icmpv4, icmpv6};
use std::fmt::{self, Display, Formatter};

impl Display for Headers<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut part = |f: &mut Formatter<'_>, part: &dyn Display| {
            write!(f, "{separator}{part}")?;
            separator = ", ";
            Ok(())
        };
        if let Some(ethernet) = &self.ethernet {
            let ends = format_args!("{} > {}", ethernet.source, ethernet.destination);
            part(f, &ends)?;
        }
        for tag in self.vlans.iter() {
            part(f, tag)?;
        }
        match (&self.network, &self.ethernet) {
            (Some(network), _) => part(f, network)?,
            (None, Some(ethernet)) if self.vlans.is_empty() => part(f, &ethernet.protocol)?,
            _ => {}
        }
        if let Some(transport) = &self.transport {
            part(f, transport)?;
        }
        if let Some(tunnel) = &self.tunnel {
            part(f, tunnel)?;
        }
        Ok(())
    }
}

impl Display for VlanTag {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let service = self.protocol == Some(EtherType::QINQ);
        let kind = if service { "service VLAN" } else { "VLAN" };
        write!(f, "{kind} {}", self.id)?;
        if self.priority != 0 {
            write!(f, " priority {}", self.priority)?;
        }
        if self.drop_eligible {
            f.write_str(" DEI")?;
        }
        Ok(())
    }
}

impl Display for Network<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arp(arp) => arp.fmt(f),
            Self::Ipv4(ip) => ip.fmt(f),
            Self::Ipv6(ip) => ip.fmt(f),
        }
    }
}

impl Display for Arp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "ARP {}", Message(self))
    }
}

/// What a packet says, without its protocol.
pub(crate) struct Message<'a, T>(pub(crate) &'a T);

impl Display for Message<'_, Arp> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let arp = self.0;
        match (arp.operation, arp.sender, arp.target, arp.sender_mac) {
            (1, Some(sender), Some(target), _) => write!(f, "who has {target}, asks {sender}"),
            (2, Some(sender), _, Some(mac)) => write!(f, "{sender} is at {mac}"),
            (operation, ..) => write!(f, "operation {operation}"),
        }
    }
}

impl Display for Ipv4 {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "IPv4 {} > {}, ttl {}, id {}",
            self.source, self.destination, self.ttl, self.id
        )?;
        class(f, self.dscp, self.ecn)?;
        if self.dont_fragment {
            f.write_str(", DF")?;
        }
        if let Some(fragment) = self.fragment {
            let more = if fragment.more { "+" } else { "" };
            write!(f, ", fragment at {}{more}", fragment.offset)?;
        }
        Ok(())
    }
}

impl Display for Ipv6<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "IPv6 {} > {}, hop limit {}",
            self.source, self.destination, self.hop_limit
        )?;
        class(f, self.dscp, self.ecn)?;
        if self.flow_label != 0 {
            write!(f, ", flow {:#07x}", self.flow_label)?;
        }
        for (kind, _) in self.extensions {
            write!(f, ", extension {}", kind.0)?;
        }
        if let Some(fragment) = self.fragment {
            let more = if fragment.more { "+" } else { "" };
            write!(
                f,
                ", fragment {:#x} at {}{more}",
                fragment.id, fragment.offset
            )?;
        }
        Ok(())
    }
}

/// DSCP and ECN, where they are used.
fn class(f: &mut Formatter<'_>, dscp: u8, ecn: u8) -> fmt::Result {
    if dscp != 0 {
        write!(f, ", dscp {dscp}")?;
    }
    match ecn {
        0 => Ok(()),
        1 => f.write_str(", ECT(1)"),
        2 => f.write_str(", ECT(0)"),
        _ => f.write_str(", CE"),
    }
}

impl Display for Transport<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(tcp) => tcp.fmt(f),
            Self::Udp(udp) => write!(
                f,
                "UDP {} > {} length {}",
                udp.source, udp.destination, udp.length
            ),
            Self::Icmp(icmp) => {
                icmp.fmt(f)?;
                match icmp.quoted() {
                    Some(quoted) => write!(f, " about ({quoted})"),
                    None => Ok(()),
                }
            }
            Self::Sctp(sctp) => {
                let tag = sctp.verification_tag;
                write!(
                    f,
                    "SCTP {} > {} tag {tag:#010x}",
                    sctp.source, sctp.destination
                )?;
                match sctp.first_chunk {
                    Some(chunk) => write!(f, " chunk {chunk}"),
                    None => Ok(()),
                }
            }
            Self::Ports(ports) => write!(
                f,
                "{} {} > {}",
                ports.protocol, ports.source, ports.destination
            ),
        }
    }
}

impl Display for Tcp {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "TCP {} > {} [{}] seq {}",
            self.source, self.destination, self.flags, self.sequence
        )?;
        if self.flags.ack() {
            write!(f, " ack {}", self.acknowledgement)?;
        }
        write!(f, " win {}", self.window)
    }
}

impl Display for TcpFlags {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if Self::LETTERS.iter().all(|(bit, _)| self.0 & bit == 0) {
            return f.write_str("none");
        }
        let letters = Self::LETTERS.iter().filter(|(bit, _)| self.0 & bit != 0);
        letters
            .into_iter()
            .try_for_each(|(_, letter)| write!(f, "{letter}"))
    }
}

/// Without the packet that it quotes.
impl Display for Icmp<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let protocol = match self.version {
            IcmpVersion::V4 => "ICMP",
            IcmpVersion::V6 => "ICMPv6",
        };
        write!(f, "{protocol} {}", Message(self))
    }
}

impl Display for Message<'_, Icmp<'_>> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let icmp = self.0;
        let name = match icmp.version {
            IcmpVersion::V4 => icmp_name(icmp.kind),
            IcmpVersion::V6 => icmpv6_name(icmp.kind),
        };
        match name {
            Some(name) => f.write_str(name)?,
            None => write!(f, "type {}", icmp.kind)?,
        }
        if icmp.code != 0 {
            write!(f, " code {}", icmp.code)?;
        }
        if let Some(echo) = icmp.echo {
            write!(f, " id {} seq {}", echo.id, echo.sequence)?;
        }
        if let Some(mtu) = icmp.mtu {
            write!(f, " mtu {mtu}")?;
        }
        Ok(())
    }
}

fn icmp_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        icmpv4::TYPE_ECHO_REPLY => "echo reply",
        icmpv4::TYPE_DEST_UNREACH => "unreachable",
        icmpv4::TYPE_REDIRECT => "redirect",
        icmpv4::TYPE_ECHO_REQUEST => "echo request",
        icmpv4::TYPE_TIME_EXCEEDED => "time exceeded",
        icmpv4::TYPE_PARAMETER_PROBLEM => "parameter problem",
        _ => return None,
    })
}

fn icmpv6_name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        icmpv6::TYPE_DST_UNREACH => "unreachable",
        icmpv6::TYPE_PACKET_TOO_BIG => "packet too big",
        icmpv6::TYPE_TIME_EXCEEDED => "time exceeded",
        icmpv6::TYPE_PARAMETER_PROBLEM => "parameter problem",
        icmpv6::TYPE_ECHO_REQUEST => "echo request",
        icmpv6::TYPE_ECHO_REPLY => "echo reply",
        icmpv6::TYPE_ROUTER_SOLICITATION => "router solicitation",
        icmpv6::TYPE_ROUTER_ADVERTISEMENT => "router advertisement",
        icmpv6::TYPE_NEIGHBOR_SOLICITATION => "neighbour solicitation",
        icmpv6::TYPE_NEIGHBOR_ADVERTISEMENT => "neighbour advertisement",
        icmpv6::TYPE_REDIRECT_MESSAGE => "redirect",
        _ => return None,
    })
}

impl Display for Tunnel<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.kind {
            TunnelKind::Ip => f.write_str("IP in IP")?,
            TunnelKind::Gre(gre) => {
                f.write_str("GRE")?;
                if let Some(key) = gre.key {
                    write!(f, " key {key:#x}")?;
                }
                if let Some(sequence) = gre.sequence {
                    write!(f, " seq {sequence}")?;
                }
            }
            TunnelKind::Vxlan { vni } => write!(f, "VXLAN vni {vni}")?,
            TunnelKind::Geneve { vni } => write!(f, "Geneve vni {vni}")?,
        }
        match self.inner() {
            Some(inner) => write!(f, " ({inner})"),
            None => write!(f, " {}", self.protocol),
        }
    }
}
