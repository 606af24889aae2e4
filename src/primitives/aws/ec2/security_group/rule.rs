//! A rule: which port is let in to, and from where; and which ports never are from everywhere.

use aws_sdk_ec2::types::{IpPermission, IpRange, Ipv6Range, SecurityGroupRule, UserIdGroupPair};
use rhai::Dynamic;

use super::SecurityGroup;
use crate::error::Error;
use crate::host::Host;
use crate::plan::Unknown;

/// The ports that are not opened to everybody unless `--allow-open` was given, and what answers there: every address of the internet is
/// tried for a login there within minutes.
pub const REFUSED_TO_EVERYBODY: [(u16, &str); 2] = [(22, "SSH"), (5432, "PostgreSQL")];

/// Traffic that is let in.
#[derive(Clone, PartialEq, Eq)]
pub struct Rule {
    pub port: u16,
    pub from: Source,
}

/// Where traffic comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    Cidr(String),
    Group(SecurityGroup),
}

impl Rule {
    /// TCP to `port` from an address range in CIDR form or from a security group; kind `refused` where everybody would be let in to
    /// what nobody may open to everybody.
    pub fn tcp(host: &Host, port: i64, from: &Dynamic) -> Result<Self, Error> {
        let port = u16::try_from(port)
            .ok()
            .filter(|port| *port > 0)
            .ok_or_else(|| Error::invalid(format!("{port} is no TCP port: they go from 1 to 65535")))?;
        if let Some(unknown) = from.read_lock::<Unknown>() {
            return Err(Error::planned(format!("a rule for {}", unknown.what)));
        }
        if let Some(group) = from.clone().try_cast::<SecurityGroup>() {
            return Ok(Rule { port, from: Source::Group(group) });
        }
        let Ok(text) = from.clone().into_string() else {
            return Err(Error::invalid(
                "tcp(port, from) takes an address range or a security group as `from`",
            ));
        };
        let rule = Rule { port, from: Source::Cidr(cidr(&text)?) };
        match rule.opened_to_everybody() {
            Some(what) if !host.allows_open() => Err(Error::refused(format!(
                "`{rule}` would let everybody on the internet try to log in to {what}: it was not opened"
            ))
            .help("name who needs it, such as `my_ip()`, a range of your own or a security group")
            .help("where everybody is meant: run this again with `--allow-open`")),
            _ => Ok(rule),
        }
    }

    /// What would answer to everybody and should not.
    fn opened_to_everybody(&self) -> Option<&'static str> {
        let Source::Cidr(range) = &self.from else { return None };
        let (_, what) = REFUSED_TO_EVERYBODY.iter().find(|(port, _)| *port == self.port)?;
        is_everybody(range).then_some(*what)
    }

    pub fn permission(&self) -> IpPermission {
        let permission =
            IpPermission::builder().ip_protocol("tcp").from_port(self.port.into()).to_port(self.port.into());
        match &self.from {
            Source::Cidr(cidr) if cidr.contains(':') => {
                permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6(cidr).build())
            }
            Source::Cidr(cidr) => permission.ip_ranges(IpRange::builder().cidr_ip(cidr).build()),
            Source::Group(group) => permission
                .user_id_group_pairs(UserIdGroupPair::builder().set_group_id(group.id.clone()).build()),
        }
        .build()
    }

    pub fn is(&self, rule: &SecurityGroupRule) -> bool {
        let port = Some(i32::from(self.port));
        let source = match &self.from {
            Source::Cidr(cidr) => rule.cidr_ipv4() == Some(cidr) || rule.cidr_ipv6() == Some(cidr),
            Source::Group(group) => {
                group.id.is_some()
                    && rule.referenced_group_info().and_then(|found| found.group_id()) == group.id.as_deref()
            }
        };
        rule.ip_protocol() == Some("tcp") && rule.from_port() == port && rule.to_port() == port && source
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.from {
            Source::Cidr(from) => write!(f, "tcp {} from {from}", self.port),
            Source::Group(group) => write!(f, "tcp {} from {}", self.port, group.full_name),
        }
    }
}

/// Whether an address range is all of the internet.
pub(super) fn is_everybody(range: &str) -> bool {
    matches!(range, "0.0.0.0/0" | "::/0")
}

/// Whether a rule that is there lets everybody in to a port that is refused to everybody.
pub(super) fn is_exposed(rule: &SecurityGroupRule) -> bool {
    let range = rule.cidr_ipv4().or(rule.cidr_ipv6());
    let ports = match rule.ip_protocol() {
        // Every protocol, and so every port.
        Some("-1") => 0..=i32::from(u16::MAX),
        Some("tcp" | "6") => rule.from_port().unwrap_or(-1)..=rule.to_port().unwrap_or(-1),
        _ => return false,
    };
    range.is_some_and(is_everybody)
        && REFUSED_TO_EVERYBODY.iter().any(|(port, _)| ports.contains(&i32::from(*port)))
}

/// Checks an address range and gives it the form in which EC2 keeps it: an address alone is a range of one.
fn cidr(text: &str) -> Result<String, Error> {
    let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
    let parsed = address.parse::<std::net::IpAddr>().ok();
    let widest = match parsed {
        Some(std::net::IpAddr::V4(_)) => 32,
        Some(std::net::IpAddr::V6(_)) => 128,
        None => 0,
    };
    let bits = bits.map_or(Some(widest), |bits| bits.parse::<u8>().ok());
    match (parsed, bits) {
        (Some(address), Some(bits)) if bits <= widest => {
            Ok(format!("{}/{bits}", network_address(address, bits)))
        }
        _ => {
            Err(Error::invalid(format!("`{text}` is no address range")).help("write it like 203.0.113.7/32"))
        }
    }
}

/// `address` with all but its first `bits` bits zero: EC2 stores `10.1.2.3/8` as `10.0.0.0/8`.
fn network_address(address: std::net::IpAddr, bits: u8) -> std::net::IpAddr {
    match address {
        std::net::IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            std::net::Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        std::net::IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            std::net::Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_range_takes_the_form_that_ec2_keeps() {
        assert_eq!(cidr("203.0.113.7").unwrap(), "203.0.113.7/32");
        assert_eq!(cidr("10.1.2.3/8").unwrap(), "10.0.0.0/8");
        assert_eq!(cidr("0.0.0.0/0").unwrap(), "0.0.0.0/0");
        assert_eq!(cidr("2001:db8::1/64").unwrap(), "2001:db8::/64");
        for bad in ["", "here", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "::/129", "10.0.0"] {
            assert!(cidr(bad).is_err(), "{bad}");
        }
    }
}
