//! The AWS clients of a run, for the account and region that the SDK's default chain finds, or for the local cloud.

mod request;
mod seen;

use std::time::{Duration, SystemTime};

use aws_config::default_provider::region::DefaultRegionChain;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sts::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::error::{Error, Kind};

pub use request::request;
pub use seen::Seen;

/// Throttling and 5xx are tried again by the SDK, this often in all, with pauses that grow to [`LONGEST_PAUSE`] (SDK "standard" mode): with a
/// third of all calls throttled none fails in the end. "Adaptive" mode, which also slows down the calls that would have succeeded,
/// took minutes for what this mode does in seconds.
const ATTEMPTS: u32 = 16;

/// Between two attempts. The SDK's own limit of 20 s adds up to minutes.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Where the calls go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The account that the SDK's default chain finds; a profile may be named.
    Account { profile: Option<String> },
    /// The local cloud at this URL.
    Local { endpoint: String },
}

/// Who is asking, where: the account line.
#[derive(Debug, Clone)]
pub struct Identity {
    pub account: String,
    /// `aws`, `aws-cn` ..: the second part of every ARN.
    pub partition: String,
    /// The user or role, as its ARN ends.
    pub caller: String,
    /// When temporary credentials end.
    pub expiry: Option<SystemTime>,
}

/// One client for each service, and who they act for.
#[derive(Debug)]
pub struct Clients {
    pub ec2: aws_sdk_ec2::Client,
    pub elbv2: aws_sdk_elasticloadbalancingv2::Client,
    pub iam: aws_sdk_iam::Client,
    pub rds: aws_sdk_rds::Client,
    pub sns: aws_sdk_sns::Client,
    pub sqs: aws_sdk_sqs::Client,
    pub ssm: aws_sdk_ssm::Client,
    pub region: String,
    pub identity: Identity,
    /// The stack's security groups.
    pub groups: Seen<aws_sdk_ec2::types::SecurityGroup>,
    /// The stack's instances that are there.
    pub instances: Seen<aws_sdk_ec2::types::Instance>,
    /// The database instance that was looked for last.
    pub databases: Seen<aws_sdk_rds::types::DbInstance>,
    /// The URLs of the stack's queues.
    pub queues: Seen<String>,
    config: SdkConfig,
}

impl Clients {
    /// Makes the clients and asks who they act for (STS `GetCallerIdentity`).
    ///
    /// Fails with kind `denied` where there are no credentials, or none that work.
    pub async fn connect(target: &Target, region: Option<&str>) -> Result<Self, Error> {
        // A dead endpoint is told from a slow one after some seconds; no call of this program holds a connection longer.
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(Duration::from_secs(5))
            .operation_attempt_timeout(Duration::from_secs(60))
            .build();
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS).with_max_backoff(LONGEST_PAUSE))
            .timeout_config(timeouts);
        if let Some(region) = region {
            loader = loader.region(Region::new(region.to_owned()));
        }
        match target {
            // As the AWS CLI has it: keys in the environment are not those of a profile that somebody names.
            Target::Account { profile: Some(profile) } => {
                let region = match region {
                    Some(region) => Some(Region::new(region.to_owned())),
                    None => DefaultRegionChain::builder().profile_name(profile).build().region().await,
                };
                let base = ProviderConfig::without_region().with_region(region);
                let credentials =
                    ProfileFileCredentialsProvider::builder().profile_name(profile).configure(&base).build();
                loader = loader.profile_name(profile).credentials_provider(credentials);
            }
            Target::Account { profile: None } => {}
            Target::Local { endpoint } => {
                loader = loader
                    // Without a proxy, whatever the environment says: nothing leaves this machine.
                    .http_client(aws_smithy_http_client::Builder::new().build_http())
                    .use_fips(false)
                    .use_dual_stack(false)
                    .endpoint_url(endpoint)
                    .region(Region::new(region.unwrap_or("us-east-1").to_owned()))
                    .credentials_provider(Credentials::new("local", "local", None, None, "local cloud"));
            }
        }
        let config = loader.load().await;
        let Some(region) = config.region().map(ToString::to_string) else {
            // A profile that does not exist has no region either: that is the thing to say.
            expiry(&config).await?;
            return Err(Error::invalid("no AWS region is set")
                .help(
                    "add `--region us-east-1`, set AWS_REGION, or set `region` in ops.toml or ~/.aws/config",
                )
                .help("or try the playbook on this machine, without an account: add `--local`"));
        };
        Clients::of(config, region).await
    }

    /// Where the calls go, if that is not AWS.
    pub fn endpoint(&self) -> Option<&str> {
        self.config.endpoint_url()
    }

    /// The same account's clients for another region.
    pub async fn in_region(&self, region: &str) -> Result<Self, Error> {
        let config = self.config.clone().into_builder().region(Region::new(region.to_owned())).build();
        Clients::of(config, region.to_owned()).await
    }

    /// The clients of a role that this run's identity may assume (STS `AssumeRole`); its credentials are renewed as needed.
    pub async fn as_role(&self, arn: &str) -> Result<Self, Error> {
        let role = aws_config::sts::AssumeRoleProvider::builder(arn)
            .session_name("ops")
            .configure(&self.config)
            .build()
            .await;
        let credentials = SharedCredentialsProvider::new(role);
        credentials.provide_credentials().await.map_err(|error| {
            Error::new(Kind::Denied, format!("cannot act as {arn}: {}", chain(&error)))
                .of("sts", "AssumeRole")
                .code(refusal(&error))
                .help("the role's trust policy has to name this identity, and its policies have to allow `sts:AssumeRole`")
        })?;
        let config = self.config.clone().into_builder().credentials_provider(credentials).build();
        Clients::of(config, self.region.clone()).await
    }

    async fn of(config: SdkConfig, region: String) -> Result<Self, Error> {
        let expiry = expiry(&config).await?;
        let identity = aws_sdk_sts::Client::new(&config)
            .get_caller_identity()
            .send()
            .await
            .map_err(|error| failure("sts", "GetCallerIdentity", error))?;
        let caller = identity.arn().unwrap_or_default();
        Ok(Clients {
            ec2: aws_sdk_ec2::Client::new(&config),
            elbv2: aws_sdk_elasticloadbalancingv2::Client::new(&config),
            iam: aws_sdk_iam::Client::new(&config),
            rds: aws_sdk_rds::Client::new(&config),
            sns: aws_sdk_sns::Client::new(&config),
            sqs: aws_sdk_sqs::Client::new(&config),
            ssm: aws_sdk_ssm::Client::new(&config),
            region,
            identity: Identity {
                account: identity.account().unwrap_or_default().to_owned(),
                partition: caller.split(':').nth(1).unwrap_or("aws").to_owned(),
                caller: caller.rsplit(':').next().unwrap_or(caller).to_owned(),
                expiry,
            },
            groups: Seen::default(),
            instances: Seen::default(),
            databases: Seen::default(),
            queues: Seen::default(),
            config,
        })
    }
}

