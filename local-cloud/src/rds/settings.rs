//! The settings of a database: checked as RDS checks them, echoed as they were given. A local PostgreSQL has no use for most.

use serde::{Deserialize, Serialize};

use crate::query::{AwsError, Call, invalid};

/// What `ModifyDBInstance` can change and `DescribeDBInstances` echoes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) class: String,
    pub(super) storage_gib: i64,
    pub(super) storage_type: String,
    pub(super) encrypted: bool,
    pub(super) key: Option<String>,
    pub(super) multi_az: bool,
    pub(super) public: bool,
    pub(super) deletion_protection: bool,
    pub(super) retention_days: i64,
    pub(super) backup_window: String,
    pub(super) maintenance_window: String,
    pub(super) minor_upgrades: bool,
    pub(super) copy_tags: bool,
    pub(super) iam_authentication: bool,
    pub(super) performance_insights: bool,
    pub(super) monitoring_interval: i64,
    pub(super) parameter_group: Option<String>,
    pub(super) max_storage_gib: Option<i64>,
    pub(super) iops: Option<i64>,
    pub(super) log_exports: Vec<String>,
}

impl Settings {
    pub(super) fn new() -> Settings {
        Settings {
            class: String::new(),
            storage_gib: 20,
            storage_type: "gp2".into(),
            encrypted: false,
            key: None,
            multi_az: false,
            public: true,
            deletion_protection: false,
            retention_days: 1,
            backup_window: "06:00-06:30".into(),
            maintenance_window: "sun:07:00-sun:07:30".into(),
            minor_upgrades: true,
            copy_tags: false,
            iam_authentication: false,
            performance_insights: false,
            monitoring_interval: 0,
            parameter_group: None,
            max_storage_gib: None,
            iops: None,
            log_exports: Vec::new(),
        }
    }

    /// The settings with what a request names.
    pub(super) fn with(mut self, call: &Call<'_>) -> Result<Settings, AwsError> {
        let form = call.form;
        fn set<T>(target: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *target = value;
            }
        }
        let text = |name: &str| form.get(name).map(str::to_string);
        if let Some(class) = text("DBInstanceClass") {
            if !is_class(&class) {
                return Err(AwsError::new(
                    "InvalidParameterValue",
                    format!("Invalid DB Instance class: {class}"),
                ));
            }
            self.class = class;
        }
        if let Some(storage) = form.number("AllocatedStorage")? {
            if !(20..=65536).contains(&storage) {
                return Err(AwsError::new(
                    "InvalidParameterValue",
                    format!(
                        "Invalid storage size for engine name postgres and storage type gp2: {storage} (20 to 65536 GiB)"
                    ),
                ));
            }
            self.storage_gib = storage;
        }
        if let Some(storage_type) = text("StorageType") {
            if !matches!(storage_type.as_str(), "gp2" | "gp3" | "io1" | "io2" | "standard") {
                return Err(AwsError::new(
                    "InvalidParameterValue",
                    format!("Invalid storage type: {storage_type}"),
                ));
            }
            self.storage_type = storage_type;
        }
        if let Some(days) = form.number("BackupRetentionPeriod")? {
            if !(0..=35).contains(&days) {
                return Err(invalid("BackupRetentionPeriod", &days.to_string(), "0 to 35 days"));
            }
            self.retention_days = days;
        }
        set(&mut self.multi_az, form.flag("MultiAZ")?);
        set(&mut self.public, form.flag("PubliclyAccessible")?);
        set(&mut self.deletion_protection, form.flag("DeletionProtection")?);
        set(&mut self.minor_upgrades, form.flag("AutoMinorVersionUpgrade")?);
        set(&mut self.copy_tags, form.flag("CopyTagsToSnapshot")?);
        set(&mut self.iam_authentication, form.flag("EnableIAMDatabaseAuthentication")?);
        set(&mut self.performance_insights, form.flag("EnablePerformanceInsights")?);
        set(&mut self.monitoring_interval, form.number("MonitoringInterval")?);
        set(&mut self.backup_window, text("PreferredBackupWindow"));
        set(&mut self.maintenance_window, text("PreferredMaintenanceWindow"));
        let parameter_group = text("DBParameterGroupName").map(|name| name.to_ascii_lowercase());
        self.parameter_group = parameter_group.or(self.parameter_group);
        self.max_storage_gib = form.number("MaxAllocatedStorage")?.or(self.max_storage_gib);
        self.iops = form.number("Iops")?.or(self.iops);
        let exports = form.list("EnableCloudwatchLogsExports");
        if !exports.is_empty() {
            self.log_exports = exports;
        }
        form.ignore(&[
            "CACertificateIdentifier",
            "NetworkType",
            "LicenseModel",
            "EngineLifecycleSupport",
            "MonitoringRoleArn",
            "PerformanceInsightsRetentionPeriod",
            "PerformanceInsightsKMSKeyId",
            "StorageThroughput",
            "DatabaseInsightsMode",
        ]);
        Ok(self)
    }
}

/// `db.<family>.<size>`
fn is_class(class: &str) -> bool {
    const FAMILIES: &[&str] = &[
        "t3", "t4g", "m5", "m5d", "m6g", "m6gd", "m6i", "m7g", "m7i", "m8g", "r5", "r6g", "r6i", "r7g",
        "r7i", "r8g", "x2g",
    ];
    const SIZES: &[&str] = &[
        "micro", "small", "medium", "large", "xlarge", "2xlarge", "4xlarge", "8xlarge", "12xlarge",
        "16xlarge",
    ];
    let mut parts = class.split('.');
    let (Some("db"), Some(family), Some(size), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    FAMILIES.contains(&family) && SIZES.contains(&size)
}
