//! Plain HTTP requests of the host itself, through the HTTPS client that the AWS SDK already brings.

use std::error::Error as _;
use std::time::Duration;

use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;

use crate::error::{Error, Kind};

/// A health check or a look-up that takes longer than this has failed.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a health check says fits in this; no more is read.
const SHORT: usize = 64 * 1024;

/// An answer: its status and the first lines of its text.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
}

/// Gets `url` (`http` or `https`). Fails with kind `unavailable` or `timeout` where there is no answer.
pub async fn get(url: &str) -> Result<Answer, Error> {
    get_up_to(url, SHORT).await
}

/// The same for an answer of up to about `longest` bytes; what comes after them is not read.
pub async fn get_up_to(url: &str, longest: usize) -> Result<Answer, Error> {
    let request = Request { longest, ..Request::get(url) };
    let response = send(&request).await?;
    // It is shown on a terminal: no control characters.
    let text = String::from_utf8_lossy(&response.body);
    let text = text.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    Ok(Answer { status: response.status, text })
}

/// A request. It is sent once, and a redirection is an answer like others.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// For all of it, from the connection to the last byte.
    pub timeout: Duration,
    /// What is behind so many bytes of the answer is not read.
    pub longest: usize,
}

impl Request {
    pub fn get(url: &str) -> Self {
        Request {
            method: "GET".to_owned(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: TIMEOUT,
            longest: 16 * 1024 * 1024,
        }
    }
}

/// What came back, whatever its status.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// Sends a request. Fails with kind `unavailable` or `timeout` where there is no whole answer.
pub async fn send(request: &Request) -> Result<Response, Error> {
    let url = &request.url;
    let connector = Connector::builder()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
        .build();
    let mut prepared =
        HttpRequest::get(url).map_err(|error| Error::invalid(format!("`{url}` is no URL: {error}")))?;
    prepared
        .set_method(&request.method)
        .map_err(|_| Error::invalid(format!("`{}` is no method of HTTP", request.method)))?;
    for (name, value) in &request.headers {
        prepared.headers_mut().try_insert(name.clone(), value.clone()).map_err(|_| {
            // Not with its value: that may be a secret.
            Error::invalid(format!("the header `{name}` has a name or a value that HTTP does not allow"))
        })?;
    }
    if !request.body.is_empty() {
        *prepared.body_mut() = SdkBody::from(request.body.clone());
    }
    let unavailable = |reason: String| {
        Error::new(Kind::Unavailable, format!("no answer from {url}: {reason}")).retryable(true)
    };
    let exchange = async {
        let response = connector.call(prepared).await.map_err(|error| {
            unavailable(error.source().map_or_else(|| error.to_string(), ToString::to_string))
        })?;
        let status = response.status().as_u16();
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let mut stream = aws_smithy_types::byte_stream::ByteStream::new(response.into_body());
        let mut body = Vec::new();
        while body.len() < request.longest {
            let Some(part) = stream.try_next().await.map_err(|error| unavailable(error.to_string()))? else {
                break;
            };
            body.extend_from_slice(&part);
        }
        Ok(Response { status, headers, body })
    };
    tokio::time::timeout(request.timeout, exchange).await.map_err(|_| {
        let text = format!("no answer from {url} in {} s", request.timeout.as_secs());
        Error::new(Kind::Timeout, text).retryable(true)
    })?
}