async fn expiry(config: &aws_config::SdkConfig) -> Result<Option<SystemTime>, Error> {
    let missing = |reason: String| {
        Error::new(Kind::Denied, format!("no usable AWS credentials: {reason}"))
            .help(
                "looked at: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile (AWS_PROFILE or --profile) in ~/.aws/config and \
                 ~/.aws/credentials with SSO and credential_process, a web identity token, the container's and the instance's role",
            )
            .help("log in, for example with `aws configure` or `aws sso login`")
            .help("or try the playbook on this machine, without an account: add `--local`")
    };
    let provider = config.credentials_provider().ok_or_else(|| missing("nothing provides any".to_owned()))?;
    let credentials = provider.provide_credentials().await.map_err(|error| missing(chain(&error)))?;
    Ok(credentials.expiry())
}

/// What a service or the way to it threw, as the host's error: the service's own code, message and request id.
pub fn failure<E>(service: &str, operation: &str, error: SdkError<E, HttpResponse>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let failed = match &error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            let metadata = answer.err().meta();
            let code = metadata.code().unwrap_or_default();
            let message = metadata.message().unwrap_or("the service gave no reason");
            let kind = if names_unknown(code, message) { Kind::NotFound } else { kind(code, status) };
            let request_id = ["x-amzn-requestid", "x-amz-request-id"]
                .iter()
                .find_map(|header| answer.raw().headers().get(*header))
                .or_else(|| metadata.extra("aws_request_id"))
                .unwrap_or_default();
            Error::new(kind, message)
                .code(code)
                .request_id(request_id)
                .retryable(matches!(kind, Kind::Throttled | Kind::Unavailable))
        }
        SdkError::TimeoutError(_) => Error::new(Kind::Timeout, "no answer in time").retryable(true),
        // The SDK says so in words only (`CredentialsError` is of a crate of its own): waiting would not bring them back.
        SdkError::DispatchFailure(_) if chain(&error).contains("credential") => {
            Error::new(Kind::Denied, format!("no usable AWS credentials: {}", chain(&error)))
                .help("log in again, then run the same command again: it goes on where it stopped")
        }
        SdkError::ResponseError(_) => {
            Error::new(Kind::Unavailable, format!("the answer broke off: {}", chain(&error))).retryable(true)
        }
        SdkError::DispatchFailure(_) => {
            Error::new(Kind::Unavailable, format!("cannot reach the service: {}", chain(&error)))
                .retryable(true)
        }
        _ => Error::internal(chain(&error)),
    };
    let failed = failed.of(service, operation);
    match failed.code.as_str() {
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
            failed.help("log in again, then run the same command again: it goes on where it stopped")
        }
        "UnauthorizedOperation" | "AccessDenied" | "AccessDeniedException" | "AuthorizationError" => {
            failed.help(format!("the account's administrator has to allow `{service}:{operation}`"))
        }
        "InvalidClientTokenId" | "AuthFailure" | "SignatureDoesNotMatch" | "UnrecognizedClientException" => {
            failed.help("the access key is wrong or was deleted: log in again, or choose another one with `--profile`")
        }
        // The Free plan allows fewer days of backups and smaller sizes than others.
        "FreeTierRestrictionError" => {
            failed.help("the account is on AWS's free plan: ask for less, for example `--backup-days 1`, or upgrade its plan")
        }
        _ => failed,
    }
}

