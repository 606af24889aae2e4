//! A call of any operation of any service, in its JSON or query protocol, signed by the SDK's own signer: for what has no client here.

use std::time::{Duration, SystemTime};

use aws_sdk_sts::config::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::{Map, Value};
use xmlparser::{ElementEnd, Token, Tokenizer};

use super::{Clients, kind};
use crate::clients::http::{self, Request, Response};
use crate::error::{Error, Kind};

/// How each service is called; see the head of the file.
const PROTOCOLS: &str = include_str!("protocols.tsv");

/// Throttling and 5xx are tried again this often in all, with pauses that double from a fifth of a second.
const ATTEMPTS: u32 = 6;

/// How a service is called.
struct Service<'a> {
    name: &'a str,
    /// `json1.0`, `json1.1`, `query` or `ec2`.
    protocol: &'a str,
    target: &'a str,
    version: &'a str,
    host: &'a str,
    signing_name: &'a str,
    global_host: &'a str,
}

impl<'a> Service<'a> {
    fn find(name: &str) -> Result<Service<'a>, Error> {
        let mut rows = PROTOCOLS.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t'));
        let row = rows.find(|row| row.clone().next() == Some(name)).ok_or_else(|| {
            Error::invalid(format!("`{name}` is no service that speaks a JSON or query protocol"))
                .help("names are those of the AWS command line: `dynamodb`, `logs`, `ecs`, `cloudwatch`; REST services such as s3 are not among them")
        })?;
        let mut row = row.chain(std::iter::repeat(""));
        let mut next = || row.next().unwrap_or_default();
        Ok(Service {
            name: next(),
            protocol: next(),
            target: next(),
            version: next(),
            host: next(),
            signing_name: next(),
            global_host: next(),
        })
    }
}

/// Calls `operation` and gives the answer as JSON; an XML answer as maps, lists and strings.
pub async fn request(
    clients: &Clients,
    service: &str,
    operation: &str,
    parameters: &Value,
) -> Result<Value, Error> {
    let service = Service::find(service)?;
    if operation.is_empty() || !operation.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(Error::invalid(format!(
            "`{operation}` is no operation: write it like `DescribeInstances`"
        )));
    }
    let mut pause = Duration::from_millis(200);
    for attempt in 1.. {
        let answer = send(clients, &service, operation, parameters).await?;
        if answer.status < 300 {
            return read(&service, operation, &answer.body);
        }
        let error = refusal(&service, operation, &answer);
        if attempt == ATTEMPTS || !error.retryable {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Err(Error::internal("the attempts of a call have no end"))
}

async fn send(
    clients: &Clients,
    service: &Service<'_>,
    operation: &str,
    parameters: &Value,
) -> Result<Response, Error> {
    let json = service.protocol.strip_prefix("json");
    let mut headers = Vec::new();
    let body = match json {
        Some(version) => {
            headers.push(("content-type".to_owned(), format!("application/x-amz-json-{version}")));
            headers.push(("x-amz-target".to_owned(), format!("{}.{operation}", service.target)));
            parameters.to_string()
        }
        None => {
            headers.push((
                "content-type".to_owned(),
                "application/x-www-form-urlencoded; charset=utf-8".to_owned(),
            ));
            form(service, operation, parameters)
        }
    };
    let failed = |what: &str| Error::internal(format!("cannot sign {} {operation}: {what}", service.name));
    let url = url(clients, service);
    let provider = clients.config.credentials_provider().ok_or_else(|| failed("there are no credentials"))?;
    let credentials = provider.provide_credentials().await.map_err(|error| failed(&super::chain(&error)))?;
    let identity = credentials.into();
    let region = if service.global_host.is_empty() { clients.region.as_str() } else { "us-east-1" };
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service.signing_name)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| failed(&error.to_string()))?
        .into();
    let signable = SignableRequest::new(
        "POST",
        &url,
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
        SignableBody::Bytes(body.as_bytes()),
    )
    .map_err(|error| failed(&error.to_string()))?;
    let (instructions, _) =
        sign(signable, &parameters).map_err(|error| failed(&error.to_string()))?.into_parts();
    headers.extend(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())));
    let request = Request {
        method: "POST".to_owned(),
        headers,
        body: body.into_bytes(),
        timeout: Duration::from_secs(60),
        ..Request::get(&url)
    };
    http::send(&request).await.map_err(|error| error.of(service.name, operation))
}

