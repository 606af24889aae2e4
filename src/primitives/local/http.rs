//! `http::` requests to services that have no namespace of their own.

use std::sync::Arc;
use std::time::Duration;

use rhai::Dynamic;

use super::secrets::spent;
use super::state::json;
use crate::clients::http::{self, Request};
use crate::error::{Error, Kind};
use crate::host::Host;
use crate::primitives::declaration::{Function, Holds, Options, describe, optional};
use crate::primitives::namespace::{Call, Namespace};
use crate::secret::Secret;

/// An answer.
#[derive(Clone)]
struct Response {
    url: Arc<str>,
    response: Arc<http::Response>,
}

const REQUEST: Function = Function {
    name: "request",
    doc: "Sends a request and gives the answer. What may be repeated (GET, HEAD, PUT, DELETE) is tried again where there was no answer, or \
          one of status 429, 502, 503 or 504; a redirection is not followed. GET and HEAD are reads; the others are effects, which a dry \
          run only says.\n\
          Throws for a status of 300 and more: `denied` for 401 and 403, `not_found` for 404, `throttled` for 429, `unavailable` from 500 on, \
          else `invalid`; the code is the status.",
    parameters: &["url: string"],
    returns: "Response",
    permissions: &[],
    example: r#"let answer = attempt(|| http::request("http://127.0.0.1:9/health", #{ attempts: 1, timeout_s: 2 }));"#,
    keys: &[
        optional("method", Holds::String, "GET if not given, POST with a body"),
        optional("headers", Holds::Map, "Headers, texts or secrets"),
        optional("json", Holds::A("a value", |_| true), "A body in JSON"),
        optional("text", Holds::String, "A body as it is"),
        optional("timeout_s", Holds::Int, "How long each try may take, 1 to 3600; 30 if not given"),
        optional("attempts", Holds::Int, "How often it is tried at most, 1 to 20; 3 if not given"),
        optional("any_status", Holds::Bool, "No status is an error"),
    ],
};

