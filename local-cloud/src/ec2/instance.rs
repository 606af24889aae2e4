//! Instances: what they are, how they are shown, and their life cycle. A request only moves an instance to a state in passing
//! (`pending`, `stopping`, `shutting-down`); `machine` makes that real and moves it on.

use std::net::SocketAddrV4;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::metadata::MetadataOptions;
use super::profile::Association;
use super::sshd::Sshd;
use super::{State, Tags, tag_set};
use crate::cloud::ACCOUNT;
use crate::process::Process;
use crate::query::{Access, Answer, AwsError, Call, Operation};
use crate::select::{EC2_PAGES, Filters, tag_values};
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[
    ("DescribeInstances", Access::Read, describe_instances),
    ("DescribeInstanceStatus", Access::Read, describe_instance_status),
];

/// How long a terminated instance stays visible; about what AWS does.
const VISIBLE_AFTER_TERMINATION: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum InstanceState {
    Pending,
    Running,
    ShuttingDown,
    Terminated,
    Stopping,
    Stopped,
}

impl InstanceState {
    pub(crate) fn name(self) -> &'static str {
        match self {
            InstanceState::Pending => "pending",
            InstanceState::Running => "running",
            InstanceState::ShuttingDown => "shutting-down",
            InstanceState::Terminated => "terminated",
            InstanceState::Stopping => "stopping",
            InstanceState::Stopped => "stopped",
        }
    }

    fn code(self) -> u8 {
        match self {
            InstanceState::Pending => 0,
            InstanceState::Running => 16,
            InstanceState::ShuttingDown => 32,
            InstanceState::Terminated => 48,
            InstanceState::Stopping => 64,
            InstanceState::Stopped => 80,
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StateReason {
    pub(crate) code: String,
    pub(crate) message: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(super) reservation: String,
    pub(super) launch_index: i64,
    pub(super) image: String,
    pub(super) architecture: String,
    #[serde(default = "amazon_linux_root")]
    pub(super) root_device: String,
    pub(super) instance_type: String,
    pub(super) key_name: Option<String>,
    pub(super) subnet: String,
    pub(crate) zone: String,
    pub(crate) groups: Vec<String>,
    pub(super) interface: String,
    /// Whether it has a public address while it runs.
    #[serde(default = "is_public")]
    pub(super) public: bool,
    /// Where the instance's service listens; without a service the port means nothing.
    pub(crate) address: SocketAddrV4,
    #[serde(default)]
    pub(crate) sshd: Option<Sshd>,
    /// Base64, as it was sent.
    pub(crate) user_data: String,
    pub(crate) tags: Tags,
    pub(super) metadata: MetadataOptions,
    pub(super) profile: Option<Association>,
    pub(super) protected: bool,
    pub(super) monitoring: bool,
    pub(super) shutdown_behaviour: String,
    pub(super) token: Option<String>,
    pub(super) launched_at: Time,
    pub(crate) state: InstanceState,
    pub(crate) changed_at: Time,
    pub(crate) reason: Option<StateReason>,
    /// The service's process, so that a later supervisor can end what a killed one left running.
    pub(crate) process: Option<Process>,
}

/// Of an instance that was launched before this was kept.
fn amazon_linux_root() -> String {
    super::volume::ROOT_DEVICE.to_string()
}

/// As instances were before it could be said.
fn is_public() -> bool {
    true
}

impl Instance {
    pub(super) fn enter(&mut self, state: InstanceState, reason: Option<StateReason>) {
        if self.state != state {
            self.state = state;
            self.changed_at = Time::now();
        }
        self.reason = reason;
    }

    /// A terminated instance is forgotten after a while.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.state == InstanceState::Terminated && self.changed_at.after(VISIBLE_AFTER_TERMINATION).is_past()
    }

    pub(super) fn is_terminated(&self) -> bool {
        self.state == InstanceState::Terminated
    }

    fn has_address(&self) -> bool {
        !self.is_terminated()
    }

    fn has_public_address(&self) -> bool {
        self.public && matches!(self.state, InstanceState::Pending | InstanceState::Running)
    }

    /// Its Elastic IP, which it keeps while it is stopped, else an address of its own while it runs. EC2's names for addresses do not
    /// resolve here, so the name is the address itself.
    fn public_address(&self, ec2: &State) -> Option<std::net::Ipv4Addr> {
        match ec2.address_of(&self.id) {
            Some(elastic) => Some(elastic.ip()),
            None => self.has_public_address().then(|| *self.address.ip()),
        }
    }

    fn private_address(&self) -> Option<std::net::Ipv4Addr> {
        self.has_address().then(|| *self.address.ip())
    }
}

pub(super) fn not_found(id: &str) -> AwsError {
    let digits = id.strip_prefix("i-").unwrap_or_default();
    if !matches!(digits.len(), 8 | 17) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return AwsError::new("InvalidInstanceID.Malformed", format!("Invalid id: \"{id}\""));
    }
    AwsError::new("InvalidInstanceID.NotFound", format!("The instance ID '{id}' does not exist"))
}