/// The code with which STS has refused a role; it lies somewhere below what the provider of credentials says.
fn refusal(error: &(dyn std::error::Error + 'static)) -> String {
    let mut below = Some(error);
    while let Some(error) = below {
        if let Some(refused) = error.downcast_ref::<AssumeRoleError>() {
            return refused.meta().code().unwrap_or_default().to_owned();
        }
        below = error.source();
    }
    String::new()
}

/// The kind of a service error. The codes are those of each API's reference; what is not listed goes by its ending and status.
fn kind(code: &str, status: u16) -> Kind {
    match code {
        "UnauthorizedOperation"
        | "AccessDenied"
        | "AccessDeniedException"
        | "AuthFailure"
        | "AuthorizationError"
        | "InvalidClientTokenId"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException"
        | "OptInRequired" => Kind::Denied,
        "RequestLimitExceeded" | "Throttling" | "ThrottlingException" | "TooManyRequestsException" => {
            Kind::Throttled
        }
        "DBInstanceNotFound"
        | "DBSubnetGroupNotFoundFault"
        | "ParameterNotFound"
        | "NotFound"
        | "NotFoundException"
        | "ResourceNotFound"
        | "AWS.SimpleQueueService.NonExistentQueue"
        | "QueueDoesNotExist"
        | "LoadBalancerNotFound"
        | "TargetGroupNotFound"
        | "ListenerNotFound"
        | "NoSuchEntity"
        | "DBParameterGroupNotFound"
        | "ResourceNotFoundException"
        | "DBSnapshotNotFound" => Kind::NotFound,
        "DependencyViolation"
        | "ResourceInUse"
        | "DeleteConflict"
        | "InvalidDBParameterGroupState"
        | "InvalidDBInstanceState"
        | "InvalidDBSnapshotState"
        | "InvalidDBSubnetGroupStateFault"
        | "IncorrectInstanceState"
        | "InvalidSnapshot.InUse"
        | "IdempotentParameterMismatch"
        | "IdempotentInstanceTerminated"
        | "AWS.SimpleQueueService.QueueDeletedRecently"
        | "QueueDeletedRecently"
        | "AWS.SimpleQueueService.PurgeQueueInProgress" => Kind::Conflict,
        _ if code.ends_with(".NotFound") => Kind::NotFound,
        _ if code.ends_with(".Duplicate")
            || code.ends_with("AlreadyExists")
            || code.ends_with("AlreadyExistsFault") =>
        {
            Kind::Exists
        }
        "QueueNameExists"
        | "QueueAlreadyExists"
        | "ResourceExistsException"
        | "DuplicateLoadBalancerName"
        | "DuplicateTargetGroupName"
        | "DuplicateListener" => Kind::Exists,
        _ if status >= 500 => Kind::Unavailable,
        _ => Kind::Invalid,
    }
}

/// Whether a request names a thing that the service does not know, or not yet: these have no code of their own for it.
fn names_unknown(code: &str, message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    match code {
        // EC2 of a new instance profile, SQS of a new dead-letter queue, RDS of a new security group.
        "InvalidParameterValue" => {
            ["iam instance profile", "dead letter target does not exist", "invalid security group"]
                .iter()
                .any(|what| message.contains(what))
        }
        // ELBv2 of a new security group.
        "InvalidSecurityGroup" => true,
        // RDS of its own service-linked role, which it makes with the account's first database.
        _ => message.contains("verify that you have permission to create service linked role"),
    }
}

/// An error and its causes in one line; the SDK's own text is only "dispatch failure".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text += ": ";
            text += &cause_text;
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_four_services_fall_into_the_closed_list() {
        assert_eq!(kind("InvalidGroup.NotFound", 400), Kind::NotFound);
        assert_eq!(kind("InvalidPermission.Duplicate", 400), Kind::Exists);
        assert_eq!(kind("DBInstanceAlreadyExists", 400), Kind::Exists);
        assert_eq!(kind("DependencyViolation", 400), Kind::Conflict);
        assert_eq!(kind("InternalError", 500), Kind::Unavailable);
        assert_eq!(kind("InvalidParameterValue", 400), Kind::Invalid);
    }

    #[test]
    fn what_is_not_known_yet_is_told_from_what_is_wrong() {
        let profile = "Value (music-app-server) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name";
        assert!(names_unknown("InvalidParameterValue", profile));
        assert!(names_unknown(
            "InvalidParameterValue",
            "Value {..} for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist."
        ));
        assert!(!names_unknown(
            "InvalidParameterValue",
            "The parameter MasterUserPassword is not a valid password"
        ));
    }
}
