//! Elastic IP addresses: allocated, associated with an instance, which then has them in place of its own public address, and released.

use std::net::SocketAddrV4;

use serde::{Deserialize, Serialize};

use super::instance::{Instance, InstanceState, not_found};
use super::{State, Tags, done, tag_set, tag_specification};
use crate::cloud::{ACCOUNT, fresh_id};
use crate::machine::{self, Neighbourhood};
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{EC2_PAGES, Filters, tag_values};
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("AllocateAddress", Access::Change, allocate_address),
    ("DescribeAddresses", Access::Read, describe_addresses),
    ("AssociateAddress", Access::Change, associate_address),
    ("DisassociateAddress", Access::Change, disassociate_address),
    ("ReleaseAddress", Access::Change, release_address),
];

/// What an account may have in a region until it asks for more (EC2 User Guide, "Elastic IP address quota").
const LIMIT: usize = 5;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Address {
    pub(crate) id: String,
    /// The address; its port means something only where it is not an address of its own (macOS).
    place: SocketAddrV4,
    association: Option<Association>,
    pub(super) tags: Tags,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Association {
    id: String,
    instance: String,
}

pub(super) fn id_not_found(id: &str) -> AwsError {
    AwsError::new("InvalidAllocationID.NotFound", format!("The allocation ID '{id}' does not exist"))
}

impl Address {
    pub(super) fn ip(&self) -> std::net::Ipv4Addr {
        *self.place.ip()
    }

    /// The instance that it leads to.
    pub(crate) fn instance(&self) -> Option<&str> {
        self.association.as_ref().map(|association| association.instance.as_str())
    }

    /// Where it takes connections for a service that listens at `service`.
    fn entrance(&self, service: SocketAddrV4) -> SocketAddrV4 {
        let port = if self.place.port() == 0 { service.port() } else { self.place.port() };
        SocketAddrV4::new(self.ip(), port)
    }
}

impl State {
    pub(super) fn address_of(&self, instance: &str) -> Option<&Address> {
        self.addresses.values().find(|address| address.instance() == Some(instance))
    }

    /// Where connections to the service of an instance come in by an Elastic IP, and where they go.
    pub(crate) fn route(&self, address: &str) -> Option<(SocketAddrV4, SocketAddrV4)> {
        let address = self.addresses.get(address)?;
        let instance = self.instances.get(address.instance()?)?;
        let service = instance.address;
        (service.port() != 0).then(|| (address.entrance(service), service))
    }

    /// Takes what the instance has of Elastic IPs from it.
    pub(super) fn leave_addresses(&mut self, instance: &str) {
        for address in self.addresses.values_mut().filter(|address| address.instance() == Some(instance)) {
            address.association = None;
        }
        self.show_entrance(instance);
    }

    /// Says by the instance's tag where its service is reached now.
    fn show_entrance(&mut self, instance: &str) {
        let elastic = self.address_of(instance).cloned();
        let Some(instance) = self.instances.get_mut(instance) else { return };
        let entrance = elastic.map_or(instance.address, |address| address.entrance(instance.address));
        if let Some(tag) = instance.tags.get_mut(super::ADDRESS_TAG) {
            *tag = entrance.to_string();
        }
    }
}

fn allocate_address(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    if let Some(other) = form.get("Domain").filter(|domain| *domain != "vpc") {
        return Err(AwsError::new(
            "InvalidParameterValue",
            format!("Value ({other}) for parameter domain is invalid: expected vpc"),
        ));
    }
    let tags = tag_specification(form, "elastic-ip", &[])?;
    if call.region.ec2.addresses.len() >= LIMIT {
        return Err(AwsError::new(
            "AddressLimitExceeded",
            "The maximum number of addresses has been reached.",
        ));
    }
    super::refuse_dry_run(form)?;
    let taken: Vec<_> = call.region.ec2.addresses.values().map(|address| address.place).collect();
    let place = machine::choose_address(Neighbourhood::ElasticIps, None, &taken).map_err(|error| {
        AwsError::with_status(
            500,
            "InsufficientAddressCapacity",
            format!("no loopback address is free: {error}"),
        )
    })?;
    let address = Address { id: fresh_id("eipalloc"), place, association: None, tags };
    let mut xml = Xml::new();
    xml.text("publicIp", address.ip())
        .text("allocationId", &address.id)
        .text("domain", "vpc")
        .text("publicIpv4Pool", "amazon")
        .text("networkBorderGroup", call.region_name);
    call.region.ec2.addresses.insert(address.id.clone(), address);
    Ok(xml)
}

fn describe_addresses(call: &mut Call<'_>) -> Answer {
    let filters = Filters::ec2(
        call.form,
        &[
            "allocation-id",
            "association-id",
            "domain",
            "instance-id",
            "network-border-group",
            "network-interface-id",
            "private-ip-address",
            "public-ip",
            "tag:",
            "tag-key",
        ],
    )?;
    let ec2 = &call.region.ec2;
    let (ids, ips) = (call.form.list("AllocationId"), call.form.list("PublicIp"));
    if let Some(unknown) = ids.iter().find(|id| !ec2.addresses.contains_key(*id)) {
        return Err(id_not_found(unknown));
    }
    if let Some(unknown) =
        ips.iter().find(|ip| !ec2.addresses.values().any(|address| address.ip().to_string() == **ip))
    {
        return Err(AwsError::new("InvalidAddress.NotFound", format!("Address '{unknown}' not found.")));
    }
    let instance = |address: &Address| ec2.instances.get(address.instance()?);
    let found = ec2
        .addresses
        .values()
        .filter(|address| ids.is_empty() || ids.contains(&address.id))
        .filter(|address| ips.is_empty() || ips.contains(&address.ip().to_string()))
        .filter(|address| {
            filters.matches(|name| match name {
                "allocation-id" => vec![address.id.clone()],
                "association-id" => address.association.iter().map(|it| it.id.clone()).collect(),
                "domain" => vec!["vpc".into()],
                "instance-id" => address.instance().map(str::to_string).into_iter().collect(),
                "network-border-group" => vec![call.region_name.to_string()],
                "network-interface-id" => {
                    instance(address).map(|it| it.interface.clone()).into_iter().collect()
                }
                "private-ip-address" => {
                    instance(address).map(|it| it.address.ip().to_string()).into_iter().collect()
                }
                "public-ip" => vec![address.ip().to_string()],
                tag => tag_values(tag, &address.tags),
            })
        })
        .collect();
    let (page, _) = EC2_PAGES.page(call.form, found)?;
    let mut xml = Xml::new();
    xml.list("addressesSet", "item", page, |xml, address: &Address| {
        xml.text("publicIp", address.ip())
            .text("allocationId", &address.id)
            .text("domain", "vpc")
            .text("publicIpv4Pool", "amazon")
            .text("networkBorderGroup", call.region_name);
        if let (Some(association), Some(instance)) = (&address.association, instance(address)) {
            xml.text("instanceId", &instance.id)
                .text("associationId", &association.id)
                .text("networkInterfaceId", &instance.interface)
                .text("networkInterfaceOwnerId", ACCOUNT)
                .text("privateIpAddress", instance.address.ip());
        }
        tag_set(xml, &address.tags);
    });
    Ok(xml)
}

/// The instance that an address is to lead to; it has to have been launched, and not to be on its way out.
fn destination(call: &Call<'_>) -> Result<String, AwsError> {
    let instances = &call.region.ec2.instances;
    let instance: &Instance = match (call.form.get("InstanceId"), call.form.get("NetworkInterfaceId")) {
        (Some(id), None) => instances.get(id).ok_or_else(|| not_found(id))?,
        (None, Some(id)) => instances
            .values()
            .find(|instance| instance.interface == id)
            .ok_or_else(|| super::network_interface::not_found(id))?,
        _ => {
            return Err(AwsError::new(
                "InvalidParameterCombination",
                "You must specify either an instance or a network interface",
            ));
        }
    };
    if !matches!(instance.state, InstanceState::Running | InstanceState::Stopping | InstanceState::Stopped) {
        return Err(AwsError::new(
            "InvalidInstanceID",
            format!(
                "The {} instance '{}' is not in a valid state for this operation.",
                instance.state.name(),
                instance.id
            ),
        ));
    }
    Ok(instance.id.clone())
}

fn associate_address(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let id = form.required("AllocationId")?;
    let instance = destination(call)?;
    let moves = form.flag("AllowReassociation")?.unwrap_or(true);
    let ec2 = &mut call.region.ec2;
    let address = ec2.addresses.get(id).ok_or_else(|| id_not_found(id))?;
    let before = address.association.clone();
    if let Some(association) = before.as_ref().filter(|it| !moves && it.instance != instance) {
        return Err(AwsError::new(
            "Resource.AlreadyAssociated",
            format!("resource {id} is already associated with associate-id {}", association.id),
        ));
    }
    super::refuse_dry_run(form)?;
    // Both have one of the other: what was there before is given up, and stays allocated.
    ec2.leave_addresses(&instance);
    let association = match &before {
        Some(same) if same.instance == instance => same.clone(),
        _ => Association { id: fresh_id("eipassoc"), instance: instance.clone() },
    };
    let mut xml = done();
    xml.text("associationId", &association.id);
    if let Some(address) = ec2.addresses.get_mut(id) {
        address.association = Some(association);
    }
    if let Some(before) = before {
        ec2.show_entrance(&before.instance);
    }
    ec2.show_entrance(&instance);
    Ok(xml)
}

fn disassociate_address(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let id = form.required("AssociationId")?;
    let ec2 = &mut call.region.ec2;
    let address = ec2
        .addresses
        .values_mut()
        .find(|address| address.association.as_ref().is_some_and(|association| association.id == id))
        .ok_or_else(|| {
            AwsError::new(
                "InvalidAssociationID.NotFound",
                format!("The association ID '{id}' does not exist"),
            )
        })?;
    super::refuse_dry_run(form)?;
    if let Some(association) = address.association.take() {
        ec2.show_entrance(&association.instance);
    }
    Ok(done())
}

/// In the default VPC an address may be released while it is associated.
fn release_address(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let id = form.required("AllocationId")?;
    let ec2 = &mut call.region.ec2;
    if !ec2.addresses.contains_key(id) {
        return Err(id_not_found(id));
    }
    super::refuse_dry_run(form)?;
    if let Some(association) = ec2.addresses.remove(id).and_then(|address| address.association) {
        ec2.show_entrance(&association.instance);
    }
    Ok(done())
}