/// The instances named in the request, in its order.
pub(super) fn named(call: &Call<'_>) -> Result<Vec<String>, AwsError> {
    let ids = call.form.list("InstanceId");
    match ids.iter().find(|id| !call.region.ec2.instances.contains_key(*id)) {
        Some(unknown) => Err(not_found(unknown)),
        None => Ok(ids),
    }
}

fn described<'a>(call: &'a Call<'_>, filters: &Filters) -> Result<Vec<&'a Instance>, AwsError> {
    let ids = named(call)?;
    let ec2 = &call.region.ec2;
    let mut selected: Vec<&Instance> = call
        .region
        .ec2
        .instances
        .values()
        .filter(|instance| !instance.is_forgotten() && (ids.is_empty() || ids.contains(&instance.id)))
        .filter(|instance| {
            filters.matches(|name| match name {
                "instance-id" => vec![instance.id.clone()],
                "instance-state-name" => vec![instance.state.name().into()],
                "instance-state-code" => vec![instance.state.code().to_string()],
                "instance-type" => vec![instance.instance_type.clone()],
                "image-id" => vec![instance.image.clone()],
                "key-name" => instance.key_name.clone().into_iter().collect(),
                "vpc-id" | "network-interface.vpc-id" => vec![super::vpc_id(call.region_name)],
                "subnet-id" | "network-interface.subnet-id" => vec![instance.subnet.clone()],
                "availability-zone" => vec![instance.zone.clone()],
                "architecture" => vec![instance.architecture.clone()],
                "client-token" => instance.token.clone().into_iter().collect(),
                "reservation-id" => vec![instance.reservation.clone()],
                "ip-address" => {
                    instance.public_address(ec2).map(|address| address.to_string()).into_iter().collect()
                }
                "private-ip-address" => {
                    instance.private_address().map(|address| address.to_string()).into_iter().collect()
                }
                "instance.group-id" | "group-id" | "network-interface.group-id" => instance.groups.clone(),
                "instance.group-name" | "group-name" => {
                    instance.groups.iter().map(|id| ec2.group_name(id).to_string()).collect()
                }
                "iam-instance-profile.arn" => {
                    instance.profile.iter().map(|association| association.arn.clone()).collect()
                }
                "owner-id" => vec![ACCOUNT.into()],
                tag => tag_values(tag, &instance.tags),
            })
        })
        .collect();
    selected
        .sort_by_key(|instance| (instance.launched_at, instance.reservation.clone(), instance.launch_index));
    Ok(selected)
}

const FILTERS: &[&str] = &[
    "instance-id",
    "instance-state-name",
    "instance-state-code",
    "instance-type",
    "image-id",
    "key-name",
    "vpc-id",
    "subnet-id",
    "availability-zone",
    "architecture",
    "client-token",
    "reservation-id",
    "ip-address",
    "private-ip-address",
    "instance.group-id",
    "instance.group-name",
    "group-id",
    "group-name",
    "network-interface.vpc-id",
    "network-interface.subnet-id",
    "network-interface.group-id",
    "iam-instance-profile.arn",
    "owner-id",
    "tag:",
    "tag-key",
];

fn describe_instances(call: &mut Call<'_>) -> Answer {
    let filters = Filters::ec2(call.form, FILTERS)?;
    let (page, next) = EC2_PAGES.page(call.form, described(call, &filters)?)?;
    let mut reservations: Vec<Vec<&Instance>> = Vec::new();
    for instance in page {
        let same = |instances: &&mut Vec<&Instance>| {
            instances.first().is_some_and(|first| first.reservation == instance.reservation)
        };
        match reservations.iter_mut().find(same) {
            Some(instances) => instances.push(instance),
            None => reservations.push(vec![instance]),
        }
    }
    let mut xml = Xml::new();
    xml.list("reservationSet", "item", reservations, |xml, instances| reservation_xml(xml, call, &instances));
    xml.optional("nextToken", next);
    Ok(xml)
}

pub(super) fn reservation_xml(xml: &mut Xml, call: &Call<'_>, instances: &[&Instance]) {
    let reservation = instances.first().map_or("", |instance| &instance.reservation);
    xml.text("reservationId", reservation).text("ownerId", ACCOUNT);
    xml.list("groupSet", "item", [(); 0], |_, ()| {});
    xml.list("instancesSet", "item", instances, |xml, instance| instance_xml(xml, call, instance));
}

