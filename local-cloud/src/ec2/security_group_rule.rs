//! The rules of security groups: authorise, revoke, describe, re-describe. A rule is what it lets through; the same one twice is
//! an error, and so is taking away one that is not there.

use serde::{Deserialize, Serialize};

use super::permission::permissions;
use super::security_group::{SecurityGroup, not_found};
use super::{Tags, done, tag_set, tag_specification};
use crate::cloud::{ACCOUNT, fresh_id};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{EC2_PAGES, Filters, tag_values};
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("AuthorizeSecurityGroupIngress", Access::Change, |call| authorize(call, false)),
    ("AuthorizeSecurityGroupEgress", Access::Change, |call| authorize(call, true)),
    ("RevokeSecurityGroupIngress", Access::Change, |call| revoke(call, false)),
    ("RevokeSecurityGroupEgress", Access::Change, |call| revoke(call, true)),
    ("UpdateSecurityGroupRuleDescriptionsIngress", Access::Change, |call| describe_anew(call, false)),
    ("UpdateSecurityGroupRuleDescriptionsEgress", Access::Change, |call| describe_anew(call, true)),
    ("DescribeSecurityGroupRules", Access::Read, describe_security_group_rules),
];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Rule {
    pub(super) id: String,
    pub(super) egress: bool,
    pub(super) protocol: String,
    pub(super) from_port: i64,
    pub(super) to_port: i64,
    pub(super) source: Source,
    description: Option<String>,
    pub(super) tags: Tags,
}

/// Where the traffic comes from, or goes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Source {
    Ipv4(String),
    Ipv6(String),
    Group(String),
}

impl Source {
    pub(super) fn group(&self) -> Option<&str> {
        if let Source::Group(id) = self { Some(id) } else { None }
    }

    pub(super) fn cidr(&self) -> Option<&str> {
        if let Source::Ipv4(cidr) = self { Some(cidr) } else { None }
    }

    fn cidr_v6(&self) -> Option<&str> {
        if let Source::Ipv6(cidr) = self { Some(cidr) } else { None }
    }
}

impl Rule {
    pub(super) fn new(
        egress: bool,
        protocol: &str,
        from_port: i64,
        to_port: i64,
        source: Source,
        description: Option<String>,
    ) -> Rule {
        let protocol = protocol.to_string();
        Rule {
            id: fresh_id("sgr"),
            egress,
            protocol,
            from_port,
            to_port,
            source,
            description,
            tags: Tags::new(),
        }
    }

    pub(super) fn to_anywhere() -> Rule {
        Rule::new(true, "-1", -1, -1, Source::Ipv4("0.0.0.0/0".into()), None)
    }

    fn lets_through_the_same_as(&self, other: &Rule) -> bool {
        self.egress == other.egress
            && self.protocol == other.protocol
            && self.from_port == other.from_port
            && self.to_port == other.to_port
            && self.source == other.source
    }

    fn words(&self) -> String {
        let peer = match &self.source {
            Source::Ipv4(peer) | Source::Ipv6(peer) | Source::Group(peer) => peer,
        };
        let ports = match (self.protocol.as_str(), self.from_port, self.to_port) {
            ("-1", ..) => "ALL".to_string(),
            (protocol, from, to) => format!("{}, from port: {from}, to port: {to}", protocol.to_uppercase()),
        };
        format!("peer: {peer}, {ports}, ALLOW")
    }
}

/// The group that a rule operation is about.
fn group<'a>(call: &'a mut Call<'_>) -> Result<&'a mut SecurityGroup, AwsError> {
    let (id, name) = (call.form.get("GroupId"), call.form.get("GroupName"));
    let groups = &mut call.region.ec2.security_groups;
    match (id, name) {
        (Some(id), _) => groups.get_mut(id).ok_or_else(|| not_found(id)),
        (None, Some(name)) => {
            groups.values_mut().find(|group| group.name == name).ok_or_else(|| not_found(name))
        }
        (None, None) => Err(AwsError::new(
            "MissingParameter",
            "The request must contain the parameter groupName or groupId",
        )),
    }
}

fn authorize(call: &mut Call<'_>, egress: bool) -> Answer {
    let mut rules = permissions(call, egress)?;
    let tags = tag_specification(call.form, "security-group-rule", &[])?;
    if rules.is_empty() {
        return Err(AwsError::new(
            "MissingParameter",
            "The request must contain the parameter IpPermissions",
        ));
    }
    rules.iter_mut().for_each(|rule| rule.tags = tags.clone());
    let target = group(call)?;
    for rule in &rules {
        if target.rules.values().any(|known| known.lets_through_the_same_as(rule)) {
            return Err(AwsError::new(
                "InvalidPermission.Duplicate",
                format!("the specified rule \"{}\" already exists", rule.words()),
            ));
        }
        target.rules.insert(rule.id.clone(), rule.clone());
    }
    let id = target.id.clone();
    super::refuse_dry_run(call.form)?;
    let mut xml = done();
    xml.list("securityGroupRuleSet", "item", &rules, |xml, rule| rule_xml(xml, &id, rule));
    Ok(xml)
}

fn revoke(call: &mut Call<'_>, egress: bool) -> Answer {
    let rules = permissions(call, egress)?;
    let ids = call.form.list("SecurityGroupRuleId");
    if rules.is_empty() && ids.is_empty() {
        return Err(AwsError::new(
            "MissingParameter",
            "The request must contain IpPermissions or SecurityGroupRuleIds",
        ));
    }
    let target = group(call)?;
    for id in ids {
        if target.rules.get(&id).is_none_or(|rule| rule.egress != egress) {
            return Err(id_not_found(&id));
        }
        target.rules.remove(&id);
    }
    for rule in rules {
        let found = target.rules.values().find(|known| known.lets_through_the_same_as(&rule));
        let Some(found) = found.map(|rule| rule.id.clone()) else { return Err(rule_not_found()) };
        target.rules.remove(&found);
    }
    super::refuse_dry_run(call.form)?;
    Ok(done())
}

