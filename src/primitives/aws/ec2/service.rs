//! The service that an instance runs: one map that says what runs; here it becomes the instance's user data.
//!
//! The user data begins with the map itself in one comment line, `# ops-service: <base64 of JSON>`: the local cloud runs the
//! service from it, and executes nothing else. The rest is the script that a real instance executes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rhai::{Dynamic, Map};
use serde_json::{Value, json};

use crate::error::Error;
use crate::host::{Host, World};
use crate::primitives::declaration::{Holds, Key, Options, optional, required};
use crate::primitives::local::secrets::StoredSecret;
use crate::secret;

/// EC2 takes no more user data than this (EC2 User Guide, "Run commands on your Linux instance at launch").
const USER_DATA_LIMIT: usize = 16 * 1024;

const TEMPLATE: &str = include_str!("../../../../playbooks/templates/user_data.sh");

/// The keys of the map `service`.
pub const KEYS: &[Key] = &[
    required("name", Holds::String, "The name of the container and its unit"),
    required(
        "image",
        Holds::String,
        "The container image, REF@digest; in the local cloud, the name of a known one",
    ),
    required("port", Holds::Int, "The TCP port that it listens on"),
    optional(
        "env",
        Holds::Map,
        "Its environment; a secret is passed on as a reference and resolved where the service starts",
    ),
    optional("health", Holds::String, "The path that answers 200 when it is ready, such as `/readyz`"),
    optional(
        "notice_topic",
        Holds::String,
        "ARN of a topic that the instance tells when the service is ready for the first time, or that its launch has failed; its instance profile has to allow it",
    ),
];

/// What runs on an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub port: u16,
    pub health: Option<String>,
    name: String,
    image: String,
    env: Vec<(String, String)>,
    notice_topic: Option<String>,
}