fn url(clients: &Clients, service: &Service<'_>) -> String {
    if let Some(endpoint) = clients.config.endpoint_url() {
        return format!("{}/", endpoint.trim_end_matches('/'));
    }
    let suffix = if clients.identity.partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
    if service.global_host.is_empty() {
        format!("https://{}.{}.{suffix}/", service.host, clients.region)
    } else {
        format!("https://{}/", service.global_host)
    }
}

/// The parameters of a query protocol (AWS General Reference, "Making Query requests").
fn form(service: &Service<'_>, operation: &str, parameters: &Value) -> String {
    let mut pairs =
        vec![("Action".to_owned(), operation.to_owned()), ("Version".to_owned(), service.version.to_owned())];
    if let Value::Object(map) = parameters {
        for (key, value) in map {
            flatten(key, value, service.protocol == "ec2", &mut pairs);
        }
    }
    let encode = |text: &str| {
        percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    let pairs = pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn flatten(prefix: &str, value: &Value, ec2: bool, pairs: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                flatten(&format!("{prefix}.{key}"), value, ec2, pairs);
            }
        }
        Value::Array(list) => {
            let member = if ec2 { "" } else { ".member" };
            for (index, value) in list.iter().enumerate() {
                flatten(&format!("{prefix}{member}.{}", index + 1), value, ec2, pairs);
            }
        }
        Value::Null => {}
        Value::String(text) => pairs.push((prefix.to_owned(), text.clone())),
        other => pairs.push((prefix.to_owned(), other.to_string())),
    }
}

fn read(service: &Service<'_>, operation: &str, body: &[u8]) -> Result<Value, Error> {
    let text = String::from_utf8_lossy(body);
    let broken = |why: String| {
        Error::internal(format!("{} {operation} gave an answer that cannot be read: {why}", service.name))
    };
    if service.protocol.starts_with("json") {
        if text.trim().is_empty() {
            return Ok(Value::Object(Map::new()));
        }
        return serde_json::from_str(&text).map_err(|error| broken(error.to_string()));
    }
    let mut answer = xml(&text).map_err(broken)?;
    // Query services wrap the result once more; EC2 does not.
    if let Value::Object(map) = &mut answer
        && let Some(result) = map.remove(&format!("{operation}Result"))
    {
        return Ok(if result.is_null() { Value::Object(Map::new()) } else { result });
    }
    Ok(answer)
}

/// The content of the root element: elements are maps, those that repeat are lists, text is a string, nothing is null.
fn xml(text: &str) -> Result<Value, String> {
    /// An element that has not ended: its name, its children so far, its text so far.
    type Element = (String, Vec<(String, Value)>, String);
    let mut open: Vec<Element> = Vec::new();
    for token in Tokenizer::from(text) {
        match token.map_err(|error| error.to_string())? {
            Token::ElementStart { local, .. } => {
                open.push((local.as_str().to_owned(), Vec::new(), String::new()));
            }
            Token::Text { text } | Token::Cdata { text, .. } => {
                if let Some((_, _, known)) = open.last_mut() {
                    known.push_str(&unescape(text.as_str()));
                }
            }
            Token::ElementEnd { end: ElementEnd::Open, .. } => {}
            Token::ElementEnd { .. } => {
                let Some((name, children, text)) = open.pop() else {
                    return Err("it ends too often".to_owned());
                };
                let value = value(children, text);
                match open.last_mut() {
                    Some((_, siblings, _)) => siblings.push((name, value)),
                    None => return Ok(value),
                }
            }
            _ => {}
        }
    }
    Err("it has no end".to_owned())
}