fn describe_anew(call: &mut Call<'_>, egress: bool) -> Answer {
    let rules = permissions(call, egress)?;
    let mut named = Vec::new();
    for member in call.form.members("SecurityGroupRuleDescription") {
        let id = call.form.required(&format!("{member}.SecurityGroupRuleId"))?.to_string();
        named.push((id, call.form.get(&format!("{member}.Description")).map(str::to_string)));
    }
    let target = group(call)?;
    for (id, description) in named {
        target.rules.get_mut(&id).ok_or_else(|| id_not_found(&id))?.description = description;
    }
    for rule in rules {
        let found = target.rules.values_mut().find(|known| known.lets_through_the_same_as(&rule));
        found.ok_or_else(rule_not_found)?.description = rule.description;
    }
    super::refuse_dry_run(call.form)?;
    Ok(done())
}

fn rule_not_found() -> AwsError {
    AwsError::new("InvalidPermission.NotFound", "The specified rule does not exist in this security group.")
}

pub(super) fn id_not_found(id: &str) -> AwsError {
    AwsError::new(
        "InvalidSecurityGroupRuleId.NotFound",
        format!("The security group rule ID '{id}' does not exist"),
    )
}

fn describe_security_group_rules(call: &mut Call<'_>) -> Answer {
    let filters = Filters::ec2(call.form, &["group-id", "security-group-rule-id", "tag:", "tag-key"])?;
    let ids = call.form.list("SecurityGroupRuleId");
    let all: Vec<(&SecurityGroup, &Rule)> = call
        .region
        .ec2
        .security_groups
        .values()
        .flat_map(|group| group.rules.values().map(move |rule| (group, rule)))
        .collect();
    if let Some(id) = ids.iter().find(|id| !all.iter().any(|(_, rule)| rule.id == **id)) {
        return Err(id_not_found(id));
    }
    let selected = all
        .into_iter()
        .filter(|(group, rule)| {
            (ids.is_empty() || ids.contains(&rule.id))
                && filters.matches(|name| match name {
                    "group-id" => vec![group.id.clone()],
                    "security-group-rule-id" => vec![rule.id.clone()],
                    tag => tag_values(tag, &rule.tags),
                })
        })
        .collect();
    let (page, next) = EC2_PAGES.page(call.form, selected)?;
    let mut xml = Xml::new();
    xml.list("securityGroupRuleSet", "item", page, |xml, (group, rule): (&SecurityGroup, &Rule)| {
        rule_xml(xml, &group.id, rule);
    });
    xml.optional("nextToken", next);
    Ok(xml)
}

fn rule_xml(xml: &mut Xml, group_id: &str, rule: &Rule) {
    xml.text("securityGroupRuleId", &rule.id)
        .text("groupId", group_id)
        .text("groupOwnerId", ACCOUNT)
        .text("isEgress", rule.egress)
        .text("ipProtocol", &rule.protocol)
        .text("fromPort", rule.from_port)
        .text("toPort", rule.to_port)
        .optional("cidrIpv4", rule.source.cidr())
        .optional("cidrIpv6", rule.source.cidr_v6())
        .optional("description", rule.description.as_ref());
    if let Some(id) = rule.source.group() {
        xml.nest("referencedGroupInfo", |xml| {
            xml.text("groupId", id).text("userId", ACCOUNT);
        });
    }
    tag_set(xml, &rule.tags);
}

/// Rules as `DescribeSecurityGroups` shows them: one permission per protocol and ports, with all its sources.
pub(super) fn permissions_xml<'a>(xml: &mut Xml, name: &str, rules: impl Iterator<Item = &'a Rule>) {
    let mut permissions: Vec<Vec<&Rule>> = Vec::new();
    for rule in rules {
        let ports = |rule: &Rule| (rule.protocol.clone(), rule.from_port, rule.to_port);
        match permissions
            .iter_mut()
            .find(|same| same.first().is_some_and(|first| ports(first) == ports(rule)))
        {
            Some(same) => same.push(rule),
            None => permissions.push(vec![rule]),
        }
    }
    xml.list(name, "item", permissions, |xml, rules| {
        if let Some(first) = rules.first() {
            xml.text("ipProtocol", &first.protocol);
            if first.protocol != "-1" {
                xml.text("fromPort", first.from_port).text("toPort", first.to_port);
            }
        }
        fn source<'a>(
            rules: &[&'a Rule],
            of: fn(&Source) -> Option<&str>,
        ) -> Vec<(&'a str, Option<&'a String>)> {
            rules.iter().filter_map(|rule| Some((of(&rule.source)?, rule.description.as_ref()))).collect()
        }
        xml.list("groups", "item", source(&rules, Source::group), |xml, (id, description)| {
            xml.text("userId", ACCOUNT).text("groupId", id).optional("description", description);
        });
        xml.list("ipRanges", "item", source(&rules, Source::cidr), |xml, (cidr, description)| {
            xml.text("cidrIp", cidr).optional("description", description);
        });
        xml.list("ipv6Ranges", "item", source(&rules, Source::cidr_v6), |xml, (cidr, description)| {
            xml.text("cidrIpv6", cidr).optional("description", description);
        });
        xml.list("prefixListIds", "item", [(); 0], |_, ()| {});
    });
}
