//! `RunInstances`: everything that an instance refers to must exist, and a client token stands for one launch for good.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::instance::{self, Instance, InstanceState};
use super::metadata::MetadataOptions;
use super::sshd::{self, Sshd};
use super::vpc::{subnet_not_found, subnets};
use super::{image, instance_type, key_pair, profile, tag_specification, volume};
use crate::cloud::fresh_id;
use crate::machine::{self, Neighbourhood};
use crate::query::{Access, Answer, AwsError, Call, Form, Operation, invalid};
use crate::service::Declaration;
use crate::time::Time;
use crate::xml::Xml;

pub(super) const OPERATIONS: &[Operation] = &[("RunInstances", Access::Change, run_instances)];

/// EC2's limit, before base64.
const USER_DATA_LIMIT: usize = 16 * 1024;

/// What a client token has launched.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    digest: String,
    instances: Vec<String>,
}

fn run_instances(call: &mut Call<'_>) -> Answer {
    let form = call.form;
    let image = image::find(call, form.required("ImageId")?)?;
    image.check_available()?;
    let instance_type = form.get("InstanceType").unwrap_or("m1.small").to_string();
    instance_type::find(&instance_type)?.check_runs(&image.architecture)?;
    let (minimum, maximum) = (required_count(form, "MinCount")?, required_count(form, "MaxCount")?);
    if minimum > maximum {
        return Err(AwsError::new("InvalidParameterValue", "MinCount must not be greater than MaxCount"));
    }
    let key_name = form.get("KeyName").map(str::to_string);
    if let Some(name) = key_name.as_ref().filter(|name| !call.region.ec2.key_pairs.contains_key(*name)) {
        return Err(key_pair::not_found(name));
    }
    let network = network(call)?;
    let user_data = user_data(form)?;
    let tags = tag_specification(form, "instance", &["volume", "network-interface"])?;
    let volume_tags = tag_specification(form, "volume", &["instance", "network-interface"])?;
    let volumes = volume::of_launch(form, &image)?;
    let metadata = MetadataOptions::default().with(form, "MetadataOptions.")?;
    let profile = profile::of_request(call)?;
    let protected = form.flag("DisableApiTermination")?.unwrap_or(false);
    let monitoring = form.flag("Monitoring.Enabled")?.unwrap_or(false);
    let shutdown_behaviour = form.get("InstanceInitiatedShutdownBehavior").unwrap_or("stop").to_string();
    let token = form.get("ClientToken").filter(|token| !token.is_empty());
    form.ignore(&[
        "EbsOptimized",
        "CreditSpecification",
        "PrivateDnsNameOptions",
        "MaintenanceOptions",
        "AdditionalInfo",
    ]);
    super::refuse_dry_run(form)?;

    let digest = Sha256::digest(form.canonical_without(&["ClientToken", "DryRun"]).as_bytes());
    let digest = STANDARD.encode(digest);
    if let Some(launch) = token.and_then(|token| call.region.ec2.tokens.get(token)) {
        return repeated(call, launch, &digest);
    }
    let user_data = user_data.unwrap_or_default();
    let declared = Declaration::in_user_data(&user_data);
    let sshd = Sshd::of(&call.cloud.folder, &tags)?;
    let reservation = fresh_id("r");
    let mut launched = Vec::new();
    for launch_index in 0..maximum {
        let taken: Vec<_> = call.region.ec2.instances.values().map(|instance| instance.address).collect();
        let port = match &declared {
            Ok(Some(declaration)) => Some(declaration.port),
            _ => None,
        };
        let address = machine::choose_address(Neighbourhood::Instances, port, &taken).map_err(|error| {
            AwsError::with_status(
                500,
                "InsufficientInstanceCapacity",
                format!("no loopback address is free: {error}"),
            )
        })?;
        let mut tags = tags.clone();
        // How a client reaches the service, where its own port is not the one that the instance listens on (macOS).
        if port.is_some() {
            tags.insert(super::ADDRESS_TAG.into(), address.to_string());
        }
        if let Some(sshd) = &sshd {
            tags.insert(sshd::TAG.into(), sshd.login.clone());
        }
        let now = Time::now();
        let instance = Instance {
            id: fresh_id("i"),
            reservation: reservation.clone(),
            launch_index,
            image: image.id.clone(),
            architecture: image.architecture.clone(),
            root_device: image.root_device.clone(),
            instance_type: instance_type.clone(),
            key_name: key_name.clone(),
            subnet: network.subnet.clone(),
            zone: network.zone.clone(),
            groups: network.groups.clone(),
            interface: fresh_id("eni"),
            public: network.public,
            address,
            sshd: sshd.clone(),
            user_data: user_data.clone(),
            tags,
            metadata: metadata.clone(),
            profile: profile.clone(),
            protected,
            monitoring,
            shutdown_behaviour: shutdown_behaviour.clone(),
            token: token.map(str::to_string),
            launched_at: now,
            state: InstanceState::Pending,
            changed_at: now,
            reason: None,
            process: None,
        };
        launched.push(instance.id.clone());
        for plan in &volumes {
            let volume = plan.volume(&instance.id, &instance.zone, &volume_tags);
            call.region.ec2.volumes.insert(volume.id.clone(), volume);
        }
        call.region.ec2.instances.insert(instance.id.clone(), instance);
    }
    if let Some(token) = token {
        let launch = Launch { digest, instances: launched.clone() };
        call.region.ec2.tokens.insert(token.to_string(), launch);
    }
    Ok(reservation_xml(call, &launched))
}

