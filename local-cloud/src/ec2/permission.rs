//! Permissions as a request spells them out, read into rules: protocol, ports, and blocks or groups that must exist.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::security_group::not_found;
use super::security_group_rule::{Rule, Source};
use crate::cloud::ACCOUNT;
use crate::query::{AwsError, Call, Form};

/// The rules that `IpPermissions` (or the single rule in the older flat parameters) spell out.
pub(super) fn permissions(call: &Call<'_>, egress: bool) -> Result<Vec<Rule>, AwsError> {
    let form = call.form;
    let mut members = form.members("IpPermissions");
    let flat = form.has("IpProtocol");
    if flat {
        members.push(String::new());
    }
    let mut rules = Vec::new();
    for member in members {
        let field =
            |name: &str| if member.is_empty() { name.to_string() } else { format!("{member}.{name}") };
        let (protocol, from_port, to_port) = ports(form, &field)?;
        let mut add = |source, description: Option<&str>| -> Result<(), AwsError> {
            if let Some(text) = description
                && (text.len() > 255 || !text.is_ascii())
            {
                return Err(AwsError::new(
                    "InvalidParameterValue",
                    "Invalid rule description: expected up to 255 ASCII characters",
                ));
            }
            let description = description.filter(|text| !text.is_empty()).map(str::to_string);
            rules.push(Rule::new(egress, &protocol, from_port, to_port, source, description));
            Ok(())
        };
        let before = form.members(&field("IpRanges")).len()
            + form.members(&field("Ipv6Ranges")).len()
            + form.members(&field("Groups")).len()
            + usize::from(flat);
        if before == 0 {
            return Err(AwsError::new(
                "MissingParameter",
                "A permission needs a source: IpRanges, Ipv6Ranges or Groups",
            ));
        }
        if member.is_empty() {
            add(Source::Ipv4(ipv4_cidr(form.required("CidrIp")?)?), None)?;
        }
        for range in form.members(&field("IpRanges")) {
            let cidr = ipv4_cidr(form.required(&format!("{range}.CidrIp"))?)?;
            add(Source::Ipv4(cidr), form.get(&format!("{range}.Description")))?;
        }
        for range in form.members(&field("Ipv6Ranges")) {
            let cidr = ipv6_cidr(form.required(&format!("{range}.CidrIpv6"))?)?;
            add(Source::Ipv6(cidr), form.get(&format!("{range}.Description")))?;
        }
        for peer in form.members(&field("Groups")) {
            let groups = &call.region.ec2.security_groups;
            if let Some(owner) = form.get(&format!("{peer}.UserId"))
                && owner != ACCOUNT
            {
                return Err(AwsError::new(
                    "InvalidGroup.NotFound",
                    format!("account {owner} has no security group here"),
                ));
            }
            form.ignore(&[&format!("{peer}.VpcId")]);
            let id = match (form.get(&format!("{peer}.GroupId")), form.get(&format!("{peer}.GroupName"))) {
                (Some(id), _) if groups.contains_key(id) => id.to_string(),
                (Some(id), _) => return Err(not_found(id)),
                (None, Some(name)) => {
                    let named = groups.values().find(|group| group.name == name);
                    named.map(|group| group.id.clone()).ok_or_else(|| not_found(name))?
                }
                (None, None) => {
                    return Err(AwsError::new("MissingParameter", "A source group needs a GroupId"));
                }
            };
            add(Source::Group(id), form.get(&format!("{peer}.Description")))?;
        }
    }
    Ok(rules)
}

fn ports(form: &Form, field: &impl Fn(&str) -> String) -> Result<(String, i64, i64), AwsError> {
    let protocol = match form.required(&field("IpProtocol"))?.to_ascii_lowercase().as_str() {
        "tcp" | "6" => "tcp",
        "udp" | "17" => "udp",
        "icmp" | "1" => "icmp",
        "icmpv6" | "58" => "icmpv6",
        "-1" | "all" => "-1",
        other => {
            return Err(AwsError::new(
                "InvalidPermission.Malformed",
                format!("Unsupported IP protocol \"{other}\""),
            ));
        }
    }
    .to_string();
    let (from, to) = (form.number(&field("FromPort"))?, form.number(&field("ToPort"))?);
    if protocol == "-1" {
        return Ok((protocol, -1, -1));
    }
    let (Some(from), Some(to)) = (from, to) else {
        return Err(AwsError::new(
            "MissingParameter",
            "The request must contain the parameters FromPort and ToPort",
        ));
    };
    let whole_range = if matches!(protocol.as_str(), "tcp" | "udp") { 0..=65535 } else { -1..=255 };
    if !whole_range.contains(&from) || !whole_range.contains(&to) || (from > to && to != -1) {
        return Err(AwsError::new("InvalidParameterValue", format!("Invalid port range: {from} to {to}")));
    }
    Ok((protocol, from, to))
}

/// The block in the form that EC2 stores: bits behind the prefix are cleared.
fn ipv4_cidr(text: &str) -> Result<String, AwsError> {
    let parse = || {
        let (address, bits) = text.split_once('/')?;
        let (address, bits): (Ipv4Addr, u32) = (address.parse().ok()?, bits.parse().ok()?);
        let mask = u32::MAX.checked_shl(32_u32.checked_sub(bits)?).unwrap_or(0);
        Some(format!("{}/{bits}", Ipv4Addr::from_bits(address.to_bits() & mask)))
    };
    parse().ok_or_else(|| malformed(text))
}

fn ipv6_cidr(text: &str) -> Result<String, AwsError> {
    let parse = || {
        let (address, bits) = text.split_once('/')?;
        let (address, bits): (Ipv6Addr, u32) = (address.parse().ok()?, bits.parse().ok()?);
        let mask = u128::MAX.checked_shl(128_u32.checked_sub(bits)?).unwrap_or(0);
        Some(format!("{}/{bits}", Ipv6Addr::from_bits(address.to_bits() & mask)))
    };
    parse().ok_or_else(|| malformed(text))
}

fn malformed(cidr: &str) -> AwsError {
    AwsError::new("InvalidParameterValue", format!("CIDR block {cidr} is malformed"))
}