const JSON: Function = Function {
    name: "json",
    doc: "The body, read as JSON. Throws `invalid` for what is none.",
    parameters: &[],
    returns: "?",
    permissions: &[],
    example: r#"
        let answer = attempt(|| http::request("http://127.0.0.1:9/", #{ attempts: 1 }));
        if answer.ok { print(answer.value.json()); }"#,
    keys: &[],
};

const HEADER: Function = Function {
    name: "header",
    doc: "A header of the answer, or `()`.",
    parameters: &["name: string"],
    returns: "string",
    permissions: &[],
    example: r#"
        let answer = attempt(|| http::request("http://127.0.0.1:9/", #{ attempts: 1 }));
        if answer.ok { print(answer.value.header("content-type")); }"#,
    keys: &[],
};

pub fn namespace(host: &Arc<Host>) -> Namespace {
    let mut namespace = Namespace::new("http", host);
    namespace
        .with_options(&REQUEST, request)
        .handle::<Response>("Response")
        .method0(&JSON, |_, it: &Response| it.json())
        .method1(&HEADER, |_, it: &Response, name: String| {
            Ok(it.header(&name).map_or(Dynamic::UNIT, |value| value.to_owned().into()))
        })
        .property("status", "The status: 200.", |_, it: &Response| Ok(i64::from(it.response.status)))
        .property("text", "The body as text.", |_, it: &Response| {
            Ok(String::from_utf8_lossy(&it.response.body).into_owned())
        })
        .incomparable(|it: &Response| format!("{} from {}", it.response.status, it.url));
    namespace
}

impl Response {
    fn header(&self, name: &str) -> Option<&str> {
        let name = name.to_ascii_lowercase();
        self.response.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Result<Dynamic, Error> {
        let value: serde_json::Value = serde_json::from_slice(&self.response.body)
            .map_err(|error| Error::invalid(format!("the answer of {} is no JSON: {error}", self.url)))?;
        rhai::serde::to_dynamic(value).map_err(|error| Error::internal(error.to_string()))
    }
}

fn request(call: &Call, url: String, options: &Options) -> Result<Response, Error> {
    let mut request = Request::get(&url);
    request.timeout =
        Duration::from_secs(u64::from(options.int_in("timeout_s", 1..=3600)?.unwrap_or(30).unsigned_abs()));
    for (name, value) in options.map("headers").unwrap_or_default() {
        request.headers.push((name.to_string(), header_value(&name, &value)?));
    }
    if let Some(body) = options.get("json") {
        let body = json(body).map_err(|what| {
            Error::invalid(format!("`json` holds {what}, which is not sent in a body")).key("json")
        })?;
        request.body = body.to_string().into_bytes();
        if !request.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            request.headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
    }
    if let Some(text) = options.string("text") {
        if !request.body.is_empty() {
            return Err(Error::invalid("a request has one body: give `json` or `text`").key("text"));
        }
        request.body = text.into_bytes();
    }
    let method = options.string("method").map(|method| method.to_ascii_uppercase());
    request.method =
        method.unwrap_or_else(|| if request.body.is_empty() { "GET" } else { "POST" }.to_owned());
    let reads = matches!(&*request.method, "GET" | "HEAD");
    if !reads {
        call.effect(&format!("{} {url}", request.method))?;
    }
    let attempts = options.int_in("attempts", 1..=20)?.unwrap_or(3);
    let repeatable = reads || matches!(&*request.method, "PUT" | "DELETE" | "OPTIONS");
    let response = send(call, &request, if repeatable { attempts } else { 1 })?;
    if response.response.status >= 300 && !options.bool("any_status").unwrap_or(false) {
        return Err(refused(&request, &response));
    }
    Ok(response)
}

/// Whether a header's value is nobody's business but the server's.
fn is_private(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["authorization", "cookie", "token", "secret", "key", "password"].iter().any(|word| name.contains(word))
}

fn header_value(name: &str, value: &Dynamic) -> Result<String, Error> {
    if let Some(secret) = spent(value) {
        return Ok(secret.expose().to_owned());
    }
    let text = value.clone().into_string().map_err(|_| {
        let found = describe(value);
        Error::invalid(format!("the header `{name}` is a text or a secret, and not {found}")).key("headers")
    })?;
    if is_private(name) {
        // `Bearer abc`: the word before is no secret.
        let secret = text.rsplit(' ').next().unwrap_or(&text);
        drop(Secret::new(secret));
    }
    Ok(text)
}

fn send(call: &Call, request: &Request, attempts: i32) -> Result<Response, Error> {
    let mut line = None;
    let mut pause = Duration::from_secs(1);
    for attempt in 1.. {
        let outcome = call.block_without_account(http::send(request));
        let (why, pause_now) = match outcome {
            Err(error) if error.retryable && attempt < attempts => (error.to_string(), pause),
            Err(error) => return Err(error),
            Ok(response) => {
                let response = Response { url: request.url.as_str().into(), response: Arc::new(response) };
                if attempt == attempts || !matches!(response.response.status, 429 | 502..=504) {
                    return Ok(response);
                }
                let asked = response.header("retry-after").and_then(|seconds| seconds.parse().ok());
                // Longer than a minute nobody is made to wait unasked.
                let asked = asked.map(|seconds: u64| Duration::from_secs(seconds.min(60)));
                (format!("status {}", response.response.status), asked.unwrap_or(pause))
            }
        };
        line.get_or_insert_with(|| call.progress.wait(&format!("{} {}", request.method, request.url)))
            .status(&format!("{why}; try {attempt} of {attempts}"));
        call.block_without_account(async {
            tokio::time::sleep(pause_now).await;
            Ok(())
        })?;
        pause *= 2;
    }
    Err(Error::internal("a request came to no end"))
}

fn refused(request: &Request, response: &Response) -> Error {
    let status = response.response.status;
    let kind = match status {
        401 | 403 => Kind::Denied,
        404 | 410 => Kind::NotFound,
        409 | 412 => Kind::Conflict,
        429 => Kind::Throttled,
        500.. => Kind::Unavailable,
        _ => Kind::Invalid,
    };
    let text = String::from_utf8_lossy(&response.response.body);
    let said: String = text.chars().filter(|c| !c.is_control()).take(300).collect();
    let error =
        Error::new(kind, format!("{} {} was answered with {status}: {said}", request.method, request.url));
    let error = error.code(status.to_string()).retryable(matches!(kind, Kind::Throttled | Kind::Unavailable));
    match response.header("location") {
        Some(location) => error.help(format!("it has moved to {location}: ask there")),
        None => error,
    }
}