impl Service {
    /// Reads the map `service` of `function`.
    pub fn read(host: &Host, function: &str, map: Map) -> Result<Self, Error> {
        let options = Options::check(&format!("the service of {function}"), KEYS, map)?;
        let port = options.int("port").and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0);
        let mut env = Vec::new();
        for (key, value) in options.map("env").unwrap_or_default() {
            env.push((key.to_string(), env_value(&key, value)?));
        }
        let name = options.string("name").unwrap_or_default();
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(plain) {
            return Err(Error::invalid(format!(
                "`{name}` cannot be the name of a service: use lower-case letters, digits and hyphens"
            ))
            .key("name"));
        }
        let image = options.string("image").unwrap_or_default();
        // The characters of a reference (distribution specification): it becomes part of a unit file.
        let in_image = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | ':' | '@');
        if image.is_empty() || !image.chars().all(in_image) {
            return Err(Error::invalid(format!("`{image}` is no container image")).key("image"));
        }
        if matches!(host.world, World::Aws) && !image.contains("@sha256:") {
            return Err(Error::invalid(format!(
                "which image is `{image}`? On AWS an image is named with its digest"
            ))
            .help("push the image to a registry and name it like registry.example.com/app-server@sha256:.. (deploy takes it with `--image`)")
            .help("or try the playbook on this machine, where the image is not needed: add `--local`"));
        }
        // The instance would have to log in there, and its role to be allowed to.
        if image.split('/').next().is_some_and(|registry| registry.contains(".dkr.ecr.")) {
            return Err(Error::invalid(format!("`{image}` is in ECR, which an instance cannot pull from yet"))
                .key("image")
                .help("push it to a registry that lets everybody pull, or bring it to the servers by `ops run rollout --archive FILE` of `docker save`"));
        }
        let health = options.string("health");
        if let Some(path) = &health
            && (!path.starts_with('/')
                || path.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '\'' | '"')))
        {
            return Err(Error::invalid(format!("`{path}` is no path: it begins with a slash")).key("health"));
        }
        let notice_topic = options.string("notice_topic");
        // It becomes part of a script: the characters of an ARN.
        let in_arn = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_');
        if let Some(arn) =
            notice_topic.as_ref().filter(|arn| !arn.starts_with("arn:") || !arn.chars().all(in_arn))
        {
            return Err(
                Error::invalid(format!("`{arn}` is no topic's ARN: give `topic.arn`")).key("notice_topic")
            );
        }
        if notice_topic.is_some() && health.is_none() {
            return Err(Error::invalid(
                "a notice is sent when the service is ready: `health` says how that is known",
            )
            .key("notice_topic"));
        }
        Ok(Service {
            port: port.ok_or_else(|| Error::invalid("`port` is a TCP port from 1 to 65535").key("port"))?,
            health,
            name,
            image,
            env,
            notice_topic,
        })
    }

    /// The user data that runs it. Fails where it is longer than EC2 takes.
    pub fn user_data(&self, region: &str) -> Result<String, Error> {
        let map = json!({
            "name": self.name,
            "image": self.image,
            "port": self.port,
            "env": self.env.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect::<serde_json::Map<_, _>>(),
        });
        let (references, plain): (Vec<_>, Vec<_>) =
            self.env.iter().partition(|(_, value)| value.starts_with(REFERENCE));
        let references: Vec<_> = references
            .iter()
            .map(|(key, value)| json!({"key": key, "path": &value[REFERENCE.len()..]}))
            .collect();
        let quoted = |value: &str| format!("'{}'", value.replace('\'', r"'\''"));
        let plain: Vec<_> =
            plain.iter().map(|(key, value)| json!({"key": key, "quoted": quoted(value)})).collect();
        let mut environment = minijinja::Environment::new();
        environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        let text = environment
            .render_str(
                TEMPLATE,
                minijinja::Value::from(minijinja::value::Serde(json!({
                    "service": STANDARD.encode(map.to_string()),
                    "name": self.name,
                    "image": self.image,
                    "port": self.port,
                    "region": region,
                    "plain": plain,
                    "references": references,
                    "health": self.health,
                    "notice_topic": self.notice_topic,
                }))),
            )
            .map_err(|error| Error::internal(format!("playbooks/templates/user_data.sh: {error:#}")))?;
        if text.len() > USER_DATA_LIMIT {
            return Err(Error::invalid(format!(
                "the user data of the service has {} bytes, and EC2 takes {USER_DATA_LIMIT}",
                text.len()
            ))
            .key("service"));
        }
        Ok(text)
    }
}

/// How a value of a service's environment begins that is looked up in SSM where the service starts.
const REFERENCE: &str = "ssm:";

fn env_value(key: &str, value: Dynamic) -> Result<String, Error> {
    let name_is_plain = !key.is_empty()
        && !key.starts_with(|c: char| c.is_ascii_digit())
        && key.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
    if !name_is_plain {
        return Err(Error::invalid(format!("`{key}` cannot be the name of an environment variable")).key(key));
    }
    if let Some(secret) = value.clone().try_cast::<StoredSecret>() {
        return Ok(secret.reference());
    }
    if value.is_string() || value.is_int() || value.is_bool() {
        let text = value.to_string();
        if let Some(path) = text.strip_prefix(REFERENCE)
            && !path.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.'))
        {
            return Err(Error::invalid(format!("the value of `{key}` begins like a reference, and is none"))
                .key(key)
                .help("use secrets::reference(\"name\") for a secret of the stack"));
        }
        // An environment file has one line for each variable.
        if text.contains(['\n', '\r', '\0']) {
            return Err(Error::invalid(format!("the value of `{key}` has more than one line")).key(key));
        }
        // Whoever may describe the instance reads its user data.
        if secret::mask(&text) != text || secret::holds_access_key(&text) || secret::holds_key_material(&text)
        {
            return Err(Error::invalid(format!(
                "the value of `{key}` is a secret, and user data is no place for one"
            ))
            .key(key)
            .help("keep it with secrets::set(\"name\", ..), and pass on secrets::reference(\"name\")"));
        }
        return Ok(text);
    }
    Err(Error::invalid(format!("the value of `{key}` is a string, a whole number, true, false or a secret"))
        .key(key))
}
