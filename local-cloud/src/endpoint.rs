//! The HTTP endpoint: loopback only, one port for every service. The signature's scope says which service and region a request is
//! for; signatures are not verified, since whoever can reach this port is this machine's user. `/_local/..` is for `ops` and for tests.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::TcpListener;

use crate::cloud::{Cloud, uuid};
use crate::query::{self, Access, AwsError, Envelope, Form, Scope, Service};
use crate::{ec2, elbv2, iam, json, rds, secretsmanager, sns, sqs, ssm, sts, time};

/// Larger than any request of these services may be (1 MiB for SQS).
const BODY_LIMIT: usize = 4 * 1024 * 1024;

const QUERY_SERVICES: &[&Service] =
    &[&ec2::SERVICE, &elbv2::SERVICE, &iam::SERVICE, &rds::SERVICE, &sns::SERVICE, &sts::SERVICE];
const JSON_SERVICES: &[&json::Service] = &[&secretsmanager::SERVICE, &sqs::SERVICE, &ssm::SERVICE];

pub(crate) fn services() -> Vec<&'static str> {
    let query = QUERY_SERVICES.iter().map(|service| service.name);
    query.chain(JSON_SERVICES.iter().map(|service| service.name)).collect()
}

pub(crate) async fn serve(cloud: Arc<Cloud>, listener: TcpListener) {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, usually: wait for connections to end.
                eprintln!("local cloud: cannot accept a connection: {error}");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let cloud = cloud.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| respond(cloud.clone(), request));
            // A client that goes away in the middle is its own affair.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

pub(crate) type Reply = Response<Full<Bytes>>;

async fn respond(cloud: Arc<Cloud>, request: Request<Incoming>) -> Result<Reply, Infallible> {
    let (parts, body) = request.into_parts();
    let request_id = uuid();
    // A web page can make a browser send requests here, under a foreign name or with its origin.
    if parts.headers.contains_key(ORIGIN) || !is_loopback(&parts.headers) {
        return Ok(reply(
            403,
            "text/plain",
            "only programs of this machine may call the local cloud\n",
            &request_id,
        ));
    }
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => {
            let error = AwsError::with_status(
                413,
                "RequestEntityTooLarge",
                "the request is larger than 4 MiB or was cut off",
            );
            return Ok(xml_failure(Envelope::Query, &error, &request_id));
        }
    };
    if let Some(route) = parts.uri.path().strip_prefix("/_local/") {
        return Ok(local(&cloud, &parts.method, route, &body, &request_id).await);
    }
    Ok(dispatch(&cloud, &parts.headers, &body, &request_id).await)
}

fn is_loopback(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "127.0.0.1" | "localhost")
}

async fn dispatch(cloud: &Arc<Cloud>, headers: &HeaderMap, body: &Bytes, request_id: &str) -> Reply {
    let Some(scope) = scope(headers) else {
        let error = AwsError::with_status(
            403,
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        );
        return xml_failure(Envelope::Query, &error, request_id);
    };
    if let Some(service) = JSON_SERVICES.iter().find(|known| known.name == scope.service) {
        return answer_json(cloud, service, &scope, headers, body, request_id).await;
    }
    let Some(service) = QUERY_SERVICES.iter().find(|known| known.name == scope.service) else {
        return unknown_service(&scope.service, headers, request_id);
    };
    let form = Form::parse(body);
    let action = form.get("Action").unwrap_or_default();
    let Some(operation) = service.operation(action) else {
        cloud.calls.record(service.name, action, Access::Read);
        let message =
            format!("The action {action} is not valid: the local cloud does not have it in {}", service.name);
        return reply(
            400,
            XML,
            service.failure(&AwsError::new("InvalidAction", message), request_id),
            request_id,
        );
    };
    cloud.calls.record(service.name, action, operation.1);
    let answer = match forestalled(cloud, &scope, action).await {
        Some(error) => Err(error),
        None => service.answer(cloud, &scope, operation, &form).await,
    };
    match answer {
        Ok(xml) => reply(200, XML, service.success(action, xml, request_id), request_id),
        Err(error) => reply(error.status, XML, service.failure(&error, request_id), request_id),
    }
}

/// Why a request is refused whatever it asks for: a fault that somebody set, or a role that was played for its time.
async fn forestalled(cloud: &Cloud, scope: &Scope, operation: &str) -> Option<AwsError> {
    if let Some(fault) = cloud.faults.take(&scope.service, operation) {
        return Some(fault);
    }
    let session = cloud.read_all(|state| state.iam.sessions.get(&scope.access_key).cloned()).await?;
    session.expires.is_past().then(|| match scope.service.as_str() {
        "ec2" => AwsError::new("RequestExpired", "Request has expired."),
        json if JSON_SERVICES.iter().any(|known| known.name == json) => {
            AwsError::new("ExpiredTokenException", "The security token included in the request is expired")
        }
        _ => AwsError::with_status(
            403,
            "ExpiredToken",
            "The security token included in the request is expired",
        ),
    })
}

