//! A database as RDS shows it: no endpoint before it is available for the first time.

use std::net::Ipv4Addr;

use super::instance::{Database, Status};
use super::{arn, master_secret, subnet_group, tag_list};
use crate::ec2::vpc_id;
use crate::query::Call;
use crate::xml::Xml;

pub(super) fn database_xml(xml: &mut Xml, call: &Call<'_>, database: &Database) {
    let settings = &database.settings;
    let available_once = database.status != Status::Creating;
    let parameter_group = settings.parameter_group.clone().unwrap_or_else(|| {
        format!("default.postgres{}", database.engine_version.split('.').next().unwrap_or_default())
    });
    xml.text("DBInstanceIdentifier", &database.id)
        .text("DBInstanceArn", arn(call.region_name, "db", &database.id))
        .text("DbiResourceId", &database.resource_id)
        .text("DBInstanceClass", &settings.class)
        .text("Engine", "postgres")
        .text("EngineVersion", &database.engine_version)
        .text("DBInstanceStatus", database.status.name())
        .text("MasterUsername", &database.master_username)
        .optional("DBName", database.name.as_ref());
    if available_once {
        xml.nest("Endpoint", |xml| {
            xml.text("Address", Ipv4Addr::LOCALHOST)
                .text("Port", database.port)
                .text("HostedZoneId", "Z00000000LOCAL");
        });
        xml.text("InstanceCreateTime", database.created);
    }
    xml.text("AllocatedStorage", settings.storage_gib)
        .text("StorageType", &settings.storage_type)
        .text("StorageEncrypted", settings.encrypted)
        .optional("KmsKeyId", settings.key.as_ref())
        .optional("Iops", settings.iops)
        .optional("MaxAllocatedStorage", settings.max_storage_gib)
        .text("MultiAZ", settings.multi_az)
        .text("PubliclyAccessible", settings.public)
        .text("DeletionProtection", settings.deletion_protection)
        .text("BackupRetentionPeriod", settings.retention_days)
        .text("PreferredBackupWindow", &settings.backup_window)
        .text("PreferredMaintenanceWindow", &settings.maintenance_window)
        .text("AutoMinorVersionUpgrade", settings.minor_upgrades)
        .text("CopyTagsToSnapshot", settings.copy_tags)
        .text("IAMDatabaseAuthenticationEnabled", settings.iam_authentication)
        .text("PerformanceInsightsEnabled", settings.performance_insights)
        .text("MonitoringInterval", settings.monitoring_interval)
        .text("LicenseModel", "postgresql-license")
        .text("CACertificateIdentifier", "rds-ca-rsa2048-g1")
        .text("AvailabilityZone", &database.zone)
        .text("DbInstancePort", 0);
    xml.nest("EnabledCloudwatchLogsExports", |xml| {
        for kind in &settings.log_exports {
            xml.text("member", kind);
        }
    });
    xml.list("VpcSecurityGroups", "VpcSecurityGroupMembership", &database.groups, |xml, id| {
        xml.text("VpcSecurityGroupId", id).text("Status", "active");
    });
    xml.list("DBSecurityGroups", "DBSecurityGroup", [(); 0], |_, ()| {});
    xml.list("DBParameterGroups", "DBParameterGroup", [parameter_group], |xml, name| {
        xml.text("DBParameterGroupName", name).text("ParameterApplyStatus", "in-sync");
    });
    xml.nest("DBSubnetGroup", |xml| {
        let name = database.subnet_group.as_deref().unwrap_or("default");
        match call.region.rds.subnet_groups.get(name) {
            Some(group) => subnet_group::xml(xml, call.region_name, group),
            None => {
                xml.text("DBSubnetGroupName", "default")
                    .text("DBSubnetGroupDescription", "default")
                    .text("VpcId", vpc_id(call.region_name))
                    .text("SubnetGroupStatus", "Complete");
            }
        }
    });
    xml.nest("PendingModifiedValues", |xml| {
        if let Some(pending) = &database.pending {
            let differs = |changed: bool, value: String| changed.then_some(value);
            xml.optional("DBInstanceClass", differs(pending.class != settings.class, pending.class.clone()))
                .optional(
                    "AllocatedStorage",
                    differs(pending.storage_gib != settings.storage_gib, pending.storage_gib.to_string()),
                )
                .optional(
                    "StorageType",
                    differs(pending.storage_type != settings.storage_type, pending.storage_type.clone()),
                )
                .optional(
                    "MultiAZ",
                    differs(pending.multi_az != settings.multi_az, pending.multi_az.to_string()),
                );
        }
    });
    xml.list("StatusInfos", "DBInstanceStatusInfo", &database.problem, |xml, problem| {
        xml.text("StatusType", "local cloud").text("Normal", false).text("Message", problem);
    });
    master_secret::xml(xml, call.region, database);
    tag_list(xml, &database.tags);
}