fn instance_xml(xml: &mut Xml, call: &Call<'_>, instance: &Instance) {
    let vpc = super::vpc_id(call.region_name);
    let groups = |xml: &mut Xml| {
        xml.list("groupSet", "item", &instance.groups, |xml, id| {
            xml.text("groupId", id).text("groupName", call.region.ec2.group_name(id));
        });
    };
    let alive = instance.has_address();
    let public = instance.public_address(&call.region.ec2);
    let elastic = call.region.ec2.address_of(&instance.id).is_some();
    xml.text("instanceId", &instance.id)
        .text("imageId", &instance.image)
        .nest("instanceState", |xml| state_xml(xml, instance.state))
        .text(
            "privateDnsName",
            instance.private_address().map(|address| address.to_string()).unwrap_or_default(),
        )
        .text("dnsName", public.map(|address| address.to_string()).unwrap_or_default())
        .optional("reason", instance.reason.as_ref().map(|reason| &reason.message))
        .optional("keyName", instance.key_name.as_ref())
        .text("amiLaunchIndex", instance.launch_index)
        .text("instanceType", &instance.instance_type)
        .text("launchTime", instance.launched_at)
        .nest("placement", |xml| {
            xml.text("availabilityZone", &instance.zone).text("groupName", "").text("tenancy", "default");
        })
        .nest("monitoring", |xml| {
            xml.text("state", if instance.monitoring { "enabled" } else { "disabled" });
        });
    if alive {
        xml.text("subnetId", &instance.subnet)
            .text("vpcId", &vpc)
            .optional("privateIpAddress", instance.private_address())
            .optional("ipAddress", public)
            .text("sourceDestCheck", true);
        groups(xml);
    }
    if let Some(reason) = &instance.reason {
        xml.nest("stateReason", |xml| {
            xml.text("code", &reason.code).text("message", &reason.message);
        });
    }
    xml.text("architecture", &instance.architecture)
        .text("rootDeviceType", "ebs")
        .text("rootDeviceName", &instance.root_device);
    if alive {
        call.region.ec2.block_devices_xml(xml, &instance.id);
        xml.list("networkInterfaceSet", "item", [()], |xml, ()| {
            xml.text("networkInterfaceId", &instance.interface)
                .text("subnetId", &instance.subnet)
                .text("vpcId", &vpc)
                .text("ownerId", ACCOUNT)
                .text("status", "in-use")
                .nest("attachment", |xml| {
                    xml.text("deviceIndex", 0).text("status", "attached").text("deleteOnTermination", true);
                })
                .optional("privateIpAddress", instance.private_address());
            if let Some(address) = public {
                xml.nest("association", |xml| {
                    xml.text("publicIp", address).text("ipOwnerId", if elastic { ACCOUNT } else { "amazon" });
                });
            }
            groups(xml);
        });
    }
    if let Some(association) = &instance.profile {
        xml.nest("iamInstanceProfile", |xml| {
            xml.text("arn", &association.arn).text("id", &association.profile_id);
        });
    }
    xml.text("virtualizationType", "hvm")
        .text("hypervisor", "xen")
        .text("enaSupport", true)
        .text("ebsOptimized", false)
        .text("clientToken", instance.token.as_deref().unwrap_or_default())
        .text("platformDetails", "Linux/UNIX")
        .nest("metadataOptions", |xml| instance.metadata.xml(xml));
    tag_set(xml, &instance.tags);
}

pub(super) fn state_xml(xml: &mut Xml, state: InstanceState) {
    xml.text("code", state.code()).text("name", state.name());
}

fn describe_instance_status(call: &mut Call<'_>) -> Answer {
    let filters =
        Filters::ec2(call.form, &["instance-state-name", "instance-state-code", "availability-zone"])?;
    let all = call.form.flag("IncludeAllInstances")?.unwrap_or(false);
    let statuses = described(call, &filters)?
        .into_iter()
        .filter(|instance| all || instance.state == InstanceState::Running);
    let (page, next) = EC2_PAGES.page(call.form, statuses.collect())?;
    let mut xml = Xml::new();
    xml.list("instanceStatusSet", "item", page, |xml, instance: &Instance| {
        let running = instance.state == InstanceState::Running;
        let status = |xml: &mut Xml| {
            xml.text("status", if running { "ok" } else { "not-applicable" });
            if running {
                xml.list("details", "item", [()], |xml, ()| {
                    xml.text("name", "reachability").text("status", "passed");
                });
            }
        };
        xml.text("instanceId", &instance.id)
            .text("availabilityZone", &instance.zone)
            .nest("instanceState", |xml| state_xml(xml, instance.state))
            .nest("systemStatus", status)
            .nest("instanceStatus", status);
    });
    xml.optional("nextToken", next);
    Ok(xml)
}