/// In the protocol that the request was made in, as far as that can be told.
fn unknown_service(service: &str, headers: &HeaderMap, request_id: &str) -> Reply {
    let message = format!("The local cloud does not have the service {service}");
    if headers.contains_key("x-amz-target") {
        let body = json!({ "__type": "UnknownOperationException", "message": message }).to_string();
        return reply(400, "application/x-amz-json-1.1", body, request_id);
    }
    xml_failure(Envelope::Query, &AwsError::new("InvalidAction", message), request_id)
}

async fn answer_json(
    cloud: &Arc<Cloud>,
    service: &json::Service,
    scope: &Scope,
    headers: &HeaderMap,
    body: &Bytes,
    request_id: &str,
) -> Reply {
    let target = headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let name = target.rsplit('.').next().unwrap_or_default();
    let answer = match service.operation(target) {
        None => {
            cloud.calls.record(service.name, name, Access::Read);
            let message = format!(
                "The action {name} is not valid: the local cloud does not have it in {}",
                service.name
            );
            Err(AwsError::new("InvalidAction", message))
        }
        Some(operation) => {
            cloud.calls.record(service.name, name, operation.1);
            match (forestalled(cloud, scope, name).await, json::Document::parse(body)) {
                (Some(error), _) | (None, Err(error)) => Err(error),
                (None, Ok(document)) => {
                    if service.name == sqs::SERVICE.name && name == "ReceiveMessage" {
                        sqs::long_poll(cloud, &scope.region, &document).await;
                    }
                    service.answer(cloud, &scope.region, operation, &document).await
                }
            }
        }
    };
    match answer {
        Ok(value) => reply(200, service.content_type, value.to_string(), request_id),
        Err(error) => {
            let (body, query_error) = service.failure(&error);
            let mut reply = reply(error.status, service.content_type, body, request_id);
            if let Some(value) = query_error.and_then(|value| value.parse().ok()) {
                reply.headers_mut().insert("x-amzn-query-error", value);
            }
            reply
        }
    }
}

const XML: &str = "text/xml;charset=UTF-8";

/// `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ...`
fn scope(headers: &HeaderMap) -> Option<Scope> {
    let authorization = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let credential = authorization.split("Credential=").nth(1)?.split(',').next()?;
    let mut parts = credential.trim().rsplit('/');
    let (last, service, region) = (parts.next()?, parts.next()?, parts.next()?);
    let (_date, access_key) = (parts.next()?, parts.next()?);
    (last == "aws4_request").then(|| Scope {
        access_key: access_key.to_string(),
        region: region.to_string(),
        service: service.to_string(),
    })
}

fn xml_failure(envelope: Envelope, error: &AwsError, request_id: &str) -> Reply {
    reply(error.status, XML, query::failure(envelope, "", error, request_id), request_id)
}

pub(crate) fn reply(status: u16, content_type: &str, body: impl Into<Bytes>, request_id: &str) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in [("content-type", content_type), ("x-amzn-requestid", request_id)] {
        if let Ok(value) = value.parse() {
            reply.headers_mut().insert(name, value);
        }
    }
    reply
}

async fn local(cloud: &Cloud, method: &Method, route: &str, body: &[u8], request_id: &str) -> Reply {
    let value = match (method, route) {
        (&Method::GET, "pid") => return reply(200, "text/plain", std::process::id().to_string(), request_id),
        (&Method::GET, "status") => cloud.status().await,
        (&Method::GET, "calls") => cloud.calls.report(),
        (&Method::GET, "faults") => cloud.faults.report(),
        (&Method::POST, "faults") => match cloud.faults.set(body) {
            Ok(()) => cloud.faults.report(),
            Err(reason) => return reply(400, "text/plain", format!("{reason}\n"), request_id),
        },
        (&Method::DELETE, "faults") => {
            cloud.faults.clear();
            cloud.faults.report()
        }
        (&Method::GET, "clock") => time::clock(),
        (&Method::POST, "clock") => match time::skip(body) {
            Ok(clock) => clock,
            Err(reason) => return reply(400, "text/plain", format!("{reason}\n"), request_id),
        },
        (&Method::POST, "shutdown") => {
            cloud.stop();
            json!({ "stopping": true })
        }
        _ => {
            let known = "known: GET status, GET calls, GET, POST and DELETE faults, GET and POST clock, POST shutdown\n";
            return reply(404, "text/plain", known, request_id);
        }
    };
    reply(200, "application/json", value.to_string(), request_id)
}
