//! Plain HTTP requests of the host itself, through the HTTPS client that the AWS SDK already brings.

use std::error::Error as _;
use std::time::Duration;

use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;

use crate::error::{Error, Kind};

/// A health check or a look-up that takes longer than this has failed.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What a health check says fits in this; no more is read.
const LONGEST: usize = 64 * 1024;

/// An answer: its status and the first lines of its text.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub text: String,
}

/// Gets `url` (`http` or `https`). Fails with kind `unavailable` or `timeout` where there is no answer.
pub async fn get(url: &str) -> Result<Answer, Error> {
    get_up_to(url, LONGEST).await
}

/// The same for an answer of up to about `longest` bytes; what comes after them is not read.
pub async fn get_up_to(url: &str, longest: usize) -> Result<Answer, Error> {
    let connector = Connector::builder()
        .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
        .build();
    let request =
        HttpRequest::get(url).map_err(|error| Error::invalid(format!("`{url}` is no URL: {error}")))?;
    let unavailable = |reason: String| {
        Error::new(Kind::Unavailable, format!("no answer from {url}: {reason}")).retryable(true)
    };
    let exchange = async {
        let response = connector.call(request).await.map_err(|error| {
            unavailable(error.source().map_or_else(|| error.to_string(), ToString::to_string))
        })?;
        let status = response.status().as_u16();
        let mut body = aws_smithy_types::byte_stream::ByteStream::new(response.into_body());
        let mut bytes = Vec::new();
        while bytes.len() < longest {
            let Some(part) = body.try_next().await.map_err(|error| unavailable(error.to_string()))? else {
                break;
            };
            bytes.extend_from_slice(&part);
        }
        // It is shown on a terminal: no control characters.
        let text =
            String::from_utf8_lossy(&bytes).chars().filter(|c| *c == '\n' || !c.is_control()).collect();
        Ok(Answer { status, text })
    };
    tokio::time::timeout(TIMEOUT, exchange).await.map_err(|_| {
        Error::new(Kind::Timeout, format!("no answer from {url} in {} s", TIMEOUT.as_secs())).retryable(true)
    })?
}