/// The same token again: the same instances if the request is the same and they still live.
fn repeated(call: &Call<'_>, launch: &Launch, digest: &str) -> Answer {
    if launch.digest != digest {
        return Err(AwsError::new(
            "IdempotentParameterMismatch",
            "The client token was used before with other parameters",
        ));
    }
    let alive = |id: &String| {
        let instance = call.region.ec2.instances.get(id);
        instance.is_some_and(|instance| {
            !matches!(instance.state, InstanceState::ShuttingDown | InstanceState::Terminated)
        })
    };
    if let Some(id) = launch.instances.iter().find(|id| !alive(id)) {
        return Err(AwsError::new(
            "IdempotentInstanceTerminated",
            format!("The client token launched {id}, which has been terminated"),
        ));
    }
    Ok(reservation_xml(call, &launch.instances))
}

fn reservation_xml(call: &Call<'_>, ids: &[String]) -> Xml {
    let instances: Vec<&Instance> = ids.iter().filter_map(|id| call.region.ec2.instances.get(id)).collect();
    let mut xml = Xml::new();
    instance::reservation_xml(&mut xml, call, &instances);
    xml
}

fn required_count(form: &Form, name: &str) -> Result<i64, AwsError> {
    form.required(name)?;
    match form.number(name)? {
        Some(count @ 1..=20) => Ok(count),
        other => Err(invalid(name, &other.unwrap_or_default().to_string(), "1 to 20")),
    }
}

struct Network {
    subnet: String,
    zone: String,
    groups: Vec<String>,
    public: bool,
}

fn network(call: &Call<'_>) -> Result<Network, AwsError> {
    let form = call.form;
    let interfaces = form.members("NetworkInterface");
    let (subnet, mut groups, public) = match interfaces.as_slice() {
        [] => (form.get("SubnetId"), form.list("SecurityGroupId"), None),
        [interface] => {
            if ["SubnetId", "SecurityGroupId", "SecurityGroup"].iter().any(|name| form.has(name)) {
                return Err(AwsError::new(
                    "InvalidParameterCombination",
                    "Network interfaces and an instance-level subnet ID or security groups may not be specified on the same request",
                ));
            }
            form.ignore(
                &["DeviceIndex", "DeleteOnTermination", "Description", "InterfaceType"]
                    .map(|field| format!("{interface}.{field}"))
                    .each_ref()
                    .map(String::as_str),
            );
            let groups = form.list(&format!("{interface}.SecurityGroupId"));
            let subnet = form.get(&format!("{interface}.SubnetId"));
            (subnet, groups, form.flag(&format!("{interface}.AssociatePublicIpAddress"))?)
        }
        _ => {
            return Err(AwsError::new(
                "UnsupportedOperation",
                "The local cloud has one network interface per instance",
            ));
        }
    };
    for name in form.list("SecurityGroup") {
        let named = call.region.ec2.security_groups.values().find(|group| group.name == name);
        groups.push(
            named.map(|group| group.id.clone()).ok_or_else(|| super::security_group::not_found(&name))?,
        );
    }
    call.region.ec2.check_groups(&groups)?;
    if groups.is_empty() {
        groups.extend(call.region.ec2.default_group().map(|group| group.id.clone()));
    }
    let zone = form.get("Placement.AvailabilityZone");
    form.ignore(&["Placement.Tenancy"]);
    let mut all = subnets(call.region_name).into_iter();
    let chosen = match (subnet, zone) {
        (Some(id), _) => all.find(|known| known.id == id).ok_or_else(|| subnet_not_found(id))?,
        (None, Some(zone)) => all.find(|known| known.zone == zone).ok_or_else(|| {
            AwsError::new("InvalidParameterValue", format!("Invalid availability zone: [{zone}]"))
        })?,
        (None, None) => all.next().ok_or_else(|| subnet_not_found("default"))?,
    };
    // The subnets of the default VPC give an address where nothing is said.
    Ok(Network { subnet: chosen.id, zone: chosen.zone, groups, public: public.unwrap_or(true) })
}

fn user_data(form: &Form) -> Result<Option<String>, AwsError> {
    let Some(encoded) = form.get("UserData") else { return Ok(None) };
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|_| AwsError::new("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data"))?;
    if bytes.len() > USER_DATA_LIMIT {
        return Err(AwsError::new(
            "InvalidParameterValue",
            format!("User data is limited to {USER_DATA_LIMIT} bytes; this has {}", bytes.len()),
        ));
    }
    Ok(Some(encoded.to_string()))
}