fn value(children: Vec<(String, Value)>, text: String) -> Value {
    if children.is_empty() {
        return if text.trim().is_empty() { Value::Null } else { Value::String(text) };
    }
    if children.iter().all(|(name, _)| matches!(name.as_str(), "member" | "item")) {
        return children.into_iter().map(|(_, value)| value).collect();
    }
    let mut map = Map::new();
    for (name, value) in children {
        match map.get_mut(&name) {
            None => {
                map.insert(name, value);
            }
            Some(Value::Array(list)) => list.push(value),
            Some(first) => {
                let first_value = first.take();
                *first = Value::Array(vec![first_value, value]);
            }
        }
    }
    Value::Object(map)
}

fn unescape(text: &str) -> String {
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
    text.replace("&#xD;", "\r").replace("&#xA;", "\n").replace("&amp;", "&")
}

/// What the service answered in place of a result.
fn refusal(service: &Service<'_>, operation: &str, answer: &Response) -> Error {
    let text = String::from_utf8_lossy(&answer.body);
    let (code, message) = if service.protocol.starts_with("json") {
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let text = |keys: [&str; 2]| {
            let found = keys.iter().find_map(|key| body.get(key)?.as_str());
            found.unwrap_or_default().to_owned()
        };
        let code = text(["__type", "code"]);
        (code.rsplit('#').next().unwrap_or_default().to_owned(), text(["message", "Message"]))
    } else {
        let body = xml(&text).unwrap_or_default();
        let error = body.pointer("/Errors/Error").or_else(|| body.get("Error")).cloned().unwrap_or_default();
        let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        (text("Code"), text("Message"))
    };
    let kind = kind(&code, answer.status);
    let request_id =
        answer.headers.iter().find(|(name, _)| name == "x-amzn-requestid" || name == "x-amz-request-id");
    Error::new(kind, if message.is_empty() { format!("HTTP {}", answer.status) } else { message })
        .of(service.name, operation)
        .code(code)
        .request_id(request_id.map(|(_, id)| id.clone()).unwrap_or_default())
        .retryable(matches!(kind, Kind::Throttled | Kind::Unavailable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_in_xml_becomes_maps_and_lists() {
        let text = "<?xml version=\"1.0\"?><R xmlns=\"x\"><a>1 &amp; 2</a><set><item><b>x</b></item><item><b>y</b></item></set>\
                    <c/><d>1</d><d>2</d></R>";
        let expected = serde_json::json!({
            "a": "1 & 2", "set": [{ "b": "x" }, { "b": "y" }], "c": null, "d": ["1", "2"],
        });
        assert_eq!(xml(text), Ok(expected));
        assert!(xml("<a><b></a>").is_err() && xml("").is_err());
    }

    #[test]
    fn nested_parameters_take_the_form_of_their_protocol() {
        let pairs = |ec2| {
            let mut pairs = Vec::new();
            flatten("Filter", &serde_json::json!([{ "Name": "a", "Value": ["x", "y"] }]), ec2, &mut pairs);
            pairs.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(pairs(true), ["Filter.1.Name", "Filter.1.Value.1", "Filter.1.Value.2"]);
        assert_eq!(pairs(false)[1], "Filter.member.1.Value.member.1");
    }

    #[test]
    fn every_service_of_the_table_is_whole() {
        for line in PROTOCOLS.lines().filter(|line| !line.starts_with('#')) {
            let service = Service::find(line.split('\t').next().unwrap_or_default()).unwrap();
            assert!(["json1.0", "json1.1", "query", "ec2"].contains(&service.protocol), "{line}");
            assert!(
                !service.host.is_empty() && !service.signing_name.is_empty() && !service.version.is_empty(),
                "{line}"
            );
            assert_eq!(service.protocol.starts_with("json"), !service.target.is_empty(), "{line}");
        }
    }
}
